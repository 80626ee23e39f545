"""RERANKERS: kind -> loader; and the cache by which stages that name one model share it, loaded in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from indexer.device import Device
from indexer.errors import ConfigError
from indexer.settings import Settings
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.types import Reranker
from searchd.settings import Stage

RERANKERS: dict[str, Callable[[str, Settings, Device], Reranker]] = {"cross_encoder": load_cross_encoder}

WARM_UP = ("how does it work", ["It works as it was built to. " * 40] * 4)
RETRY_S = 20.0
"""A model that could not be loaded is tried again after this: a hub that was away comes back."""


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

    def score(
        self, query: str, passages: Sequence[str], *, max_length: int, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Score with the model once it is there. See `Reranker.score`."""
        try:
            reranker = self._loaded.result(None if deadline is None else max(0.0, deadline - self._clock()))
        except TimeoutError as error:
            raise TimeoutError("its model is still being loaded") from error
        return reranker.score(query, passages, max_length=max_length, deadline=deadline)


class RerankerCache:
    """Loads each model once. Thread-safe."""

    def __init__(self, settings: Settings, device: Device, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._device = device
        self._clock = clock
        self._known: dict[tuple[str, str], LoadingReranker] = {}
        self._lock = threading.Lock()

    def of(self, stage: Stage) -> Reranker:
        """Return a stage's reranker at once; its model is loaded in the background on first use."""
        kind = "cross_encoder"
        with self._lock:
            known = self._known.get((kind, stage.model))
            stale = known is not None and known.failed_at is not None and self._clock() >= known.failed_at + RETRY_S
            if known is None or stale:
                known = LoadingReranker(lambda: RERANKERS[kind](stage.model, self._settings, self._device), self._clock)
                self._known[kind, stage.model] = known
            return known

    def check(self, stages: Iterable[Stage]) -> None:
        """Load every model of these stages and score some pairs, so that serving starts warm. Raises: ConfigError."""
        for stage in stages:
            try:
                self.of(stage).score(*WARM_UP, max_length=stage.max_length)
            except (RuntimeError, IndexError, TypeError) as error:
                raise ConfigError(f"stage {stage.name!r}: model {stage.model!r} does not run: {error}") from error

    def names(self) -> list[str]:
        """Return the models that are loaded."""
        with self._lock:
            return sorted(name for (_, name), known in self._known.items() if known.ready)
