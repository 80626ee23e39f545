"""A reranker that is loaded in the background: it is there at once, and who asks waits for its model until the deadline.

Takes what loads it; gives a Reranker. `table.py` keeps one for each model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.types import PassageText, Reranker, ScoreRequest


class LoadingReranker:
    """A reranker that may still be loading; `score` waits for it, until its deadline. Raises what loading raised."""

    def __init__(self, load: Callable[[], Reranker], clock: Callable[[], float]) -> None:
        self._loaded: Future[Reranker] = Future()
        self._load = load
        self._clock = clock
        self.failed_at: float | None = None
        threading.Thread(target=self._run, name="load-reranker", daemon=True).start()

    def _run(self) -> None:
        try:
            self._loaded.set_result(self._load())
        except BaseException as error:
            self.failed_at = self._clock()
            self._loaded.set_exception(error)

    @property
    def fingerprint(self) -> str:
        """The loaded model's; waits for it."""
        return self._loaded.result().fingerprint

    @property
    def ready(self) -> bool:
        """Whether the model is there."""
        return self._loaded.done() and self.failed_at is None

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        """See `Reranker.fits`; all while it is not there."""
        return self._loaded.result().fits(request, passages, seconds) if self.ready else len(passages)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        """See `Reranker.at_once`; all while it is not there."""
        return self._loaded.result().at_once(request, passages) if self.ready else len(passages)

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        """Score with the model once it is there. See `Reranker.score`."""
        try:
            left = None if request.deadline is None else max(0.0, request.deadline - self._clock())
            reranker = self._loaded.result(left)
        except TimeoutError as error:
            raise TimeoutError("its model is still being loaded") from error
        return reranker.score(request, passages)
