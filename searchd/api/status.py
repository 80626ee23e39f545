"""`/healthz`, `/readyz`, `/api/status`, `/metrics`: is it alive, is each part ready, what goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from indexer.scope import Scope
from indexer.status import Status, status_of
from indexer.store import collections
from searchd.api.operation import Operation
from searchd.api.principals import principal_of
from searchd.api.reading import read_query
from searchd.api.schemas import Answer, NoParameters
from searchd.rerank.table import RerankerCache
from searchd.services import Services

log = logging.getLogger(__name__)

AnyRequest = Request[Any, Any, Any]
HUNG_S = 30.0
CHECK_S = 2.0
"""What the embedder may take to answer a readiness check."""


class Alive(Answer, frozen=True, kw_only=True):
    """The process runs."""

    status: str


class Ready(Answer, frozen=True, kw_only=True):
    """Each part: `ok`, `off ...`, or why not; and how each reranker runs, in words."""

    status: str
    parts: dict[str, str]
    paths: dict[str, str]


class DeviceLine(Answer, frozen=True, kw_only=True):
    """Where models run, how much waits for it, and how long the call in hand has run."""

    name: str
    queued: float
    busy_for_s: float


class ModelLine(Answer, frozen=True, kw_only=True):
    """Models in use."""

    embedder: str
    rerankers: tuple[str, ...]
    paths: dict[str, str]
    """How each reranker runs, in words."""


class CalibrationLine(Answer, frozen=True, kw_only=True):
    """A calibration that is kept: whether it holds, and in words how it stands. `fitted_at` in UTC seconds."""

    collection: str
    profile: str
    judged_set: str
    fitted_at: float
    holds: bool
    said: str


class StatusAnswer(Answer, frozen=True, kw_only=True):
    """What is there and what goes on; failures and tasks name sources, so they are for callers who may write."""

    collections: tuple[dict[str, Any], ...]
    jobs: dict[str, int]
    failures: tuple[dict[str, Any], ...]
    tasks: tuple[dict[str, Any], ...]
    device: DeviceLine
    models: ModelLine
    calibrations: tuple[CalibrationLine, ...]
    uptime_s: float


@get(
    "/healthz", opt=Operation("Is the process alive", "operations", answer=Alive, answer_example={"status": "ok"}).opt()
)
async def healthz(request: AnyRequest) -> Alive:
    """Answer that the process runs."""
    read_query(request, NoParameters)
    return Alive(status="ok")


@get(
    "/readyz",
    opt=Operation(
        "Is every part ready", "operations", answer=Ready, errors=(503,),
        answer_example={
            "status": "ok",
            "parts": {"database": "ok", "rerankers": "ok", "worker": "off in this process"},
            "paths": {
                "rerank-base": "cross_encoder, bfloat16, packed sequences",
                "rerank-small": "cross_encoder, bfloat16, packed sequences",
            },
        },
    ).opt(),
)  # fmt: skip
async def readyz(request: AnyRequest, services: NamedDependency[Services]) -> Response[Ready]:
    """Answer 200 when every part is ready, else 503; each part says ok or why not."""
    read_query(request, NoParameters)
    caller = principal_of(request, services.settings)
    parts = await anyio.to_thread.run_sync(check_parts, services, caller.may_write)
    ready = all(said == "ok" or said.startswith("off") for said in parts.values())
    return Response(
        Ready(status="ok" if ready else "not ready", parts=parts, paths=paths_of(services.rerankers)),
        status_code=200 if ready else 503,
        headers={"Cache-Control": "no-store"},
    )


def check_parts(services: Services, in_full: bool) -> dict[str, str]:
    """Ask each part for a sign of life; say `ok`, `off ...` or why not: `in_full` with names of folders and hosts."""
    engine = services.engine
    scope = Scope.of("default")

    def database() -> None:
        with engine.database.read() as session:
            collections.list_all(session)

    def embedder() -> None:
        engine.live(scope.collection).embedder.encode_query("ready", time.monotonic() + CHECK_S)

    def vectors() -> None:
        live = engine.live(scope.collection)
        live.vectors.search(live.embedder.encode_query("ready", time.monotonic() + CHECK_S), scope, None, 1)

    parts = {
        "database": _said(database, in_full),
        "lexical": _said(lambda: engine.live(scope.collection).lexical.refresh(), in_full),
        "embedder": _said(embedder, in_full),
        "vectors": _said(vectors, in_full),
    }
    devices = [engine.device, *(scheduler.device for scheduler in services.rerankers.schedulers())]
    busy = max(device.health()["busy_for_s"] for device in devices)
    parts["device"] = "ok" if busy < HUNG_S else f"one call has run for {busy:.0f} s"
    parts["rerankers"] = "ok" if services.rerankers.names() else "off: none is loaded"
    if services.worker is None:
        parts["worker"] = "off in this process"
    else:
        parts["worker"] = "ok" if services.worker.alive else "has ended; see the log"
    return parts


def _said(check: Callable[[], None], in_full: bool) -> str:
    try:
        check()
    except Exception as error:  # whatever it is, it is what the part has to say
        log.warning("a part is not ready", exc_info=True)
        return f"{type(error).__name__}: {error}"[:300] if in_full else f"{type(error).__name__}; see the log"
    return "ok"


@get("/api/status", opt=Operation("Counts, queued work, failures", "operations", answer=StatusAnswer).opt())
async def status(request: AnyRequest, services: NamedDependency[Services]) -> StatusAnswer:
    """Return counts, queued work, and, for callers who may write, failures and recent tasks."""
    read_query(request, NoParameters)
    caller = principal_of(request, services.settings)
    found = await anyio.to_thread.run_sync(status_of, services.engine.database, caller.sees_only)
    plain = msgspec.to_builtins(found)
    device = services.engine.device
    return StatusAnswer(
        collections=tuple(plain["collections"]),
        jobs=plain["jobs"],
        failures=tuple(plain["failures"]) if caller.may_write else (),
        tasks=tuple(plain["tasks"]) if caller.may_write else (),
        device=DeviceLine(name=device.name, **device.health()),
        models=ModelLine(
            embedder=services.settings.embedder,
            rerankers=tuple(services.rerankers.names()),
            paths=paths_of(services.rerankers),
        ),
        calibrations=await anyio.to_thread.run_sync(calibration_lines, services, found),
        uptime_s=round(services.engine.clock() - services.started_at, 1),
    )


def calibration_lines(services: Services, found: Status) -> tuple[CalibrationLine, ...]:
    """Return how the calibrations of these collections stand."""
    standings = services.pipeline.standings({one.name for one in found.collections})
    return tuple(
        CalibrationLine(
            collection=one.collection,
            profile=one.profile,
            judged_set=one.stored.set_name,
            fitted_at=one.stored.fitted_at,
            holds=not one.broken,
            said=one.said,
        )
        for one in standings
        if one.stored is not None
    )


@get("/metrics", opt=Operation("Prometheus metrics", "operations").opt())
async def metrics(request: AnyRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Return all metrics in Prometheus' text format."""
    read_query(request, NoParameters)
    caller = principal_of(request, services.settings)
    found = await anyio.to_thread.run_sync(status_of, services.engine.database, caller.sees_only)
    gauges = gauges_of(found, services.engine.device.health()["queued"])
    count_rerankers(services.rerankers, gauges)
    body = generate_latest(services.pipeline.metrics.registry) + generate_latest(gauges)
    return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


def gauges_of(found: Status, queued: float) -> CollectorRegistry:
    """Return what is counted anew at every look: jobs by state, documents and passages by collection, device queue."""
    registry = CollectorRegistry()
    jobs = Gauge("searchd_jobs", "Jobs of the outbox by state", ["state"], registry=registry)
    for state in ("queued", "running", "failed"):
        jobs.labels(state).set(found.jobs.get(state, 0))
    documents = Gauge("searchd_documents", "Documents", ["collection"], registry=registry)
    passages = Gauge("searchd_passages", "Passages that can be searched", ["collection"], registry=registry)
    failed = Gauge("searchd_failed_sources", "Sources that could not be parsed", ["collection"], registry=registry)
    for one in found.collections:
        documents.labels(one.name).set(one.documents)
        passages.labels(one.name).set(one.passages)
        failed.labels(one.name).set(one.failed)
    Gauge("searchd_device_queue", "Model work that waits for the device", registry=registry).set(queued)
    return registry


def count_rerankers(rerankers: RerankerCache, registry: CollectorRegistry) -> None:
    """Add what rerankers are at: which path each runs on, pairs that wait, what a token costs, scores remembered."""
    paths = Gauge("searchd_reranker_path", "1 for the way a reranker runs", ["model", "path"], registry=registry)
    for model, path in rerankers.paths():
        paths.labels(model, path).set(1)
    waiting = rerankers.waiting()
    Gauge("searchd_rerank_waiting_pairs", "Pairs that wait for the device", registry=registry).set(waiting)
    costs = Gauge(
        "searchd_rerank_token_ms",
        "What a token costs a worker, by which stages are cut to their budgets: ms, in sequences up to so many tokens",
        ["kind", "model", "up_to_tokens"],
        registry=registry,
    )
    for scheduler in rerankers.schedulers():
        for (fingerprint, bound), ms in scheduler.costs.table().items():
            costs.labels(*scheduler.metrics.labels_of(fingerprint), str(bound)).set(ms)
    kept = 0 if rerankers.scores is None else len(rerankers.scores)
    Gauge("searchd_score_cache_entries", "Scores that are remembered", registry=registry).set(kept)


def paths_of(rerankers: RerankerCache) -> dict[str, str]:
    """Return how each model runs; one that is loaded in two ways has both."""
    found: dict[str, str] = {}
    for model, path in rerankers.paths():
        found[model] = f"{found[model]}; {path}" if model in found else path
    return found


HANDLERS = [healthz, readyz, status, metrics]
