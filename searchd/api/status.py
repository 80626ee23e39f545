"""`/healthz`, `/readyz`, `/api/status`, `/metrics`: is it alive, is each part ready, what goes on."""

from __future__ import annotations

import time
from typing import Any

import anyio.to_thread
import msgspec
from litestar import MediaType, Request, Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from indexer.scope import Scope
from indexer.status import status_of
from searchd.api.principals import principal_of
from searchd.metrics import DEVICE_QUEUE, DOCUMENTS, JOBS, PASSAGES, REGISTRY
from searchd.services import Services

HUNG_S = 30.0


@get("/healthz", summary="Is the process alive", tags=["operations"], media_type=MediaType.JSON)
async def healthz() -> dict[str, str]:
    """Answer that the process runs."""
    return {"status": "ok"}


@get("/readyz", summary="Is every part ready", tags=["operations"], media_type=MediaType.JSON)
async def readyz(services: Services) -> Response[bytes]:
    """Answer 200 when every part is, else 503; each part says ok or why not."""
    parts = await anyio.to_thread.run_sync(check_parts, services)
    ready = all(state == "ok" or state.startswith("off") for state in parts.values())
    body = msgspec.json.encode({"status": "ok" if ready else "not ready", "parts": parts})
    return Response(body, media_type=MediaType.JSON, status_code=200 if ready else 503)


def check_parts(services: Services) -> dict[str, str]:
    """Ask each part for a sign of life."""
    engine = services.engine
    parts: dict[str, str] = {}
    try:
        status_of(engine.database)
        parts["database"] = "ok"
    except Exception as error:
        parts["database"] = str(error)
    try:
        live = engine.live("default")
        scope = Scope.of("default")
        live.vectors.search(live.embedder.encode_query("ready", time.monotonic() + 5), scope, None, 1)
        parts["vectors"] = parts["embedder"] = "ok"
        live.lexical.refresh()
        parts["lexical"] = "ok"
    except Exception as error:
        parts["indexes"] = f"{type(error).__name__}: {error}"
    busy = engine.device.health()["busy_for_s"]
    parts["device"] = "ok" if busy < HUNG_S else f"one call has run for {busy:.0f} s"
    parts["rerankers"] = "ok" if services.rerankers.names() else "off"
    if services.worker is None:
        parts["worker"] = "off in this process"
    else:
        parts["worker"] = "ok" if services.worker.alive else "has ended; see the log"
    return parts


@get("/api/status", summary="Counts, queued work, failures", tags=["operations"])
async def status(request: Request[Any, Any, Any], services: Services) -> dict[str, Any]:
    """Return counts and queued work; failures and tasks name sources, so only callers who may write see them."""
    caller = principal_of(request, services.settings)
    found: dict[str, Any] = msgspec.to_builtins(
        await anyio.to_thread.run_sync(status_of, services.engine.database)
    )
    if not caller.may_write:
        found["failures"], found["tasks"] = [], []
    found["device"] = services.engine.device.health() | {"name": services.engine.device.name}
    found["models"] = {"embedder": services.settings.embedder, "rerankers": services.rerankers.names()}
    found["uptime_s"] = round(time.time() - services.started_at, 1)
    return found


@get("/metrics", summary="Prometheus metrics", tags=["operations"], media_type=MediaType.TEXT)
async def metrics(services: Services) -> Response[bytes]:
    """Return all metrics in Prometheus' text format."""
    found = await anyio.to_thread.run_sync(status_of, services.engine.database)
    for state in ("queued", "running", "failed"):
        JOBS.labels(state).set(found.jobs.get(state, 0))
    for one in found.collections:
        DOCUMENTS.labels(one.name).set(one.documents)
        PASSAGES.labels(one.name).set(one.passages)
    DEVICE_QUEUE.set(services.engine.device.health()["queued"])
    return Response(generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST}, media_type=MediaType.TEXT)


HANDLERS = [healthz, readyz, status, metrics]
