"""What a token costs: ms per token of each model by length, learned from every batch that ran.

Stages ask it how many pairs fit into the time they have; the scheduler asks it how many tokens make a batch. What was
measured in a slow moment is forgotten by and by, or work that it made to be refused would never be tried again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

NEW_SHARE = 0.2
"""Weight of the newest batch in the running figure."""
BOUNDS = (48, 96, 192, 384, 768, 1536, 3072, 1 << 30)
"""Longest sequence of each length class: attention makes a token of a long sequence dearer."""


def class_of(length: int) -> int:
    """Return the length class of a sequence."""
    return next(number for number, bound in enumerate(BOUNDS) if length <= bound)


HALF_LIFE_S = 10.0
"""In which, without news, the running figure comes half as near to the best one seen."""


@dataclass(frozen=True, slots=True)
class _Rate:
    """Seconds per token: the running figure, as of a moment, and the best ever."""

    now: float
    best: float
    at: float


class CostTable:
    """Seconds per token, by model fingerprint and length class. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rates: dict[tuple[str, int], _Rate] = {}
        self._lock = threading.Lock()

    def learn(self, fingerprint: str, longest: int, tokens: int, seconds: float) -> None:
        """Learn from a batch of so many tokens, padding included."""
        key, rate = (fingerprint, class_of(longest)), seconds / max(1, tokens)
        with self._lock:
            known = self._rates.get(key)
            running = rate if known is None else known.now + NEW_SHARE * (rate - known.now)
            best = rate if known is None else min(known.best, running)
            self._rates[key] = _Rate(running, best, self._clock())

    def per_token(self, fingerprint: str, length: int) -> float | None:
        """Return the seconds of a token in a sequence of this length; the nearest class's if its own is unknown."""
        wanted = class_of(length)
        with self._lock:
            known = {number: rate for (name, number), rate in self._rates.items() if name == fingerprint}
        if not known:
            return None
        return self._in_force(known[min(known, key=lambda number: (abs(number - wanted), -number))])

    def fitting(self, fingerprint: str, lengths: Sequence[int], seconds: float) -> int | None:
        """Return how many of the first sequences take so many seconds at most; None if nothing was measured yet."""
        rates = {length: self.per_token(fingerprint, length) for length in set(lengths)}
        if not rates or any(rate is None for rate in rates.values()):
            return None
        costs = np.cumsum([length * (rates[length] or 0.0) for length in lengths])
        return int(np.searchsorted(costs, seconds, side="right"))

    def table(self) -> dict[tuple[str, int], float]:
        """Return ms per token by (fingerprint, longest length of the class), as they are counted with now."""
        with self._lock:
            known = dict(self._rates)
        return {(name, BOUNDS[number]): self._in_force(rate) * 1000 for (name, number), rate in known.items()}

    def _in_force(self, rate: _Rate) -> float:
        age_s = max(0.0, self._clock() - rate.at)
        return float(rate.best + (rate.now - rate.best) * 0.5 ** (age_s / HALF_LIFE_S))
