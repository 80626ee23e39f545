"""Judged sets: queries of a collection with grades of documents, who or what gave them, and when.

Plain reads and writes; what files look like is `searchd/judge/`'s matter, what the grades are worth `searchd/evaluate/`'s.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from indexer.errors import Conflict, InputError, NotFound
from indexer.store.database import batches, insert_into
from indexer.store.judged_tables import JudgedQueryRow, JudgedSetRow, JudgmentRow
from indexer.store.values import storable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
JUDGED, CLICKS = "judged", "clicks"
KINDS = (JUDGED, CLICKS)
MAX_GRADE = 3


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """A set as it was made; `complete`: a document without a judgment is known not to be relevant."""

    set_id: str
    collection: str
    name: str
    kind: str
    """judged, or clicks: weak grades, made of clicks."""
    complete: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query of a set, in the order of `place`."""

    query_id: str
    text: str
    origin: str
    """file | log | headings | page"""
    place: int = 0
    """Given when it is added; 0 before."""
    skipped_at: float | None = None


@dataclass(frozen=True, slots=True)
class Judgment:
    """A grade, 0 to 3, of a document, or of one passage of it where `passage_id` is not empty."""

    query_id: str
    document_id: str
    grade: int
    judge: str
    judged_at: float
    passage_id: str = ""


@dataclass(frozen=True, slots=True)
class SetCounts:
    """How far a set has come."""

    queries: int
    judged_queries: int
    """Those with a judgment."""
    judgments: int
    relevant: int
    """Judgments with a grade above 0."""


_SET = (
    JudgedSetRow.set_id,
    JudgedSetRow.collection,
    JudgedSetRow.name,
    JudgedSetRow.kind,
    JudgedSetRow.complete,
    JudgedSetRow.created_at,
)


def create(
    session: Session, collection: str, name: str, now: float, *, kind: str = JUDGED, complete: bool = False
) -> JudgedSet:
    """Make an empty set. Raises: InputError for a name or kind that is not accepted; Conflict if there is one already."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"judged set {name[:80]!r}: a name has 1 to 64 characters: letters, digits and, not at its beginning, `-_.`"
        )
    if kind not in KINDS:
        raise InputError(f"a judged set is of kind {' or '.join(KINDS)}, not {kind[:80]!r}")
    row = {
        "set_id": str(uuid.uuid4()),
        "collection": collection,
        "name": name,
        "kind": kind,
        "complete": complete,
        "created_at": now,
    }
    with _meanwhile():
        session.execute(insert_into(session, JudgedSetRow).values(row).on_conflict_do_nothing())
    made = find(session, collection, name)
    if made is None or made.set_id != row["set_id"]:
        raise Conflict(f"collection {collection!r} has a judged set {name!r} already")
    return made


def find(session: Session, collection: str, name: str) -> JudgedSet | None:
    """Return the set of this name, None if there is none."""
    query = select(*_SET).where(JudgedSetRow.collection == storable(collection), JudgedSetRow.name == storable(name))
    row = session.execute(query).first()
    return None if row is None else JudgedSet(*row)


def get(session: Session, collection: str, name: str) -> JudgedSet:
    """Return the set of this name. Raises: NotFound, naming those there are."""
    found = find(session, collection, name)
    if found is None:
        names = ", ".join(one.name for one in of_collection(session, collection)) or "none"
        raise NotFound(
            f"collection {collection!r} has no judged set {name[:80]!r}; there are: {names}", code="unknown_set"
        )
    return found


def of_collection(session: Session, collection: str | None = None) -> list[JudgedSet]:
    """Return the sets of a collection (None: of all), by collection and name."""
    query = select(*_SET).order_by(JudgedSetRow.collection, JudgedSetRow.name)
    if collection is not None:
        query = query.where(JudgedSetRow.collection == storable(collection))
    return [JudgedSet(*row) for row in session.execute(query)]


@contextmanager
def _meanwhile() -> Iterator[None]:
    """Tell who writes that what he writes to is gone: PostgreSQL, with many writers, lets it be deleted meanwhile."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(
            "the set, its collection or its query was deleted at this moment; nothing was written"
        ) from error


def set_complete(session: Session, set_id: str, complete: bool) -> None:
    """Say whether documents without a judgment are known not to be relevant."""
    session.execute(update(JudgedSetRow).where(JudgedSetRow.set_id == set_id).values(complete=complete))


def delete(session: Session, set_id: str) -> None:
    """Delete a set with its queries and judgments."""
    for table in (JudgmentRow, JudgedQueryRow, JudgedSetRow):
        session.execute(sql_delete(table).where(table.set_id == set_id))


def queries(session: Session, set_id: str) -> list[JudgedQuery]:
    """Return the queries of a set in their order."""
    query = select(
        JudgedQueryRow.query_id,
        JudgedQueryRow.text,
        JudgedQueryRow.origin,
        JudgedQueryRow.place,
        JudgedQueryRow.skipped_at,
    ).where(JudgedQueryRow.set_id == set_id)
    return [JudgedQuery(*row) for row in session.execute(query.order_by(JudgedQueryRow.place, JudgedQueryRow.query_id))]


def add_queries(session: Session, set_id: str, added: Sequence[JudgedQuery]) -> int:
    """Put queries at the end of a set; a `query_id` it has already keeps its text. Return how many are new."""
    known = {one.query_id: one.place for one in queries(session, set_id)}
    last = max(known.values(), default=0)
    new = {one.query_id: one for one in added if one.query_id not in known}
    rows = [
        {
            "set_id": set_id,
            "query_id": storable(one.query_id),
            "place": last + number,
            "origin": one.origin,
            "skipped_at": one.skipped_at,
            "text": storable(one.text),
        }
        for number, one in enumerate(new.values(), start=1)
    ]
    for some in batches(rows, 500):
        with _meanwhile():
            session.execute(insert_into(session, JudgedQueryRow).on_conflict_do_nothing(), list(some))
    return len(rows)


def remove_query(session: Session, set_id: str, query_id: str) -> None:
    """Take a query out of a set, with its judgments."""
    for table in (JudgmentRow, JudgedQueryRow):
        session.execute(sql_delete(table).where(table.set_id == set_id, table.query_id == query_id))


def skip(session: Session, set_id: str, query_id: str, when: float | None) -> None:
    """Put a query aside (None: take it up again)."""
    session.execute(
        update(JudgedQueryRow)
        .where(JudgedQueryRow.set_id == set_id, JudgedQueryRow.query_id == query_id)
        .values(skipped_at=when)
    )


def judgments(session: Session, set_id: str, query_id: str | None = None) -> list[Judgment]:
    """Return the judgments of a set, or of one of its queries, by query, document and passage."""
    query = select(
        JudgmentRow.query_id,
        JudgmentRow.document_id,
        JudgmentRow.grade,
        JudgmentRow.judge,
        JudgmentRow.judged_at,
        JudgmentRow.passage_id,
    ).where(JudgmentRow.set_id == set_id)
    if query_id is not None:
        query = query.where(JudgmentRow.query_id == query_id)
    ordered = query.order_by(JudgmentRow.query_id, JudgmentRow.document_id, JudgmentRow.passage_id)
    return [Judgment(*row) for row in session.execute(ordered)]


def put_judgments(session: Session, set_id: str, given: Iterable[Judgment]) -> int:
    """Write judgments, in place of what the same documents and passages had; the last of several counts. Return how many.

    What each replaces is kept beside it, for `take_back`. Their queries have to be in the set. Raises: InputError for a
    grade that is not 0 to 3.
    """
    rows = {(one.query_id, one.document_id, one.passage_id): _row(set_id, one) for one in given}
    for some in batches(list(rows.values()), 500):
        insert = insert_into(session, JudgmentRow)
        said: dict[str, Any] = {name: insert.excluded[name] for name in ("grade", "judge", "judged_at")}
        said |= {
            "replaced_grade": JudgmentRow.grade,
            "replaced_judge": JudgmentRow.judge,
            "replaced_at": JudgmentRow.judged_at,
        }
        key = ["set_id", "query_id", "document_id", "passage_id"]
        with _meanwhile():
            session.execute(insert.on_conflict_do_update(index_elements=key, set_=said), list(some))
    return len(rows)


def _row(set_id: str, one: Judgment) -> dict[str, object]:
    if not 0 <= one.grade <= MAX_GRADE:
        raise InputError(f"grade {one.grade} of document {one.document_id[:80]!r}: grades are 0 to {MAX_GRADE}")
    return {
        "set_id": set_id,
        "query_id": storable(one.query_id),
        "document_id": storable(one.document_id),
        "passage_id": one.passage_id,
        "grade": one.grade,
        "judge": storable(one.judge),
        "judged_at": one.judged_at,
    }


def take_back(session: Session, set_id: str, query_id: str, document_id: str, passage_id: str = "") -> None:
    """Take a judgment back: what it replaced is there again, else nothing."""
    this = (
        JudgmentRow.set_id == set_id,
        JudgmentRow.query_id == query_id,
        JudgmentRow.document_id == document_id,
        JudgmentRow.passage_id == passage_id,
    )
    session.execute(sql_delete(JudgmentRow).where(*this, JudgmentRow.replaced_grade.is_(None)))
    session.execute(
        update(JudgmentRow)
        .where(*this)
        .values(
            grade=JudgmentRow.replaced_grade,
            judge=JudgmentRow.replaced_judge,
            judged_at=JudgmentRow.replaced_at,
            replaced_grade=None,
            replaced_judge=None,
            replaced_at=None,
        )
    )


def last_judgment(session: Session, set_id: str, judge: str) -> Judgment | None:
    """Return what this judge judged last in a set, None if nothing."""
    query = select(
        JudgmentRow.query_id,
        JudgmentRow.document_id,
        JudgmentRow.grade,
        JudgmentRow.judge,
        JudgmentRow.judged_at,
        JudgmentRow.passage_id,
    ).where(JudgmentRow.set_id == set_id, JudgmentRow.judge == judge)
    row = session.execute(query.order_by(JudgmentRow.judged_at.desc()).limit(1)).first()
    return None if row is None else Judgment(*row)


def counts(session: Session, set_id: str) -> SetCounts:
    """Return how many queries and judgments a set has."""
    asked = session.scalar(select(func.count()).select_from(JudgedQueryRow).where(JudgedQueryRow.set_id == set_id))
    row = session.execute(
        select(
            func.count(func.distinct(JudgmentRow.query_id)),
            func.count(),
            func.count().filter(JudgmentRow.grade > 0),
        ).where(JudgmentRow.set_id == set_id)
    ).one()
    return SetCounts(asked or 0, *row)


def counts_by_query(session: Session, set_id: str) -> dict[str, int]:
    """Return how many judgments each query of a set has; one without any is left out."""
    query = select(JudgmentRow.query_id, func.count()).where(JudgmentRow.set_id == set_id)
    return {row[0]: row[1] for row in session.execute(query.group_by(JudgmentRow.query_id))}
