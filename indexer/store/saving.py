"""What a parser made of a source becomes documents: inserted, changed or removed, with the jobs that index them.

Everything happens in the caller's transaction, under a lock on the source. `documents.save_parsed` is this module's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from indexer.errors import InputError
from indexer.store import jobs
from indexer.store.content import SourceContent, access_list, overrides_from_json
from indexer.store.database import batches, insert_into
from indexer.store.removal import last_versions, remove_rows
from indexer.store.tables import DocumentAccessRow, DocumentRow, SourceRow
from indexer.store.values import blocks_to_json, metadata_to_json, storable
from indexer.types import PUBLIC, ParsedText, document_id

MAX_ID_CHARS = 512
MAX_PRINCIPAL_CHARS = 128
RUN_BY_BROWSERS = ("javascript", "vbscript", "data", "blob")
"""Schemes of addresses that are code or content themselves; no link of a document may have one."""
COMPARED = ("title", "uri", "text", "blocks", "doc_metadata", "access")
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """Ids of the documents that are new or changed, and of those that are gone; unchanged ones are in neither."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]


def save_parsed(
    session: Session, source: SourceContent, parsed: Sequence[ParsedText], task_id: str, now: float
) -> Saved:
    """Make these texts the documents of their source; enqueue their jobs; drop the source's bytes.

    A version grows with every change, a deletion in between included; equal documents stay as they are. Documents that
    the source no longer yields are removed. A document id that belongs to another source is taken over if this one was
    accepted later, else left there; of two equal ids in one source the last counts. A source that was deleted or
    replaced since `source` was loaded is left alone: nothing is saved.
    Raises: InputError for a document id or an access list that cannot be stored.
    """
    columns = (SourceRow.content_hash, SourceRow.accepted_at, SourceRow.overrides)
    query = select(*columns).where(SourceRow.source_id == source.source_id)
    held = session.execute(query.with_for_update()).first()
    if held is None or held.content_hash != source.content_hash:
        return Saved((), ())
    deleted = overrides_from_json(held.overrides).deleted  # read now: a deletion may have come while it was parsed
    wanted = {name: values for name, values in _shape(source, parsed).items() if name not in deleted}
    present = _present(session, source, list(wanted))
    _leave_to_newer(session, source, held.accepted_at, wanted, present)
    removed = sorted(name for name in present if name not in wanted)
    changed = [name for name, values in wanted.items() if name not in present or _differs(present[name], values)]
    robbed = {row["source_id"] for row in present.values()} - {source.source_id}
    for some in batches(removed):
        gone = (DocumentRow.collection == source.collection) & DocumentRow.document_id.in_(some)
        remove_rows(session, gone, now)
    _write(session, source, wanted, present, changed, now)
    _rob(session, robbed)
    jobs.enqueue_documents(session, source.collection, changed, task_id, now)
    jobs.enqueue(session, task_id, source.collection, "delete", [jobs.DOCUMENT + name for name in removed], now)
    session.execute(
        update(SourceRow)
        .where(SourceRow.source_id == source.source_id)
        .values(state="ready", content=None, error_code=None, error=None, updated_at=now)
    )
    return Saved(tuple(changed), tuple(removed))


def tighten_access(
    session: Session,
    collection: str,
    access: Mapping[str, Sequence[str]],
    of_documents: Mapping[str, Sequence[str]],
    task_id: str,
    now: float,
) -> list[str]:
    """Take back what new access lists (by source id, and by document id) no longer admit, from the documents as they are.

    Nobody is admitted before the new content is parsed. Return the ids of the documents that changed; their `index`
    jobs are enqueued.
    """
    columns = (DocumentRow.document_id, DocumentRow.source_id, DocumentRow.access, DocumentRow.version)
    rows: dict[str, Any] = {}
    for column, named in ((DocumentRow.source_id, access), (DocumentRow.document_id, of_documents)):
        for some in batches(sorted(named)):
            query = select(*columns).where(DocumentRow.collection == collection, column.in_(some))
            for row in session.execute(query.order_by(DocumentRow.document_id).with_for_update()):
                rows[row.document_id] = row
    changed: list[str] = []
    for name, source_id, before, version in rows.values():
        lists = [named[key] for named, key in ((access, source_id), (of_documents, name)) if key in named]
        kept = [principal for principal in before if all(principal in admitted for admitted in lists)]
        if kept != before:
            this = (DocumentRow.collection == collection, DocumentRow.document_id == name)
            session.execute(update(DocumentRow).where(*this).values(access=kept, version=version + 1, updated_at=now))
            _write_access(session, collection, {name: kept})
            changed.append(name)
    jobs.enqueue_documents(session, collection, changed, task_id, now)
    return changed


def _shape(source: SourceContent, parsed: Sequence[ParsedText]) -> dict[str, Values]:
    """Return the columns of each document by id: overrides before what the parser found, before defaults."""
    overrides = source.overrides
    base = overrides.document_id or document_id(source.collection, source.uri)
    wanted: dict[str, Values] = {}
    unnamed = 0
    for one in parsed:
        name = one.document_id
        if name is None:
            unnamed += 1
            name = base if unnamed == 1 else f"{base}#{unnamed}"
        access = overrides.access or one.access or (PUBLIC,)
        _check(name, access)
        text = storable(one.text)
        wanted[name] = {
            "collection": source.collection,
            "document_id": name,
            "source_id": source.source_id,
            "title": storable(one.title if overrides.title is None else overrides.title),
            "uri": storable(shown_uri(one.link, overrides.link, source.uri) or f"document:{name}"),
            "text": text,
            "blocks": blocks_to_json(one.blocks),
            "doc_metadata": metadata_to_json({**one.metadata, **overrides.metadata}),
            "access": access_list(access),
            "text_chars": len(text.strip()),
        }
    return wanted


def shown_uri(*uris: str | None) -> str | None:
    """Return the first address that can do no harm as a link, None if there is none.

    Browsers drop white space and control characters before they read the scheme, so they are dropped here too.
    """
    for uri in uris:
        bare = "".join(character for character in uri or "" if character.isprintable() and not character.isspace())
        if uri and bare.partition(":")[0].casefold() not in RUN_BY_BROWSERS:
            return uri
    return None


def _check(name: str, access: Sequence[str]) -> None:
    if not 0 < len(name) <= MAX_ID_CHARS or not name.isprintable():
        raise InputError(f"document id {name[:60]!r}: 1 to {MAX_ID_CHARS} printable characters are accepted")
    for principal in access:
        if not 0 < len(principal) <= MAX_PRINCIPAL_CHARS or not principal.isprintable():
            raise InputError(
                f"document {name[:60]!r}: principal {principal[:60]!r}: 1 to {MAX_PRINCIPAL_CHARS} printable "
                "characters are accepted"
            )


def _present(session: Session, source: SourceContent, wanted: Sequence[str]) -> dict[str, Values]:
    """Return, locked and by id, this source's documents and those that others hold under the wanted ids."""
    names = ("document_id", "source_id", *COMPARED, "version", "access_since", "created_at")
    query = select(*(getattr(DocumentRow, name) for name in names)).where(DocumentRow.collection == source.collection)
    query = query.order_by(DocumentRow.document_id).with_for_update()
    found: list[Any] = list(session.execute(query.where(DocumentRow.source_id == source.source_id)))
    for some in batches(wanted):
        found.extend(session.execute(query.where(DocumentRow.document_id.in_(some))))
    return {row[0]: dict(zip(names, row, strict=True)) for row in found}


def _leave_to_newer(
    session: Session, source: SourceContent, accepted_at: float, wanted: dict[str, Values], present: dict[str, Values]
) -> None:
    """Take out of both the documents that belong to sources accepted after this one."""
    others = {row["source_id"] for row in present.values()} - {source.source_id}
    newer: set[str] = set()
    for some in batches(sorted(others)):
        query = select(SourceRow.source_id).where(SourceRow.source_id.in_(some), SourceRow.accepted_at > accepted_at)
        newer.update(session.scalars(query))
    for name in [name for name, row in present.items() if row["source_id"] in newer]:
        wanted.pop(name)
        present.pop(name)


def _differs(row: Values, values: Values) -> bool:
    """Compare as JSON text does, where 1, 1.0 and true are three values."""
    return any(
        row[name] != values[name] or json.dumps(row[name], sort_keys=True) != json.dumps(values[name], sort_keys=True)
        for name in COMPARED
    )


def _versioned(values: Values, row: Values | None, before: int, changed: bool, now: float) -> Values:
    """Return a document's columns with its version: after its row's, or after the one it was deleted at."""
    if row is None:
        return values | {"version": before + 1, "access_since": before + 1, "created_at": now, "updated_at": now}
    version = row["version"] + changed
    admits_more = not set(values["access"]) <= set(row["access"])
    access_since = version if admits_more else row["access_since"]
    dates = {"created_at": row["created_at"], "updated_at": now}
    return values | {"version": version, "access_since": access_since} | dates


def _write(
    session: Session,
    source: SourceContent,
    wanted: Mapping[str, Values],
    present: Mapping[str, Values],
    changed: Sequence[str],
    now: float,
) -> None:
    """Insert or update the documents that changed or came from another source."""
    moved = [name for name in wanted if name in present and present[name]["source_id"] != source.source_id]
    before = last_versions(session, source.collection, [name for name in changed if name not in present])
    rows = [
        _versioned(wanted[name], present.get(name), before.get(name, 0), name in changed, now)
        for name in dict.fromkeys([*changed, *moved])
    ]
    if not rows:
        return
    statement = insert_into(session, DocumentRow)
    key = ["collection", "document_id"]
    kept = {column.name for column in DocumentRow.__table__.columns} - {*key, "created_at"}
    statement = statement.on_conflict_do_update(
        index_elements=key, set_={name: statement.excluded[name] for name in sorted(kept)}
    )
    session.execute(statement, rows)
    _write_access(session, source.collection, {row["document_id"]: row["access"] for row in rows})


def _write_access(session: Session, collection: str, access: Mapping[str, Sequence[str]]) -> None:
    for some in batches(sorted(access)):
        session.execute(
            sql_delete(DocumentAccessRow).where(
                DocumentAccessRow.collection == collection, DocumentAccessRow.document_id.in_(some)
            )
        )
    rows = [
        {"collection": collection, "document_id": name, "principal": principal}
        for name, principals in access.items()
        for principal in principals
    ]
    if rows:
        session.execute(insert(DocumentAccessRow), rows)


def _rob(session: Session, source_ids: set[str]) -> None:
    """Forget what sources looked like that lost documents to another, so that adding them again takes effect.

    One that waits to be parsed keeps its hash: its parse may still take the documents back.
    """
    for some in batches(sorted(source_ids)):
        left = select(DocumentRow.source_id).where(DocumentRow.source_id.in_(some))
        ready = (SourceRow.source_id.in_(some), SourceRow.state == "ready")
        session.execute(sql_delete(SourceRow).where(*ready, SourceRow.source_id.not_in(left)))
        session.execute(update(SourceRow).where(*ready).values(content_hash=""))
