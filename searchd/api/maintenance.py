"""`/api/doctor`: have the daemon compare the three stores it owns, and mend them. For callers who may write."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency

from indexer import doctor
from searchd.api.principals import require_write
from searchd.services import Services


def _examine(services: Services, repair: bool) -> dict[str, Any]:
    findings = doctor.examine(services.engine)
    task_ids = doctor.repair(services.engine, findings) if repair else []
    if task_ids and services.worker is not None:
        services.worker.wake()
    return {"findings": [msgspec.to_builtins(finding) for finding in findings], "task_ids": task_ids}


@get("/api/doctor", summary="Compare SQL, Tantivy and Qdrant", tags=["maintenance"])
async def examine(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> dict[str, Any]:
    """Return what is wrong; empty findings mean sound."""
    require_write(request, services.settings)
    return await anyio.to_thread.run_sync(partial(_examine, services, False))


@post("/api/doctor", summary="Compare, and mend what differs", tags=["maintenance"], status_code=202)
async def repair(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> dict[str, Any]:
    """Queue what mends the findings; the tasks can be followed at /api/tasks/{id}."""
    require_write(request, services.settings)
    return await anyio.to_thread.run_sync(partial(_examine, services, True))


HANDLERS = [examine, repair]
