"""A cascade over known scores, in numbers alone: what the product's `Cascade` would make of a question, hundreds of times over.

Takes a Question as a Sheet and raw scores by passage; gives the order, the pairs that it cost and nDCG@10. Held to
`searchd/rerank/cascade.py` and to ir-measures by `tests/searchd/evaluate/test_replay.py`. Used by `trial.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.evaluate.types import Question
from searchd.evaluate.workbench import bare_fused
from searchd.rerank.early_stop import stop_at, stop_margins
from searchd.rerank.order import fused_scores, standardised
from searchd.settings import Profile, Stage

Places = NDArray[np.intp]
Values = NDArray[np.float64]
TOP = 10
DISCOUNTS = 1 / np.log2(np.arange(2, TOP + 2))


@dataclass(frozen=True, slots=True)
class Sheet:
    """A question's passages by place, which is their order by passage id, so that ties of places are ties of ids."""

    names: tuple[str, ...]
    """Passage ids."""
    documents: Places
    """Number of each passage's document."""
    gains: tuple[float, ...]
    """Grade by number of document."""
    ideal: float
    """Discounted gain of the best order of all that was judged."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A fused order: places best first, and by place the score that stages are blended with."""

    order: Places
    scores: Values


def sheet_of(question: Question, grades: Mapping[str, int]) -> Sheet:
    """Return a question as numbers; `grades` by document id."""
    names = tuple(sorted(question.passages))
    documents = [question.passages[name].document_id for name in names]
    numbers = {document_id: number for number, document_id in enumerate(dict.fromkeys(documents))}
    best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:TOP]
    return Sheet(
        names,
        np.array([numbers[one] for one in documents], dtype=np.intp),
        tuple(float(max(0, grades.get(document_id, 0))) for document_id in numbers),
        float(np.dot(best, DISCOUNTS[: len(best)])),
    )


def fused_of(question: Question, sheet: Sheet, profile: Profile) -> Fused:
    """Return a profile's fused order, by the product's own fusion."""
    candidates = bare_fused(question, profile)
    places = {name: place for place, name in enumerate(sheet.names)}
    order = np.array([places[one.passage_id] for one in candidates], dtype=np.intp)
    scores = np.zeros(len(sheet.names))
    scores[order] = fused_scores(candidates)
    return Fused(order, scores)


def replayed(
    fused: Fused, stages: Sequence[Stage], scores_of: Callable[[Stage, Places], Values]
) -> tuple[Places, tuple[int, ...]]:
    """Return the order that stages leave, and how many passages each of them orders.

    A stage scores the first of what it is given, so those change places among themselves and all others stay.
    """
    order, counts = fused.order.copy(), []
    width = len(order)
    for stage in stages:
        entering = order[: min(stage.depth, width)]
        if not len(entering):
            counts.append(0)
            continue
        own = scores_of(stage, entering)
        count = settled_count(own, fused.scores[entering], stage)
        head = entering[:count]
        values = stage.blend * z_scores(own[:count]) + (1 - stage.blend) * z_scores(fused.scores[head])
        order[:count] = head[np.lexsort((head, -values))]
        width = min(stage.keep, count)
        counts.append(count)
    return order, tuple(counts)


def z_scores(values: Values) -> Values:
    """Return z-scores as the product's blends have them."""
    return np.array(standardised(values.tolist()), dtype=np.float64)


def settled_count(own: Values, fused: Values, stage: Stage) -> int:
    """Return after how many passages a stage stops; all of them without a margin."""
    if stage.early_stop_margin is None:
        return len(own)
    count = stop_at(stop_margins(own, fused, stage.keep, stage.blend), stage.early_stop_margin)
    return len(own) if count is None else count


def ndcg(sheet: Sheet, order: Places) -> float:
    """Return nDCG@10 of the documents in the order of their best passages; 0 where nothing is relevant.

    Source: Jarvelin, Kekalainen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, with the grade as gain.
    """
    if not sheet.ideal:
        return 0.0
    first = list(dict.fromkeys(sheet.documents[order].tolist()))[:TOP]
    return float(np.dot([sheet.gains[one] for one in first], DISCOUNTS[: len(first)])) / sheet.ideal
