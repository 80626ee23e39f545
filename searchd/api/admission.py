"""Whether work that comes in can be done in its time, by what is under way and what such work has taken: said at once.

A caller who is let in only to hear after half a minute that the time was too short has waited for nothing. Used by
`running.py` for rerank calls, whose size is known when they come; all numbers are seconds on the wall.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from indexer.errors import Busy

WEIGHT = 0.2
"""Of the newest piece of work, in what such work takes: some ten pieces decide. With it `benchmarks/overload_http.py` has about
one call in eighty let in that comes too late."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a caller brings."""

    sort: str
    """What takes equally long for its size."""
    size: float
    most_s: float
    """How long it may take, waiting included."""
    shared: bool = False
    """Whether all such work goes through one device: among others it takes as many times as long as there are threads."""


@dataclass(eq=False, slots=True)
class Entry:
    """A piece of work that was let in."""

    load: Load
    started: float | None = None
    beside: int = 0
    """How many threads were taken when it began, its own among them."""


@dataclass(slots=True)
class Admission:
    """Keeps what is under way on so many threads. Thread-safe."""

    threads: int
    clock: Callable[[], float] = time.monotonic
    _inside: set[Entry] = field(default_factory=set)
    _pace: dict[str, float] = field(default_factory=dict)
    """Seconds for a size of 1 by sort, where all threads are taken."""
    _first: dict[str, float] = field(default_factory=dict)
    """The same as it follows from the quickest that ran alone (another may have waited for its model), until that was seen."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, load: Load) -> Entry:
        """Let work in. Raises: Busy if what is before it leaves too little time; nobody is refused while a thread is free."""
        with self._lock:
            ahead = sum(map(self._left, self._inside)) / self.threads
            needed = ahead + self._whole(load)
            if len(self._inside) >= self.threads and needed > load.most_s:
                raise Busy(
                    f"what waits already takes about {ahead:.0f} s, and a call may take {load.most_s:.0f} s at most; "
                    "try again in a moment"
                )
            entry = Entry(load)
            self._inside.add(entry)
            return entry

    def begin(self, entry: Entry) -> None:
        """Note that a thread has taken it up."""
        with self._lock:
            entry.started = self.clock()
            entry.beside = sum(one.started is not None for one in self._inside)

    def end(self, entry: Entry, *, done: bool) -> None:
        """Note that it is over, and learn what it took if it was done whole."""
        with self._lock:
            if entry not in self._inside:
                return
            self._inside.remove(entry)
            if not done or entry.started is None or not entry.load.size:
                return
            took, sort = (self.clock() - entry.started) / entry.load.size, entry.load.sort
            if entry.beside >= self.threads:
                known = self._pace.setdefault(sort, took)
                self._pace[sort] = known + WEIGHT * (took - known)
            elif entry.beside == 1 and entry.load.shared and sort not in self._pace:
                self._first[sort] = min(took * self.threads, self._first.get(sort, math.inf))

    def _left(self, entry: Entry) -> float:
        """Return how long it will still have its thread."""
        whole = self._whole(entry.load)
        return whole if entry.started is None else max(0.0, whole - (self.clock() - entry.started))

    def _whole(self, load: Load) -> float:
        """Return how long it will have a thread in all."""
        return self._pace.get(load.sort, self._first.get(load.sort, 0.0)) * load.size
