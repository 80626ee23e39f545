"""Queries whose best judged document is not among the first ten, by cause: where on its way it was lost.

Takes a trace and the query's grades; pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from searchd.evaluate.evaluation import FailureFigures
from searchd.evaluate.trace import Trace, document_order
from searchd.evaluate.types import Qrels

TOP = 10
NOT_RETRIEVED, FUSED_LOW, LEFT_LOW, HURT_BY = "not_retrieved", "fused_low", "left_low", "hurt_by"


def failures_of(traces: Sequence[Trace], qrels: Qrels, fusion: str) -> tuple[FailureFigures, ...]:
    """Return the failures of the cascade's last order; `fusion` is what its first order is called."""
    found = (failure_of(trace, qrels.get(trace.query_id, {}), fusion) for trace in traces)
    return tuple(one for one in found if one is not None)


def failure_of(trace: Trace, grades: Mapping[str, int], fusion: str) -> FailureFigures | None:
    """Return how a query failed; None if it did not, or nothing is relevant.

    Of several best documents any among the first ten will do; else the one that came nearest is named.
    """
    best = best_document(trace, grades)
    if best is None:
        return None
    ranks = [rank_of(step.documents, best) for step in trace.steps]
    if within(ranks[-1]):
        return None
    return FailureFigures(
        query_id=trace.query_id,
        document_id=best,
        title=trace.title(best),
        grade=grades[best],
        cause=cause_of(trace, best, ranks),
        ranks={**system_ranks(trace, best), **dict(zip(step_names(trace, fusion), ranks, strict=True))},
    )


def best_document(trace: Trace, grades: Mapping[str, int]) -> str | None:
    """Return the document of the best grade, the one that stands highest at the end; None if all are 0."""
    best = max(grades.values(), default=0)
    if best <= 0:
        return None
    places = {name: rank for rank, name in enumerate(trace.steps[-1].documents)}
    named = [name for name, grade in grades.items() if grade == best]
    return min(named, key=lambda name: (places.get(name, len(places)), name))


def cause_of(trace: Trace, document_id: str, ranks: Sequence[int | None]) -> str:
    """Return why a document that is not among the first ten is not; `ranks` are those after each step."""
    if ranks[0] is None:
        return NOT_RETRIEVED
    for place in reversed(range(1, len(ranks))):
        if within(ranks[place - 1]) and not within(ranks[place]):
            return f"{HURT_BY}:{trace.steps[place].name}"
    seen = any(document_id in step.seen for step in trace.steps[1:])
    return LEFT_LOW if seen else FUSED_LOW


def step_names(trace: Trace, fusion: str) -> tuple[str, ...]:
    """Return what the columns of a trace are called: the fusion, then the stages."""
    return (fusion, *(step.name for step in trace.steps[1:]))


def system_ranks(trace: Trace, document_id: str) -> dict[str, int | None]:
    """Return a document's rank by each system, among what may be read."""
    known = trace.question.passages
    return {
        ranking.system: rank_of(
            document_order([known[one.passage_id] for one in ranking.passages if one.passage_id in known]), document_id
        )
        for ranking in trace.question.rankings
    }


def rank_of(documents: Sequence[str], document_id: str) -> int | None:
    """Return a document's rank from 1, None if it is not there."""
    return documents.index(document_id) + 1 if document_id in documents else None


def within(rank: int | None) -> bool:
    """Say whether a rank is among the first ten."""
    return rank is not None and rank <= TOP
