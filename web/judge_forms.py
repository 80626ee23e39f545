"""What a judge sends: grades, undo, put aside, new sets and more queries. Forms that work without JavaScript.

A form is answered by going on to the page it leads to; a script that asks for JSON gets what it needs to show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import anyio.to_thread
from litestar import Request, Response, Router, post
from litestar.di import NamedDependency
from litestar.response import Redirect
from sqlalchemy.orm import Session

from indexer.errors import Forbidden, InputError
from indexer.scope import Scope
from indexer.store import judged
from indexer.store.judged import MAX_GRADE, JudgedQuery, Judgment
from searchd.api.bodies import read_body
from searchd.api.principals import Caller, require_judge
from searchd.judge import judging, proposals
from searchd.judge.proposals import HEADINGS, LOG, MOST, PAGE, USUAL
from searchd.services import Services
from web.judge import collections_for, set_for, sets_page, sit_down
from web.judge_contexts import Proposing
from web.judge_views import address_of, proposing
from web.render import respond
from web.visitor import own_path, visitor_of

AnyRequest = Request[Any, Any, Any]
Form = Mapping[str, str]
T = TypeVar("T")
LINES = "lines"
MAX_FORM_BYTES, MAX_LINES_BYTES = 16_000, 600_000
NO_STORE = {"Cache-Control": "no-store"}


@post("/judge/grade", status_code=200, include_in_schema=False)
async def grade(request: AnyRequest, services: NamedDependency[Services]) -> Response[Any]:
    """Keep a grade. A query of the search page that the set has not got is added to it."""
    caller, form = await _read(request, services)
    given = _grade_of(form)
    query_id = await _written(services, partial(_grade, services, caller, form, given))
    back = own_path(form["back"]) if form.get("back") else f"{_address(form, query_id)}#pool"
    return _answer(request, {"query": query_id, "document": form["document"], "grade": given}, back)


def _grade(services: Services, caller: Caller, form: Form, given: int, session: Session) -> str:
    one = set_for(session, caller, form["collection"], form["set"])
    if "query" in form:
        query = judging.query_of(session, one, form["query"])
    else:
        query = judging.query_with(session, one, form.get("text", ""), PAGE)
    scope = Scope.of(one.collection, caller.principals)
    now = services.engine.clock()
    judging.grade(session, scope, one, Judgment(query.query_id, form["document"], given, caller.name, now))
    return query.query_id


@post("/judge/undo", status_code=200, include_in_schema=False)
async def undo(request: AnyRequest, services: NamedDependency[Services]) -> Response[Any]:
    """Take back the grade that this judge gave last in the set, and go to its query."""
    caller, form = await _read(request, services)
    last, grade = await _written(services, partial(_undo, caller, form))
    if last is None:
        back = address_of(form["collection"], form["set"], form.get("query", ""), nothing="1")
        return _answer(request, {"query": "", "document": ""}, back)
    address = _address(form, last.query_id)
    said = {"query": last.query_id, "document": last.document_id, "grade": grade, "href": address}
    return _answer(request, said, f"{address}#pool")


def _undo(caller: Caller, form: Form, session: Session) -> tuple[Judgment | None, int | None]:
    """Return what was taken back, and the grade that its document has now."""
    one = set_for(session, caller, form["collection"], form["set"])
    last = judging.take_back(session, one, caller.name)
    return last, judging.grades_of(session, one, last.query_id).get(last.document_id) if last else None


@post("/judge/skip", status_code=200, include_in_schema=False)
async def skip(request: AnyRequest, services: NamedDependency[Services]) -> Response[Any]:
    """Put a query aside and go on to the next, or take it up again."""
    caller, form = await _read(request, services)
    aside = form.get("aside", "1") != "0"
    await _written(services, partial(_skip, services, caller, form, aside))
    if not aside:
        return _answer(request, {"aside": False}, _address(form, form.get("query", "")))
    desk = await anyio.to_thread.run_sync(partial(sit_down, services, caller, form["collection"], form["set"]))
    following = desk.progress.after(form.get("query", ""))
    back = desk.address(following.query_id) if following else desk.address(list="1")
    return _answer(request, {"aside": True, "href": back}, back)


def _skip(services: Services, caller: Caller, form: Form, aside: bool, session: Session) -> None:
    one = set_for(session, caller, form["collection"], form["set"])
    query = judging.query_of(session, one, form.get("query", ""))
    judged.skip(session, one.set_id, query.query_id, services.engine.clock() if aside else None)


@post("/judge/sets", status_code=200, include_in_schema=False)
async def propose(request: AnyRequest, services: NamedDependency[Services]) -> Response[Any]:
    """Make a set, or add queries to one; what is wrong is told beside the form, which stays as it was filled."""
    caller = require_judge(request, services.settings)
    form = await _form(request, MAX_LINES_BYTES)
    filled = _filled(form)
    try:
        added = await anyio.to_thread.run_sync(partial(_propose, services, caller, filled))
    except InputError as error:
        filled = replace(filled, error=str(error))
        page = await anyio.to_thread.run_sync(partial(_again, services, caller, filled))
        return respond(page, status=422, visitor=visitor_of(request, services.settings))
    return Redirect(address_of(filled.collection, filled.name, added=str(added), list="1"), status_code=303)


def _filled(form: Form) -> Proposing:
    count = form.get("count", "")
    empty = proposing((), form.get("collection", ""), form.get("set", "").strip())
    return replace(
        empty,
        origin=form.get("origin", HEADINGS),
        lines=form.get("lines", ""),
        count=int(count) if count.isascii() and count.isdecimal() and len(count) < 6 else USUAL,
    )


def _again(services: Services, caller: Caller, filled: Proposing) -> Any:
    with services.engine.database.read() as session:
        known = collections_for(session, caller)
    return sets_page(services, caller, replace(filled, collections=known))


def _propose(services: Services, caller: Caller, filled: Proposing) -> int:
    """Return how many queries are new. What is slow is read before the writing transaction begins.

    Every judge of a set reads its queries: headings are of what everybody may read, and what everybody searched for is
    handed out by who may write. Raises: InputError; Forbidden.
    """
    if filled.origin == LOG and not caller.may_write:
        raise Forbidden("the log has what everybody searched for: taking queries from it needs a key that may write")
    if not 1 <= filled.count <= MOST:
        raise InputError(f"1 to {MOST:,} queries can be added at once, not {filled.count:,}")
    with services.engine.database.read() as session:
        if filled.collection not in collections_for(session, caller):
            raise InputError(f"there is no collection {filled.collection[:80]!r}")
        proposed = _proposed(session, Scope.of(filled.collection), filled)
    with services.engine.database.session() as session:
        now = services.engine.clock()
        _, added = judging.extend(session, filled.collection, filled.name, proposed, filled.count, now)
    return added


def _proposed(session: Session, scope: Scope, filled: Proposing) -> Sequence[JudgedQuery]:
    if filled.origin == LOG:
        return proposals.of_log(session, scope.collection)
    if filled.origin == LINES:
        return proposals.of_lines(filled.lines.splitlines())
    if filled.origin != HEADINGS:
        raise InputError(f"queries come from {HEADINGS}, {LOG} or {LINES}, not {filled.origin[:40]!r}")
    one = judged.find(session, scope.collection, filled.name)
    known = judged.queries(session, one.set_id) if one else ()
    return proposals.of_headings(session, scope, filled.count, known=known)


async def _read(request: AnyRequest, services: Services) -> tuple[Caller, dict[str, str]]:
    """Return who judges, and his form, which names a set. Raises: Forbidden, InputError, TooLarge."""
    caller = require_judge(request, services.settings)
    form = await _form(request, MAX_FORM_BYTES)
    form.setdefault("collection", "default")
    if not form.get("set"):
        raise InputError("a judgment names a set", code="invalid_parameter")
    return caller, form


async def _form(request: AnyRequest, most_bytes: int) -> dict[str, str]:
    body = await read_body(request, most_bytes)
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _grade_of(form: Form) -> int:
    given = form.get("grade", "")
    if not form.get("document") or given not in tuple(map(str, range(MAX_GRADE + 1))):
        raise InputError(f"a grade is 0 to {MAX_GRADE}, of a document", code="invalid_parameter")
    return int(given)


def _address(form: Form, query_id: str) -> str:
    return address_of(form["collection"], form["set"], query_id)


async def _written(services: Services, write: Callable[[Session], T]) -> T:
    """Run a write in a transaction of its own, off the event loop."""

    def run() -> T:
        with services.engine.database.session() as session:
            return write(session)

    return await anyio.to_thread.run_sync(run)


def _answer(request: AnyRequest, said: Mapping[str, object], back: str) -> Response[Any]:
    if "text/html" in request.headers.get("accept", ""):
        return Redirect(back, status_code=303)
    return Response(dict(said), headers=NO_STORE)


HANDLERS = [Router("/", route_handlers=[grade, undo, skip, propose])]
