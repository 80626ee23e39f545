"""Rank flows: how the documents of the queries that moved most went through the stages.

Takes traces, grades and each query's figures; the report draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from searchd.evaluate.evaluation import Flow, FlowPlace, QueryFigures
from searchd.evaluate.failures import TOP, rank_of, step_names
from searchd.evaluate.systems import DEFAULT
from searchd.evaluate.trace import Trace
from searchd.evaluate.types import Qrels

SHOWN = 6


def flows_of(traces: Sequence[Trace], qrels: Qrels, queries: Sequence[QueryFigures], fusion: str) -> tuple[Flow, ...]:
    """Return the flows of the queries whose nDCG@10 the stages changed most: half of them wins, half losses, if there are.

    The greatest change comes first; without stages nothing moves.
    """
    of_query = {trace.query_id: trace for trace in traces}
    return tuple(
        flow_of(of_query[one.query_id], one.text, qrels.get(one.query_id, {}), fusion)
        for one in moved_most(queries, fusion)
    )


def moved_most(queries: Sequence[QueryFigures], fusion: str, shown: int = SHOWN) -> list[QueryFigures]:
    """Return the queries that won and lost most between fusion and `default`; one side leaves its room to the other."""

    def moved(one: QueryFigures) -> float:
        return one.ndcg[DEFAULT] - one.ndcg[fusion]

    wins = sorted((one for one in queries if moved(one) > 0), key=moved, reverse=True)
    losses = sorted((one for one in queries if moved(one) < 0), key=moved)
    half = shown // 2
    chosen = [*wins[: max(half, shown - len(losses))], *losses[: max(half, shown - len(wins))]]
    return sorted(chosen, key=lambda one: -abs(moved(one)))


def flow_of(trace: Trace, text: str, grades: Mapping[str, int], fusion: str) -> Flow:
    """Return a query's flow: documents that are among the first ten anywhere, and the relevant ones that were found."""
    orders = [step.documents for step in trace.steps]
    shown = dict.fromkeys(name for order in reversed(orders) for name in order[:TOP])
    relevant = [name for name in orders[-1] if grades.get(name, 0) > 0]
    return Flow(
        query_id=trace.query_id,
        text=text,
        columns=step_names(trace, fusion),
        places=tuple(
            FlowPlace(
                document_id=name,
                title=trace.title(name),
                grade=grades.get(name),
                ranks=tuple(rank_of(order, name) for order in orders),
            )
            for name in dict.fromkeys((*shown, *relevant))
        ),
    )
