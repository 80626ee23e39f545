"""The vector cache: the same text under the same embedder is never encoded twice, whatever the generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from indexer.store.database import batches, insert_into
from indexer.store.tables import PassageRow, VectorRow

STORED = np.dtype("<f4")


def cached(session: Session, embedder_fingerprint: str, hashes: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return float32[dim] (read-only) by text hash for those that are cached."""
    found: dict[str, NDArray[np.float32]] = {}
    for some in batches(list(dict.fromkeys(hashes))):
        query = select(VectorRow.text_hash, VectorRow.vector).where(
            VectorRow.embedder == embedder_fingerprint, VectorRow.text_hash.in_(some)
        )
        for text_hash, stored in session.execute(query):
            found[text_hash] = np.frombuffer(stored, dtype=STORED).astype(np.float32, copy=False)
    return found


def put(session: Session, embedder_fingerprint: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Cache vectors by text hash; those that are cached already stay as they are."""
    rows = [
        {
            "embedder": embedder_fingerprint,
            "text_hash": text_hash,
            "vector": np.ascontiguousarray(vectors[text_hash], dtype=STORED).tobytes(),
        }
        for text_hash in sorted(vectors)  # one order for all writers: two of them cannot deadlock
    ]
    if rows:
        session.execute(insert_into(session, VectorRow).on_conflict_do_nothing(), rows)


def unused(session: Session) -> list[str]:
    """Return the text hashes of which vectors are cached and which no passage of any generation has."""
    # An outer join: SQLite makes an index for one on its way, PostgreSQL a hash; `not exists` would be quadratic on SQLite.
    joined = select(VectorRow.text_hash).outerjoin(PassageRow, PassageRow.text_hash == VectorRow.text_hash)
    return list(session.scalars(joined.where(PassageRow.text_hash.is_(None)).distinct()))


def forget(session: Session, hashes: Sequence[str]) -> None:
    """Delete the cached vectors of these texts, of every embedder."""
    for some in batches(hashes):
        session.execute(delete(VectorRow).where(VectorRow.text_hash.in_(some)))
