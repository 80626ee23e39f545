"""Fusion: several systems' rankings of passages -> one ordered list of candidates. Pure functions.

Takes what `retrieve.py` found; gives candidates with every system's score and rank and the fused one, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from searchd.types import Candidate, Ranking

RRF, LINEAR = "rrf", "linear"
FUSED = (RRF, LINEAR)
"""What the fused score is called, by fusion; a candidate has one of them."""


class Fusion(Protocol):
    """A way to fuse; registered in FUSIONS."""

    def __call__(self, rankings: Sequence[Ranking], *, k: float, weights: Mapping[str, float]) -> tuple[Candidate, ...]:
        """Return every passage of any ranking once, best first, ties by passage_id."""


def reciprocal_rank_fusion(
    rankings: Sequence[Ranking], *, k: float = 60.0, weights: Mapping[str, float] | None = None
) -> tuple[Candidate, ...]:
    """Order passages by the sum over systems of weight / (k + rank), rank from 1; a missing weight is 1.

    No rankings, or empty ones, give no candidates.
    Source: Cormack, Clarke, Buettcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning
    Methods", SIGIR 2009.
    """
    fused: dict[str, float] = {}
    found = _found(rankings)
    for ranking in rankings:
        weight = 1.0 if weights is None else weights.get(ranking.system, 1.0)
        for passage_id in dict.fromkeys(passage.passage_id for passage in ranking.passages):
            share = weight / (k + found[passage_id].ranks[ranking.system])
            fused[passage_id] = fused.get(passage_id, 0.0) + share
    return _ordered(found, fused, RRF)


def linear_fusion(
    rankings: Sequence[Ranking], *, k: float = 0.0, weights: Mapping[str, float] | None = None
) -> tuple[Candidate, ...]:
    """Order passages by the weighted sum of each system's scores, brought to 0 to 1 between its lowest and its highest.

    A system that did not find a passage adds 0; one whose scores do not differ adds its whole weight, 1 if none is given.
    Each share is a score too, `linear.bm25`. `k` is RRF's and says nothing here.
    Source: min-max normalisation and CombSUM: Lee, "Analyses of Multiple Evidence Combination", SIGIR 1997; weighted, for
    lexical and dense scores: Bruch, Gai, Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023.
    """
    shares: dict[str, dict[str, float]] = {}
    found = _found(rankings)
    for ranking in rankings:
        weight = 1.0 if weights is None else weights.get(ranking.system, 1.0)
        low = min((passage.score for passage in ranking.passages), default=0.0)
        spread = max((passage.score for passage in ranking.passages), default=0.0) - low
        for passage_id in dict.fromkeys(passage.passage_id for passage in ranking.passages):
            own = (found[passage_id].scores[ranking.system] - low) / spread if spread > 0 else 1.0
            shares.setdefault(passage_id, {})[f"{LINEAR}.{ranking.system}"] = weight * own
    for passage_id, of in shares.items():
        found[passage_id].scores.update(of)
    return _ordered(found, {passage_id: sum(of.values()) for passage_id, of in shares.items()}, LINEAR)


class _Found(NamedTuple):
    """A passage's document, and each system's score and rank of it."""

    document_id: str
    scores: dict[str, float]
    ranks: dict[str, int]


def _found(rankings: Sequence[Ranking]) -> dict[str, _Found]:
    """Return every passage of any ranking with each system's score and rank; a repeated one counts at its first place."""
    found: dict[str, _Found] = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking.passages, start=1):
            of_passage = found.setdefault(passage.passage_id, _Found(passage.document_id, {}, {}))
            if ranking.system not in of_passage.ranks:
                of_passage.ranks[ranking.system] = rank
                of_passage.scores[ranking.system] = passage.score
    return found


def _ordered(found: Mapping[str, _Found], fused: Mapping[str, float], name: str) -> tuple[Candidate, ...]:
    """Return the candidates by their fused score, which is called `name`; ties by passage_id."""
    ordered = sorted(found, key=lambda passage_id: (-fused[passage_id], passage_id))
    return tuple(
        Candidate(
            passage_id,
            found[passage_id].document_id,
            {**found[passage_id].scores, name: fused[passage_id]},
            {**found[passage_id].ranks, name: place},
        )
        for place, passage_id in enumerate(ordered, start=1)
    )


def fusion_of(scores: Mapping[str, object]) -> str:
    """Return what the fused score (or rank) among these is called; RRF's name where there is none."""
    return next((name for name in FUSED if name in scores), RRF)


FUSIONS: dict[str, Fusion] = {RRF: reciprocal_rank_fusion, LINEAR: linear_fusion}
