"""The cascade: stages of rerankers over the fused candidates, in small batches, within their budgets.

Takes candidates in fused order; gives them reordered, each with the scores it got by name, and a report per stage.
A stage that is late or down leaves the order as it found it and says so.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from searchd.rerank.text import passage_text
from searchd.rerank.types import Reranker
from searchd.settings import Stage
from searchd.types import Candidate, RerankRequest, StageReport

log = logging.getLogger(__name__)

BATCH_MS = 40.0
"""What one batch should take, so that a late or cancelled stage stops within about that."""
FIRST_BATCH, LARGEST_BATCH = 8, 64


@dataclass(frozen=True, slots=True)
class _Scored:
    """What one stage did: raw logits by passage id, and how it ended."""

    logits: Mapping[str, float]
    report: StageReport


class Cascade:
    """Runs stages; `load` gives the reranker of a stage. Thread-safe."""

    def __init__(self, load: Callable[[Stage], Reranker], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._pairs_per_s: dict[tuple[str, int], float] = {}

    def rerank(
        self,
        query: str,
        candidates: Sequence[Candidate],
        stages: Sequence[Stage],
        request: RerankRequest,
        deadline: float,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[tuple[Candidate, ...], tuple[StageReport, ...]]:
        """Return the candidates reordered and one report per stage.

        `deadline` is in monotonic seconds, over all stages. Order: scored by the last stage, by it; then scored by an
        earlier stage only, by that; then fused order; ties by passage_id.
        """
        ordered = list(candidates)
        reports: list[StageReport] = []
        level: dict[str, tuple[int, float]] = {}
        fused = {candidate.passage_id: place for place, candidate in enumerate(candidates)}
        width: int | None = request.depth
        for number, stage in enumerate(stages):
            reason = off_reason(stage, request)
            if reason is not None:
                reports.append(StageReport(stage.name, "skipped", 0, 0, 0.0, reason))
                continue
            entering = ordered[: min(stage.depth, width) if width is not None else stage.depth]
            scored = self._run(query, entering, stage, request, deadline, cancelled)
            reports.append(scored.report)
            if not scored.logits:
                continue
            ordered = apply_scores(ordered, stage, scored.logits, number, level, fused)
            width = min(stage.keep, len(scored.logits))
        return tuple(ordered), tuple(reports)

    def _run(
        self,
        query: str,
        entering: Sequence[Candidate],
        stage: Stage,
        request: RerankRequest,
        deadline: float,
        cancelled: Callable[[], bool],
    ) -> _Scored:
        """Score what enters a stage, in order, until done or out of time."""
        started = self._clock()
        budget_ms = stage.budget_ms if request.budget_ms is None else min(stage.budget_ms, request.budget_ms)
        end = min(deadline, started + budget_ms / 1000)
        logits: dict[str, float] = {}

        def report(status: str, reason: str | None) -> _Scored:
            ms = (self._clock() - started) * 1000
            kept = {} if status == "failed" and not logits else logits
            return _Scored(kept, StageReport(stage.name, status, len(kept), len(entering), ms, reason))  # type: ignore[arg-type]  # literal by construction

        if not entering:
            return report("full", None)
        if end <= started:
            return report("skipped", "no time was left for it")
        try:
            reranker = self._load(stage)
            while len(logits) < len(entering):
                if cancelled():
                    return report("partial" if logits else "skipped", "the caller went away")
                size = self._batch_size(stage, end - self._clock())
                if size == 0:
                    return report(*self._out_of_time(stage, logits, entering, budget_ms, deadline, end))
                batch = entering[len(logits) : len(logits) + size]
                self._score(reranker, query, batch, stage, end, logits)
        except TimeoutError:
            if logits:
                return report(*self._out_of_time(stage, logits, entering, budget_ms, deadline, end))
            return report("failed", f"no answer within {(end - started) * 1000:.0f} ms")
        except Exception as error:
            log.exception("stage %s failed", stage.name)
            logits.clear()
            return report("failed", f"{type(error).__name__}: {error}"[:300])
        return report("full", None)

    def _out_of_time(
        self,
        stage: Stage,
        logits: Mapping[str, float],
        entering: Sequence[Candidate],
        budget_ms: int,
        deadline: float,
        end: float,
    ) -> tuple[str, str]:
        what = "the query's time" if end == deadline else f"its budget of {budget_ms} ms"
        if not logits:
            return "skipped", f"{what} does not suffice for one batch"
        return "partial", f"{what} was reached after {len(logits)} of {len(entering)}"

    def _score(
        self,
        reranker: Reranker,
        query: str,
        batch: Sequence[Candidate],
        stage: Stage,
        end: float,
        logits: dict[str, float],
    ) -> None:
        """Score one batch into `logits` and learn the stage's speed from it."""
        started = self._clock()
        texts = [passage_text(candidate) for candidate in batch]
        scores = reranker.score(query, texts, max_length=stage.max_length, deadline=end)
        if len(scores) != len(batch):
            raise ValueError(f"{len(scores)} scores came back for {len(batch)} passages")
        if not np.isfinite(scores).all():
            raise ValueError("a score is not a number")
        logits.update(zip((c.passage_id for c in batch), (float(score) for score in scores), strict=True))
        took = self._clock() - started
        if took > 0:
            key = (stage.model, stage.max_length)
            rate = len(batch) / took
            self._pairs_per_s[key] = 0.7 * self._pairs_per_s.get(key, rate) + 0.3 * rate

    def _batch_size(self, stage: Stage, remaining_s: float) -> int:
        """Return how many pairs to score next: about BATCH_MS worth, no more than fit; 0 if not even one does."""
        if remaining_s <= 0:
            return 0
        rate = self._pairs_per_s.get((stage.model, stage.max_length))
        if rate is None:
            return FIRST_BATCH
        wanted = max(4, min(LARGEST_BATCH, round(rate * BATCH_MS / 1000)))
        return min(wanted, math.floor(rate * remaining_s))


def off_reason(stage: Stage, request: RerankRequest) -> str | None:
    """Say why a stage does not run for this request, None if it does."""
    if not request.enabled:
        return "reranking was switched off by the request"
    if request.stages is not None:
        return None if stage.name in request.stages else "not among the stages asked for"
    return None if stage.enabled else "switched off in the profile"


def apply_scores(
    ordered: Sequence[Candidate],
    stage: Stage,
    logits: Mapping[str, float],
    number: int,
    level: dict[str, tuple[int, float]],
    fused: Mapping[str, int],
) -> list[Candidate]:
    """Give candidates this stage's scores and order all by the one rule; `level` keeps (stage, value) per passage."""
    values = blended(ordered, logits, stage.blend)
    for passage_id, value in values.items():
        level[passage_id] = (number, value)

    def key(candidate: Candidate) -> tuple[int, float, int, str]:
        known = level.get(candidate.passage_id)
        if known is None:
            return (1, 0.0, fused[candidate.passage_id], candidate.passage_id)
        return (-known[0], -known[1], 0, candidate.passage_id)

    result: list[Candidate] = []
    for rank, candidate in enumerate(sorted(ordered, key=key), start=1):
        if candidate.passage_id in logits:
            scores = {stage.name: logits[candidate.passage_id], f"{stage.name}.blend": values[candidate.passage_id]}
            candidate = replace(
                candidate,
                scores={**candidate.scores, **scores},
                ranks={**candidate.ranks, stage.name: rank},
            )
        result.append(candidate)
    return result


def blended(ordered: Sequence[Candidate], logits: Mapping[str, float], weight: float) -> dict[str, float]:
    """Return weight * z(logit) + (1 - weight) * z(rrf) over the passages that were scored; a constant has z = 0."""
    scored = [candidate for candidate in ordered if candidate.passage_id in logits]
    stage = standardised([logits[candidate.passage_id] for candidate in scored])
    rrf = standardised([candidate.scores.get("rrf", 0.0) for candidate in scored])
    return {
        candidate.passage_id: weight * own + (1 - weight) * before
        for candidate, own, before in zip(scored, stage, rrf, strict=True)
    }


def standardised(values: Sequence[float]) -> list[float]:
    """Return z-scores (population standard deviation); all zero where the values do not differ."""
    array = np.asarray(values, dtype=np.float64)
    spread = float(array.std())
    if spread < 1e-12:
        return [0.0] * len(values)
    return [float(value) for value in (array - array.mean()) / spread]
