"""A reranker that scores only what it has not scored before. See `Reranker`; `table.py` puts it before those it is for.

It is for kinds whose score of a passage depends on query and passage alone: local models, and services that say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.known import Rest
from searchd.rerank.score_cache import ScoreCache, keys_of
from searchd.rerank.types import PassageText, QueryCut, Reranker, ScoreRequest


class CachedReranker:
    """A reranker before which the scores are that it gave. Thread-safe.

    `note` is told of every call how many scores were known, and how many were not. With `kept_s` none is used longer:
    a service may put another model behind a name.
    """

    def __init__(
        self,
        reranker: Reranker,
        cache: ScoreCache,
        note: Callable[[int, int], None],
        *,
        kept_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reranker = reranker
        self._cache = cache
        self._note = note
        self._kept_s = kept_s
        self._clock = clock

    @property
    def fingerprint(self) -> str:
        """The reranker's."""
        return self._reranker.fingerprint

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        """See `Reranker.fits`."""
        return self._rest(request, passages).fits(seconds)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        """See `Reranker.at_once`."""
        return self._rest(request, passages).at_once()

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        """See `Reranker.query_cut`."""
        return self._reranker.query_cut(request)

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        """See `Reranker.score`."""
        keys = self._keys(request, passages)
        scores = self._cache.found(keys)
        missing = unknown(scores)
        self._note(len(keys) - len(missing), len(missing))
        try:
            Rest(self._reranker, request, passages, missing).score(scores)
        finally:
            self._cache.keep([keys[place] for place in missing], scores[missing])
        return scores

    def _rest(self, request: ScoreRequest, passages: Sequence[PassageText]) -> Rest:
        missing = unknown(self._cache.found(self._keys(request, passages)))
        return Rest(self._reranker, request, passages, missing)

    def _keys(self, request: ScoreRequest, passages: Sequence[PassageText]) -> list[bytes]:
        period = "" if self._kept_s is None else f" {self._clock() // self._kept_s:.0f}"
        return keys_of(f"{self.fingerprint}{period}", request, passages)


def unknown(scores: NDArray[np.float32]) -> list[int]:
    """Return the places of what has no score."""
    return np.flatnonzero(np.isnan(scores)).tolist()
