"""Who may read, as a condition in SQL: the same that `Scope.allows` says of the rows that come back."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import aliased

from indexer.scope import Scope
from indexer.store.tables import DocumentAccessRow, DocumentRow


def admitted(scope: Scope) -> ColumnElement[bool]:
    """Return the condition on a document row that the asker has one of its principals.

    A scalar subquery, not EXISTS: PostgreSQL turns EXISTS into a join that reads the access rows of the whole
    collection (125 ms instead of 4 for 200 passages among 20,000 documents).
    """
    access = aliased(DocumentAccessRow)
    one = select(access.principal).where(
        access.collection == DocumentRow.collection,
        access.document_id == DocumentRow.document_id,
        access.principal.in_(sorted(scope.principals)),
    )
    return one.limit(1).correlate(DocumentRow).scalar_subquery().is_not(None)
