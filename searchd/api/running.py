"""Searches run in threads, so many at a time; a caller who goes away cancels the reranking between two batches."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from litestar import Request

from indexer.errors import Busy
from indexer.scope import Scope
from searchd.services import Services
from searchd.types import Query, SearchResponse

AT_ONCE = 32
WAITING_AT_MOST = 64

_limiter: anyio.CapacityLimiter | None = None
_waiting = 0


async def run_search(
    request: Request[Any, Any, Any], services: Services, query: Query, scope: Scope
) -> SearchResponse:
    """Search in a thread. Raises: Busy when too many wait already; whatever the pipeline raises."""
    global _limiter, _waiting
    if _limiter is None:
        _limiter = anyio.CapacityLimiter(AT_ONCE)
    if _waiting >= AT_ONCE + WAITING_AT_MOST:
        raise Busy(f"{_waiting} searches run or wait already; try again in a moment")
    gone = threading.Event()
    watcher = asyncio.create_task(_watch(request, gone))
    _waiting += 1
    try:
        return await anyio.to_thread.run_sync(
            partial(services.pipeline.search, query, scope, gone.is_set), limiter=_limiter
        )
    finally:
        _waiting -= 1
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher


async def _watch(request: Request[Any, Any, Any], gone: threading.Event) -> None:
    """Set `gone` when the client disconnects; the body has been read, so nothing else can come."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            gone.set()
            return
        await asyncio.sleep(0.05)
