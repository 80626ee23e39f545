"""`/judge`: the sets of queries to judge, a set's queries, and one query with its pool. Reads only; `judge_forms.py` writes.

A judge sees what his principals may read, and never which system found a document: `searchd/judge/pool.py` mixes them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
from litestar import Request, Response, get
from litestar.di import NamedDependency
from sqlalchemy.orm import Session

from indexer.errors import InputError, NotFound, TransientError
from indexer.scope import Scope
from indexer.status import visible
from indexer.store import judged
from indexer.store.judged import JUDGED, JudgedQuery, JudgedSet
from searchd.api.principals import Caller, require_judge
from searchd.api.problems import public_words
from searchd.api.running import run_search
from searchd.api.schemas import SearchRequest
from searchd.api.search import query_from_request
from searchd.judge import judging
from searchd.judge.pool import pool_of
from searchd.plurals import plural
from searchd.services import Services
from searchd.types import SearchResponse
from web.asking import RETRY_S
from web.judge_contexts import Card, JudgedSetsPage, Proposing
from web.judge_views import Desk, card_of, proposing, query_page, set_page, view_of
from web.render import respond
from web.state import SearchState
from web.visitor import visitor_of

AnyRequest = Request[Any, Any, Any]
NOTHING_BACK = "There is no grade of yours in this set to take back."


@get("/judge", include_in_schema=False)
async def judge_page(request: AnyRequest, services: NamedDependency[Services]) -> Response[str]:
    """Answer with a query and its pool; without a set with the sets there are."""
    caller = require_judge(request, services.settings)
    asked = dict(request.query_params.multi_items())
    if not asked.get("set"):
        page = await anyio.to_thread.run_sync(partial(sets_page, services, caller))
        return respond(page, visitor=visitor_of(request, services.settings))
    seat = partial(sit_down, services, caller, asked.get("collection") or "default", asked["set"])
    desk = await anyio.to_thread.run_sync(seat)
    query = _query_of(desk, asked.get("query", "")) if "list" not in asked else None
    if query is None:
        notice = said_of(asked.get("added", ""))
        return respond(set_page(desk, notice), visitor=visitor_of(request, services.settings))
    notice = NOTHING_BACK if "nothing" in asked else ""
    return await _one_query(request, services, desk, query, notice)


def said_of(added: str) -> str:
    """Say how many queries were added, as the address tells; nothing if it does not."""
    if not (added.isascii() and added.isdecimal() and len(added) < 6):
        return ""
    return f"{plural(int(added), 'query', 'queries')} added." if int(added) else "No query was new to this set."


def sit_down(services: Services, caller: Caller, collection: str, name: str) -> Desk:
    """Return a judge's desk. Raises: NotFound for a set of a collection that he may not know of; InputError."""
    with services.engine.database.read() as session:
        one = set_for(session, caller, collection, name)
        progress = judging.progress_of(session, one, Scope.of(collection, caller.principals))
        return Desk(caller, one, progress, judged.counts(session, one.set_id).judgments)


def set_for(session: Session, caller: Caller, collection: str, name: str) -> JudgedSet:
    """Return a set that this judge may judge. Raises: NotFound, InputError."""
    if collection not in collections_for(session, caller):
        raise NotFound(f"there is no collection {collection[:80]!r}", code="unknown_collection")
    return judging.set_of(session, collection, name)


def collections_for(session: Session, caller: Caller) -> tuple[str, ...]:
    """Return the collections that a judge may know of."""
    return tuple(collection.name for collection, _ in visible(session, caller.sees_only))


def _query_of(desk: Desk, query_id: str) -> JudgedQuery | None:
    """Return the query that is asked for, else the next that waits. Raises: NotFound."""
    if not query_id:
        return desk.progress.after()
    place = desk.progress.place_of(query_id)
    if not place:
        raise NotFound(f"set {desk.one.name!r} has no query {query_id[:80]!r}", code="unknown_query")
    return desk.progress.queries[place - 1]


async def _one_query(
    request: AnyRequest, services: Services, desk: Desk, query: JudgedQuery, notice: str
) -> Response[str]:
    """Search once, and show what every system and stage put on top; what hinders the search is told on the page."""
    visitor = visitor_of(request, services.settings)
    whole = SearchRequest(
        q=query.text, collection=desk.one.collection, limit=1, timeout_ms=services.settings.max_timeout_ms
    )
    try:
        asked, _ = query_from_request(whole, services.settings, services.profiles)
        found = await run_search(request, services, asked, desk.scope)
    except InputError as error:
        return respond(query_page(desk, query, (), error=str(error), notice=notice), status=422, visitor=visitor)
    except TransientError as error:
        said = f"Search is not available at the moment: {public_words(error)}. Nothing is lost; try again in a moment."
        page, headers = query_page(desk, query, (), error=said, notice=notice), {"Retry-After": str(RETRY_S)}
        return respond(page, status=503, headers=headers, visitor=visitor)
    cards = await anyio.to_thread.run_sync(partial(_cards, services, desk, query, found))
    return respond(query_page(desk, query, cards, missing=_missing(found), notice=notice), visitor=visitor)


def _cards(services: Services, desk: Desk, query: JudgedQuery, found: SearchResponse) -> tuple[Card, ...]:
    with services.engine.database.read() as session:
        grades = judging.grades_of(session, desk.one, query.query_id)
    pool = pool_of(found, query.query_id, grades)
    return tuple(
        card_of(number, one, desk.one.collection, grades.get(one.document_id))
        for number, one in enumerate(pool, start=1)
    )


def _missing(found: SearchResponse) -> tuple[str, ...]:
    reports = [report for report in (*found.systems, *found.stages) if report.name in found.degraded]
    return tuple(f"{report.name}: {report.reason or report.status}" for report in reports)


def sets_page(services: Services, caller: Caller, filled: Proposing | None = None) -> JudgedSetsPage:
    """Return the page of all sets, with the form as it was filled."""
    views = []
    with services.engine.database.read() as session:
        known = collections_for(session, caller)
        for one in judged.of_collection(session):
            if one.kind == JUDGED and one.collection in known:
                progress = judging.progress_of(session, one, Scope.of(one.collection, caller.principals))
                views.append(view_of(one, progress, judged.counts(session, one.set_id).judgments))
    return JudgedSetsPage(
        section="judge",
        state=SearchState(),
        sets=tuple(views),
        proposing=filled or proposing(known, known[0] if known else "default", "" if views else judging.USUAL_NAME),
        judge=caller.name,
    )


HANDLERS = [judge_page]
