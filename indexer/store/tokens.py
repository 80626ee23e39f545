"""Stored token ids: the same text is never tokenised twice by the same tokenizer, whatever the generation.

Beside the vector cache and keyed like it. Ids are two bytes each where all are small enough, else four.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from indexer.store.database import batches, insert_into
from indexer.store.tables import PassageRow, TokensRow
from indexer.tokens import TokenIds

NARROW, WIDE = np.dtype("<u2"), np.dtype("<u4")
"""How ids are stored: a row begins with a byte that says how many bytes each has."""


def stored(session: Session, tokenizer: str, hashes: Sequence[str]) -> set[str]:
    """Return which of these texts have their ids stored."""
    found: set[str] = set()
    for some in batches(list(dict.fromkeys(hashes))):
        query = select(TokensRow.text_hash).where(TokensRow.tokenizer == tokenizer, TokensRow.text_hash.in_(some))
        found.update(session.scalars(query))
    return found


def read(session: Session, tokenizers: Collection[str], hashes: Sequence[str]) -> dict[str, dict[str, TokenIds]]:
    """Return int32[n] by text hash and tokenizer, of what is stored.

    Read as rows: one JSON text in hexadecimal (see `database.fetch`) took twice as long, beside busy threads too.
    """
    found: dict[str, dict[str, TokenIds]] = {}
    for some in batches(list(dict.fromkeys(hashes))):
        query = select(TokensRow.tokenizer, TokensRow.text_hash, TokensRow.ids).where(
            TokensRow.tokenizer.in_(sorted(tokenizers)), TokensRow.text_hash.in_(some)
        )
        for tokenizer, text_hash, ids in session.execute(query):
            found.setdefault(text_hash, {})[tokenizer] = unpacked(ids)
    return found


def put(session: Session, tokenizer: str, ids: Mapping[str, TokenIds]) -> None:
    """Store ids by text hash; those that are stored already stay as they are."""
    rows = [
        {"tokenizer": tokenizer, "text_hash": text_hash, "ids": packed(ids[text_hash])}
        for text_hash in sorted(ids)  # one order for all writers: two of them cannot deadlock
    ]
    if rows:
        session.execute(insert_into(session, TokensRow).on_conflict_do_nothing(), rows)


def unused(session: Session) -> list[str]:
    """Return the text hashes of which ids are stored and which no passage of any generation has."""
    joined = select(TokensRow.text_hash).outerjoin(PassageRow, PassageRow.text_hash == TokensRow.text_hash)
    return list(session.scalars(joined.where(PassageRow.text_hash.is_(None)).distinct()))


def forget(session: Session, hashes: Sequence[str]) -> None:
    """Delete the ids of these texts, of every tokenizer."""
    for some in batches(hashes):
        session.execute(delete(TokensRow).where(TokensRow.text_hash.in_(some)))


def packed(ids: TokenIds) -> bytes:
    """Return ids as they are stored."""
    if not len(ids) or int(ids.max()) < 1 << 16:
        return bytes([NARROW.itemsize]) + ids.astype(NARROW).tobytes()
    return bytes([WIDE.itemsize]) + ids.astype(WIDE).tobytes()


def unpacked(data: bytes) -> TokenIds:
    """Return int32[n] of what `packed` gave."""
    if data[0] == NARROW.itemsize:
        return np.frombuffer(data, dtype=NARROW, offset=1).astype(np.int32)
    return np.frombuffer(data, dtype=WIDE, offset=1).astype(np.int32)
