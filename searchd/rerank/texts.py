"""Reranks bare texts: (query, texts, stages) -> every text in order, and what each stage gave it.

For the drop-in rerank APIs and the playground. There is no index and no fusion: nothing is blended, the first stage reads
every text, and an answer that lacks one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from indexer.errors import Busy, TransientError
from indexer.tokens import TokenIds
from searchd.rerank.cascade import Cascade
from searchd.rerank.scales import Scale
from searchd.rerank.types import never
from searchd.settings import OPTIONS, Stage
from searchd.types import Candidate, RerankRequest, StageReport

MAX_TEXTS = 1000
WITHOUT_END_MS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RankedText:
    """One text; `index` is its place in the request, from 0."""

    index: int
    stage: str
    """The last stage that scored it."""
    scores: Mapping[str, float]
    """Raw scores, by the stages that scored it."""
    ranks: Mapping[str, int]
    """Its rank among all texts after each stage that scored any, from 1."""

    @property
    def score(self) -> float:
        """The raw score that ordered it last: comparable only with those of the same stage."""
        return self.scores[self.stage]


@dataclass(frozen=True, slots=True)
class TextRanking:
    """All texts, best first, and what became of each stage."""

    texts: tuple[RankedText, ...]
    stages: tuple[StageReport, ...]

    @property
    def degraded(self) -> tuple[StageReport, ...]:
        """The stages that did not do all of their work."""
        return tuple(report for report in self.stages if report.status != "full")


def rerank_texts(
    cascade: Cascade,
    query: str,
    texts: Sequence[str],
    stages: Sequence[Stage],
    *,
    deadline: float,
    instruction: str | None = None,
    tokens: Sequence[Mapping[str, TokenIds]] | None = None,
    beginning_only: bool = False,
    cancelled: Callable[[], bool] = never,
) -> TextRanking:
    """Rank texts by the stages in their order; ties keep the order of the request.

    The first stage reads every text, later ones those that `keep` and `depth` leave; of each all of it, as overlapping
    parts, unless `beginning_only`. `tokens` are the ids of each text that are known, by tokenizer. `deadline` is in
    monotonic seconds and the only limit of time; what cannot be done by then is not begun. Raises: TransientError
    (`degraded`) if a text got no score; Busy (`caller_gone`); LimitError if they are too much for the queue.
    """
    given = tuple(
        Candidate(f"{place:06}", "", {}, {}, text=text, tokens=known)
        for place, (text, known) in enumerate(zip(texts, tokens or [{}] * len(texts), strict=True))
    )
    request = RerankRequest(stages=tuple(stage.name for stage in stages), instruction=instruction, whole=True)
    running = for_texts(stages, len(given), "beginning" if beginning_only else "parts")
    ordered, reports = cascade.rerank(query, given, running, request, deadline, cancelled)
    if cancelled():
        raise Busy("the caller went away", code="caller_gone")
    unscored = sum(not candidate.scores for candidate in ordered)
    if unscored:
        ends = "; ".join(f"{one.name} {one.status}: {one.reason}" for one in reports if one.status != "full")
        raise TransientError(
            f"{unscored:,} of {len(given):,} texts got no score, and none may be missing: {ends}", code="degraded"
        )
    return TextRanking(_ranked(ordered, reports), reports)


def for_texts(stages: Sequence[Stage], count: int, long: str) -> tuple[Stage, ...]:
    """Return stages as they read bare texts: the first one all of them; no blend, no early stop, no budget of their own.

    A stage's own budget bounds what a search waits for; who sends texts to be scored waits for their scores.
    """
    changed = []
    for place, stage in enumerate(stages):
        depth = stage.depth if place else max(1, count)
        reading = long if stage.kind in OPTIONS["long"] else stage.long
        read = {"depth": depth, "long": reading, "budget_ms": WITHOUT_END_MS, "early_stop_margin": None}
        changed.append(msgspec.structs.replace(stage, blend=1.0, **read))
    return tuple(changed)


def _ranked(ordered: Sequence[Candidate], reports: Sequence[StageReport]) -> tuple[RankedText, ...]:
    names = [report.name for report in reports if report.scored]
    ranks: dict[str, dict[str, int]] = {candidate.passage_id: {} for candidate in ordered}
    before = {candidate.passage_id: int(candidate.passage_id) for candidate in ordered}
    for name in names:
        scored = [candidate for candidate in ordered if name in candidate.scores]
        rest = sorted((one for one in ordered if name not in one.scores), key=lambda one: before[one.passage_id])
        now = {one.passage_id: one.ranks[name] for one in scored}
        now |= {one.passage_id: rank for rank, one in enumerate(rest, start=len(scored) + 1)}
        for passage_id, rank in now.items():
            ranks[passage_id][name] = rank
        before = now
    return tuple(
        RankedText(
            index=int(candidate.passage_id),
            stage=next(name for name in reversed(names) if name in candidate.scores),
            scores={name: candidate.scores[name] for name in names if name in candidate.scores},
            ranks=ranks[candidate.passage_id],
        )
        for candidate in ordered
    )


def relevance_scores(texts: Sequence[RankedText], scales: Mapping[str, Scale]) -> list[float]:
    """Return a number from 0 to 1 for each text, never rising in the order given; not a calibrated probability.

    It is what the scale of the text's last stage makes of its raw score. Scores of different stages are not comparable: a
    text that did not reach the last stage gets its own stage's, but never more than the text before it.
    """
    if not texts:
        return []
    found = np.empty(len(texts), dtype=np.float32)
    for stage in {text.stage for text in texts}:
        scored = {place: text.scores[stage] for place, text in enumerate(texts) if stage in text.scores}
        numbers = scales[stage].relevance(np.array(list(scored.values()), dtype=np.float32))
        for place, number in zip(scored, numbers, strict=True):
            if texts[place].stage == stage:
                found[place] = number
    return [float(value) for value in np.minimum.accumulate(found)]
