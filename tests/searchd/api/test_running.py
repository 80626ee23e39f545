"""The queues of work that blocks: whom they let in, and whom they turn away at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from indexer.errors import Busy
from searchd.api.running import RERANKS, SEARCHES, work_queues
from tests.loops import in_loop

CLIENTS = 32


@pytest.mark.parametrize("name", [SEARCHES, RERANKS])
def test_all_of_32_clients_are_served_and_of_many_more_some_are_told_at_once(name: str) -> None:
    released, started = threading.Event(), threading.Semaphore(0)

    def work(gone: object, arrived: float) -> int:
        started.release()
        assert released.wait(30)
        return 1

    async def ask(count: int) -> list[int | BaseException]:
        queue = work_queues()[name]
        asked = [asyncio.create_task(queue.run(work, threading.Event())) for _ in range(count)]
        assert await asyncio.to_thread(started.acquire, timeout=30)
        await asyncio.sleep(0)
        turned_away = [one for one in asked if one.done()]
        released.set()
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert len(turned_away) == sum(isinstance(one, Busy) for one in done)
        return done

    assert in_loop(lambda: ask(CLIENTS)) == [1] * CLIENTS
    released.clear()
    done = in_loop(lambda: ask(20 * CLIENTS))
    assert 2 * CLIENTS <= done.count(1) < 20 * CLIENTS
