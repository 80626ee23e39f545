"""Admission, on a clock of our own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from indexer.errors import Busy
from searchd.api.admission import Admission, Entry, Load
from searchd.api.running import Work, WorkQueue
from tests.loops import in_loop


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def load(size: float = 10, most_s: float = 30, sort: str = "large", *, shared: bool = False) -> Load:
    return Load(sort, size, most_s, shared)


def crowded(admission: Admission, clock: Clock, seconds: float) -> None:
    """Let as much run as there are threads, each for so long, so that the pace is known."""
    entries = [admission.enter(load()) for _ in range(admission.threads)]
    for entry in entries:
        admission.begin(entry)
    clock.now += seconds
    for entry in entries:
        admission.end(entry, done=True)


def test_work_that_cannot_be_done_in_its_time_is_refused_when_it_comes() -> None:
    clock = Clock()
    admission = Admission(2, clock)
    crowded(admission, clock, 8.0)  # only the last one saw both threads taken: 0.8 s for a size of 1
    running = [admission.enter(load()) for _ in range(2)]
    for entry in running:
        admission.begin(entry)
    clock.now += 3.0
    # 5 s are left of each; whoever waits adds 8 s, on two threads
    waiting = [admission.enter(load()) for _ in range(4)]
    assert len(waiting) == 4  # 5 + 8, 5 + 4 + 8, 5 + 8 + 8, 5 + 12 + 8 = 25 s
    admission.enter(load())  # 29 s
    with pytest.raises(Busy, match="what waits already takes about 25 s, and a call may take 30 s at most"):
        admission.enter(load())
    admission.enter(load(size=5))  # 25 + 4 s
    admission.end(running[0], done=False)
    admission.enter(load(size=5, most_s=40))


def test_nobody_is_refused_while_a_thread_is_free_or_nothing_is_known() -> None:
    clock = Clock()
    admission = Admission(2, clock)
    for _ in range(50):
        admission.enter(load(size=1e9))
    admission = Admission(2, clock)
    crowded(admission, clock, 8.0)
    admission.enter(load(size=1e9))
    admission.enter(load(size=1e9))
    with pytest.raises(Busy):
        admission.enter(load(size=0))
    admission.enter(load(size=1e9, sort="other", most_s=1e12))


def test_what_ran_alone_tells_what_it_takes_among_others_where_they_share_a_device() -> None:
    clock = Clock()
    admission = Admission(2, clock)
    for seconds in (100.0, 5.0, 7.0):  # the first waited for its model; 5 s alone are 10 s where two run at once
        entry = admission.enter(load(shared=True))
        admission.begin(entry)
        clock.now += seconds
        admission.end(entry, done=True)
    for _ in range(5):
        admission.enter(load(shared=True))  # the fifth: 20 s ahead on two threads, and 10 of its own
    with pytest.raises(Busy, match="about 25 s"):
        admission.enter(load(shared=True))


def test_what_ran_alone_or_failed_teaches_nothing_otherwise() -> None:
    clock = Clock()
    admission = Admission(2, clock)
    for done in (True, False):
        entries: list[Entry] = [admission.enter(load()) for _ in range(1 if done else 2)]
        for entry in entries:
            admission.begin(entry)
        clock.now += 1000.0
        for entry in entries:
            admission.end(entry, done=done)
    for _ in range(10):
        admission.enter(load())


def test_a_queue_refuses_by_load_at_once_and_forgets_who_left() -> None:
    queue, gone, hold = WorkQueue("calls", 1, 10), threading.Event(), threading.Event()

    async def scene() -> None:
        def held(gone: Callable[[], bool], arrived: float) -> str:
            return "held" if hold.wait(10) else "never let go"

        async def ask(work: Work[str], size: float, most_s: float) -> str:
            return await queue.run(work, gone, load(size, most_s))

        assert await ask(lambda gone, arrived: "done", 1, 10) == "done"
        queue._admission._pace["large"] = 5.0
        first = asyncio.create_task(ask(held, 4, 100))
        called_off = asyncio.create_task(ask(held, 4, 100))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="about 40 s"):
            await ask(held, 1, 10)
        called_off.cancel()
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="about 20 s"):
            await ask(held, 1, 10)
        hold.set()
        assert await first == "held"
        assert await ask(lambda gone, arrived: "done", 1, 10) == "done"
        assert not queue._admission._inside

    in_loop(scene)
