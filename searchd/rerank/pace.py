"""How many pairs a stage may score next: about one batch's worth of time, and no more than fits before its end.

Learned from the batches themselves, so that it follows the machine and its load. One per model and length; `cascade.py`
asks before each batch and tells how it went.
"""

from __future__ import annotations

import math

BATCH_MS = 80.0
"""What one batch should take, so that a late or cancelled stage stops within about that."""
FIRST_BATCH, SMALLEST_BATCH, LARGEST_BATCH = 8, 4, 64
MARGIN = 0.85
"""Of the time left, to be on the safe side: a batch that comes too late is lost."""
NEW_SHARE = 0.3
"""Weight of the newest batch in the running rate."""
MOST_CAUTIOUS = 1 / 64
HUNG = 5.0
"""A batch that has taken so many times what it should hangs: its stage has failed, not merely run out of time."""


class Pace:
    """Pairs per second of one model at one length, waiting for the device included. Races between threads are harmless."""

    def __init__(self) -> None:
        self.pairs_per_s: float | None = None
        self._caution = 1.0
        """Halved by every batch that came too late, doubled back by every one in time."""

    def size(self, remaining_s: float, *, whole: bool) -> int:
        """Return how many pairs to score next, 0 if none fits.

        With `whole` time before it, a stage always tries one pair: a slow moment must not switch it off for good.
        """
        if remaining_s <= 0:
            return 0
        least = 1 if whole else 0
        if self.pairs_per_s is None:
            return max(1, round(FIRST_BATCH * self._caution))
        wanted = max(SMALLEST_BATCH, min(LARGEST_BATCH, round(self.pairs_per_s * BATCH_MS / 1000)))
        return max(least, min(wanted, math.floor(self.pairs_per_s * self._caution * MARGIN * remaining_s)))

    def in_time(self, pairs: int, took_s: float) -> None:
        """Learn from a batch that came back."""
        self._caution = min(1.0, self._caution * 2)
        if took_s > 0:
            rate = pairs / took_s
            self.pairs_per_s = (
                rate if self.pairs_per_s is None else self.pairs_per_s + NEW_SHARE * (rate - self.pairs_per_s)
            )

    def too_late(self, pairs: int, waited_s: float) -> bool:
        """Learn from a batch that did not come back in time; say whether it hangs rather than being slow."""
        self._caution = max(MOST_CAUTIOUS, self._caution / 2)
        return self.pairs_per_s is None or waited_s >= HUNG * pairs / self.pairs_per_s
