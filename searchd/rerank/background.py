"""A reranker that is loaded in the background: it is there at once, and who asks waits for its model until the deadline.

Takes what loads it; gives a Reranker. `table.py` keeps one for each model.
"""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.types import PassageText, QueryCut, Reranker, ScoreRequest

POLL_S = 0.05
"""How often somebody who waits for a model is asked whether they still do."""


class LoadingReranker:
    """A reranker that may still be loading; `score` waits for it, until its deadline or the caller goes away.

    Raises what loading raised.
    """

    def __init__(self, load: Callable[[], Reranker], clock: Callable[[], float]) -> None:
        self._loaded: Future[Reranker] = Future()
        self._load = load
        self._clock = clock
        self.failed_at: float | None = None
        self._traceback: TracebackType | None = None
        threading.Thread(target=self._run, name="load-reranker", daemon=True).start()

    def _run(self) -> None:
        try:
            self._loaded.set_result(self._load())
        except BaseException as error:
            forget_locals(error)
            self._traceback, self.failed_at = error.__traceback__, self._clock()
            self._loaded.set_exception(error)

    @property
    def fingerprint(self) -> str:
        """The loaded model's; waits for it."""
        return self._reranker().fingerprint

    @property
    def ready(self) -> bool:
        """Whether the model is there."""
        return self._loaded.done() and self.failed_at is None

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        """See `Reranker.fits`; all while it is not there."""
        return self._reranker().fits(request, passages, seconds) if self.ready else len(passages)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        """See `Reranker.at_once`; all while it is not there."""
        return self._reranker().at_once(request, passages) if self.ready else len(passages)

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        """See `Reranker.query_cut`; None while it is not there."""
        return self._reranker().query_cut(request) if self.ready else None

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        """Score with the model once it is there. See `Reranker.score`."""
        while not self._loaded.done():
            left = math.inf if request.deadline is None else request.deadline - self._clock()
            if left <= 0 or request.cancelled():
                raise TimeoutError("its model is still being loaded")
            wait([self._loaded], min(POLL_S, left))
        return self._reranker().score(request, passages)

    def _reranker(self) -> Reranker:
        error = self._loaded.exception()
        if error is not None:
            # Raised as it came: it would keep the frames of everybody who was told, and their passages.
            raise error.with_traceback(self._traceback)
        return self._loaded.result()


def forget_locals(error: BaseException) -> None:
    """Let go of what the frames of an error hold: of a model that the device had no room for, all that was there of it."""
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        traceback.clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__
