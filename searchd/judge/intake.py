"""What a file or a request says goes into a set, all of it or nothing: within the caller's one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from indexer.errors import Conflict, InputError, NotFound
from indexer.store import collections, documents, judged
from indexer.store.judged import CLICKS, JUDGED, JudgedQuery, JudgedSet, Judgment
from indexer.store.values import storable
from searchd.judge.given import MOST_JUDGE, Given, GivenJudgment, Problems, query_id_of

FILE = "file"
"""Who judged what no line tells."""


@dataclass(frozen=True, slots=True)
class Intake:
    """How it is taken in."""

    judge: str = FILE
    """Who judged, where a line does not say so; `clicks` marks weak grades."""
    complete: bool | None = None
    """Whether documents without a judgment are known not to be relevant; None: as the set has it."""
    replace: bool = False
    """Empty the set first."""
    strict: bool = False
    """Refuse documents that the collection does not have."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of it."""

    of: JudgedSet
    made: bool
    """Whether the set is new."""
    queries: int
    new_queries: int
    judgments: int
    cut_queries: int
    unknown_documents: int
    """Documents that the collection does not have now."""


def take_in(session: Session, collection: str, name: str, given: Given, how: Intake, now: float) -> TakenIn:
    """Put what is given into a set, which is made if there is none.

    Raises: NotFound without the collection; Conflict if grades of clicks and judgments would be mixed; InputError naming
    lines that contradict each other or the set, or, if strict, documents that are not there.
    """
    if not given.queries and not given.judgments:
        raise InputError("nothing was imported: there is no query in it")
    if not 0 < len(how.judge) <= MOST_JUDGE:
        raise InputError(f"judge: a name has 1 to {MOST_JUDGE} characters")
    _require_collection(session, collection)
    before = judged.find(session, collection, name)
    one = _set_of(session, collection, name, before, given, how, now)
    problems = Problems()
    queries = _Queries(session, one.set_id)
    new = list(queries.added(given, problems))
    judgments = list(_judgments(given, queries, how, now, problems))
    ids = sorted({judgment.document_id for judgment in judgments})
    unknown = set(ids) - documents.present(session, collection, ids)
    if how.strict:
        for said in given.judgments:
            if storable(said.document_id) in unknown:
                problems.add(said.where, f"collection {collection!r} has no document {said.document_id[:80]!r}")
    problems.check()
    fresh = judged.add_queries(session, one.set_id, new)
    count = judged.put_judgments(session, one.set_id, judgments)
    cut = len({(said.query_id, said.text) for said in given.queries if said.cut})
    return TakenIn(one, before is None, len({asked.query_id for asked in new}), fresh, count, cut, len(unknown))


def _require_collection(session: Session, name: str) -> None:
    if collections.get(session, name) is None:
        there = ", ".join(one.name for one in collections.list_all(session)) or "none"
        raise NotFound(f"there is no collection {name[:80]!r}; there are: {there}", code="unknown_collection")


def _set_of(
    session: Session, collection: str, name: str, before: JudgedSet | None, given: Given, how: Intake, now: float
) -> JudgedSet:
    """Return the set to fill: the one there is, emptied if that is wanted, or a new one."""
    kind = _kind_of(given, how)
    complete = how.complete
    if before is not None and how.replace:
        judged.delete(session, before.set_id)
        complete = before.complete if complete is None else complete
    elif before is not None:
        if kind not in (None, before.kind):
            raise Conflict(
                f"set {name!r} holds {'weak grades of clicks' if before.kind == CLICKS else 'judgments'}, and these are "
                f"{'weak grades of clicks' if kind == CLICKS else 'judgments'}: they are not mixed; give them another set"
            )
        if how.complete is not None:
            judged.set_complete(session, before.set_id, how.complete)
        return judged.get(session, collection, name)
    return judged.create(session, collection, name, now, kind=kind or JUDGED, complete=bool(complete))


def _kind_of(given: Given, how: Intake) -> str | None:
    """Return of which kind the grades are; None if they tell nothing. Raises: Conflict if they are of both."""
    kinds = {CLICKS if (one.judge or how.judge) == CLICKS else JUDGED for one in given.judgments}
    if len(kinds) > 1:
        raise Conflict("some of these are weak grades of clicks and some are judgments: they are not mixed; part them")
    return CLICKS if given.of_clicks else kinds.pop() if kinds else None


class _Queries:
    """The queries of a set and of what is given, by id and by text."""

    def __init__(self, session: Session, set_id: str) -> None:
        self._texts = {one.query_id: one.text for one in judged.queries(session, set_id)}
        self._ids: dict[str, str] = {}
        for query_id, text in self._texts.items():
            self._ids.setdefault(text, query_id)

    def added(self, given: Given, problems: Problems) -> Iterator[JudgedQuery]:
        """Yield what is given as queries of the set, in order; an id that has another text is a problem."""
        for one in given.queries:  # first those that say their id, so that a text without one can have it
            if one.query_id:
                self._ids.setdefault(one.text, one.query_id)
        for one in given.queries:
            query_id = one.query_id or self._ids.setdefault(one.text, query_id_of(one.text))
            if self._texts.setdefault(query_id, one.text) != one.text:
                known = self._texts[query_id][:80]
                problems.add(one.where, f"query id {query_id[:80]!r} has another text already: {known!r}")
            yield JudgedQuery(query_id, one.text, FILE)

    def id_of(self, one: GivenJudgment, problems: Problems) -> str | None:
        """Return the id of a judgment's query; None, and a problem, if there is no such query."""
        query_id = storable(one.query_id) or self._ids[one.query]
        if query_id in self._texts:
            return query_id
        problems.add(one.where, f"neither the set nor what was given has a query {query_id[:80]!r}")
        return None


def _judgments(given: Given, queries: _Queries, how: Intake, now: float, problems: Problems) -> Iterator[Judgment]:
    """Yield the judgments; a pair with two grades is a problem."""
    seen: dict[tuple[str, str, str], GivenJudgment] = {}
    for one in given.judgments:
        query_id = queries.id_of(one, problems)
        if query_id is None:
            continue
        document_id, passage_id = storable(one.document_id), storable(one.passage_id)
        earlier = seen.setdefault((query_id, document_id, passage_id), one)
        if earlier.grade != one.grade:
            problems.add(
                one.where,
                f"document {document_id[:80]!r} of query {query_id[:80]!r} has grade {one.grade} here, {earlier.grade} on "
                f"{earlier.where}",
            )
            continue
        judge, when = storable(one.judge or how.judge), now if one.judged_at is None else one.judged_at
        yield Judgment(query_id, document_id, one.grade, judge, when, passage_id)
