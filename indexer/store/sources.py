"""Sources: files and posted documents as accepted, their bytes kept until they are parsed, and after a failure.

`accept` writes them with their parse jobs in the caller's transaction; the worker reads the bytes back and hands what
the parser made of them to `documents.save_parsed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from indexer.store import jobs
from indexer.store.content import Accepted, SourceContent, overrides_from_json, overrides_to_json, source_hash
from indexer.store.database import batches, insert_into
from indexer.store.removal import delete_sources as delete
from indexer.store.saving import tighten_access
from indexer.store.tables import JobRow, SourceRow
from indexer.store.values import storable
from indexer.types import SourceFile, document_id, source_id

__all__ = [
    "Outcome",
    "Source",
    "accept",
    "count_failed",
    "delete",
    "fail",
    "failures",
    "load_content",
    "retry",
    "under",
]

State = Literal["queued", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one acceptance: how many sources have a job now, and how many files needed none."""

    accepted: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class Source:
    """A source as lists show it; `error_code` and `error` are set when its state is `failed`."""

    source_id: str
    collection: str
    uri: str
    name: str
    state: State
    content_hash: str
    size_bytes: int
    error_code: str | None
    error: str | None
    accepted_at: float
    updated_at: float


def accept(session: Session, collection: str, files: Sequence[SourceFile], task_id: str, now: float) -> Outcome:
    """Take sources in, each with a parse job; what is there already with equal content and overrides costs nothing.

    So does a failed one, until `retry`. Of two files with one uri the last counts. A file that comes without an access
    list keeps the one that was given before: nobody is let in by leaving it out. Readers whom the new access lists no
    longer admit lose the present documents with the caller's commit, before the new content is parsed.
    """
    named = {source_id(collection, storable(file.uri)): file for file in files}
    known = _known(session, list(named))
    rows = {name: _row(collection, with_access_kept(file, known.get(name)), now) for name, file in named.items()}
    fresh = [rows[name] for name in sorted(rows) if name not in known or known[name][0] != rows[name]["content_hash"]]
    if fresh:
        _upsert(session, fresh)
        changed = {row["source_id"]: row["overrides"]["access"] for row in fresh if "access" in row["overrides"]}
        taken_over = {
            row["overrides"]["document_id"]: row["overrides"]["access"]
            for row in fresh
            if {"access", "document_id"} <= row["overrides"].keys()
        }
        tighten_access(session, collection, changed, taken_over, task_id, now)
        wanted = {row["source_id"] for row in fresh}
        _enqueue(session, collection, [name for name in rows if name in wanted], task_id, now)
    return Outcome(len(fresh), len(files) - len(fresh))


def retry(session: Session, collection: str, source_ids: Sequence[str] | None, task_id: str, now: float) -> int:
    """Enqueue failed sources (these, or all of the collection) to be parsed again; return how many."""
    query = select(SourceRow.source_id).where(SourceRow.collection == collection, SourceRow.state == "failed")
    query = query.order_by(SourceRow.created_at, SourceRow.source_id).with_for_update()
    portions = [query] if source_ids is None else [query.where(SourceRow.source_id.in_(p)) for p in batches(source_ids)]
    again = [name for portion in portions for name in session.scalars(portion)]
    for some in batches(again):
        session.execute(
            update(SourceRow)
            .where(SourceRow.source_id.in_(some))
            .values(state="queued", error_code=None, error=None, updated_at=now)
        )
    _enqueue(session, collection, again, task_id, now)
    return len(again)


def fail(session: Session, source: str, code: str, message: str, now: float) -> None:
    """Record that a source cannot become text; nothing happens if newer content of it waits to be parsed."""
    waits = select(JobRow.job_id).where(
        JobRow.collection == SourceRow.collection, JobRow.subject == jobs.SOURCE + source, JobRow.state == "queued"
    )
    session.execute(
        update(SourceRow)
        .where(SourceRow.source_id == source, SourceRow.state == "queued", ~waits.exists())
        .values(state="failed", error_code=code[:64], error=storable(message), updated_at=now)
    )


def load_content(session: Session, source: str) -> SourceContent | None:
    """Return a source with its bytes; None if it is gone, or parsed already."""
    query = select(
        SourceRow.source_id,
        SourceRow.collection,
        SourceRow.uri,
        SourceRow.name,
        SourceRow.content,
        SourceRow.content_hash,
        SourceRow.overrides,
    ).where(SourceRow.source_id == source)
    row: Any = session.execute(query).first()
    if row is None or row.content is None:
        return None
    return SourceContent(
        source_id=row.source_id,
        collection=row.collection,
        uri=row.uri,
        name=row.name,
        content=row.content,
        content_hash=row.content_hash,
        overrides=overrides_from_json(row.overrides),
    )


def accepted(session: Session, collection: str, uri: str) -> Accepted | None:
    """Return by what the content of a source can be known again, None if there is no such source."""
    query = select(SourceRow.size_bytes, SourceRow.name, SourceRow.overrides, SourceRow.content_hash).where(
        SourceRow.source_id == source_id(collection, uri)
    )
    row = session.execute(query).first()
    return None if row is None else Accepted(*row)


def under(session: Session, collection: str, uri_prefix: str, cursor: str | None, limit: int) -> list[Source]:
    """Return up to `limit` sources whose uri begins so, in the order of uris, after the uri `cursor`."""
    prefix = storable(uri_prefix)
    # Not LIKE: SQLite's does not tell A from a.
    query = _sources().where(SourceRow.collection == collection, func.substr(SourceRow.uri, 1, len(prefix)) == prefix)
    if cursor is not None:
        query = query.where(SourceRow.uri > cursor)
    return [_source(row) for row in session.execute(query.order_by(SourceRow.uri).limit(limit))]


def failures(session: Session, collection: str | None = None, limit: int = 100) -> list[Source]:
    """Return the sources that could not be parsed, of one or all collections, the latest first."""
    query = _sources().where(SourceRow.state == "failed")
    if collection is not None:
        query = query.where(SourceRow.collection == collection)
    query = query.order_by(SourceRow.updated_at.desc(), SourceRow.source_id).limit(limit)
    return [_source(row) for row in session.execute(query)]


def count_failed(session: Session, collection: str | None = None) -> int:
    """Count the sources that could not be parsed, of one or all collections."""
    query = select(func.count()).select_from(SourceRow).where(SourceRow.state == "failed")
    if collection is not None:
        query = query.where(SourceRow.collection == collection)
    return session.scalar(query) or 0


def _row(collection: str, file: SourceFile, now: float) -> dict[str, Any]:
    uri = storable(file.uri)
    return {
        "source_id": source_id(collection, uri),
        "collection": collection,
        "uri": uri,
        "name": storable(file.name),
        "document_id": file.document_id or document_id(collection, uri),
        "content_hash": source_hash(file),
        "size_bytes": len(file.content),
        "overrides": overrides_to_json(file),
        "state": "queued",
        "error_code": None,
        "error": None,
        "content": file.content,
        "created_at": now,
        "accepted_at": now,
        "updated_at": now,
    }


def _known(session: Session, source_ids: Sequence[str]) -> dict[str, tuple[str, list[str] | None]]:
    """Return (content hash, access list as given) of every source that is there, in one SELECT for thousands of files."""
    found: dict[str, tuple[str, list[str] | None]] = {}
    columns = (SourceRow.source_id, SourceRow.content_hash, SourceRow.overrides)
    for some in batches(source_ids):
        for name, hashed, overrides in session.execute(select(*columns).where(SourceRow.source_id.in_(some))):
            found[name] = hashed, overrides.get("access")
    return found


def with_access_kept(file: SourceFile, known: tuple[str, list[str] | None] | None) -> SourceFile:
    """Return the file with the access list of its source, if it brings none itself."""
    if file.access is not None or known is None or known[1] is None:
        return file
    return replace(file, access=tuple(known[1]))


def _upsert(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write source rows, in the order of their ids: two acceptances at once cannot deadlock."""
    statement = insert_into(session, SourceRow)
    kept = [name for name in rows[0] if name not in ("source_id", "collection", "uri", "created_at")]
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["source_id"], set_={name: statement.excluded[name] for name in kept}
        ),
        list(rows),
    )


def _enqueue(session: Session, collection: str, source_ids: Sequence[str], task_id: str, now: float) -> None:
    jobs.enqueue(session, task_id, collection, "parse", [jobs.SOURCE + name for name in source_ids], now)


def _sources() -> Any:
    return select(
        SourceRow.source_id,
        SourceRow.collection,
        SourceRow.uri,
        SourceRow.name,
        SourceRow.state,
        SourceRow.content_hash,
        SourceRow.size_bytes,
        SourceRow.error_code,
        SourceRow.error,
        SourceRow.accepted_at,
        SourceRow.updated_at,
    )


def _source(row: Any) -> Source:
    name, collection, uri, file_name, state, *rest = row
    return Source(name, collection, uri, file_name, cast(State, state), *rest)
