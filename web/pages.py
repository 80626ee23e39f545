"""The pages' handlers: read the URL, ask the pipeline or the store, answer with a rendered context.

They take what the API takes (one parser, one pipeline, one rule of who may read); `app.py` mounts `HANDLERS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import anyio.to_thread
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.static_files import create_static_files_router

from indexer import ingest
from indexer.errors import InputError, NotFound, StaleIndex
from indexer.scope import Scope
from indexer.status import status_of
from indexer.store import documents, passages
from indexer.types import Document
from searchd.api.bodies import read_body
from searchd.api.principals import Caller, principal_of, require_write
from searchd.api.status import check_parts
from searchd.calibration import Calibration
from searchd.profiles import Profiles
from searchd.services import Services
from searchd.settings import Profile
from web import overview
from web.answer import answer_of
from web.asking import Outcome, attempt, fusion_of
from web.choices import Choice, mode_choices, relevance_choices, stage_choices
from web.contexts import CollectionView, DocumentPage, FieldErrors, SearchPage, StatusPage
from web.grading import grading_of
from web.links import document_path, link_of
from web.reading import reading_of, shown_metadata
from web.render import STATIC, respond
from web.state import SearchState
from web.visitor import visitor_of

AnyRequest = Request[Any, Any, Any]
MAX_FORM_BYTES = 16_000


@get("/", include_in_schema=False)
async def search_page(request: AnyRequest, services: NamedDependency[Services]) -> Response[str]:
    """Answer with the search page: hits if something is asked, else what there is to search."""
    caller = principal_of(request, services.settings)
    state, errors = _read(_pairs(request))
    shelf = await anyio.to_thread.run_sync(partial(_look, services, caller, state))
    state = shelf.state
    outcome = Outcome(None, errors, 422 if errors else 200)
    if shelf.chosen is None:
        outcome = Outcome(None, FieldErrors(other=f"There is no collection {state.collection!r}."), 404)
    elif state.q and not errors:
        outcome = await attempt(request, services, Scope.of(state.collection, caller.principals), state)
    profiles = services.profiles if shelf.chosen else Profiles(services.settings)
    profile = profiles.get(state.collection, state.profile) or Profile()
    beside = partial(grading_of, services, caller, state)
    page = SearchPage(
        section="search",
        state=state,
        modes=mode_choices(state),
        stages=stage_choices(state, profile.stages),
        profiles=profiles.names(state.collection),
        thresholds=relevance_choices(state, shelf.calibration),
        collections=shelf.collections,
        chosen=shelf.chosen,
        examples=shelf.examples,
        errors=outcome.errors,
        answer=answer_of(outcome.response, state, fusion_of(profile)) if outcome.response else None,
        grading=await anyio.to_thread.run_sync(beside) if shelf.chosen and caller.may_judge else None,
    )
    visitor = visitor_of(request, services.settings)
    return respond(page, status=outcome.status, headers=outcome.headers, visitor=visitor)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """What stands around a search: the collections, the one that is searched, and examples for who asks nothing yet."""

    state: SearchState
    collections: tuple[CollectionView, ...]
    chosen: CollectionView | None
    examples: tuple[Choice, ...]
    calibration: Calibration | None


def _look(services: Services, caller: Caller, asked: SearchState) -> _Shelf:
    with services.engine.database.read() as session:
        views = overview.collection_views(session, caller.sees_only, counted=not (asked.q and asked.collection))
        state = overview.chosen_collection(asked, views)
        chosen = next((view for view in views if view.name == state.collection), None)
        scope = Scope.of(state.collection, caller.principals)
        examples = () if state.q else overview.examples(session, scope, state)
    return _Shelf(state, views, chosen, examples, _calibration(services, state) if chosen else None)


def _calibration(services: Services, state: SearchState) -> Calibration | None:
    try:
        return services.pipeline.standing(state.collection, state.profile).calibration
    except (NotFound, StaleIndex):  # of which the page speaks itself, once something is searched
        return None


def _read(pairs: list[tuple[str, str]]) -> tuple[SearchState, FieldErrors]:
    """Read the state; one that makes no sense keeps what was typed, beside the message."""
    try:
        return SearchState.read(pairs), FieldErrors()
    except InputError as error:
        typed = [(name, value) for name, value in pairs if name in ("q", "collection", "filter")]
        return SearchState.read(typed), FieldErrors(other=str(error))


@get("/documents/{collection:str}/{document_id:path}", include_in_schema=False)
async def document_page(
    request: AnyRequest, services: NamedDependency[Services], collection: FromPath[str]
) -> Response[str]:
    """Answer with a document, scrolled to the passage that was asked for."""
    caller = principal_of(request, services.settings)
    scope = Scope.of(collection, caller.principals)
    document_id = _tail(request, 3)
    page = await anyio.to_thread.run_sync(partial(_document, services, scope, document_id, _pairs(request)))
    return respond(page, visitor=visitor_of(request, services.settings))


def _document(services: Services, scope: Scope, document_id: str, pairs: list[tuple[str, str]]) -> DocumentPage:
    asked = dict(pairs)
    document, span = _load(services, scope, document_id, asked.get("passage", ""))
    try:
        state = SearchState.read([("collection", scope.collection), *pairs])
    except InputError:
        state = SearchState(collection=scope.collection)
    at = int(asked["at"]) if asked.get("at", "").isdecimal() and len(asked["at"]) < 10 else None
    carried = [(name, value) for name, value in pairs if name not in ("at", "all")]
    return DocumentPage(
        section="document",
        state=state,
        title=document.title.strip() or document.document_id,
        source=link_of(document.uri),
        metadata=shown_metadata(document.metadata),
        reading=reading_of(document, span, at=at, whole="all" in asked),
        missing_passage=bool(asked.get("passage")) and span is None,
        base=f"{document_path(scope.collection, document_id)}?{urlencode([*carried, ('', '')])[:-1]}",
        back=state.url(page=state.page) if state.q else None,
    )


def _load(
    services: Services, scope: Scope, document_id: str, passage_id: str
) -> tuple[Document, tuple[int, int] | None]:
    """Return a document, and where the passage lies in it if it still does. Raises: NotFound."""
    generation_id = services.engine.live(scope.collection).generation_id
    with services.engine.database.read() as session:
        document = documents.get(session, scope, document_id)
        found = passages.load(session, scope, generation_id, [passage_id]) if passage_id else {}
    if document is None:
        raise NotFound(f"There is no document {document_id!r} in collection {scope.collection!r} that you may read.")
    passage = found.get(passage_id)
    if passage is None or passage.document_id != document_id:
        return document, None
    return document, (passage.start, passage.end)


@get("/status", include_in_schema=False)
async def status_page(request: AnyRequest, services: NamedDependency[Services]) -> Response[str]:
    """Answer with how ingestion stands, what failed, and what is searched with what."""
    caller = principal_of(request, services.settings)
    retried = dict(_pairs(request)).get("retried", "")
    page = await anyio.to_thread.run_sync(partial(_status, services, caller, retried))
    return respond(page, visitor=visitor_of(request, services.settings))


def _status(services: Services, caller: Caller, retried: str) -> StatusPage:
    found = status_of(services.engine.database, caller.sees_only)
    return StatusPage(
        section="status",
        state=SearchState(),
        progress=overview.progress(found),
        failures=tuple(map(overview.failure_of, found.failures)) if caller.may_write else (),
        collections=found.collections,
        models=(
            *overview.models(services.settings, services.engine.device.name),
            *(overview.applied_profiles(services.engine.database) if caller.may_write else ()),
            *overview.calibrations(services.pipeline.standings({one.name for one in found.collections})),
        ),
        health=overview.health(check_parts(services, caller.may_write)),
        may_write=caller.may_write,
        notice="It will be tried again." if retried else "",
        started_at=services.started_at,
        uptime_s=services.engine.clock() - services.started_at,
    )


@post("/status/retry", include_in_schema=False)
async def retry(request: AnyRequest, services: NamedDependency[Services]) -> Redirect:
    """Queue a failed source again, for a caller who may write, and go back to the status page."""
    require_write(request, services.settings)
    form = dict(parse_qsl((await read_body(request, MAX_FORM_BYTES)).decode("utf-8", "replace")))
    collection, source_id = form.get("collection", ""), form.get("source_id", "")
    if not collection or not source_id:
        raise InputError("a retry names a collection and a source_id")
    engine = services.engine
    again = partial(ingest.retry, engine.database, collection, [source_id], engine.clock())
    await anyio.to_thread.run_sync(again)
    if services.worker is not None:
        services.worker.wake()
    return Redirect("/status?retried=1", status_code=303)


def _pairs(request: AnyRequest) -> list[tuple[str, str]]:
    return list(request.query_params.multi_items())


def _tail(request: AnyRequest, slashes: int) -> str:
    """Return what follows the given number of slashes in the path as sent: routing would merge the id's own slashes."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return unquote(raw.split(b"?")[0].decode("latin-1").split("/", slashes)[-1])


HANDLERS = [
    Router("/", route_handlers=[search_page, document_page, status_page, retry]),
    create_static_files_router("/static", directories=[STATIC], include_in_schema=False),
]
