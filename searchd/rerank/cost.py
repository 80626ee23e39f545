"""What a token costs: ms per token of each model by length, learned from every batch that ran.

Stages ask it how many pairs fit into the time they have; the scheduler asks it how many tokens make a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

NEW_SHARE = 0.2
"""Weight of the newest batch in the running figure."""
BOUNDS = (48, 96, 192, 384, 768, 1536, 3072, 1 << 30)
"""Longest sequence of each length class: attention makes a token of a long sequence dearer."""


def class_of(length: int) -> int:
    """Return the length class of a sequence."""
    return next(number for number, bound in enumerate(BOUNDS) if length <= bound)


class CostTable:
    """Seconds per token, by model fingerprint and length class. Thread-safe."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()

    def learn(self, fingerprint: str, longest: int, tokens: int, seconds: float) -> None:
        """Learn from a batch of so many tokens, padding included."""
        key, rate = (fingerprint, class_of(longest)), seconds / max(1, tokens)
        with self._lock:
            known = self._seconds.get(key)
            self._seconds[key] = rate if known is None else known + NEW_SHARE * (rate - known)

    def per_token(self, fingerprint: str, length: int) -> float | None:
        """Return the seconds of a token in a sequence of this length; the nearest class's if its own is unknown."""
        wanted = class_of(length)
        with self._lock:
            known = {number: rate for (name, number), rate in self._seconds.items() if name == fingerprint}
        if not known:
            return None
        return known[min(known, key=lambda number: (abs(number - wanted), -number))]

    def fitting(self, fingerprint: str, lengths: Sequence[int], seconds: float) -> int | None:
        """Return how many of the first sequences take so many seconds at most; None if nothing was measured yet."""
        rates = {length: self.per_token(fingerprint, length) for length in set(lengths)}
        if not rates or any(rate is None for rate in rates.values()):
            return None
        costs = np.cumsum([length * (rates[length] or 0.0) for length in lengths])
        return int(np.searchsorted(costs, seconds, side="right"))

    def table(self) -> dict[tuple[str, int], float]:
        """Return ms per token by (fingerprint, longest length of the class)."""
        with self._lock:
            return {(name, BOUNDS[number]): rate * 1000 for (name, number), rate in self._seconds.items()}
