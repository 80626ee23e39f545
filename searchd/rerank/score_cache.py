"""Scores that were given before: a bounded table from a digest of all that a score depends on to the score.

That is the model's fingerprint, the query, the instruction, how much is read, and the passage's text, which is its
version: a text that changes has a key of its own, and what nobody asks for any more is the first to go.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.types import PassageText, ScoreRequest

KEY_BYTES = 16
"""Two texts of one key would share a score; by chance that takes some 10^19 of them."""


class ScoreCache:
    """Scores by key, those not used for longest dropped first. Thread-safe. An entry takes 225 bytes."""

    def __init__(self, entries: int) -> None:
        self._most = entries
        self._scores: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._scores)

    def found(self, keys: Sequence[bytes]) -> NDArray[np.float32]:
        """Return float32[len(keys)]; NaN where nothing is known."""
        scores = np.full(len(keys), np.nan, dtype=np.float32)
        with self._lock:
            for place, key in enumerate(keys):
                score = self._scores.get(key)
                if score is not None:
                    scores[place] = score
                    self._scores.move_to_end(key)
        return scores

    def keep(self, keys: Sequence[bytes], scores: NDArray[np.float32]) -> None:
        """Remember scores, except those that are none: what came too late is NaN."""
        with self._lock:
            for key, score in zip(keys, scores.tolist(), strict=True):
                if np.isfinite(score):
                    self._scores[key] = score
                    self._scores.move_to_end(key)
            while len(self._scores) > self._most:
                self._scores.popitem(last=False)


def keys_of(fingerprint: str, request: ScoreRequest, passages: Sequence[PassageText]) -> list[bytes]:
    """Return the key of each passage's score."""
    asked = [fingerprint, request.query, request.instruction, request.max_length, request.parts]
    start = hashlib.blake2b(json.dumps(asked).encode(), digest_size=64).digest()
    return [
        hashlib.blake2b(passage.text.encode(errors="surrogatepass"), key=start, digest_size=KEY_BYTES).digest()
        for passage in passages
    ]
