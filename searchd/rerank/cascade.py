"""The cascade: stages of rerankers over the fused candidates, within their budgets.

Takes candidates in fused order; gives them reordered, each with the scores it got by name, and a report per stage.
A stage that is late or down leaves the order as it found it and says so. Neighbours: `wish.py`, `order.py`,
`early_stop.py`.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from indexer.errors import Busy, InputError, TransientError
from searchd.rerank.early_stop import stop_at, stop_margins
from searchd.rerank.order import apply_scores, fused_scores
from searchd.rerank.text import passage_text
from searchd.rerank.types import (
    BadScores,
    LongInstruction,
    PartScores,
    PassageText,
    QueryCut,
    Reranker,
    ScoreRequest,
    public_reason,
)
from searchd.rerank.wish import off_reason, request_of
from searchd.settings import Stage
from searchd.types import Candidate, RerankRequest, StageReport, StageStatus

log = logging.getLogger(__name__)

CALLER_GONE = "the caller went away"


@dataclass(frozen=True, slots=True)
class _Scored:
    """What one stage did: raw logits by passage id, and how it ended."""

    logits: Mapping[str, float]
    report: StageReport


@dataclass(frozen=True, slots=True)
class _End:
    """How a stage ended; `settled_at`: after so many its order was settled, and what else was scored does not count."""

    status: StageStatus
    reason: str | None = None
    settled_at: int | None = None


@dataclass(slots=True)
class _Found:
    """What a stage has so far, whatever ends it: raw logits by passage id, and how far it reads the query."""

    logits: dict[str, float] = field(default_factory=dict)
    cut: QueryCut | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """What one stage has to do; `started` in monotonic seconds, `limit` in words."""

    wish: ScoreRequest
    stage: Stage
    entering: Sequence[Candidate]
    passages: Sequence[PassageText]
    reranker: Reranker
    limit: str
    started: float
    unscored: dict[str, str] = field(default_factory=dict)
    """Passages that can have no score, by id, and why."""

    @property
    def may_stop(self) -> bool:
        """Whether the stage ends when its order is settled."""
        return self.stage.early_stop_margin is not None and not self.wish.whole


class Cascade:
    """Runs stages; `load` gives the reranker of a stage. Thread-safe."""

    def __init__(self, load: Callable[[Stage], Reranker], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock

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
        earlier stage only, by that; then fused order; ties by passage_id. Raises: InputError about the request's instruction.
        """
        ordered = list(candidates)
        reports: list[StageReport] = []
        level: dict[str, tuple[int, float]] = {}
        read: dict[str, PassageText] = {}
        fused = {candidate.passage_id: place for place, candidate in enumerate(candidates)}
        width: int | None = request.depth
        for number, stage in enumerate(stages):
            wish = request_of(query, stage, request, number, cancelled)
            reason = off_reason(stage, request)
            if reason is not None:
                reports.append(StageReport(stage.name, "skipped", 0, 0, 0.0, reason))
                continue
            entering = ordered[: min(stage.depth, width) if width is not None else stage.depth]
            for one in entering:
                if one.passage_id not in read:
                    read[one.passage_id] = PassageText(passage_text(one), one.tokens, one.vectors)
            scored = self._run(wish, entering, read, stage, request, deadline)
            reports.append(scored.report)
            if not scored.logits:
                continue
            ordered = apply_scores(ordered, stage, scored.logits, number, level, fused)
            width = min(stage.keep, len(scored.logits))
        return tuple(ordered), tuple(reports)

    def _run(
        self,
        wish: ScoreRequest,
        entering: Sequence[Candidate],
        read: Mapping[str, PassageText],
        stage: Stage,
        request: RerankRequest,
        deadline: float,
    ) -> _Scored:
        """Score what enters a stage, in order, until done, settled or out of time."""
        started = self._clock()
        budget_ms = stage.budget_ms if request.budget_ms is None else min(stage.budget_ms, request.budget_ms)
        end = min(deadline, started + budget_ms / 1000)
        limit = "the query's time" if end == deadline else f"its budget of {budget_ms} ms"
        found = _Found()
        logits = found.logits
        try:
            ended = self._score_all(replace(wish, deadline=end), entering, read, stage, limit, found)
        except Busy as error:
            ended = _End("partial" if logits else "skipped", str(error))
        except Exception as error:
            if isinstance(error, LongInstruction) and request.instruction is not None:
                raise InputError(str(error), code="invalid_parameter") from error
            if isinstance(error, InputError) and request.whole:
                raise  # who brings the texts can bring fewer
            log.exception("stage %s failed", stage.name)
            if not isinstance(error, TransientError):
                logits.clear()
            ended = _End("partial" if logits else "failed", public_reason(error))
        return scored_of(stage, entering, found, ended, (self._clock() - started) * 1000)

    def _score_all(
        self,
        wish: ScoreRequest,
        entering: Sequence[Candidate],
        read: Mapping[str, PassageText],
        stage: Stage,
        limit: str,
        found: _Found,
    ) -> _End:
        """Score into `found` as many of the first as fit, until all is scored, settled, or time is up; say how it ended."""
        if not entering:
            return _End("full")
        started = self._clock()
        if (wish.deadline or 0.0) <= started:
            return _End("skipped", "no time was left for it")
        passages = [read[candidate.passage_id] for candidate in entering]
        work = _Work(wish, stage, entering, passages, self._load(stage), limit, started)
        logits = found.logits
        while len(logits) + len(work.unscored) < len(entering):
            ended = self._score_some(work, logits)
            if logits and found.cut is None:
                found.cut = work.reranker.query_cut(wish)
            if ended is not None:
                return ended
        if work.unscored:
            return _End("partial" if logits else "skipped", next(iter(work.unscored.values())))
        return _End("full")

    def _score_some(self, work: _Work, logits: dict[str, float]) -> _End | None:
        """Score the next ones into `logits`; return how the stage ended, None if it goes on."""
        wish, count, done = work.wish, len(work.entering), len(logits) + len(work.unscored)
        if wish.cancelled():
            return _End("partial" if logits else "skipped", CALLER_GONE)
        end = wish.deadline or 0.0
        fitting = work.reranker.fits(wish, work.passages[done:], end - self._clock())
        if wish.whole and fitting < count - done:
            return _End("skipped", f"only {done + fitting:,} of {count:,} can be scored in time")
        if fitting <= 0:
            return out_of_time(work.limit, logits, work.entering)
        if work.may_stop:
            fitting = min(fitting, max(work.reranker.at_once(wish, work.passages[done:]), work.stage.keep - done))
        batch = work.entering[done : done + fitting]
        try:
            scores = work.reranker.score(wish, work.passages[done : done + fitting])
        except PartScores as part:
            log.warning("stage %s has scores in part: %s", work.stage.name, part.__cause__)
            logits |= (found := by_id(batch, part.scores))
            work.unscored.update((one.passage_id, str(part)) for one in batch if one.passage_id not in found)
            # Of a listwise order all have a place, though not all windows were ordered.
            return None if len(found) < len(batch) else _End("partial", str(part))
        except TimeoutError as error:
            if wish.cancelled():
                return _End("partial" if logits else "skipped", CALLER_GONE)
            said = str(error)
            if not said and done:
                return out_of_time(work.limit, logits, work.entering)
            return _End(
                "partial" if logits else "failed",
                said or f"no answer within {(self._clock() - work.started) * 1000:.0f} ms",
            )
        logits |= by_id(batch, scores)
        if (
            work.may_stop
            and not work.unscored
            and (settled := settled_at(work.stage, work.entering, logits, done)) is not None
        ):
            return _End("full", f"settled after {settled} of {count}", settled)
        if len(logits) + len(work.unscored) == done + len(batch):
            return None
        if self._clock() < end and not wish.cancelled():
            raise BadScores("a score is not a number")
        return _End("partial", CALLER_GONE) if wish.cancelled() else out_of_time(work.limit, logits, work.entering)


def scored_of(stage: Stage, entering: Sequence[Candidate], found: _Found, ended: _End, ms: float) -> _Scored:
    """Return what counts of what a stage has, with its report: how it ended, and how far it read the query."""
    logits = found.logits
    counting = {
        one.passage_id: logits[one.passage_id] for one in entering[: ended.settled_at] if one.passage_id in logits
    }
    saved = 0 if ended.settled_at is None else len(entering) - len(logits)
    said = [ended.reason, None if found.cut is None or not counting else str(found.cut)]
    reason = "; ".join(one for one in said if one) or None
    report = StageReport(stage.name, ended.status, len(counting), len(entering), ms, reason, saved)
    return _Scored(counting, report)


def settled_at(stage: Stage, entering: Sequence[Candidate], logits: Mapping[str, float], after: int) -> int | None:
    """Return after how many passages a stage's order was settled, None if it is not; it was not after `after`."""
    scored = itertools.takewhile(lambda one: one.passage_id in logits, entering)
    own = np.array([logits[one.passage_id] for one in scored])
    margins = stop_margins(own, np.array(fused_scores(entering)), stage.keep, stage.blend, after=after)
    count = stop_at(margins, math.inf if stage.early_stop_margin is None else stage.early_stop_margin)
    return count if count != len(entering) else None


def by_id(batch: Sequence[Candidate], scores: NDArray[np.float32]) -> dict[str, float]:
    """Return raw scores by passage id, those that came in time. Raises: BadScores."""
    if len(scores) != len(batch):
        raise BadScores(f"{len(scores)} scores came back for {len(batch)} passages")
    if np.isinf(scores).any():
        raise BadScores("a score is not a number")
    found = zip(batch, scores, strict=True)
    return {candidate.passage_id: float(score) for candidate, score in found if not np.isnan(score)}


def out_of_time(limit: str, logits: Mapping[str, float], entering: Sequence[Candidate]) -> _End:
    """Say how a stage ends that met its limit."""
    if not logits:
        return _End("skipped", f"{limit} does not suffice for one passage")
    return _End("partial", f"{limit} was reached after {len(logits)} of {len(entering)}")
