"""What was searched for: the texts that the owner lets the log keep, without who asked or when."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from indexer.store.judged_tables import SearchRow


def frequent_texts(session: Session, collection: str, most: int) -> list[str]:
    """Return different texts, most frequent first, then in their own order; looking at further pages counts as nothing."""
    count = func.count()
    query = (
        select(SearchRow.text)
        .where(SearchRow.collection == collection, SearchRow.first_rank == 1, SearchRow.text != "")
        .group_by(SearchRow.text)
        .order_by(count.desc(), SearchRow.text)
        .limit(most)
    )
    return list(session.scalars(query))
