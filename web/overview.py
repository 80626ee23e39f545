"""What pages read from SQL beside a search: collections to choose from, examples, and how ingestion stands.

Failures name files, which not every reader may know of: only a caller who may write gets to see them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy.orm import Session

from indexer import status
from indexer.formats import FAILURE_CODES
from indexer.scope import Scope
from indexer.store import documents
from indexer.store import profiles as store_profiles
from indexer.store.database import Database
from indexer.types import DEFAULT_COLLECTION
from searchd.settings import Settings
from searchd.standing import Standing
from web import words
from web.choices import Choice
from web.contexts import CollectionView, Failure, Health, Progress
from web.links import link_of
from web.state import SearchState

EXAMPLES = 4
EXAMPLE_CHARS = 120


def collection_views(session: Session, readers: frozenset[str] | None, *, counted: bool) -> tuple[CollectionView, ...]:
    """Return the collections that `readers` may know of; counting costs a scan each, and a page of hits does without."""
    views = []
    for collection, scope in status.visible(session, readers):
        counts = documents.counts(session, collection.name, scope) if counted else documents.Counts(0, 0)
        views.append(CollectionView(collection.name, counts.documents, counts.passages))
    return tuple(views)


def chosen_collection(state: SearchState, views: tuple[CollectionView, ...]) -> SearchState:
    """Return the state with a collection: the one asked for, else `default` if it holds anything, else the largest."""
    if state.collection:
        return state
    best = max(
        views, key=lambda view: (view.documents > 0, view.name == DEFAULT_COLLECTION, view.documents), default=None
    )
    return replace(state, collection=best.name if best else DEFAULT_COLLECTION)


def examples(session: Session, scope: Scope, state: SearchState) -> tuple[Choice, ...]:
    """Return a few titles of the collection as searches, for a reader who does not know yet what is in it."""
    titles = documents.sample_titles(session, scope, EXAMPLES * 2)
    asked = dict.fromkeys(" ".join(title.split())[:EXAMPLE_CHARS] for title in titles)
    return tuple(Choice(title, "", state.url(q=title), False) for title in asked if title)[:EXAMPLES]


def progress(found: status.Status) -> Progress:
    """Return what is queued and running, and how far the tasks that are not done have come."""
    queued, running = found.jobs.get("queued", 0), found.jobs.get("running", 0)
    unfinished = [task for task in found.tasks if task.state in ("enqueued", "processing")]
    done = sum(task.succeeded + task.failed + task.canceled for task in unfinished)
    return Progress(
        queued=queued,
        running=running,
        documents=sum(collection.documents for collection in found.collections),
        failed=sum(collection.failed for collection in found.collections),
        done=done,
        # Older unfinished tasks than those listed still count with what waits of them.
        total=max(done + queued + running, sum(task.total for task in unfinished)),
    )


def failure_of(failed: status.Failure) -> Failure:
    """Return a failed source with its reason in words."""
    why = FAILURE_CODES.get(failed.code, "it could not be indexed")
    return Failure(
        collection=failed.collection,
        source_id=failed.source_id,
        label=link_of(failed.uri).label or failed.name,
        code=failed.code,
        explanation=f"{why[:1].upper()}{why[1:]}.",
        message=failed.message,
    )


def health(parts: Mapping[str, str]) -> tuple[Health, ...]:
    """Return what each part of the daemon said of itself: `ok`, `off ...`, or what is wrong."""
    return tuple(
        Health(name, said == "ok" or said.startswith("off"), "" if said == "ok" else said)
        for name, said in sorted(parts.items())
    )


def models(settings: Settings, device: str) -> tuple[tuple[str, str], ...]:
    """Return what computes answers: the embedder, where models run, and the stages of the default profile."""
    lines = [("embedder", settings.embedder), ("device", device)]
    profile = settings.profile("default")
    for stage in profile.stages if profile else ():
        said = f"{stage.model}: top {stage.depth}, {stage.max_length} tokens, at most {stage.budget_ms:,} ms"
        off = ", off unless asked for" if stage.on_request else ", off"
        lines.append((stage.name, said if stage.enabled else said + off))
    return tuple(lines)


def applied_profiles(database: Database) -> tuple[tuple[str, str], ...]:
    """Return the profiles in force that were applied to a collection: which version, by what and when."""
    with database.read() as session:
        found = store_profiles.active(session)
    return tuple(
        (f"{one.name} of {one.collection}", f"version {one.version}, by {one.author}, {words.utc(one.applied_at)}")
        for one in found
    )


def calibrations(standings: Iterable[Standing]) -> tuple[tuple[str, str], ...]:
    """Return how each calibration that is kept stands, in words."""
    return tuple((f"relevance in {one.collection}, profile {one.profile}", one.said) for one in standings)
