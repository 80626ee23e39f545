"""Deletion of documents and sources: gone from every read with the commit, from the indexes by the jobs that follow.

`documents.delete` and `sources.delete` are this module's.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, literal, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from indexer.store import jobs
from indexer.store.database import batches, insert_into
from indexer.store.tables import DeletedDocumentRow, DocumentRow, SourceRow

REMEMBERED_S = 30 * 86_400.0
"""How long the version of a deleted document is known: far longer than its `delete` job can wait."""


def delete(session: Session, collection: str, document_ids: Sequence[str], task_id: str, now: float) -> list[str]:
    """Delete documents, and sources that are left with none; return the ids of those that there were.

    Gone from every read with the caller's commit; `delete` jobs take them out of the indexes. A source that was
    accepted under one of these ids and is not parsed yet is deleted too, so that its document never appears.
    """
    ids = list(dict.fromkeys(document_ids))
    owners: set[str] = set()
    waiting: dict[str, str] = {}
    for some in batches(ids):
        query = select(DocumentRow.source_id).where(_in(collection, some))
        owners.update(session.scalars(query))
        pending = select(SourceRow.source_id, SourceRow.document_id).where(
            SourceRow.collection == collection, SourceRow.document_id.in_(some), SourceRow.state != "ready"
        )
        waiting |= {source_id: name for source_id, name in session.execute(pending)}
    _lock_sources(session, owners | waiting.keys())
    removed: set[str] = set()
    for some in batches(ids):
        removed.update(session.scalars(select(DocumentRow.document_id).where(_in(collection, some))))
        remove_rows(session, _in(collection, some), now)
    jobs.enqueue(session, task_id, collection, "delete", [jobs.DOCUMENT + name for name in ids if name in removed], now)
    _forbid_return(session, owners - waiting.keys(), removed)
    ended = set(waiting) | _ready(session, owners)
    empty = ended - _with_documents(session, ended)
    _delete_source_rows(session, collection, empty, now)
    removed.update(waiting[source_id] for source_id in empty if source_id in waiting)
    return [name for name in ids if name in removed]


def _ready(session: Session, source_ids: set[str]) -> set[str]:
    """Return those sources that wait for nothing: one with newer content to parse is not empty."""
    found: set[str] = set()
    for some in batches(sorted(source_ids)):
        query = select(SourceRow.source_id).where(SourceRow.source_id.in_(some), SourceRow.state == "ready")
        found.update(session.scalars(query))
    return found


def _forbid_return(session: Session, source_ids: set[str], document_ids: set[str]) -> None:
    """Note on sources whose newer content was accepted before this deletion that these documents stay deleted."""
    for some in batches(sorted(source_ids)):
        query = select(SourceRow.source_id, SourceRow.overrides)
        for name, overrides in session.execute(query.where(SourceRow.source_id.in_(some), SourceRow.state != "ready")):
            deleted = sorted({*overrides.get("deleted", ()), *document_ids})
            statement = update(SourceRow).where(SourceRow.source_id == name)
            session.execute(statement.values(overrides=dict(overrides) | {"deleted": deleted}))


def delete_sources(session: Session, collection: str, source_ids: Sequence[str], task_id: str, now: float) -> int:
    """Delete sources with all their documents; return how many sources there were."""
    there = _lock_sources(session, set(source_ids), collection)
    for some in batches(sorted(there)):
        mine = (DocumentRow.collection == collection) & DocumentRow.source_id.in_(some)
        names = sorted(session.scalars(select(DocumentRow.document_id).where(mine)))
        remove_rows(session, mine, now)
        jobs.enqueue(session, task_id, collection, "delete", [jobs.DOCUMENT + name for name in names], now)
    _delete_source_rows(session, collection, there, now)
    return len(there)


def remove_rows(session: Session, which: ColumnElement[bool], now: float) -> None:
    """Delete document rows, remembering the version that each had."""
    ended = select(DocumentRow.collection, DocumentRow.document_id, DocumentRow.version, literal(now)).where(which)
    statement = insert_into(session, DeletedDocumentRow)
    columns = ["collection", "document_id", "version", "deleted_at"]
    session.execute(
        statement.from_select(columns, ended).on_conflict_do_update(
            index_elements=columns[:2], set_={name: statement.excluded[name] for name in columns[2:]}
        )
    )
    session.execute(sql_delete(DocumentRow).where(which))
    session.execute(sql_delete(DeletedDocumentRow).where(DeletedDocumentRow.deleted_at < now - REMEMBERED_S))


def last_versions(session: Session, collection: str, document_ids: Sequence[str]) -> dict[str, int]:
    """Return the version that documents had when they were deleted, for those that were."""
    found: dict[str, int] = {}
    for some in batches(document_ids):
        query = select(DeletedDocumentRow.document_id, DeletedDocumentRow.version)
        query = query.where(DeletedDocumentRow.collection == collection, DeletedDocumentRow.document_id.in_(some))
        found |= {name: version for name, version in session.execute(query)}
    return found


def _in(collection: str, document_ids: Sequence[str]) -> ColumnElement[bool]:
    return (DocumentRow.collection == collection) & DocumentRow.document_id.in_(document_ids)


def _lock_sources(session: Session, source_ids: set[str], collection: str | None = None) -> set[str]:
    """Lock sources in one order, before their documents as a save does; return those there are."""
    there: set[str] = set()
    for some in batches(sorted(source_ids)):
        query = select(SourceRow.source_id).where(SourceRow.source_id.in_(some))
        if collection is not None:
            query = query.where(SourceRow.collection == collection)
        there.update(session.scalars(query.order_by(SourceRow.source_id).with_for_update()))
    return there


def _with_documents(session: Session, source_ids: set[str]) -> set[str]:
    found: set[str] = set()
    for some in batches(sorted(source_ids)):
        found.update(session.scalars(select(DocumentRow.source_id).where(DocumentRow.source_id.in_(some)).distinct()))
    return found


def _delete_source_rows(session: Session, collection: str, source_ids: set[str], now: float) -> None:
    jobs.cancel_queued(session, collection, [jobs.SOURCE + source_id for source_id in source_ids], now)
    for some in batches(sorted(source_ids)):
        session.execute(sql_delete(SourceRow).where(SourceRow.source_id.in_(some)))
