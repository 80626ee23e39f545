"""What a judge does to a set: makes or extends it, grades, takes back, puts aside. In the caller's transaction.

Pages, command line and API's future do it through here; what the rows are is `indexer/store/judged.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from indexer.errors import InputError, NotFound
from indexer.scope import Scope
from indexer.store import documents, judged
from indexer.store.judged import JUDGED, JudgedQuery, JudgedSet, Judgment
from searchd.judge import wording
from searchd.judge.content import document_grades
from searchd.judge.progress import ENOUGH, Progress

USUAL_NAME = "default"
"""What a set is called unless it is told."""


def set_of(session: Session, collection: str, name: str) -> JudgedSet:
    """Return a set that people may judge. Raises: NotFound; InputError for one that was made of clicks."""
    found = judged.get(session, collection, name)
    if found.kind != JUDGED:
        raise InputError(
            f"set {name!r} was made of clicks, which are never mixed with judgments; judge into another one",
            code="set_of_clicks",
        )
    return found


def extend(
    session: Session, collection: str, name: str, proposed: Iterable[JudgedQuery], most: int, now: float
) -> tuple[JudgedSet, int]:
    """Add up to `most` queries that a set has not got, making it if there is none; return it, and how many are new."""
    if judged.find(session, collection, name) is None:
        judged.create(session, collection, name, now)
    found = set_of(session, collection, name)
    known = judged.queries(session, found.set_id)
    return found, judged.add_queries(session, found.set_id, wording.fresh(proposed, known, most))


def query_of(session: Session, one: JudgedSet, query_id: str) -> JudgedQuery:
    """Return a query of a set. Raises: NotFound."""
    for query in judged.queries(session, one.set_id):
        if query.query_id == query_id:
            return query
    raise NotFound(f"set {one.name!r} has no query {query_id[:80]!r}", code="unknown_query")


def query_with(session: Session, one: JudgedSet, text: str, origin: str) -> JudgedQuery:
    """Return the query of a set with this text, added if it is new. Raises: InputError for what cannot be searched for."""
    found = wording.find(text, judged.queries(session, one.set_id))
    if found is not None:
        return found
    if why := wording.why_not(text):
        raise InputError(why)
    query = wording.query_of(text, origin)
    judged.add_queries(session, one.set_id, [query])
    return query


def grade(session: Session, scope: Scope, one: JudgedSet, judgment: Judgment) -> None:
    """Write a grade of a document. Raises: NotFound for one that the judge may not read; InputError for a grade."""
    name = judgment.document_id
    if documents.get(session, scope, name) is None:
        raise NotFound(f"there is no document {name[:80]!r} in collection {scope.collection!r} that you may read")
    judged.put_judgments(session, one.set_id, [judgment])


def grades_of(session: Session, one: JudgedSet, query_id: str) -> dict[str, int]:
    """Return the grades that documents have for a query, as they are measured with."""
    return document_grades(judged.judgments(session, one.set_id, query_id)).get(query_id, {})


def take_back(session: Session, one: JudgedSet, judge: str) -> Judgment | None:
    """Take back what this judge judged last in a set, and return it; None if there is nothing of his."""
    last = judged.last_judgment(session, one.set_id, judge)
    if last is not None:
        judged.take_back(session, one.set_id, last.query_id, last.document_id, last.passage_id)
    return last


def progress_of(session: Session, one: JudgedSet, scope: Scope) -> Progress:
    """Return how far a set has come, for a judge who may read what `scope` allows."""
    readable = documents.page(session, scope, None, ENOUGH).documents
    return Progress.of(judged.queries(session, one.set_id), judged.counts_by_query(session, one.set_id), len(readable))
