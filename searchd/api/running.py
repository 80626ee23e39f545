"""Runs blocking work for the handlers: so much at once, a bounded queue, an end when the caller leaves.

Searches and reranking of bare texts each have a queue: the long calls of the one never take the threads of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from litestar import Request

from indexer.errors import Busy
from indexer.scope import Scope
from searchd.api.admission import Admission, Entry, Load
from searchd.services import Services
from searchd.types import Query, SearchResponse

T = TypeVar("T")
Work = Callable[[Callable[[], bool], float], T]
"""Takes a function that says whether the caller is gone, and when the caller came (monotonic seconds)."""

SEARCHES, RERANKS = "searches", "reranks"


class WorkQueue:
    """Threads for one sort of work, and a bounded number of callers who wait for one. One an application."""

    def __init__(self, name: str, at_once: int, waiting: int) -> None:
        self._name = name
        self._at_once = at_once
        self._waiting = waiting
        self._inside = 0
        self._limiter: CapacityLimiter | None = None
        self._admission = Admission(at_once)

    async def run(self, work: Work[T], gone: threading.Event, load: Load | None = None) -> T:
        """Run on a thread; what a caller waits for one counts against the budget, since `work` is told when it came.

        Raises: Busy when too many wait already, or when they leave too little time for a `load`; what the work raises.
        """
        arrived = time.monotonic()
        if self._inside >= self._at_once + self._waiting:
            raise Busy(f"{self._waiting} {self._name} wait already; try again in a moment")
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._at_once)
        entry = None if load is None else self._admission.enter(load)
        job = work if entry is None else self._noted(work, entry)
        self._inside += 1
        try:
            return await anyio.to_thread.run_sync(job, gone.is_set, arrived, limiter=self._limiter)
        finally:
            self._inside -= 1
            if entry is not None:
                self._admission.end(entry, done=False)  # of one that was called off before a thread took it up

    def _noted(self, work: Work[T], entry: Entry) -> Work[T]:
        """Return work that says when it begins, and when it is done."""

        def run(gone: Callable[[], bool], arrived: float) -> T:
            self._admission.begin(entry)
            found = work(gone, arrived)
            self._admission.end(entry, done=True)
            return found

        return run


def work_queues() -> dict[str, WorkQueue]:
    """Return the queues of one application, by name: room for 32 clients of each that all ask at once, and as many more."""
    return {SEARCHES: WorkQueue(SEARCHES, 16, 64), RERANKS: WorkQueue(RERANKS, 8, 64)}


async def run_search(request: Request[Any, Any, Any], services: Services, query: Query, scope: Scope) -> SearchResponse:
    """Search for a request whose body was read; once its caller is gone, rerankers stop at their next batch."""

    def search(gone: Callable[[], bool], arrived: float) -> SearchResponse:
        return services.pipeline.search(query, scope, gone, arrived)

    return await run_work(request, SEARCHES, search)


async def run_work(request: Request[Any, Any, Any], queue: str, work: Work[T], load: Load | None = None) -> T:
    """Run work for a request whose body was read. Raises: see `WorkQueue.run`."""
    queues: dict[str, WorkQueue] = request.app.state["queues"]
    gone = threading.Event()
    watcher = asyncio.create_task(_watch(request, gone))
    try:
        return await queues[queue].run(work, gone, load)
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher


async def _watch(request: Request[Any, Any, Any], gone: threading.Event) -> None:
    """Set `gone` when the connection closes."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            gone.set()
            return
        await asyncio.sleep(0.05)
