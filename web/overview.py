"""What pages read from SQL beside a search: collections to choose from, examples, and how ingestion stands.

Failures name files, which not every reader may know of: only a caller who may write gets to see them.
"""

from __future__ import annotations

from dataclasses import replace

from searchd.services import Services
from sqlalchemy.orm import Session

from indexer.engine import DEFAULT_COLLECTION
from indexer.formats import FAILURE_CODES
from indexer.scope import Scope
from indexer.store import collections, documents, generations, jobs, sources, tasks
from indexer.store.sources import Source
from web.choices import Choice
from web.contexts import CollectionStatus, CollectionView, Failure, Progress
from web.links import link_of
from web.state import SearchState

EXAMPLES = 4
FAILURES_SHOWN = 100
OPEN_TASKS_SEEN = 200


def collection_views(session: Session) -> tuple[CollectionView, ...]:
    """Return all collections with their sizes, in order of name."""
    views = []
    for collection in collections.list_all(session):
        counts = documents.counts(session, collection.name)
        views.append(CollectionView(collection.name, counts.documents, counts.passages))
    return tuple(views)


def chosen_collection(state: SearchState, views: tuple[CollectionView, ...]) -> SearchState:
    """Return the state with a collection: the one asked for, else `default` if it holds anything, else the largest."""
    if state.collection or not views:
        return state if state.collection else replace(state, collection=DEFAULT_COLLECTION)
    best = max(views, key=lambda view: (view.documents > 0, view.name == DEFAULT_COLLECTION, view.documents))
    return replace(state, collection=best.name)


def examples(session: Session, scope: Scope, state: SearchState) -> tuple[Choice, ...]:
    """Return a few titles of the collection as searches, for a reader who does not know yet what is in it."""
    titles = documents.sample_titles(session, scope, EXAMPLES * 2)
    asked = dict.fromkeys(" ".join(title.split())[:120] for title in titles)
    return tuple(Choice(title, "", state.url(q=title), False) for title in asked if title)[:EXAMPLES]


def collection_statuses(session: Session) -> tuple[CollectionStatus, ...]:
    """Return every collection's size, failures, and the generation that answers."""
    found = []
    for collection in collections.list_all(session):
        counts = documents.counts(session, collection.name)
        live = generations.live(session, collection.name)
        found.append(
            CollectionStatus(
                name=collection.name,
                language=collection.language,
                documents=counts.documents,
                passages=counts.passages,
                failed=sources.count_failed(session, collection.name),
                generation=live.generation_id if live else "",
                embedder=str(live.parts.get("embedder", "")) if live else "",
                building=bool(generations.building(session, collection.name)),
            )
        )
    return tuple(found)


def progress(session: Session) -> Progress:
    """Return what is queued and running, and how far the tasks that are not done have come."""
    counts = jobs.counts(session)
    unfinished = [task for task in tasks.recent(session, OPEN_TASKS_SEEN) if task.state in ("enqueued", "processing")]
    return Progress(
        queued=counts.get("queued", 0),
        running=counts.get("running", 0),
        succeeded=counts.get("succeeded", 0),
        failed=sources.count_failed(session),
        done=sum(task.succeeded + task.failed + task.canceled for task in unfinished),
        total=sum(task.total for task in unfinished),
    )


def failures(session: Session) -> tuple[Failure, ...]:
    """Return what could not be indexed, the latest first."""
    return tuple(failure_of(source) for source in sources.failures(session, None, FAILURES_SHOWN))


def failure_of(source: Source) -> Failure:
    """Return a failed source with its reason in words."""
    code = source.error_code or "failed"
    return Failure(
        collection=source.collection,
        source_id=source.source_id,
        label=link_of(source.uri).label or source.name,
        code=code,
        explanation=FAILURE_CODES.get(code, "It could not be indexed."),
        message=source.error or "",
    )


def models(services: Services) -> tuple[tuple[str, str], ...]:
    """Return what computes answers: embedder, device, and the stages of the default profile."""
    settings = services.settings
    lines = [("embedder", settings.embedder)]
    profile = settings.profile("default")
    for stage in profile.stages if profile else ():
        said = f"{stage.model}: top {stage.depth}, {stage.max_length} tokens, at most {stage.budget_ms:,} ms"
        lines.append((stage.name, said if stage.enabled else f"{said}, off unless asked for"))
    return tuple(lines)
