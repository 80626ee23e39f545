"""Documents, the truth: read under a Scope, saved from what a parser found, deleted with the jobs that follow.

The worker alone reads without a Scope (`load_for_index`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from indexer.filters import Filter, matches
from indexer.scope import Scope
from indexer.store.admission import admitted
from indexer.store.database import batches
from indexer.store.removal import delete
from indexer.store.saving import Saved, save_parsed
from indexer.store.tables import DocumentAccessRow, DocumentRow, GenerationRow, PassageRow
from indexer.store.values import blocks_from_json, metadata_from_json, storable
from indexer.types import Document, Metadata

__all__ = [
    "Counts",
    "DocumentPage",
    "DocumentSummary",
    "Saved",
    "any_readable",
    "counts",
    "delete",
    "forget_passages",
    "get",
    "load_for_index",
    "matching",
    "page",
    "present",
    "sample_titles",
    "save_parsed",
]

FILTERED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class DocumentSummary:
    """A document as lists show it, without its text."""

    document_id: str
    title: str
    uri: str
    metadata: Metadata
    text_chars: int
    version: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Part of a list, in the order of ids; `cursor` asks for the next part and is None at the end."""

    documents: tuple[DocumentSummary, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a collection: its documents, and the passages of its live generation."""

    documents: int
    passages: int


def get(session: Session, scope: Scope, document_id: str) -> Document | None:
    """Return a document with its text, None if there is none that the asker may read."""
    query = _documents(scope.collection).where(DocumentRow.document_id == storable(document_id), admitted(scope))
    row: Any = session.execute(query).first()
    document = None if row is None else _document(row)
    return document if document is not None and scope.allows(document.access) else None


def page(session: Session, scope: Scope, cursor: str | None, limit: int, tree: Filter | None = None) -> DocumentPage:
    """Return up to `limit` documents after `cursor` that the asker may read and that match the filter."""
    found: list[DocumentSummary] = []
    while True:
        size = limit + 1 if tree is None else FILTERED_AT_ONCE
        rows: list[Any] = list(session.execute(_summaries(scope, cursor).limit(size)))
        for row in rows:
            summary = _summary(row)
            if scope.allows(row.access) and (tree is None or matches(tree, summary.metadata)):
                found.append(summary)
        if len(found) > limit:
            return DocumentPage(tuple(found[:limit]), found[limit - 1].document_id)
        if len(rows) < size:
            return DocumentPage(tuple(found), None)
        cursor = rows[-1].document_id


def load_for_index(session: Session, collection: str, document_ids: Sequence[str]) -> list[Document]:
    """Return those of the documents that exist, whoever may read them, in the order asked for: for the worker only."""
    found: dict[str, Document] = {}
    for some in batches(list(dict.fromkeys(document_ids))):
        for row in session.execute(_documents(collection).where(DocumentRow.document_id.in_(some))):
            document = _document(row)
            found[document.document_id] = document
    return [found[name] for name in dict.fromkeys(document_ids) if name in found]


def forget_passages(session: Session, generation_id: str, document_ids: Sequence[str]) -> None:
    """Delete what a generation holds of documents that are gone."""
    for some in batches(sorted(document_ids)):
        session.execute(
            sql_delete(PassageRow).where(PassageRow.generation_id == generation_id, PassageRow.document_id.in_(some))
        )


def counts(session: Session, collection: str, scope: Scope | None = None) -> Counts:
    """Count a collection's documents and the passages that can be searched; with a scope, those that it admits."""
    documents = select(func.count()).select_from(DocumentRow).where(DocumentRow.collection == collection)
    live = select(GenerationRow.generation_id).where(
        GenerationRow.collection == collection, GenerationRow.state == "live"
    )
    passages = select(func.count()).select_from(PassageRow).where(PassageRow.generation_id.in_(live))
    if scope is not None:
        documents = documents.where(admitted(scope))
        same = (DocumentRow.collection == collection) & (DocumentRow.document_id == PassageRow.document_id)
        passages = passages.join(DocumentRow, same).where(admitted(scope))
    return Counts(session.scalar(documents) or 0, session.scalar(passages) or 0)


def any_readable(session: Session, scope: Scope) -> bool:
    """Say whether the collection holds a document that the asker may read."""
    query = select(DocumentAccessRow.document_id).where(
        DocumentAccessRow.collection == scope.collection, DocumentAccessRow.principal.in_(sorted(scope.principals))
    )
    return session.scalar(query.limit(1)) is not None


def matching(session: Session, collection: str, tree: Filter) -> list[str]:
    """Return the ids of all documents whose metadata passes, whoever may read them: for a caller who may delete."""
    rows = session.execute(
        select(DocumentRow.document_id, DocumentRow.doc_metadata).where(DocumentRow.collection == collection)
    )
    return [row.document_id for row in rows if matches(tree, metadata_from_json(row.doc_metadata))]


def present(session: Session, collection: str, document_ids: Sequence[str]) -> set[str]:
    """Return which of these ids a collection has, whoever may read them: for a caller who may write."""
    found: set[str] = set()
    for some in batches(document_ids):
        query = select(DocumentRow.document_id).where(
            DocumentRow.collection == collection, DocumentRow.document_id.in_(some)
        )
        found.update(session.scalars(query))
    return found


def sample_titles(session: Session, scope: Scope, count: int) -> list[str]:
    """Return different titles of up to `count` documents with text: the same ones every time.

    The ids that searchd gives are spread evenly, so that looking after 1, 5, 9, ... takes titles from everywhere
    without counting anything; where ids are the owner's, the first ones are taken.
    """
    query = (
        select(DocumentRow.document_id, DocumentRow.title)
        .where(
            DocumentRow.collection == scope.collection,
            admitted(scope),
            DocumentRow.title != "",
            DocumentRow.text_chars > 0,
        )
        .order_by(DocumentRow.document_id)
    )
    found: dict[str, str] = {}
    starts = [f"{n * 16 // max(1, count):x}" for n in range(count)]
    for start, wanted in [*((start, 1) for start in starts), ("", count)]:
        until = min(count, len(found) + wanted)
        for name, title in session.execute(query.where(DocumentRow.document_id > start).limit(count)):
            if len(found) < until:
                found.setdefault(title, name)
    return sorted(found, key=found.__getitem__)


def _documents(collection: str) -> Any:
    return select(
        DocumentRow.collection,
        DocumentRow.document_id,
        DocumentRow.title,
        DocumentRow.uri,
        DocumentRow.text,
        DocumentRow.blocks,
        DocumentRow.doc_metadata,
        DocumentRow.access,
        DocumentRow.version,
        DocumentRow.source_id,
    ).where(DocumentRow.collection == collection)


def _document(row: Any) -> Document:
    collection, document_id, title, uri, text, blocks, metadata, access, version, source_id = row
    return Document(
        collection=collection,
        document_id=document_id,
        title=title,
        uri=uri,
        text=text,
        blocks=blocks_from_json(blocks),
        metadata=metadata_from_json(metadata),
        access=tuple(access),
        version=version,
        source_id=source_id,
    )


def _summaries(scope: Scope, cursor: str | None) -> Any:
    query = select(
        DocumentRow.document_id,
        DocumentRow.title,
        DocumentRow.uri,
        DocumentRow.text_chars,
        DocumentRow.version,
        DocumentRow.created_at,
        DocumentRow.updated_at,
        DocumentRow.access,
        DocumentRow.doc_metadata,
    ).where(DocumentRow.collection == scope.collection, admitted(scope))
    if cursor is not None:
        query = query.where(DocumentRow.document_id > cursor)
    return query.order_by(DocumentRow.document_id)


def _summary(row: Any) -> DocumentSummary:
    return DocumentSummary(
        document_id=row.document_id,
        title=row.title,
        uri=row.uri,
        metadata=metadata_from_json(row.doc_metadata),
        text_chars=row.text_chars,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
