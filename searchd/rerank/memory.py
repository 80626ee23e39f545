"""What is known of a device's memory: how large a model's batches may be, and when to leave a model alone.

The scheduler asks before it forms a batch and tells when one did not fit. A batch counts once, however often it was
halved: halving finds the size that fits, and a third batch within a minute says that the memory itself is gone.
`breaker.py` is for services: it counts failures in a row, and here batches that fit lie in between.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from collections.abc import Callable

from indexer.errors import Busy

SHORTAGES, WITHIN_S = 3, 60.0
"""So many batches that ran out of memory, in so many seconds, and their model is left alone."""
PAUSE_S = 60.0


class Memory:
    """How models get on with a device's memory, by fingerprint. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._most: dict[str, int] = {}
        self._shortages: dict[str, deque[float]] = {}
        self._closed_until: dict[str, float] = {}
        self._too_long: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def check(self, fingerprint: str, longest: int) -> None:
        """Let a model's pairs in. Raises: Busy, in words for every reader, while it is left alone or one is too long."""
        with self._lock:
            left = self._closed_until.get(fingerprint, -math.inf) - self._clock()
            length, until = self._too_long.get(fingerprint, (longest + 1, 0.0))
            too_long_for = until - self._clock() if longest >= length else 0.0
        if left > 0:
            raise Busy(
                f"its model ran out of GPU memory {SHORTAGES} times within a minute; tried again in {math.ceil(left)} s"
            )
        if too_long_for > 0:
            raise Busy(f"{too_long(longest)}; tried again in {math.ceil(too_long_for)} s")

    def most_tokens(self, fingerprint: str) -> float:
        """Return how many tokens a batch may have, padding included: half of what did not fit."""
        with self._lock:
            return self._most.get(fingerprint, math.inf)

    def ran_out(self, fingerprint: str, tokens: int, pairs: int, *, halved: bool) -> None:
        """Remember a batch that did not fit; `halved`: it is part of one that was counted. Free what torch keeps."""
        with self._lock:
            now = self._clock()
            if pairs > 1:
                self._most[fingerprint] = min(self._most.get(fingerprint, tokens), tokens // 2)
            else:
                known, until = self._too_long.get(fingerprint, (tokens, now))
                self._too_long[fingerprint] = (min(tokens, known) if until > now else tokens, now + PAUSE_S)
            if not halved:
                self._count(fingerprint, now)
        if "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()

    def _count(self, fingerprint: str, now: float) -> None:
        times = self._shortages.setdefault(fingerprint, deque(maxlen=SHORTAGES))
        times.append(now)
        if len(times) == SHORTAGES and now - times[0] <= WITHIN_S:
            self._closed_until[fingerprint] = now + PAUSE_S
            times.clear()


def too_long(tokens: int) -> str:
    """Say that a single pair did not fit."""
    return f"a passage of {tokens:,} tokens with its query does not fit into the GPU's memory"


def is_shortage(error: BaseException) -> bool:
    """Say whether an error is torch's of a device that is out of memory."""
    return "torch" in sys.modules and isinstance(error, sys.modules["torch"].cuda.OutOfMemoryError)
