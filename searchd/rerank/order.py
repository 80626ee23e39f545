"""What the scores of a stage do to the order: blended with the fused score, by the one rule that orders all.

Takes candidates and a stage's raw logits; gives the candidates with their new scores, in their new order. Pure
functions; `cascade.py` calls them after each stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from searchd.fuse import fusion_of
from searchd.settings import Stage
from searchd.types import Candidate


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
    """Return weight * z(logit) + (1 - weight) * z(fused score) over the passages that were scored; a constant has z = 0."""
    scored = [candidate for candidate in ordered if candidate.passage_id in logits]
    stage = standardised([logits[candidate.passage_id] for candidate in scored])
    rrf = standardised(fused_scores(scored))
    return {
        candidate.passage_id: weight * own + (1 - weight) * before
        for candidate, own, before in zip(scored, stage, rrf, strict=True)
    }


def fused_scores(candidates: Sequence[Candidate]) -> list[float]:
    """Return what a stage's logits are blended with."""
    return [candidate.scores.get(fusion_of(candidate.scores), 0.0) for candidate in candidates]


def standardised(values: Sequence[float]) -> list[float]:
    """Return z-scores (population standard deviation); all zero where the values do not differ."""
    array = np.asarray(values, dtype=np.float64)
    spread = float(array.std())
    if spread < 1e-12:
        return [0.0] * len(values)
    return [float(value) for value in (array - array.mean()) / spread]
