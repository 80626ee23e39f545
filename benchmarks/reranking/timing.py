"""How it is timed and judged: all take turns on the same pairs, ratios of medians, and scores held against float32.

Takes scoring functions by name and groups; gives seconds per round, scores, and how well they agree.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import ir_measures
import numpy as np
from ir_measures import Qrel, ScoredDoc, nDCG
from numpy.typing import NDArray

from benchmarks.reranking.workload import Group, Workload

Scorer = Callable[[str, Sequence[str]], Sequence[float] | NDArray[np.float32]]
GATES = {"float": (0.999, 0.99, 0.01), "int8": (0.0, 0.95, 0.01)}
"""Precision -> least mean Spearman, least top-10 overlap, most relative loss of nDCG@10, against float32."""
DECIMALS = 4
LEAST_ROUNDS = 2


@dataclass(slots=True)
class Runs:
    """What one scorer took and gave: seconds by round, scores by query id."""

    seconds: list[float] = field(default_factory=list)
    scores: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def in_turns(scorers: Mapping[str, Scorer], groups: Sequence[Group], rounds: int, until: float) -> dict[str, Runs]:
    """Let every scorer score the same group, round by round; a round is begun if it can end before `until` (perf_counter).

    The first round's order is turned each time, so that none always runs behind the same other.
    """
    runs = {name: Runs() for name in scorers}
    names, took = list(scorers), 0.0
    for number in range(rounds):
        round_started = time.perf_counter()
        if number >= LEAST_ROUNDS and round_started + took > until:
            break
        group = groups[number % len(groups)]
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            scores = scorers[name](group.query, group.passages)
            runs[name].seconds.append(time.perf_counter() - started)
            runs[name].scores[group.query_id] = np.asarray(scores, dtype=np.float32)
        took = time.perf_counter() - round_started
    return runs


def ratio(theirs: Runs, ours: Runs) -> float:
    """Return how many times as fast as they we are: the ratio of medians."""
    return statistics.median(theirs.seconds) / statistics.median(ours.seconds)


def pairs_per_s(runs: Runs, pairs: int) -> float:
    """Return the median throughput of rounds of so many pairs."""
    return pairs / statistics.median(runs.seconds)


def agreement(workload: Workload, plain: Runs, runs: Runs) -> dict[str, float]:
    """Return Spearman (mean and least), top-10 overlap and relative loss of nDCG@10 against plain float32 scores."""
    groups = [group for group in workload.groups if group.query_id in plain.scores and group.query_id in runs.scores]
    pairs = [(plain.scores[group.query_id], runs.scores[group.query_id]) for group in groups]
    rhos = [spearman(one, other) for one, other in pairs]
    tops = [(top(one), top(other)) for one, other in pairs]
    places, apart = sum(len(one) for one, _ in tops), sum(len({*one} - {*other}) for one, other in tops)
    before, after = ndcg(workload, groups, plain), ndcg(workload, groups, runs)
    return {
        "queries": len(groups),
        "spearman_mean": statistics.mean(rhos),
        "spearman_least": min(rhos),
        "top10_overlap": 1 - apart / places,
        "top10_places": places,
        "top10_differ": apart,
        "ndcg10": after,
        "ndcg10_loss": (before - after) / before if before else 0.0,
    }


def passes(found: Mapping[str, float], precision: str) -> bool:
    """Say whether scores agree well enough with float32.

    One place of all may differ: with fewer than ten queries a single near-tie is more than the share allowed.
    """
    rho, overlap, loss = GATES[precision]
    same = found["top10_differ"] <= max(1.0, (1 - overlap) * found["top10_places"])
    return found["spearman_mean"] >= rho and same and found["ndcg10_loss"] <= loss


def ndcg(workload: Workload, groups: Sequence[Group], runs: Runs) -> float:
    """Return the mean nDCG@10 over these queries, a document by its best passage."""
    qrels = [
        Qrel(group.query_id, name, grade) for group in groups for name, grade in workload.qrels[group.query_id].items()
    ]
    run = []
    for group in groups:
        best: dict[str, float] = {}
        for name, score in zip(group.documents, runs.scores[group.query_id], strict=True):
            best[name] = max(best.get(name, -np.inf), float(score))
        run += [ScoredDoc(group.query_id, name, score) for name, score in best.items()]
    return float(ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10])


def top(scores: NDArray[np.float32], most: int = 10) -> list[int]:
    """Return the places of the best scores; ties in their order."""
    return [int(place) for place in np.argsort(-scores, kind="stable")[:most]]


def spearman(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the rank correlation, ties at their mean rank; scores that are the same to DECIMALS are ties.

    Passages that stand in a corpus twice have one score, and padding moves its last bits. Source: Spearman, 1904.
    """
    ranks = [mean_ranks(scores.round(DECIMALS)) for scores in (one, other)]
    found: NDArray[np.float64] = np.corrcoef(ranks[0], ranks[1])
    return float(found[0, 1])


def mean_ranks(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the rank of each score, equal scores sharing their mean rank."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - counts + ends - 1) / 2.0
    return ranks[inverse]
