"""Pairs to calibrate on: each judged query run through the profile as it serves, and of every document the raw score that
decides on it.

Takes a workbench and a judged set; gives, by stage, scores with what is so. `calibration.py` fits curves to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from searchd.calibration import enabled_stages
from searchd.evaluate.types import JudgedData, Question
from searchd.evaluate.workbench import Workbench, fused_candidates
from searchd.present import by_document
from searchd.settings import Profile
from searchd.types import Candidate


@dataclass(frozen=True, slots=True)
class Pairs:
    """Scored pairs of one stage; arrays of one length, in the order of the queries."""

    scores: NDArray[np.float64]
    """Raw."""
    uncalibrated: NDArray[np.float64]
    """The same brought to 0 to 1 as the rerank APIs do: a logit's sigmoid."""
    relevant: NDArray[np.bool_]
    queries: NDArray[np.int64]
    """The place of each one's query."""

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(slots=True)
class _Rows:
    scores: list[float] = field(default_factory=list)
    uncalibrated: list[float] = field(default_factory=list)
    relevant: list[bool] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)

    def pairs(self) -> Pairs:
        return Pairs(
            np.array(self.scores, dtype=np.float64),
            np.array(self.uncalibrated, dtype=np.float64),
            np.array(self.relevant, dtype=np.bool_),
            np.array(self.queries, dtype=np.int64),
        )


def scored_pairs(
    bench: Workbench,
    data: JudgedData,
    profile: Profile,
    *,
    complete: bool,
    relevant_from: int,
    report: Callable[[str, int, int], None],
) -> dict[str, Pairs]:
    """Return, by stage, the pairs that it decided on: the last that scored a document's best passage, as in an answer.

    A document without a judgment is irrelevant if the judgments are `complete`, else no pair. Raises: TransientError.
    """
    rows: defaultdict[str, _Rows] = defaultdict(_Rows)
    bench.load_models(enabled_stages(profile))
    for place, topic in enumerate(data.topics):
        report("scoring", place, len(data.topics))
        _add(rows, bench, bench.ask(topic, profile.depth), place, data, profile, complete, relevant_from)
    report("scoring", len(data.topics), len(data.topics))
    return {name: found.pairs() for name, found in rows.items()}


def _add(
    rows: defaultdict[str, _Rows],
    bench: Workbench,
    question: Question,
    place: int,
    data: JudgedData,
    profile: Profile,
    complete: bool,
    relevant_from: int,
) -> None:
    grades = data.qrels[question.topic.query_id]
    ordered, _ = bench.rerank(question, fused_candidates(question, profile), profile.stages)
    best = {name: passages[0] for name, passages in by_document(ordered).items()}
    names = [stage.name for stage in reversed(enabled_stages(profile))]
    scales = bench.rerankers.scales(enabled_stages(profile), question.meaning)
    for number, stage in enumerate(names):
        # Of all that it scored, since the scale of a listwise order is over the whole of it.
        scored = [one for one in ordered if stage in one.scores]
        raw = np.array([one.scores[stage] for one in scored], dtype=np.float32)
        whole = dict(zip((one.passage_id for one in scored), scales[stage].relevance(raw), strict=True))
        for document_id, candidate in best.items():
            if not decides(stage, names[:number], candidate) or not (complete or document_id in grades):
                continue
            rows[stage].scores.append(candidate.scores[stage])
            rows[stage].uncalibrated.append(float(whole[candidate.passage_id]))
            rows[stage].relevant.append(grades.get(document_id, 0) >= relevant_from)
            rows[stage].queries.append(place)


def decides(stage: str, later: list[str], candidate: Candidate) -> bool:
    """Say whether a stage is the last that scored a candidate."""
    return stage in candidate.scores and not any(name in candidate.scores for name in later)
