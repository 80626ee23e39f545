"""Stores the token vectors of passages while they are indexed, by whatever makes them: the roof gives it.

A late-interaction stage then computes the query's vectors only. Called by `apply.py`; a text that is stored is not
computed again, whatever the generation, and one that is too long for the model in one piece is left to the stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from indexer.store import token_vectors
from indexer.store.database import Database
from indexer.store.token_vectors import TokenVectors

TEXTS_AT_ONCE = 64
"""Stored in one transaction: a crash loses no more work than theirs."""


class TokenEncoder(Protocol):
    """Makes token vectors of texts. Thread-safe."""

    @property
    def fingerprint(self) -> str:
        """Names the model: vectors of equal fingerprints are equal."""

    def encode(self, texts: Sequence[str]) -> list[TokenVectors | None]:
        """Return each text's vectors, in order; None for a text that the model does not take in one piece."""


def remember(database: Database, encoder: TokenEncoder, texts: Mapping[str, str]) -> int:
    """Store the vectors of texts by their hash, of those that are not stored; return how many were computed."""
    with database.read() as session:
        known = token_vectors.stored(session, encoder.fingerprint, list(texts))
    missing = [text_hash for text_hash in texts if text_hash not in known]
    for start in range(0, len(missing), TEXTS_AT_ONCE):
        some = missing[start : start + TEXTS_AT_ONCE]
        made = zip(some, encoder.encode([texts[text_hash] for text_hash in some]), strict=True)
        with database.session() as session:
            token_vectors.put(session, encoder.fingerprint, {name: found for name, found in made if found is not None})
    return len(missing)
