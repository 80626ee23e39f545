"""Figures: hand-worked ones, those of ir-measures itself, and intervals that know noise from a difference."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, Judged, R, nDCG

from indexer.store.judged import Judgment
from searchd.evaluate.bootstrap import difference, interval
from searchd.evaluate.measures import MEASURES, by_query, means
from searchd.judge.content import document_grades

QRELS = {"q1": {"a": 3, "b": 1, "c": 0}, "q2": {"d": 1}, "q3": {"e": 2}}
RUN = {"q1": ["x", "a", "b"], "q2": ["d"], "q9": ["a"]}


def test_figures_are_those_worked_by_hand() -> None:
    found = by_query(QRELS, RUN)
    gained, ideal = 3 / math.log2(3) + 1 / math.log2(4), 3 + 1 / math.log2(3)
    assert found["nDCG@10"]["q1"] == pytest.approx(gained / ideal)
    assert found["MRR@10"] == {"q1": 0.5, "q2": 1.0, "q3": 0.0}
    assert found["judged@10"]["q1"] == pytest.approx(2 / 3)
    assert list(found) == list(MEASURES)


def test_a_query_without_a_ranking_counts_as_nothing_found() -> None:
    assert means(by_query(QRELS, RUN))["MRR@10"] == pytest.approx(0.5)
    assert means(by_query(QRELS, {}))["nDCG@10"] == 0.0
    assert means(by_query({}, {}))["nDCG@10"] == 0.0


def test_means_equal_those_of_ir_measures_on_the_exported_run() -> None:
    random = np.random.default_rng(1)
    names = [f"d{i}" for i in range(80)]
    qrels = {f"q{i}": {str(d): int(random.integers(0, 4)) for d in random.choice(names, 9)} for i in range(20)}
    run = {f"q{i}": [str(d) for d in random.permutation(names)[:60]] for i in range(20)}
    theirs = ir_measures.calc_aggregate(
        [nDCG @ 10, RR @ 10, R @ 10, R @ 50, Judged @ 10],
        ir_measures.read_trec_qrels("".join(f"{q} 0 {d} {g}\n" for q, of in qrels.items() for d, g in of.items())),
        ir_measures.read_trec_run(
            "".join(f"{q} Q0 {d} {r} {100 - r} t\n" for q, of in run.items() for r, d in enumerate(of, start=1))
        ),
    )
    ours = means(by_query(qrels, run))
    named = {
        "nDCG@10": nDCG @ 10,
        "MRR@10": RR @ 10,
        "Recall@10": R @ 10,
        "Recall@50": R @ 50,
        "judged@10": Judged @ 10,
    }
    for name, measure in named.items():
        assert ours[name] == pytest.approx(theirs[measure], abs=1e-6)


def test_a_documents_grade_is_its_own_or_the_best_of_its_passages() -> None:
    judged = [
        Judgment("q1", "a", 1, "ann", 1.0, "p1"),
        Judgment("q1", "a", 3, "ann", 1.0, "p2"),
        Judgment("q1", "b", 2, "ann", 1.0, "p3"),
        Judgment("q1", "b", 0, "ann", 1.0),
        Judgment("q2", "c", 2, "ann", 1.0, "p4"),
    ]
    assert document_grades(judged) == {"q1": {"a": 3, "b": 0}, "q2": {"c": 2}}


def test_a_difference_is_real_where_its_interval_leaves_out_zero() -> None:
    random = np.random.default_rng(3)
    before = random.uniform(0, 1, 100)
    better = difference(before.tolist(), (before + random.normal(0.05, 0.05, 100)).tolist())
    assert better.is_real and better.low < 0.05 < better.high
    same = difference(before.tolist(), (before + random.normal(0.0, 0.2, 100)).tolist())
    assert not same.is_real
    assert difference([], []).is_real is False


@pytest.mark.parametrize(("same", "better", "real"), [(0, 1, False), (0, 5, False), (200, 5, False), (0, 6, True)])
def test_what_a_few_queries_agree_on_is_not_real(same: int, better: int, real: bool) -> None:
    found = difference([0.5] * (same + better), [0.5] * same + [0.7] * better)
    assert found.low > 0 and (found.queries, found.differing) == (same + better, better)
    assert found.is_real is real


def test_the_interval_covers_what_the_normal_approximation_gives_and_is_always_the_same() -> None:
    values = np.random.default_rng(5).normal(0.4, 0.2, 200).tolist()
    low, high = interval(values)
    half = 1.96 * np.std(values) / math.sqrt(200)
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.003)
    assert interval(values) == (low, high)
    assert interval([]) == (0.0, 0.0)
