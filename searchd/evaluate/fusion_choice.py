"""Fusions tuned on the judged queries, honestly: each query's order comes from the choice that the other folds made.

Takes questions and their grades; gives a run over all queries. `measuring.py` shows it beside plain RRF.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.evaluate.measures import MAIN, by_query
from searchd.evaluate.trace import document_order, fusion_step
from searchd.evaluate.types import Qrels, Question, Run
from searchd.evaluate.workbench import fused_candidates
from searchd.settings import Profile

FOLDS = 5
SEED = 7
TOP = 10
"""Documents that the choice looks at: its measure reads no more."""
RRF_K = (60.0, 10.0, 20.0, 40.0, 100.0)
RRF_DENSE = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)
LINEAR_DENSE = (0.5, *(share / 20 for share in range(1, 20) if share != 10))
"""Weights of dense, where bm25 has the rest. Ties go to what comes first: the usual values."""


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """Held-out orders by query id, what fusing took, and what was chosen."""

    run: Run
    ms: Mapping[str, float]
    note: str


def rrf_grid(depth: int) -> list[Profile]:
    """Return the reciprocal rank fusions to choose from, the plain one first."""
    return [Profile(depth=depth, rrf_k=k, weights=weights_of(dense), stages=()) for dense in RRF_DENSE for k in RRF_K]


def linear_grid(depth: int) -> list[Profile]:
    """Return the score-normalised linear fusions to choose from, equal weights first."""
    return [Profile(depth=depth, fusion="linear", weights=weights_of(dense), stages=()) for dense in LINEAR_DENSE]


def weights_of(dense: float) -> dict[str, float]:
    """Return the weights of both systems."""
    return {"bm25": round(1 - dense, 3), "dense": dense}


def cross_validate(
    questions: Sequence[Question],
    qrels: Qrels,
    grid: Sequence[Profile],
    progress: Callable[[int, int], None],
) -> CrossValidated:
    """Return each query's order under the choice that is best, by mean nDCG@10, for the queries of the other folds.

    A single query has no others: the first of the grid is taken.
    """
    found = values_of(questions, qrels, grid, progress)
    run: dict[str, tuple[str, ...]] = {}
    ms: dict[str, float] = {}
    chosen: list[Profile] = []
    for fold in folds(len(questions)):
        others = np.setdiff1d(np.arange(len(questions)), fold)
        best = grid[int(found[:, others].mean(axis=1).round(12).argmax())] if len(others) else grid[0]
        chosen.append(best)
        for place in fold:
            step = fusion_step(questions[place], best)
            query_id = questions[place].topic.query_id
            run[query_id], ms[query_id] = step.documents, step.ms
    return CrossValidated(run, ms, said_of(chosen))


def values_of(
    questions: Sequence[Question], qrels: Qrels, grid: Sequence[Profile], progress: Callable[[int, int], None]
) -> NDArray[np.float64]:
    """Return float64[len(grid), len(questions)]: nDCG@10 of every query under every choice."""
    asked = [question.topic.query_id for question in questions]
    rows = []
    for done, profile in enumerate(grid, start=1):
        run = {one.topic.query_id: document_order(fused_candidates(one, profile))[:TOP] for one in questions}
        values = by_query(qrels, run)[MAIN]
        rows.append([values[query_id] for query_id in asked])
        progress(done, len(grid))
    return np.array(rows, dtype=np.float64)


def folds(count: int, of: int = FOLDS) -> list[NDArray[np.int64]]:
    """Return the places of `count` queries in `of` parts, always the same; fewer where there are fewer queries."""
    shuffled = np.random.default_rng(SEED).permutation(count)
    return [part for part in np.array_split(shuffled, min(of, max(1, count))) if len(part)]


def said_of(chosen: Sequence[Profile]) -> str:
    """Say what the folds chose, the most frequent first."""
    words = Counter(
        (f"k {one.rrf_k:g}, " if one.fusion == "rrf" else "") + f"dense {one.weights['dense']:g}" for one in chosen
    )
    picked = "; ".join(f"{what} in {count}" for what, count in words.most_common())
    return f"cross-validated over {len(chosen)} folds of queries, figures of held-out ones; chosen: {picked}"
