"""How well a model orders held-out queries: nDCG@10 of its own order, and blended with the fused one.

The model is loaded and asked as the cascade does it, so that what is measured is what will be served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.order import standardised
from searchd.train.prepare import HeldOut
from searchd.train.registry import Figures

BLEND = 0.3
"""The weight of the blended figure where no stage names another: the default of a stage's `blend`."""
AT_ONCE = 16
K = 10

Scorer = Callable[[str, Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The means, and the nDCG@10 of each query, in order, by the fused order and by the blend."""

    figures: Figures
    fused: tuple[float, ...]
    blended: tuple[float, ...]


def evaluate(
    score: Scorer, held_out: Sequence[HeldOut], progress: Callable[[int, int], None], blend: float = BLEND
) -> Evaluated:
    """Return the figures of a model over the held-out queries; all are 0 where there are none."""
    orders: dict[str, list[list[float]]] = {"fused": [], "alone": [], "blended": []}
    for done, query in enumerate(held_out, start=1):
        logits = scored(score, query)
        fused = 1.0 / (60.0 + np.arange(1, len(query.texts) + 1))
        grades = np.zeros(len(query.texts))
        grades[list(query.relevant)] = 1.0
        blended = blend * np.array(standardised(logits.tolist())) + (1 - blend) * np.array(standardised(fused.tolist()))
        for name, values in (("fused", fused), ("alone", logits), ("blended", blended)):
            order = np.argsort(-values, kind="stable")
            orders[name].append([float(grade) for grade in grades[order]])
        progress(done, len(held_out))
    found = {name: ndcgs(rows) for name, rows in orders.items()}
    means = {name: float(np.mean(values)) if values else 0.0 for name, values in found.items()}
    figures = Figures(queries=len(held_out), fused=means["fused"], alone=means["alone"], blended=means["blended"])
    return Evaluated(figures, tuple(found["fused"]), tuple(found["blended"]))


def scored(score: Scorer, query: HeldOut) -> NDArray[np.float64]:
    """Return the logits of a query's texts, run in small batches of about equal length."""
    order = sorted(range(len(query.texts)), key=lambda row: len(query.texts[row]))
    logits = np.zeros(len(query.texts))
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        logits[some] = score(query.query, [query.texts[row] for row in some])
    return logits


def ndcgs(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the nDCG@10 of each query's grades in ranked order, by ir-measures."""
    import ir_measures

    if not rows:
        return []
    qrels, run = [], []
    for query, grades in enumerate(rows):
        for rank, grade in enumerate(grades):
            qrels.append(ir_measures.Qrel(str(query), str(rank), int(grade)))
            run.append(ir_measures.ScoredDoc(str(query), str(rank), -float(rank)))
    measure = ir_measures.nDCG @ K
    found = {one.query_id: float(one.value) for one in ir_measures.iter_calc([measure], qrels, run)}
    return [found[str(query)] for query in range(len(rows))]
