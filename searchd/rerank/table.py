"""RERANKERS: kind -> loader; and the cache by which stages that name one model share it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from indexer.device import Device
from indexer.settings import Settings
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.types import Reranker
from searchd.settings import Stage

RERANKERS: dict[str, Callable[[str, Settings, Device], Reranker]] = {"cross_encoder": load_cross_encoder}

WARM_UP = ("how does it work", "It works as it was built to.")


class RerankerCache:
    """Loads each model once. Thread-safe."""

    def __init__(self, settings: Settings, device: Device) -> None:
        self._settings = settings
        self._device = device
        self._loaded: dict[tuple[str, str], Reranker] = {}
        self._lock = threading.Lock()

    def of(self, stage: Stage) -> Reranker:
        """Return a stage's reranker, loaded on first use. Raises: ConfigError."""
        key = ("cross_encoder", stage.model)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = RERANKERS[key[0]](stage.model, self._settings, self._device)
            return self._loaded[key]

    def check(self, stages: Iterable[Stage]) -> None:
        """Load every model of these stages and score one pair, so that serving starts warm. Raises: ConfigError."""
        for stage in stages:
            self.of(stage).score(WARM_UP[0], [WARM_UP[1]], max_length=stage.max_length)

    def names(self) -> list[str]:
        """Return the models that are loaded."""
        with self._lock:
            return sorted(name for _, name in self._loaded)
