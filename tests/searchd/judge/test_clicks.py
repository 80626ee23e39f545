"""Weak grades of clicks: worked by hand, and recovered from simulated readers who look at the top most."""

from __future__ import annotations

import math
from collections import defaultdict
from random import Random

import pytest

from searchd.judge.clicks import (
    Evidence,
    Pair,
    assumed_examination,
    evidence_of,
    examination,
    grade_of,
    interval,
    weak_grades,
)
from searchd.judge.impressions import Impression


def shown(name: str, position: int, clicked: int, of: int, dwell_ms: int | None = 60_000) -> list[Impression]:
    """Return impressions of a document for the query `q`, the first so many clicked."""
    return [
        Impression("q", name, position, number < clicked, dwell_ms if number < clicked else None)
        for number in range(of)
    ]


def test_an_example_worked_by_hand() -> None:
    """At position 4 half of the looks are assumed: 4/g = 6 * 0.5 / (1 - 0.5 g) gives g = 0.8, hence 4 / 0.8 = 5 looks.

    Wilson with z2 = 1.6425: (0.8 + 0.1642 - 1.2816 * sqrt(0.032 + 0.0164)) / 1.3285 = 0.514, above 0.5.
    """
    found = evidence_of([*shown("first", 1, 8, 10), *shown("fourth", 4, 4, 10)])
    assert found["q", "first"].looks == pytest.approx(10)
    assert found["q", "fourth"].looks == pytest.approx(5, rel=1e-6)
    assert [one.relevance for one in found.values()] == pytest.approx([0.8, 0.8], rel=1e-6)
    assert interval(8, 10)[0] == pytest.approx(0.6016, abs=1e-3)
    assert interval(4, 5)[0] == pytest.approx(0.5135, abs=1e-3)
    assert [grade_of(one) for one in found.values()] == [3, 3]


@pytest.mark.parametrize(
    ("evidence", "grade"),
    [
        (Evidence(10, 9, 9.0), 3),
        (Evidence(10, 5, 5.0), 2),
        (Evidence(20, 4, 4.0), 1),
        (Evidence(40, 0, 0.0), 0),
        (Evidence(200, 8, 8.0), 0),
        (Evidence(200, 20, 20.0), None),
        (Evidence(10, 0, 0.0), None),
        (Evidence(1, 1, 1.0), None),
        (Evidence(0, 0, 0.0), None),
    ],
)
def test_a_grade_needs_evidence_at_both_ends(evidence: Evidence, grade: int | None) -> None:
    assert grade_of(evidence) == grade


def test_without_impressions_there_is_nothing() -> None:
    assert (weak_grades([]), evidence_of([]), examination([])) == ({}, {}, {})


def test_too_little_evidence_gives_no_grade() -> None:
    assert weak_grades([*shown("once", 1, 1, 1), *shown("unseen", 9, 0, 20), *shown("passed", 1, 0, 20)]) == {
        ("q", "passed"): 0
    }


def test_a_document_that_was_left_at_once_is_no_answer() -> None:
    long, short, untold = (weak_grades(shown("a", 1, 8, 10, dwell)) for dwell in (60_000, 900, None))
    assert (long, untold) == ({("q", "a"): 3}, {("q", "a"): 3})
    assert short == {("q", "a"): 1}


def test_one_ranking_that_never_changes_says_nothing_of_positions() -> None:
    fixed = [*shown("a", 1, 90, 100), *shown("b", 2, 5, 100), *shown("c", 3, 1, 100)]
    assert examination(fixed) == {position: pytest.approx(assumed_examination(position)) for position in (1, 2, 3)}


# -- simulated readers -----------------------------------------------------------------------------------------------

DOCUMENTS, QUERIES, ANSWERS = 8, 40, 150
TRUE = (0.02, 0.02, 0.05, 0.05, 0.2, 0.2, 0.5, 0.9)


def examined(position: int) -> float:
    return float(1 / position)


def simulated(*, opened_only: bool = False) -> tuple[list[Impression], dict[Pair, float]]:
    """Return what readers did with a mediocre ranking that changes a little from day to day, and the truth."""
    rng = Random(11)
    impressions: list[Impression] = []
    truth: dict[Pair, float] = {}
    for number in range(QUERIES):
        query = f"query {number}"
        relevance = {f"d{place}": value for place, value in enumerate(rng.sample(TRUE, DOCUMENTS))}
        truth |= {(query, name): value for name, value in relevance.items()}
        base = {name: rng.gauss(value, 0.5) for name, value in relevance.items()}
        for _ in range(ANSWERS):
            order = sorted(base, key=lambda name: -(base[name] + rng.gauss(0, 0.15)))
            answer = []
            for position, name in enumerate(order, start=1):
                clicked = rng.random() < examined(position) * relevance[name]
                answer.append(Impression(query, name, position, clicked, 30_000 if clicked else None))
            if not opened_only or any(one.clicked for one in answer):
                impressions += answer
    return impressions, truth


def click_rates(impressions: list[Impression]) -> dict[Pair, float]:
    counts: defaultdict[Pair, list[int]] = defaultdict(lambda: [0, 0])
    for one in impressions:
        counts[one.query, one.document_id][0] += one.clicked
        counts[one.query, one.document_id][1] += 1
    return {pair: clicked / times for pair, (clicked, times) in counts.items()}


def rightly_ordered(scores: dict[Pair, float], truth: dict[Pair, float]) -> float:
    """Return the share of a query's pairs of documents, unlike in truth, that scores put in the right order."""
    right = whole = 0
    for (query, name), value in truth.items():
        for (other_query, other), less in truth.items():
            if other_query == query and less < value:
                right += scores[query, name] > scores[query, other]
                whole += 1
    return right / whole


@pytest.mark.parametrize("opened_only", [False, True])
def test_relevance_is_recovered_better_than_by_click_rates(opened_only: bool) -> None:
    impressions, truth = simulated(opened_only=opened_only)
    ours = {pair: one.relevance for pair, one in evidence_of(impressions).items()}
    raw = click_rates(impressions)
    assert rightly_ordered(ours, truth) > rightly_ordered(raw, truth) + 0.02
    assert rightly_ordered(ours, truth) > 0.85
    if not opened_only:

        def error(found: dict[Pair, float]) -> float:
            return math.sqrt(sum((found[pair] - truth[pair]) ** 2 for pair in truth) / len(truth))

        assert error(ours) < 0.6 * error(raw)


def test_examination_is_learned_of_documents_that_moved() -> None:
    found = examination(simulated()[0])
    assert found[1] == 1.0
    for position in (2, 3, 4, 5):
        assert abs(found[position] - examined(position)) < abs(assumed_examination(position) - examined(position)) / 2


def test_grades_are_those_of_the_truth_or_their_neighbours() -> None:
    impressions, truth = simulated()
    grades = weak_grades(impressions)
    assert len(grades) > len(truth) / 2
    by_grade: defaultdict[int, list[float]] = defaultdict(list)
    for pair, grade in grades.items():
        by_grade[grade].append(truth[pair])
    means = [sum(by_grade[grade]) / len(by_grade[grade]) for grade in (0, 1, 2, 3)]
    assert means == sorted(means)
    assert (means[0] < 0.06, means[3] > 0.7) == (True, True)
