"""What is known of a device's memory: how large a model's batches may be, and when to leave a model alone.

The scheduler asks before it forms a batch and tells how it ended. A batch that did not fit counts once, however often it
was halved: halving finds the size that fits, and a third batch within a minute says that the memory itself is gone. What
took the memory may go again, so after a while without shortage batches grow by a step; a step that fails is taken back,
and the next one waits twice as long.
`breaker.py` is for services: it counts failures in a row, and here batches that fit lie in between.
"""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from indexer.errors import Busy

SHORTAGES, WITHIN_S = 3, 60.0
"""So many batches that ran out of memory, in so many seconds, and their model is left alone."""
PAUSE_S = 60.0
STEP = 1.25
"""By which batches grow."""
FIRST_WAIT_S, MOST_WAIT_S = 60.0, 3600.0
"""Seconds since the last change before they do; doubled by each step that fails, the first again once one has held. More
than WITHIN_S / SHORTAGES, so that steps alone never have a model left alone."""
SHORT_OF_MEMORY = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
    "can't allocate memory",
    "Failed to allocate memory",
    "std::bad_alloc",
)
"""What CUDA's libraries, torch on other devices and ONNX Runtime say, whose errors have no class of their own."""
CLEAN = 16
"""Batches of more than half the bound that must have fitted since."""


@dataclass(slots=True)
class _Bound:
    """How many tokens a model's batches may have."""

    tokens: int
    since: float
    """When that was last changed, in monotonic seconds."""
    fitted: int = 0
    """Tokens of the largest batch that has fitted since it was last lowered."""
    clean: int = 0
    wait_s: float = FIRST_WAIT_S
    before: int = 0
    """What it was before the last step, 0 if that was taken back."""

    def ran_out(self, tokens: int, now: float) -> None:
        """Go back to what fitted if that was less; else to half."""
        if self.fitted and self.fitted < tokens:
            self.tokens, self.wait_s = self.fitted, min(2 * self.wait_s, MOST_WAIT_S)
        else:
            self.tokens, self.fitted = min(self.tokens, tokens // 2), 0
        self.since, self.clean, self.before = now, 0, 0

    def ran_well(self, tokens: int, now: float) -> None:
        """Grow by a step if batches that need the room have fitted for long enough."""
        self.fitted = max(self.fitted, tokens)
        self.clean += 2 * tokens > self.tokens
        if self.clean < CLEAN:
            return
        if self.before and self.fitted > self.before:
            self.wait_s = FIRST_WAIT_S  # the last step held: there is memory again
        if now - self.since >= self.wait_s:
            self.before, self.tokens = self.tokens, math.ceil(self.tokens * STEP)
            self.since, self.clean = now, 0


class Memory:
    """How models get on with a device's memory, by fingerprint. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bounds: dict[str, _Bound] = {}
        self._shortages: dict[str, deque[float]] = {}
        self._closed_until: dict[str, float] = {}
        self._too_long: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def check(self, fingerprint: str) -> None:
        """Let a model's pairs in. Raises: Busy, in words for every reader, while it is left alone."""
        with self._lock:
            left = self._closed_until.get(fingerprint, -math.inf) - self._clock()
        if left > 0:
            raise Busy(
                f"its model ran out of memory {SHORTAGES} times within a minute; tried again in {math.ceil(left)} s"
            )

    def unfit(self, fingerprint: str, lengths: Sequence[int]) -> dict[int, Busy]:
        """Return the places of sequences that are as long as one that did not fit alone lately, each with what to say."""
        with self._lock:
            known, until = self._too_long.get(fingerprint, (0, -math.inf))
            left = until - self._clock()
        if left <= 0:
            return {}
        return {
            place: Busy(f"{too_long(length)}; tried again in {math.ceil(left)} s")
            for place, length in enumerate(lengths)
            if length >= known
        }

    def most_tokens(self, fingerprint: str) -> float:
        """Return how many tokens a batch may have, padding included; at first half of what did not fit."""
        with self._lock:
            bound = self._bounds.get(fingerprint)
            return math.inf if bound is None else bound.tokens

    def ran_well(self, fingerprint: str, tokens: int) -> None:
        """Remember a batch that fitted."""
        with self._lock:
            bound = self._bounds.get(fingerprint)
            if bound is not None:
                bound.ran_well(tokens, self._clock())

    def ran_out(self, fingerprint: str, tokens: int, pairs: int, *, begun: float, halved: bool) -> None:
        """Remember a batch that did not fit; `halved`: it is part of one that was counted. Free what torch keeps.

        Several that ran side by side, `begun` before the first of them told that, count once: it is one shortage.
        """
        with self._lock:
            now = self._clock()
            bound = self._bounds.get(fingerprint)
            beside = bound is not None and begun < bound.since
            if pairs > 1:
                self._bounds.setdefault(fingerprint, _Bound(tokens, now)).ran_out(tokens, now)
            else:
                known, until = self._too_long.get(fingerprint, (tokens, now))
                self._too_long[fingerprint] = (min(tokens, known) if until > now else tokens, now + PAUSE_S)
            if not halved and not beside:
                self._count(fingerprint, now)
        if (torch := sys.modules.get("torch")) is not None:
            torch.cuda.empty_cache()
            if torch.backends.mps.is_available():
                torch.mps.empty_cache()

    def _count(self, fingerprint: str, now: float) -> None:
        times = self._shortages.setdefault(fingerprint, deque(maxlen=SHORTAGES))
        times.append(now)
        if len(times) == SHORTAGES and now - times[0] <= WITHIN_S:
            self._closed_until[fingerprint] = now + PAUSE_S
            times.clear()


def too_long(tokens: int) -> str:
    """Say that a single pair did not fit."""
    return f"a passage of {tokens:,} tokens with its query does not fit into the device's memory"


def is_shortage(error: BaseException) -> bool:
    """Say whether an error is of a device that is out of memory: torch's, its libraries', or the machine's own."""
    if "torch" in sys.modules and isinstance(error, sys.modules["torch"].cuda.OutOfMemoryError):
        return True
    return isinstance(error, MemoryError) or any(words in str(error) for words in SHORT_OF_MEMORY)
