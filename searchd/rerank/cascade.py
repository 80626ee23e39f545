"""The cascade: stages of rerankers over the fused candidates, in small batches, within their budgets.

Takes candidates in fused order; gives them reordered, each with the scores it got by name, and a report per stage.
A stage that is late or down leaves the order as it found it and says so.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from searchd.rerank.pace import Pace
from searchd.rerank.text import passage_text
from searchd.rerank.types import Reranker
from searchd.settings import Stage
from searchd.types import Candidate, RerankRequest, StageReport, StageStatus

log = logging.getLogger(__name__)


class BadScores(ValueError):
    """What a reranker gave back is no score for each passage."""


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
        self._paces: defaultdict[tuple[str, int], Pace] = defaultdict(Pace)

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
        limit = "the query's time" if end == deadline else f"its budget of {budget_ms} ms"
        logits: dict[str, float] = {}
        try:
            status, reason = self._score_all(query, entering, stage, end, limit, cancelled, logits)
        except Exception as error:
            log.exception("stage %s failed", stage.name)
            logits.clear()
            # Every reader sees a reason; the words of a library's or a model's error name folders and hosts.
            said = str(error) if isinstance(error, BadScores) else f"{type(error).__name__}; the daemon's log says more"
            status, reason = "failed", said
        ms = (self._clock() - started) * 1000
        return _Scored(logits, StageReport(stage.name, status, len(logits), len(entering), ms, reason))

    def _score_all(
        self,
        query: str,
        entering: Sequence[Candidate],
        stage: Stage,
        end: float,
        limit: str,
        cancelled: Callable[[], bool],
        logits: dict[str, float],
    ) -> tuple[StageStatus, str | None]:
        """Score in batches into `logits` until all is scored, `end` is near or the caller is gone; say how it ended."""
        if not entering:
            return "full", None
        if end <= self._clock():
            return "skipped", "no time was left for it"
        reranker = self._load(stage)
        pace = self._paces[stage.model, stage.max_length]
        while len(logits) < len(entering):
            if cancelled():
                return ("partial" if logits else "skipped"), "the caller went away"
            asked = self._clock()
            size = pace.size(end - asked, whole=not logits and (end - asked) * 2000 >= stage.budget_ms)
            if size == 0:
                return out_of_time(limit, logits, entering)
            batch = entering[len(logits) : len(logits) + size]
            try:
                logits |= score_batch(reranker, query, batch, stage.max_length, end)
            except TimeoutError as error:
                waited = self._clock() - asked
                if not pace.too_late(len(batch), waited):
                    return out_of_time(limit, logits, entering)
                why = str(error) or f"no answer within {waited * 1000:.0f} ms"
                return "failed", f"{why}, after {len(logits)} of {len(entering)}" if logits else why
            pace.in_time(len(batch), self._clock() - asked)
        return "full", None


def score_batch(
    reranker: Reranker, query: str, batch: Sequence[Candidate], max_length: int, end: float
) -> dict[str, float]:
    """Return raw logits by passage id. Raises: TimeoutError at `end`; BadScores."""
    scores = reranker.score(query, [passage_text(one) for one in batch], max_length=max_length, deadline=end)
    if len(scores) != len(batch):
        raise BadScores(f"{len(scores)} scores came back for {len(batch)} passages")
    if not np.isfinite(scores).all():
        raise BadScores("a score is not a number")
    return {candidate.passage_id: float(score) for candidate, score in zip(batch, scores, strict=True)}


def out_of_time(limit: str, logits: Mapping[str, float], entering: Sequence[Candidate]) -> tuple[StageStatus, str]:
    """Say how a stage ends that met its limit."""
    if not logits:
        return "skipped", f"{limit} does not suffice for one batch"
    return "partial", f"{limit} was reached after {len(logits)} of {len(entering)}"


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

    scored: list[Candidate] = []
    for rank, candidate in enumerate(sorted(ordered, key=key), start=1):
        if candidate.passage_id in logits:
            scores = {stage.name: logits[candidate.passage_id], f"{stage.name}.blend": values[candidate.passage_id]}
            candidate = replace(
                candidate,
                scores={**candidate.scores, **scores},
                ranks={**candidate.ranks, stage.name: rank},
            )
        scored.append(candidate)
    return scored


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
