"""A search from question to answer: retrieve, fuse, load, rerank, present. Each arrow is a return value.

Takes a Query under a Scope; gives a SearchResponse that names every part that was late, failed or skipped.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from indexer.engine import Engine, LiveIndexes
from indexer.errors import NotFound, TransientError
from indexer.scope import Scope
from indexer.store import documents, passages
from searchd import present
from searchd.fuse import FUSIONS
from searchd.metrics import SEARCHES, STAGE_SECONDS
from searchd.rerank.cascade import Cascade
from searchd.retrieve import Retrieved, Retriever
from searchd.settings import Profile, Settings
from searchd.types import Candidate, Query, SearchResponse, StageReport

log = logging.getLogger(__name__)

ANSWER_MS = 30
"""Kept of every budget to load, present and answer."""
GPU_TIMEOUT_MS, CPU_TIMEOUT_MS = 800, 3000
DEEPEST = 10_000
"""Passages taken from the lexical index for pages beyond the fused ones and for sorting."""


@dataclass(slots=True)
class _Clock:
    """Time spent so far, by part."""

    now: Callable[[], float]
    started: float
    parts_ms: dict[str, float]

    def lap(self, name: str, since: float) -> float:
        """Record the time since `since` under `name`; return now."""
        current = self.now()
        self.parts_ms[name] = (current - since) * 1000
        return current


class SearchPipeline:
    """Answers queries. Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        cascade: Cascade,
        settings: Settings,
        retriever: Retriever | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._cascade = cascade
        self._settings = settings
        self._retriever = retriever or Retriever()
        self._clock = clock

    def timeout_ms(self, query: Query) -> int:
        """Return the whole budget of a query: what it asks for, capped, or the default of the hardware."""
        on_gpu = self._engine.device.name.startswith("cuda")
        default = self._settings.timeout_ms or (GPU_TIMEOUT_MS if on_gpu else CPU_TIMEOUT_MS)
        return min(query.timeout_ms or default, self._settings.max_timeout_ms)

    def search(self, query: Query, scope: Scope, cancelled: Callable[[], bool] = lambda: False) -> SearchResponse:
        """Answer a query for this reader.

        Raises: NotFound (collection, profile); InputError; TransientError if no system answers, or if the answer is
        degraded and the query strict.
        """
        clock = _Clock(self._clock, self._clock(), {})
        deadline = clock.started + (self.timeout_ms(query) - ANSWER_MS) / 1000
        profile = self._profile(query)
        indexes = self._engine.live(scope.collection)

        retrieved = self._retriever.retrieve(indexes, query, scope, profile.depth, deadline)
        if retrieved.down:
            reasons = "; ".join(f"{report.name}: {report.reason}" for report in retrieved.reports)
            raise TransientError(f"no system could answer ({reasons})")
        lap = clock.lap("retrieve", clock.started)
        fused = FUSIONS[profile.fusion](retrieved.rankings, profile.rrf_k, {**profile.weights, **query.weights})
        lap = clock.lap("fuse", lap)
        loaded = self._load(indexes, scope, self._deeper(indexes, query, scope, fused))
        lap = clock.lap("load", lap)
        ordered, stages = self._rerank(query, loaded, profile, deadline, cancelled)
        lap = clock.lap("rerank", lap)
        groups = present.fold(ordered)
        if query.sort:
            groups = present.sort_groups(groups, query.sort)
        page = groups[query.offset : query.offset + query.limit]
        hits = tuple(
            present.hit_of(group, rank, query, scope.collection, indexes.lexical, stages)
            for rank, group in enumerate(page, start=query.offset + 1)
        )
        total, facets = self._counts(query, scope, retrieved)
        clock.lap("present", lap)
        return self._answer(query, clock, retrieved, stages, hits, total, facets)

    def _profile(self, query: Query) -> Profile:
        profile = self._settings.profile(query.profile)
        if profile is None:
            known = ", ".join(sorted({"default", *self._settings.profiles}))
            raise NotFound(f"there is no profile {query.profile!r}; there are: {known}", code="unknown_profile")
        return profile

    def _deeper(
        self, indexes: LiveIndexes, query: Query, scope: Scope, fused: tuple[Candidate, ...]
    ) -> tuple[Candidate, ...]:
        """Add the lexical matches beyond the fused ones, in their order, when this page or a sort needs them.

        The fused head stays as it is, so that pages neither repeat nor skip a document.
        """
        documents_seen = len({candidate.document_id for candidate in fused})
        if query.mode == "semantic" or (not query.sort and query.offset + query.limit <= documents_seen):
            return fused
        further = indexes.lexical.search(query.lexical, scope, query.filter, DEEPEST).passages
        known = {candidate.passage_id for candidate in fused}
        rest = (
            Candidate(p.passage_id, p.document_id, {"bm25": p.score, "rrf": 0.0}, {"bm25": rank})
            for rank, p in enumerate(further, start=1)
            if p.passage_id not in known
        )
        return (*fused, *rest)

    def _load(self, indexes: LiveIndexes, scope: Scope, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Read texts from SQL, the judge: what it does not know, or does not let this reader see, is dropped."""
        with self._engine.database.read() as session:
            found = passages.load(session, scope, indexes.generation_id, [c.passage_id for c in candidates])
        return [
            replace(
                candidate,
                title=row.title,
                text=row.text,
                uri=row.uri,
                heading_path=row.heading_path,
                page=row.page,
                start=row.start,
                end=row.end,
                metadata=row.metadata,
            )
            for candidate in candidates
            if (row := found.get(candidate.passage_id)) is not None
        ]

    def _rerank(
        self,
        query: Query,
        loaded: Sequence[Candidate],
        profile: Profile,
        deadline: float,
        cancelled: Callable[[], bool],
    ) -> tuple[Sequence[Candidate], tuple[StageReport, ...]]:
        if query.sort or not query.text.strip():
            why = "the answer is sorted by a field" if query.sort else "there is no query text"
            return loaded, tuple(StageReport(s.name, "skipped", 0, 0, 0.0, why) for s in profile.stages)
        return self._cascade.rerank(query.text, loaded, profile.stages, query.rerank, deadline, cancelled)

    def _counts(
        self, query: Query, scope: Scope, retrieved: Retrieved
    ) -> tuple[int, Mapping[str, Mapping[str, int]]]:
        """Count the documents that match, and their facets from SQL, under the reader's scope."""
        if not query.facets:
            return len(retrieved.document_ids), {}
        with self._engine.database.read() as session:
            described = documents.described(session, scope, sorted(retrieved.document_ids))
        return len(described), present.count_facets(described.values(), query.facets)

    def _answer(
        self,
        query: Query,
        clock: _Clock,
        retrieved: Retrieved,
        stages: tuple[StageReport, ...],
        hits: tuple[object, ...],
        total: int,
        facets: Mapping[str, Mapping[str, int]],
    ) -> SearchResponse:
        reports = (*retrieved.reports, *stages)
        asked = {stage.name for stage in stages if not off_by_choice(stage)}
        degraded = tuple(
            report.name
            for report in reports
            if report.status in ("partial", "failed") or (report.status == "skipped" and report.name in asked)
        )
        took_ms = (clock.now() - clock.started) * 1000
        response = SearchResponse(
            query_id=uuid.uuid4().hex,
            hits=hits,  # type: ignore[arg-type]  # built by present.hit_of above
            total=total,
            total_is_exact=retrieved.complete,
            facets=facets,
            systems=retrieved.reports,
            stages=stages,
            degraded=degraded,
            timings_ms={**{report.name: report.ms for report in reports}, **clock.parts_ms},
            took_ms=took_ms,
            profile=query.profile,
        )
        self._record(response)
        if query.strict and degraded:
            reasons = "; ".join(f"{r.name}: {r.reason}" for r in reports if r.name in degraded)
            raise TransientError(f"the answer would be degraded ({reasons})", code="degraded")
        return response

    def _record(self, response: SearchResponse) -> None:
        """Log one line and count; no query text."""
        SEARCHES.labels("degraded" if response.degraded else "full").inc()
        for name, ms in response.timings_ms.items():
            STAGE_SECONDS.labels(name).observe(ms / 1000)
        parts = " ".join(f"{name}={ms:.0f}" for name, ms in response.timings_ms.items())
        log.info(
            "query %s took=%.0f %s hits=%d total=%d degraded=%s",
            response.query_id,
            response.took_ms,
            parts,
            len(response.hits),
            response.total,
            ",".join(response.degraded) or "-",
        )

    def close(self) -> None:
        """Let idle threads go."""
        self._retriever.close()


CHOSEN = ("reranking was switched off", "not among the stages", "switched off in", "the answer is sorted", "there is no query")


def off_by_choice(report: StageReport) -> bool:
    """Whether a stage did not run because nobody asked for it; that degrades nothing."""
    return report.status == "skipped" and (report.reason or "").startswith(CHOSEN)
