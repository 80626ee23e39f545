"""Of documents that an index says match: how many the asker may read now, and their metadata for facets and sorting."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from indexer.scope import Scope
from indexer.store.admission import admitted
from indexer.store.database import batches, fetch
from indexer.store.tables import DocumentRow
from indexer.store.values import metadata_from_json
from indexer.types import Metadata


def count_readable(session: Session, scope: Scope, document_ids: Collection[str]) -> int:
    """Count those of the documents that exist and that the asker may read now."""
    total = 0
    for some in batches(sorted(document_ids)):
        query = select(func.count()).select_from(DocumentRow)
        query = query.where(
            DocumentRow.collection == scope.collection, DocumentRow.document_id.in_(some), admitted(scope)
        )
        total += session.scalar(query) or 0
    return total


def read_metadata(session: Session, scope: Scope, document_ids: Collection[str]) -> dict[str, Metadata]:
    """Return by id the metadata of those of the documents that exist and that the asker may read now."""
    found: dict[str, Metadata] = {}
    for some in batches(sorted(document_ids)):
        query = select(DocumentRow.document_id, DocumentRow.doc_metadata, DocumentRow.access)
        query = query.where(
            DocumentRow.collection == scope.collection, DocumentRow.document_id.in_(some), admitted(scope)
        )
        for name, metadata, access in fetch(session, query):
            if scope.allows(access):
                found[name] = metadata_from_json(metadata)
    return found
