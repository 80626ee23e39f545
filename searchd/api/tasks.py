"""`/api/tasks/{id}`: what became of an acknowledged request."""

from __future__ import annotations

import time
from typing import Any

import anyio.to_thread
from litestar import Request, delete, get
from litestar.params import FromPath

from indexer.errors import Conflict, NotFound
from indexer.status import task_of
from indexer.store import tasks
from searchd.api.documents import plain
from searchd.api.principals import require_write
from searchd.services import Services


@get("/api/tasks/{task_id:str}", summary="Follow a task", tags=["documents"])
async def task(request: Request[Any, Any, Any], services: Services, task_id: FromPath[str]) -> dict[str, Any]:
    """Return state, counts and the errors of single documents. For callers who may write: errors name sources."""
    require_write(request, services.settings)
    found = await anyio.to_thread.run_sync(task_of, services.engine.database, task_id)
    if found is None:
        raise NotFound(f"there is no task {task_id!r}")
    return plain(found)


@delete("/api/tasks/{task_id:str}", summary="Cancel a task", tags=["documents"], status_code=200)
async def cancel(request: Request[Any, Any, Any], services: Services, task_id: FromPath[str]) -> dict[str, Any]:
    """Cancel what of a task has not begun."""
    require_write(request, services.settings)

    def run() -> bool:
        with services.engine.database.session() as session:
            return tasks.cancel(session, task_id, time.time())

    canceled = await anyio.to_thread.run_sync(run)
    found = await anyio.to_thread.run_sync(task_of, services.engine.database, task_id)
    if found is None:
        raise NotFound(f"there is no task {task_id!r}")
    if not canceled:
        raise Conflict(f"task {task_id!r} has nothing left to cancel: it is {found.state}")
    return plain(found)


HANDLERS = [task, cancel]
