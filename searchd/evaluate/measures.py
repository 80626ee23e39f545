"""Figures of a run against judgments, by ir-measures: means, and each query's own.

Documents without a judgment count as not relevant; judged@10 says how many of the first ten had one.
"""

from __future__ import annotations

from collections.abc import Mapping

from searchd.evaluate.types import Qrels, Run

MEASURES = {"nDCG@10": "nDCG@10", "MRR@10": "RR@10", "Recall@10": "R@10", "Recall@50": "R@50", "judged@10": "Judged@10"}
"""What figures are called here, and what ir-measures calls them."""
MAIN = "nDCG@10"

ByQuery = Mapping[str, Mapping[str, float]]
"""Value by measure and query id."""


def by_query(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """Return every measure of every judged query, in the order of `qrels`; a query without a ranking has 0."""
    import ir_measures

    judged = [
        ir_measures.Qrel(query_id, document_id, grade)
        for query_id, of_query in qrels.items()
        for document_id, grade in of_query.items()
    ]
    ranked = [
        ir_measures.ScoredDoc(query_id, document_id, -float(rank))
        for query_id in qrels
        for rank, document_id in enumerate(run.get(query_id, ()))
    ]
    wanted = {ir_measures.parse_measure(theirs): ours for ours, theirs in MEASURES.items()}
    found: dict[str, dict[str, float]] = {name: dict.fromkeys(qrels, 0.0) for name in MEASURES}
    for one in ir_measures.iter_calc(list(wanted), judged, ranked) if ranked else ():
        found[wanted[one.measure]][one.query_id] = float(one.value)
    return found


def means(values: ByQuery) -> dict[str, float]:
    """Return the mean of each measure over its queries; 0 of none."""
    return {name: sum(of.values()) / len(of) if of else 0.0 for name, of in values.items()}
