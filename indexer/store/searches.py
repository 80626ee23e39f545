"""Searches that were asked, and the documents that were opened from their answers.

Searches come from `searchd/query_log.py`, and only where the owner opted in; clicks carry no text and need no search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, case, func, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from indexer.store.database import batches, insert_into
from indexer.store.judged_tables import ClickRow, SearchRow
from indexer.store.tables import CollectionRow
from indexer.store.values import storable


@dataclass(frozen=True, slots=True)
class Search:
    """One page of one search, as it was answered."""

    query_id: str
    collection: str
    profile: str
    first_rank: int
    """Rank of the first document shown, from 1."""
    documents: tuple[str, ...]
    """Ids of the documents shown by place; empty where one was lost while the answer was made."""
    searched_at: float
    text: str


@dataclass(frozen=True, slots=True)
class Click:
    """A document that was opened from an answer."""

    query_id: str
    document_id: str
    collection: str
    position: int
    """Its rank in the answer, from 1."""
    dwell_ms: int | None
    """How long it was looked at; None: not told."""
    clicked_at: float


@dataclass(frozen=True, slots=True)
class Kept:
    """How much of a collection is kept."""

    searches: int
    clicks: int


_SEARCH = (
    SearchRow.query_id,
    SearchRow.collection,
    SearchRow.profile,
    SearchRow.first_rank,
    SearchRow.documents,
    SearchRow.searched_at,
    SearchRow.text,
)
_CLICK = (
    ClickRow.query_id,
    ClickRow.document_id,
    ClickRow.collection,
    ClickRow.position,
    ClickRow.dwell_ms,
    ClickRow.clicked_at,
)


def add(session: Session, searches: Iterable[Search]) -> int:
    """Write searches; those of a collection that is gone, or that are written already, are left out. Return how many."""
    asked = list(searches)
    there = _held(session, {one.collection for one in asked})
    rows = [
        {
            "query_id": one.query_id,
            "collection": one.collection,
            "profile": one.profile,
            "first_rank": one.first_rank,
            "documents": [storable(name) for name in one.documents],
            "searched_at": one.searched_at,
            "text": storable(one.text),
        }
        for one in asked
        if one.collection in there
    ]
    for some in batches(rows, 500):
        session.execute(insert_into(session, SearchRow).on_conflict_do_nothing(), list(some))
    return len(rows)


def add_clicks(session: Session, clicks: Iterable[Click]) -> int:
    """Write clicks: of one document in one answer the first position and the longest dwell stay. Return how many.

    Those of a collection that is gone are left out.
    """
    given = list(clicks)
    there = _held(session, {one.collection for one in given})
    rows = [
        {
            "query_id": one.query_id,
            "document_id": storable(one.document_id),
            "collection": one.collection,
            "position": one.position,
            "dwell_ms": one.dwell_ms,
            "clicked_at": one.clicked_at,
        }
        for one in given
        if one.collection in there
    ]
    for row in rows:  # one by one: PostgreSQL refuses a statement that meets the same row twice
        insert = insert_into(session, ClickRow).values(row)
        told = insert.excluded.dwell_ms
        longer = or_(ClickRow.dwell_ms.is_(None), told > ClickRow.dwell_ms)
        longest = {"dwell_ms": case((longer, told), else_=ClickRow.dwell_ms)}
        session.execute(insert.on_conflict_do_update(index_elements=["query_id", "document_id"], set_=longest))
    return len(rows)


def get(session: Session, query_id: str) -> Search | None:
    """Return a search by the id that its answer carried, None if it is not kept."""
    row = session.execute(select(*_SEARCH).where(SearchRow.query_id == storable(query_id))).first()
    return None if row is None else _search(row)


def clicks_of(session: Session, query_id: str) -> list[Click]:
    """Return what was opened from one answer, by position."""
    query = select(*_CLICK).where(ClickRow.query_id == query_id)
    return [Click(*row) for row in session.execute(query.order_by(ClickRow.position, ClickRow.document_id))]


def first_pages(session: Session, collection: str, since: float = 0.0) -> list[tuple[Search, Mapping[str, Click]]]:
    """Return the first pages shown since a time, oldest first, each with its clicks by document.

    Later pages are left out: who turns to them looks at them otherwise than at a first page, and nobody has to.
    """
    shown = (SearchRow.collection == collection, SearchRow.searched_at >= since, SearchRow.first_rank == 1)
    query = select(*_SEARCH).where(*shown).order_by(SearchRow.searched_at, SearchRow.query_id)
    found = [_search(row) for row in session.execute(query)]
    opened: dict[str, dict[str, Click]] = {}
    clicked = select(*_CLICK).join(SearchRow, SearchRow.query_id == ClickRow.query_id).where(*shown)
    for row in session.execute(clicked):
        click = Click(*row)
        opened.setdefault(click.query_id, {})[click.document_id] = click
    return [(one, opened.get(one.query_id, {})) for one in found]


def texts(session: Session, collection: str, limit: int) -> list[tuple[str, int]]:
    """Return what was asked and how often, the most frequent first; of the equally frequent the latest first."""
    times = func.count()
    query = (
        select(SearchRow.text, times)
        .where(SearchRow.collection == collection, SearchRow.first_rank == 1)
        .group_by(SearchRow.text)
        .order_by(times.desc(), func.max(SearchRow.searched_at).desc(), SearchRow.text)
        .limit(limit)
    )
    return [(text, int(count)) for text, count in session.execute(query)]


def kept(session: Session, collection: str) -> Kept:
    """Return how many searches and clicks of a collection are kept."""

    def count(table: type[SearchRow] | type[ClickRow]) -> int:
        return session.scalar(select(func.count()).select_from(table).where(table.collection == collection)) or 0

    return Kept(count(SearchRow), count(ClickRow))


def forget(session: Session, before: float) -> int:
    """Delete searches and clicks older than this time; return how many.

    A collection at a time: their indexes begin with it.
    """
    names = session.scalars(select(CollectionRow.name).order_by(CollectionRow.name)).all()
    gone = 0
    for name in names:
        for statement in (
            sql_delete(SearchRow).where(SearchRow.collection == name, SearchRow.searched_at < before),
            sql_delete(ClickRow).where(ClickRow.collection == name, ClickRow.clicked_at < before),
        ):
            gone += cast(CursorResult[Any], session.execute(statement)).rowcount
    return gone


def _held(session: Session, names: Iterable[str]) -> set[str]:
    """Return which of these collections there are; on PostgreSQL they stay until the transaction ends."""
    query = select(CollectionRow.name).where(CollectionRow.name.in_(sorted(names))).order_by(CollectionRow.name)
    return set(session.scalars(query.with_for_update(read=True, key_share=True)))


def _search(row: Any) -> Search:
    return Search(
        row.query_id, row.collection, row.profile, row.first_rank, tuple(row.documents), row.searched_at, row.text
    )
