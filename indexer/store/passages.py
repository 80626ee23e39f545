"""Passages of every generation, and the one read of a search: `load` judges what the indexes found.

Written by `indexer/apply.py` only. What is loaded exists, may be read now by the asker, and is text whose readers have
not changed for the wider since it was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from indexer.scope import Scope
from indexer.store.admission import admitted
from indexer.store.database import batches, fetch
from indexer.store.tables import DocumentRow, GenerationRow, PassageRow
from indexer.store.values import metadata_from_json, storable
from indexer.types import IndexedDocument, Metadata, Passage


@dataclass(frozen=True, slots=True)
class LoadedPassage:
    """A passage that the asker may read, with what its document says now (title, uri, metadata)."""

    passage_id: str
    document_id: str
    ordinal: int
    title: str
    uri: str
    text: str
    start: int
    end: int
    heading_path: tuple[str, ...]
    page: int | None
    metadata: Metadata
    document_version: int
    """Of the document when the passage was cut: a newer one may be waiting to be indexed."""


@dataclass(frozen=True, slots=True)
class PassageVersion:
    """What must be in both indexes, as `indexer doctor` compares it."""

    passage_id: str
    document_id: str
    document_version: int
    text_hash: str


def replace(
    session: Session, generation_id: str, indexed: Sequence[IndexedDocument], hashes: Sequence[Sequence[str]]
) -> None:
    """Write the passages of these documents, in place of what the generation held of them.

    `hashes[i][j]` is the text hash of `indexed[i].passages[j]`.
    """
    for some in batches([document.document_id for document in indexed]):
        session.execute(
            sql_delete(PassageRow).where(PassageRow.generation_id == generation_id, PassageRow.document_id.in_(some))
        )
    rows = [
        _row(generation_id, document.version, passage, text_hash)
        for document, row in zip(indexed, hashes, strict=True)
        for passage, text_hash in zip(document.passages, row, strict=True)
    ]
    if rows:
        session.execute(insert(PassageRow), rows)


def _row(generation_id: str, version: int, passage: Passage, text_hash: str) -> dict[str, Any]:
    return {
        "generation_id": generation_id,
        "passage_id": passage.passage_id,
        "document_id": passage.document_id,
        "document_version": version,
        "ordinal": passage.ordinal,
        "text": storable(passage.text),
        "start": passage.start,
        "end": passage.end,
        "heading_path": [storable(heading) for heading in passage.heading_path],
        "page": passage.page,
        "text_hash": text_hash,
    }


def load(session: Session, scope: Scope, generation_id: str, passage_ids: Sequence[str]) -> dict[str, LoadedPassage]:
    """Return by id those of the passages that exist and that the asker may read now; the others are left out.

    A passage of an older version of its document is returned (its text is what was indexed) unless the document has
    admitted readers since who were not to see that version.
    """
    found: dict[str, LoadedPassage] = {}
    for some in batches(list(dict.fromkeys(passage_ids))):
        query = _readable(scope, generation_id).where(PassageRow.passage_id.in_(some))
        for passage in _read(scope, fetch(session, query)):
            found[passage.passage_id] = passage
    return found


def of_document(session: Session, scope: Scope, generation_id: str, document_id: str) -> list[LoadedPassage]:
    """Return the passages of one document in their order; empty if the asker may not read it."""
    query = _readable(scope, generation_id).where(PassageRow.document_id == document_id)
    return sorted(_read(scope, fetch(session, query)), key=lambda passage: passage.ordinal)


def _readable(scope: Scope, generation_id: str) -> Any:
    return (
        select(
            PassageRow.passage_id,
            PassageRow.document_id,
            PassageRow.ordinal,
            DocumentRow.title,
            DocumentRow.uri,
            PassageRow.text,
            PassageRow.start,
            PassageRow.end,
            PassageRow.heading_path,
            PassageRow.page,
            DocumentRow.doc_metadata,
            PassageRow.document_version,
            DocumentRow.access,
        )
        .join(GenerationRow, GenerationRow.generation_id == PassageRow.generation_id)
        .join(
            DocumentRow,
            (DocumentRow.collection == GenerationRow.collection) & (DocumentRow.document_id == PassageRow.document_id),
        )
        .where(
            PassageRow.generation_id == generation_id,
            GenerationRow.collection == scope.collection,
            PassageRow.document_version >= DocumentRow.access_since,
            admitted(scope),
        )
    )


def _read(scope: Scope, rows: Iterable[Sequence[Any]]) -> Iterator[LoadedPassage]:
    """Yield what `_readable` found, in the order of its columns."""
    for name, document, ordinal, title, uri, text, start, end, headings, page, metadata, version, access in rows:
        if scope.allows(access):
            yield LoadedPassage(
                passage_id=name,
                document_id=document,
                ordinal=ordinal,
                title=title,
                uri=uri,
                text=text,
                start=start,
                end=end,
                heading_path=tuple(headings),
                page=page,
                metadata=metadata_from_json(metadata),
                document_version=version,
            )


def any_of(session: Session, generation_id: str) -> bool:
    """Say whether a generation has a passage."""
    query = select(PassageRow.passage_id).where(PassageRow.generation_id == generation_id).limit(1)
    return session.scalar(query) is not None


def scan(session: Session, generation_id: str) -> Iterator[PassageVersion]:
    """Yield every passage of a generation, for as long as the session is open."""
    query = select(
        PassageRow.passage_id, PassageRow.document_id, PassageRow.document_version, PassageRow.text_hash
    ).where(PassageRow.generation_id == generation_id)
    for row in session.execute(query.execution_options(yield_per=5000)):
        yield PassageVersion(*row)


def document_versions(session: Session, collection: str) -> dict[str, tuple[int, bool]]:
    """Return, by document id, its version and whether it has any text to index."""
    query = select(DocumentRow.document_id, DocumentRow.version, DocumentRow.text_chars > 0)
    return {
        name: (version, bool(has))
        for name, version, has in session.execute(query.where(DocumentRow.collection == collection))
    }
