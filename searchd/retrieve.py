"""Retrieval: both systems at once, each on its own thread and only as long as it may take.

Takes a query under a Scope; gives a Ranking per system that answered and a StageReport for each of them. A system that
raises, hangs or is overloaded is reported by name and reason; `fuse.py` goes on with what there is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from typing import TypeVar

from indexer.engine import LiveIndexes
from indexer.errors import Busy, InputError, TransientError
from indexer.lexical import LexicalRanking
from indexer.scope import Scope
from indexer.types import RankedPassage
from searchd.types import Mode, Query, Ranking, StageReport

log = logging.getLogger(__name__)

BM25, DENSE = "bm25", "dense"
SYSTEMS: dict[Mode, tuple[str, ...]] = {"hybrid": (BM25, DENSE), "lexical": (BM25,), "semantic": (DENSE,)}
CALLS_AT_ONCE = 64
"""Of one system. A hung call keeps its place until it ends: at this many the system is skipped, not waited for."""
DEEPEST = 100_000
"""Passages a deep page may look at."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What the systems found, and what became of each; `lexical_documents` are all lexical matches if `complete`."""

    rankings: tuple[Ranking, ...]
    reports: tuple[StageReport, ...]
    lexical_documents: frozenset[str]
    complete: bool
    degraded: tuple[str, ...]
    """Systems that were asked and did not answer."""

    def ranking(self, system: str) -> Ranking | None:
        """Return this system's ranking, None if it has none."""
        return next((ranking for ranking in self.rankings if ranking.system == system), None)

    def report(self, system: str) -> StageReport:
        """Return what became of this system."""
        return next(report for report in self.reports if report.name == system)

    def short_of(self, system: str, reason: str) -> Retrieval:
        """Return the same with this system's answer as part of what was wanted of it."""
        reports = tuple(
            replace(report, status="partial", reason=reason) if report.name == system else report
            for report in self.reports
        )
        return replace(self, reports=reports, degraded=tuple(dict.fromkeys((*self.degraded, system))))


class Lane:
    """Runs calls of one system on daemon threads, so many at once at most. A pool's hung thread would block exit."""

    def __init__(self, system: str, calls_at_once: int = CALLS_AT_ONCE) -> None:
        self.system = system
        self._calls = calls_at_once
        self._free = threading.Semaphore(calls_at_once)

    def start(self, call: Callable[[], T]) -> Future[tuple[T, float]]:
        """Start a call; its future gives the value and the ms it took. Raises: Busy when no place is free."""
        if not self._free.acquire(blocking=False):
            raise Busy(f"{self._calls} calls of it have not come back")
        future: Future[tuple[T, float]] = Future()
        threading.Thread(target=self._run, args=(call, future), name=self.system, daemon=True).start()
        return future

    def _run(self, call: Callable[[], T], future: Future[tuple[T, float]]) -> None:
        started = time.monotonic()
        try:
            value = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result((value, (time.monotonic() - started) * 1000))
        finally:
            self._free.release()


class Retriever:
    """Asks the systems a query needs. Thread-safe."""

    def __init__(self, calls_at_once: int = CALLS_AT_ONCE) -> None:
        self._lanes = {system: Lane(system, calls_at_once) for system in (BM25, DENSE)}

    def retrieve(
        self, live: LiveIndexes, query: Query, meaning: str, scope: Scope, depth: int, deadline: float
    ) -> Retrieval:
        """Return the rankings of the query's mode, `depth` each; `meaning` is what gets embedded.

        `deadline` is in monotonic seconds. Raises: InputError for a filter that an engine refuses; TransientError if
        no system that was asked answered.
        """
        started = time.monotonic()
        asked = SYSTEMS[query.mode]
        calls: dict[str, Callable[[], LexicalRanking]] = {
            BM25: lambda: live.lexical.search(query.lexical, scope, query.filter, depth),
            DENSE: lambda: _dense(live, query, meaning, scope, depth, deadline),
        }
        outcomes: dict[str, _Outcome] = {}
        pending: dict[str, Future[tuple[LexicalRanking, float]]] = {}
        for system, call in calls.items():
            if system not in asked:
                outcomes[system] = _Outcome(StageReport(system, "skipped", 0, 0, 0.0, f"mode is {query.mode}"))
            elif system == DENSE and not meaning:
                outcomes[system] = _Outcome(StageReport(system, "skipped", 0, 0, 0.0, "the query has nothing to embed"))
            else:
                self._start(system, call, pending, outcomes, depth)
        for system, future in pending.items():
            outcomes[system] = _await(system, future, depth, started, deadline)
        return _retrieval([outcomes[system] for system in calls])

    def _start(
        self,
        system: str,
        call: Callable[[], LexicalRanking],
        pending: dict[str, Future[tuple[LexicalRanking, float]]],
        outcomes: dict[str, _Outcome],
        depth: int,
    ) -> None:
        try:
            pending[system] = self._lanes[system].start(call)
        except Busy as error:
            outcomes[system] = _Outcome(StageReport(system, "skipped", 0, depth, 0.0, f"busy: {error}"), degraded=True)

    def deeper(
        self, live: LiveIndexes, query: Query, scope: Scope, found: Retrieval, documents: int, deadline: float
    ) -> tuple[RankedPassage, ...]:
        """Return a lexical ranking deep enough to name `documents` documents, or all there is; of `found` if it is that.

        Raises: TimeoutError if it does not come in time; Busy; what the index raises.
        """
        known = found.ranking(BM25)
        if known is not None and len(known.passages) < found.report(BM25).of:
            return known.passages
        depth = 4 * documents
        while True:
            call = _bound_search(live, query, scope, depth)
            deep, _ = self._lanes[BM25].start(call).result(max(0.0, deadline - time.monotonic()))
            named = len({passage.document_id for passage in deep.passages})
            if named >= documents or len(deep.passages) < depth or depth >= DEEPEST:
                return deep.passages
            depth = min(DEEPEST, depth * 4)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one system."""

    report: StageReport
    found: LexicalRanking | None = None
    degraded: bool = False


def _dense(live: LiveIndexes, query: Query, meaning: str, scope: Scope, depth: int, deadline: float) -> LexicalRanking:
    vector = live.embedder.encode_query(meaning, deadline)
    return LexicalRanking(live.vectors.search(vector, scope, query.filter, depth), frozenset(), True)


def _bound_search(live: LiveIndexes, query: Query, scope: Scope, depth: int) -> Callable[[], LexicalRanking]:
    return lambda: live.lexical.search(query.lexical, scope, query.filter, depth)


def _await(
    system: str, future: Future[tuple[LexicalRanking, float]], depth: int, started: float, deadline: float
) -> _Outcome:
    error: BaseException | None
    try:
        error = future.exception(max(0.0, deadline - time.monotonic()))
    except TimeoutError as late:
        error = late
    if error is None:
        found, ms = future.result()
        return _Outcome(StageReport(system, "full", len(found.passages), depth, ms), found)
    if isinstance(error, InputError):
        raise error
    waited = (time.monotonic() - started) * 1000
    if isinstance(error, (TimeoutError, CancelledError)):
        reason = f"no answer within {waited:.0f} ms"
    else:
        log.error("system %s failed", system, exc_info=error)
        # Only `busy` in its own words: others name folders and hosts, and every reader sees a reason.
        reason = str(error) if isinstance(error, Busy) else f"{type(error).__name__}; the daemon's log says more"
    return _Outcome(StageReport(system, "failed", 0, depth, waited, reason[:300]), degraded=True)


def _retrieval(outcomes: list[_Outcome]) -> Retrieval:
    degraded = tuple(outcome.report.name for outcome in outcomes if outcome.degraded)
    answered = [outcome for outcome in outcomes if outcome.found is not None]
    if degraded and not answered:
        reasons = "; ".join(f"{o.report.name}: {o.report.reason}" for o in outcomes if o.degraded)
        raise TransientError(f"no system that was asked answered ({reasons})", code="retrieval_down")
    lexical = next((o.found for o in answered if o.report.name == BM25), None)
    return Retrieval(
        rankings=tuple(Ranking(o.report.name, o.found.passages) for o in answered if o.found is not None),
        reports=tuple(outcome.report for outcome in outcomes),
        lexical_documents=lexical.document_ids if lexical else frozenset(),
        complete=lexical.complete if lexical else True,
        degraded=degraded,
    )
