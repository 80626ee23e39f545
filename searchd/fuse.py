"""Fusion: several systems' rankings of passages -> one ordered list of candidates. Pure functions.

Takes what `retrieve.py` found; gives candidates with every system's score and rank and the fused one, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from searchd.types import Candidate, Ranking

RRF = "rrf"


class Fusion(Protocol):
    """A way to fuse; registered in FUSIONS."""

    def __call__(self, rankings: Sequence[Ranking], *, k: float, weights: Mapping[str, float]) -> tuple[Candidate, ...]:
        """Return every passage of any ranking once, best first, ties by passage_id."""


def reciprocal_rank_fusion(
    rankings: Sequence[Ranking], *, k: float = 60.0, weights: Mapping[str, float] | None = None
) -> tuple[Candidate, ...]:
    """Order passages by the sum over systems of weight / (k + rank), rank from 1; a missing weight is 1.

    No rankings, or empty ones, give no candidates. A passage that a ranking repeats counts at its first place.
    Source: Cormack, Clarke, Buettcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning
    Methods", SIGIR 2009.
    """
    documents: dict[str, str] = {}
    scores: dict[str, dict[str, float]] = {}
    ranks: dict[str, dict[str, int]] = {}
    fused: dict[str, float] = {}
    for ranking in rankings:
        weight = 1.0 if weights is None else weights.get(ranking.system, 1.0)
        for rank, passage in enumerate(ranking.passages, start=1):
            of_passage = ranks.setdefault(passage.passage_id, {})
            if ranking.system in of_passage:
                continue
            of_passage[ranking.system] = rank
            scores.setdefault(passage.passage_id, {})[ranking.system] = passage.score
            documents[passage.passage_id] = passage.document_id
            fused[passage.passage_id] = fused.get(passage.passage_id, 0.0) + weight / (k + rank)
    ordered = sorted(fused, key=lambda passage_id: (-fused[passage_id], passage_id))
    return tuple(
        Candidate(
            passage_id=passage_id,
            document_id=documents[passage_id],
            scores={**scores[passage_id], RRF: fused[passage_id]},
            ranks={**ranks[passage_id], RRF: place},
        )
        for place, passage_id in enumerate(ordered, start=1)
    )


FUSIONS: dict[str, Fusion] = {"rrf": reciprocal_rank_fusion}
