"""Runs the pipeline for the handlers: so many searches at once, a bounded queue, an end when the caller leaves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from functools import partial
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from litestar import Request

from indexer.errors import Busy
from indexer.scope import Scope
from searchd.services import Services
from searchd.types import Query, SearchResponse

SEARCHES_AT_ONCE = 16
WAITING_AT_MOST = 64


class SearchQueue:
    """Threads for searches, and a bounded number of callers who wait for one. One an application."""

    def __init__(self, at_once: int = SEARCHES_AT_ONCE, waiting: int = WAITING_AT_MOST) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._inside = 0
        self._limiter: CapacityLimiter | None = None

    async def run(self, services: Services, query: Query, scope: Scope, gone: threading.Event) -> SearchResponse:
        """Search on a thread; what a caller waits for one counts against the query's budget.

        Raises: Busy when too many wait already; what the pipeline raises.
        """
        arrived = time.monotonic()
        if self._inside >= self._at_once + self._waiting:
            raise Busy(f"{self._waiting} searches wait already; try again in a moment")
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._at_once)
        self._inside += 1
        try:
            search = partial(services.pipeline.search, query, scope, gone.is_set, arrived)
            return await anyio.to_thread.run_sync(search, limiter=self._limiter)
        finally:
            self._inside -= 1


async def run_search(request: Request[Any, Any, Any], services: Services, query: Query, scope: Scope) -> SearchResponse:
    """Search for a request whose body was read; once its caller is gone, rerankers stop at their next batch."""
    queue: SearchQueue = request.app.state["searches"]
    gone = threading.Event()
    watcher = asyncio.create_task(_watch(request, gone))
    try:
        return await queue.run(services, query, scope, gone)
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
