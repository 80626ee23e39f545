"""The whole search, in the order of its steps: retrieve, fuse, load, rerank, present.

Takes a Query and a Scope; gives a SearchResponse that names everything that was late, failed or left out. Used by the
API, the page and the command line alike.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from indexer.engine import Engine, LiveIndexes
from indexer.errors import Busy, InputError, NotFound, StaleIndex, TransientError
from indexer.scope import Scope
from searchd.fuse import FUSIONS
from searchd.load import Loaded, Wanted, load
from searchd.metrics import SearchMetrics
from searchd.operators import meaning_of
from searchd.present import by_document, present
from searchd.profiles import Profiles
from searchd.relevance import Reading, calibrated_by, cut_below, rated, reading_of, refuse_uncalibrated
from searchd.rerank.cascade import Cascade
from searchd.rerank.wish import off_reason
from searchd.retrieve import BM25, Retrieval, Retriever
from searchd.settings import Profile, Settings, Stage
from searchd.standing import Standing, Standings
from searchd.types import Candidate, Cut, Hit, Query, SearchResponse, StageReport, Stored

log = logging.getLogger(__name__)

KEPT_MS = 30.0
"""Of every budget, for what comes after the cascade."""
RETRIEVAL_SHARE = 0.5
"""Of the budget: a system that hangs must leave time to rerank what the other one found."""
GPU_TIMEOUT_MS, CPU_TIMEOUT_MS = 800, 3000
SEARCHES_AT_ONCE = 64


def never() -> bool:
    """Say that nobody went away."""
    return False


class SearchPipeline:
    """Searches the engine's live indexes. Thread-safe; `search` blocks its thread for at most the query's budget."""

    def __init__(
        self,
        engine: Engine,
        cascade: Cascade,
        settings: Settings,
        *,
        metrics: SearchMetrics | None = None,
        stored: Callable[[Sequence[Stage]], Stored] = lambda _: Stored(),
        standings: Standings | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """Prepare; `stored` says what the models of stages can use: passages come with it. `standings` knows calibrations."""
        self.engine = engine
        self.cascade = cascade
        self.settings = settings
        self.metrics = metrics or SearchMetrics()
        self.profiles = Profiles(settings, engine.database)
        self.retriever = Retriever()
        self._stored = stored
        self._standings = standings
        self._new_id = new_id
        self._places = threading.BoundedSemaphore(SEARCHES_AT_ONCE)

    def search(
        self,
        query: Query,
        scope: Scope,
        cancelled: Callable[[], bool] = never,
        arrived: float | None = None,
    ) -> SearchResponse:
        """Answer a query as far as its budget and the health of the parts allow.

        `cancelled` is asked at the start and between batches of the rerankers. The budget runs from `arrived`
        (monotonic seconds; default: now). Raises: InputError; Busy; TransientError if no system answered, if `strict`
        and anything was degraded, or if the database is away.
        """
        watch = Stopwatch(time.monotonic() if arrived is None else arrived)
        if cancelled():
            raise Busy("the caller went away before the search began", code="caller_gone")
        watch.ms["wait"] = watch.elapsed_ms()
        if watch.elapsed_ms() >= self.budget_ms(query) - KEPT_MS:
            raise Busy(f"the search waited for {watch.elapsed_ms():.0f} ms, which is all the time it had")
        if not self._places.acquire(blocking=False):
            raise Busy(f"{SEARCHES_AT_ONCE} searches are running; try again in a moment")
        try:
            response = self._search(query, scope, cancelled, watch)
        except InputError:
            raise
        except Exception:
            self.metrics.failed()
            raise
        finally:
            self._places.release()
        self.metrics.answered(response)
        _log(response)
        if query.strict and response.degraded:
            raise TransientError(_why_degraded(response), code="degraded")
        return response

    def _search(self, query: Query, scope: Scope, cancelled: Callable[[], bool], watch: Stopwatch) -> SearchResponse:
        budget_s = self.budget_ms(query) / 1000
        deadline = watch.started + max(0.001, budget_s - KEPT_MS / 1000)
        profile = self._profile(query, scope.collection)
        live = self.engine.live(scope.collection)
        refuse_uncalibrated(query, self._standing(query.profile, profile, live), profile)
        meaning = meaning_of(query)
        with watch.step("retrieve"):
            left_s = deadline - time.monotonic()
            until = time.monotonic() + max(0.001, left_s * RETRIEVAL_SHARE)
            found = self.retriever.retrieve(live, query, meaning, scope, profile.depth, until)
        with watch.step("fuse"):
            weights = {**profile.weights, **query.weights}
            fused = FUSIONS[profile.fusion](found.rankings, k=profile.rrf_k, weights=weights)
        with watch.step("load"):
            wanted = self._wanted(query, profile)
            loaded = load(self.engine.database, self.retriever, live, query, scope, found, fused, deadline, wanted)
        with watch.step("rerank"):
            ordered, stages = self._rerank(query, meaning, loaded.head, profile, deadline, cancelled)
        with watch.step("present"):
            # Asked again, for a model that was not loaded before is now.
            standing = self._standing(query.profile, profile, live)
            refuse_uncalibrated(query, standing, profile)
            reading = reading_of(query, standing, profile, found.degraded, stages)
            loaded, cut = cut_below(query, loaded, by_document(ordered), reading, stages)
            hits = rated(_hits(query, scope, live, loaded, ordered, stages), reading)
        if loaded.short is not None:
            found = found.short_of(BM25, loaded.short)
        return self._response(query, watch, found, loaded, stages, hits, ordered, profile, reading, cut)

    def standing(self, collection: str, name: str) -> Standing:
        """Return how a profile of a collection is calibrated. Raises: NotFound; StaleIndex."""
        profile = self.profiles.get(collection, name)
        if profile is None:
            raise NotFound(f"there is no profile {name!r}")
        return self._standing(name, profile, self.engine.live(collection))

    def standings(self, collections: Collection[str]) -> list[Standing]:
        """Return how every stored calibration of these collections stands."""
        stored = self._standings.all() if self._standings is not None else {}
        found = []
        for (collection, name), one in stored.items():
            if collection not in collections:
                continue
            try:
                found.append(self.standing(collection, name))
            except (NotFound, StaleIndex):
                found.append(Standing(collection, name, one, ("its profile, or its index, is not there",)))
        return found

    def _standing(self, name: str, profile: Profile, live: LiveIndexes) -> Standing:
        if self._standings is None:
            return Standing(live.collection, name, None)
        return self._standings.of(live.collection, name, profile, live.generation_id)

    def budget_ms(self, query: Query) -> float:
        """Return the whole budget of a query: its own, the settings', or the device's default; capped."""
        wanted = query.timeout_ms or self.settings.timeout_ms
        if not wanted:
            wanted = GPU_TIMEOUT_MS if self.engine.device.name.startswith("cuda") else CPU_TIMEOUT_MS
        return float(min(wanted, self.settings.max_timeout_ms))

    def _profile(self, query: Query, collection: str) -> Profile:
        profile = query.chosen or self.profiles.get(collection, query.profile)
        if profile is None:
            raise NotFound(f"there is no profile {query.profile!r}")
        return profile

    def _wanted(self, query: Query, profile: Profile) -> Wanted:
        """Return how many candidates can enter a stage, and what the stages can use of what is stored of them."""
        stages = [stage for stage in profile.stages if off_reason(stage, query.rerank) is None and not query.sort]
        depths = [min(stage.depth, query.rerank.depth or stage.depth) for stage in stages]
        return Wanted(max(depths, default=0), self._stored(stages))

    def _rerank(
        self,
        query: Query,
        meaning: str,
        head: tuple[Candidate, ...],
        profile: Profile,
        deadline: float,
        cancelled: Callable[[], bool],
    ) -> tuple[tuple[Candidate, ...], tuple[StageReport, ...]]:
        stages = stages_in_order(profile, query)
        if query.sort:
            reason = f"hits are sorted by {query.sort[0][0]}"
            return head, tuple(StageReport(stage.name, "skipped", 0, 0, 0.0, reason) for stage in stages)
        return self.cascade.rerank(meaning, head, stages, query.rerank, deadline, cancelled)

    def _response(
        self,
        query: Query,
        watch: Stopwatch,
        found: Retrieval,
        loaded: Loaded,
        stages: tuple[StageReport, ...],
        hits: tuple[Hit, ...],
        ordered: tuple[Candidate, ...],
        profile: Profile,
        reading: Reading | None,
        cut: Cut | None,
    ) -> SearchResponse:
        reports = (*found.reports, *stages)
        return SearchResponse(
            query_id=self._new_id(),
            hits=hits,
            total=loaded.matches.total,
            total_is_exact=loaded.matches.is_exact,
            facets=loaded.matches.facets,
            systems=found.reports,
            stages=stages,
            degraded=(*found.degraded, *degraded_stages(query, profile, stages)),
            timings_ms={**watch.ms, **{report.name: report.ms for report in reports if report.status != "skipped"}},
            took_ms=watch.elapsed_ms(),
            profile=query.profile,
            candidates=ordered,
            calibrated=calibrated_by(reading),
            cut=cut,
        )


class Stopwatch:
    """Times the steps of one search; it is as long as its caller has waited, since `started` (monotonic seconds)."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.ms: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block under this name."""
        started = time.monotonic()
        yield
        self.ms[name] = (time.monotonic() - started) * 1000

    def elapsed_ms(self) -> float:
        """Return the time since the search began."""
        return (time.monotonic() - self.started) * 1000


def stages_in_order(profile: Profile, query: Query) -> tuple[Stage, ...]:
    """Return the profile's stages, those that the request names first and in its order."""
    named = query.rerank.stages or ()
    stages = {stage.name: stage for stage in profile.stages}
    first = [stages[name] for name in named if name in stages]
    return (*first, *(stage for stage in profile.stages if stage.name not in named))


def degraded_stages(query: Query, profile: Profile, reports: tuple[StageReport, ...]) -> tuple[str, ...]:
    """Return the stages that were wanted and did not do all of their work."""
    wanted = {stage.name for stage in profile.stages if off_reason(stage, query.rerank) is None and not query.sort}
    return tuple(report.name for report in reports if report.name in wanted and report.status != "full")


def _hits(
    query: Query,
    scope: Scope,
    live: LiveIndexes,
    loaded: Loaded,
    ordered: tuple[Candidate, ...],
    stages: tuple[StageReport, ...],
) -> tuple[Hit, ...]:
    head = by_document(ordered)
    documents = {**by_document(loaded.tail), **head}
    if loaded.matches.ordered is not None:
        page = loaded.matches.ordered[query.offset : query.offset + query.limit]
    else:
        page = (*tuple(head)[query.offset : query.offset + query.limit], *loaded.tail_page)
    return present(documents, page, query, scope.collection, live.lexical, stages)


def _why_degraded(response: SearchResponse) -> str:
    reports = [r for r in (*response.systems, *response.stages) if r.name in response.degraded]
    return "a complete answer was asked for: " + "; ".join(f"{r.name} {r.status}: {r.reason}" for r in reports)


def _log(response: SearchResponse) -> None:
    """Write one line a query: no text of query or documents."""
    steps = " ".join(f"{name}={ms:.1f}" for name, ms in response.timings_ms.items())
    log.info(
        "search %s took_ms=%.1f %s hits=%d total=%d degraded=%s",
        response.query_id,
        response.took_ms,
        steps,
        len(response.hits),
        response.total,
        ",".join(response.degraded) or "-",
    )
