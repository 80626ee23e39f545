"""`/api/doctor`: have the daemon compare the three stores it owns, and mend them. For callers who may write."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
import msgspec
from litestar import get, post
from litestar.di import NamedDependency

from indexer import doctor
from indexer.settings import Settings
from searchd.api.collections import check_embedder
from searchd.api.document_schemas import DoctorAnswer, DoctorChoices
from searchd.api.operation import Operation
from searchd.api.principals import require_write
from searchd.api.reading import AnyRequest, read_json, read_query
from searchd.api.schemas import NoParameters
from searchd.services import Services

SOUND: dict[str, list[str]] = {"findings": [], "task_ids": []}


def _examine(services: Services, settings: Settings, repair: bool) -> DoctorAnswer:
    findings = doctor.examine(services.engine, settings)
    task_ids = doctor.repair(services.engine, findings, settings) if repair else []
    if task_ids and services.worker is not None:
        services.worker.wake()
    found = {"findings": [msgspec.to_builtins(finding) for finding in findings], "task_ids": task_ids}
    return msgspec.convert(found, DoctorAnswer)


@get(
    "/api/doctor",
    opt=Operation(
        "Compare SQL, Tantivy and Qdrant", "maintenance", answer=DoctorAnswer, answer_example=SOUND, writes=True
    ).opt(),
)
async def examine(request: AnyRequest, services: NamedDependency[Services]) -> DoctorAnswer:
    """Return what is wrong; empty findings mean sound."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    return await anyio.to_thread.run_sync(partial(_examine, services, services.settings, False))


@post(
    "/api/doctor",
    status_code=202,
    opt=Operation(
        "Compare under settings of the caller's, and mend what differs", "maintenance", body=DoctorChoices,
        answer=DoctorAnswer, body_example={"repair": True}, answer_example=SOUND, writes=True, errors=(400, 503),
    ).opt(),
)  # fmt: skip
async def repair(request: AnyRequest, services: NamedDependency[Services]) -> DoctorAnswer:
    """With `repair`, queue what mends the findings; the tasks can be followed at /api/tasks/{id}."""
    require_write(request, services.settings)
    read_query(request, NoParameters)
    body = await read_json(request, DoctorChoices)
    check_embedder(body.embedder, services, request)
    settings = body.settings(services.settings)
    return await anyio.to_thread.run_sync(partial(_examine, services, settings, body.repair))


HANDLERS = [examine, repair]
