"""A breaker before a service that fails: after some failures in a row it is left alone for a while, then tried once.

Closed: every call may go. Open: none, and who asks is told when. Half-open: one call tries; its end closes or opens.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from indexer.errors import Busy

FAILURES = 5
"""In a row, after which a service is left alone."""
PAUSE_S = 15.0
MOST_HOLD_S = 120.0
"""Longest wait that a service may ask for: a wrong header must not switch a stage off for a day."""


class Breaker:
    """Counts how calls of one service end. Thread-safe.

    Who called `enter` and was let in tells the end by one of `succeeded`, `failed` and `abandoned`, with the round that
    `enter` gave. A round ends when the breaker opens: of calls of the one before, only how long to wait is still heard, until
    the trial.
    """

    def __init__(
        self, *, failures: int = FAILURES, pause_s: float = PAUSE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = failures
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._asked_to_wait = False
        self._probing = False
        self._round = 0
        self._lock = threading.Lock()

    def enter(self) -> int:
        """Let a call go, and return its round. Raises: Busy, in words for every reader, while the service is left alone."""
        with self._lock:
            if self._open_until is None:
                return self._round
            why = "asks to wait" if self._asked_to_wait else f"failed {self._failures} times"
            left = self._open_until - self._clock()
            if left > 0:
                raise Busy(f"the reranking service {why}; tried again in {math.ceil(left)} s")
            if self._probing:
                raise Busy(f"the reranking service {why}; it is being tried again")
            self._probing = True
            return self._round

    def succeeded(self, entered: int) -> None:
        """Close."""
        with self._lock:
            if entered != self._round:
                return
            self._failures, self._open_until = 0, None
            self._probing = self._asked_to_wait = False

    def failed(self, entered: int) -> bool:
        """Count a failure; open after the last one allowed, and after a failed trial. Return whether this one opened."""
        with self._lock:
            if entered != self._round:
                return False
            self._failures += 1
            opens = self._probing or (self._open_until is None and self._failures >= self._most)
            self._probing = False
            if opens:
                self._open_until = self._clock() + self._pause_s
                self._asked_to_wait = False
                self._round += 1
            return opens

    def abandoned(self, entered: int) -> None:
        """Forget a call that was given up before it ended: it tells nothing."""
        with self._lock:
            if entered == self._round:
                self._probing = False

    def hold(self, entered: int, seconds: float) -> None:
        """Open for as long as the service asked of a call of this round; of one whose failure opened, longer if need be."""
        with self._lock:
            opened_it = entered == self._round - 1 and self._open_until is not None and not self._probing
            if entered != self._round and not opened_it:
                return
            until = self._clock() + min(seconds, MOST_HOLD_S)
            if self._open_until is None:
                self._round += 1
            if self._open_until is None or until > self._open_until:
                self._open_until, self._asked_to_wait = until, True
