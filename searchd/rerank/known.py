"""What a reranker is asked where some scores are known already: for the other passages alone.

Used by `cached.py` (known are scores that were given before) and `late_stored.py` (known is what stored vectors give). What is
known is given whatever becomes of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.errors import Busy, TransientError
from searchd.rerank.types import PartScores, PassageText, Reranker, ScoreRequest, public_reason


class Rest:
    """The passages at `places`, whose scores are not known, with the reranker that gives them."""

    def __init__(
        self, reranker: Reranker, request: ScoreRequest, passages: Sequence[PassageText], places: Sequence[int]
    ) -> None:
        self._reranker, self._request = reranker, request
        self._places, self._all = list(places), len(passages)
        self._passages = [passages[place] for place in places]

    def fits(self, seconds: float) -> int:
        """See `Reranker.fits`, of all passages: what is known takes no time, also while the reranker is left alone."""
        if not self._places:
            return self._all
        try:
            return self._with_known(self._reranker.fits(self._request, self._passages, seconds))
        except Busy:
            if self._nothing_to_give():
                raise
            return self._all

    def at_once(self) -> int:
        """See `Reranker.at_once`, of all passages: what is known comes along."""
        return self._with_known(self._reranker.at_once(self._request, self._passages)) if self._places else self._all

    def score(self, scores: NDArray[np.float32]) -> None:
        """Fill in the scores that are missing; what time is too short for stays NaN.

        Raises: PartScores with what is known if the others fail, or are late and say why; what the reranker raises where
        nothing is known. Where all is wanted or nothing, every failure that says why is raised as it came.
        """
        if not self._places:
            return
        try:
            scores[self._places] = self._reranker.score(self._request, self._passages)
        except PartScores as part:
            scores[self._places] = part.scores
            raise part.with_scores(scores) from part.__cause__
        except TransientError as error:
            if self._nothing_to_give():
                raise
            raise PartScores(scores, public_reason(error)) from error
        except TimeoutError as error:
            if len(self._places) == self._all or (str(error) and self._request.whole):
                raise
            if str(error):
                raise PartScores(scores, str(error)) from error

    def _with_known(self, count: int) -> int:
        return self._places[count] if count < len(self._places) else self._all

    def _nothing_to_give(self) -> bool:
        return self._request.whole or len(self._places) == self._all
