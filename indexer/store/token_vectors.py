"""Token vectors of passages, by the model that made them: what a late-interaction stage reads instead of computing it.

Written by `indexer/token_vectors.py`; like cached vectors they belong to a text, not to a generation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from indexer.store.database import batches, insert_into
from indexer.store.tables import PassageRow, TokenVectorRow

STORED = np.dtype("<f2")


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """One text's vectors: float16[n, dim] of the tokens that are scored, of a sequence of `tokens` in all."""

    tokens: int
    vectors: NDArray[np.float16]


def read(session: Session, model: str, hashes: Sequence[str]) -> dict[str, TokenVectors]:
    """Return the vectors by text hash, of those that are stored; arrays are read-only."""
    found: dict[str, TokenVectors] = {}
    for some in batches(list(dict.fromkeys(hashes))):
        query = select(TokenVectorRow).where(TokenVectorRow.model == model, TokenVectorRow.text_hash.in_(some))
        for row in session.scalars(query):
            stored = np.frombuffer(row.vectors, dtype=STORED).reshape(-1, row.dimension)
            found[row.text_hash] = TokenVectors(row.tokens, stored.astype(np.float16, copy=False))
    return found


def stored(session: Session, model: str, hashes: Sequence[str]) -> set[str]:
    """Return which texts' vectors are stored."""
    found: set[str] = set()
    for some in batches(list(dict.fromkeys(hashes))):
        query = select(TokenVectorRow.text_hash).where(
            TokenVectorRow.model == model, TokenVectorRow.text_hash.in_(some)
        )
        found.update(session.scalars(query))
    return found


def put(session: Session, model: str, found: Mapping[str, TokenVectors]) -> None:
    """Store vectors by text hash; those that are stored already stay as they are."""
    rows = [
        {
            "model": model,
            "text_hash": text_hash,
            "tokens": found[text_hash].tokens,
            "dimension": found[text_hash].vectors.shape[1],
            "vectors": np.ascontiguousarray(found[text_hash].vectors, dtype=STORED).tobytes(),
        }
        for text_hash in sorted(found)  # one order for all writers: two of them cannot deadlock
    ]
    if rows:
        session.execute(insert_into(session, TokenVectorRow).on_conflict_do_nothing(), rows)


def unused(session: Session) -> list[str]:
    """Return the text hashes that no passage of any generation has."""
    joined = select(TokenVectorRow.text_hash).outerjoin(PassageRow, PassageRow.text_hash == TokenVectorRow.text_hash)
    return list(session.scalars(joined.where(PassageRow.text_hash.is_(None)).distinct()))


def forget(session: Session, hashes: Sequence[str]) -> None:
    """Delete the vectors of these texts, of every model."""
    for some in batches(hashes):
        session.execute(delete(TokenVectorRow).where(TokenVectorRow.text_hash.in_(some)))
