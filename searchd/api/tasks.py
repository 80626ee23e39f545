"""`/api/tasks/{id}`: what became of an acknowledged request. For callers who may write: errors name sources."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from indexer.errors import Conflict, NotFound
from indexer.status import task_of
from indexer.store import tasks
from searchd.api.document_schemas import TaskAnswer
from searchd.api.operation import Operation
from searchd.api.principals import require_write
from searchd.api.reading import read_query
from searchd.api.schemas import NoParameters
from searchd.services import Services

AnyRequest = Request[Any, Any, Any]
OPEN = ("enqueued", "processing")


@get(
    "/api/tasks/{task_id:str}",
    opt=Operation("Follow a task", "documents", answer=TaskAnswer, writes=True, errors=(404,)).opt(),
)
async def read(request: AnyRequest, services: NamedDependency[Services], task_id: FromPath[str]) -> TaskAnswer:
    """Return state, counts, and the errors of single documents."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    return await anyio.to_thread.run_sync(_read, services, task_id)


@delete(
    "/api/tasks/{task_id:str}",
    status_code=200,
    opt=Operation("Cancel a task", "documents", answer=TaskAnswer, writes=True, errors=(404, 409)).opt(),
)
async def cancel(request: AnyRequest, services: NamedDependency[Services], task_id: FromPath[str]) -> TaskAnswer:
    """Cancel what of a task has not begun. A deletion cannot be canceled."""
    require_write(request, services.settings)
    read_query(request, NoParameters)

    def stop() -> TaskAnswer:
        found = _read(services, task_id)
        if found.state not in OPEN or found.kind == "delete":
            raise Conflict(f"task {task_id!r} has nothing that can be canceled: a {found.kind}, {found.state}")
        with services.engine.database.session() as session:
            tasks.cancel(session, task_id, services.engine.clock())
        return _read(services, task_id)

    return await anyio.to_thread.run_sync(stop)


def _read(services: Services, task_id: str) -> TaskAnswer:
    found = task_of(services.engine.database, task_id)
    if found is None:
        raise NotFound(f"there is no task {task_id[:80]!r}")
    return msgspec.convert(found, TaskAnswer, from_attributes=True)


HANDLERS = [read, cancel]
