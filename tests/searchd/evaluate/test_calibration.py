"""Curves recover known probabilities, over whole queries held out; labels that do not separate are refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.errors import InputError
from searchd.calibration import LEAST, Curve
from searchd.evaluate.calibration import FOLDS, Method, auc, fit, folds_of
from searchd.evaluate.scored_pairs import Pairs


def pairs_of(true: object = None, queries: int = 100, each: int = 20, spread: float = 3.0) -> Pairs:
    """Return pairs whose chance of relevance is `true` of their score; by default far below the score's sigmoid."""
    random = np.random.default_rng(3)
    scores = random.normal(0, spread, queries * each)
    chance = 1 / (1 + np.exp(-(0.6 * scores - 1.5))) if true is None else true(scores)  # type: ignore[operator]
    relevant = random.random(len(scores)) < chance
    return Pairs(scores, 1 / (1 + np.exp(-scores)), relevant, np.repeat(np.arange(queries), each))


@pytest.mark.parametrize("method", ["platt", "isotonic", "auto"])
def test_a_fit_recovers_the_probabilities_that_made_the_labels(method: Method) -> None:
    found = fit("large", pairs_of(queries=200), method)
    scores = np.linspace(-4, 7, 23)
    said = found.curve.probabilities(scores)
    assert np.abs(said - 1 / (1 + np.exp(-(0.6 * scores - 1.5)))).max() < (0.05 if method == "platt" else 0.15)
    assert found.ece < 0.03 < 0.1 < found.raw_ece
    assert sum(one.pairs for one in found.bins) == sum(one.pairs for one in found.raw_bins) == found.pairs == 4000
    assert found.queries == 200
    assert found.auc_ci[0] < found.auc < found.auc_ci[1]


def test_the_method_with_the_lower_held_out_loss_is_chosen() -> None:
    smooth = fit("large", pairs_of())
    stepped = fit("large", pairs_of(lambda scores: np.where(scores > 2, 0.9, np.where(scores > -2, 0.3, 0.25))))
    assert (smooth.curve.method, stepped.curve.method) == ("platt", "isotonic")
    for found in (smooth, stepped):
        assert found.log_loss[found.curve.method] == min(found.log_loss.values())


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_curve_never_falls_and_is_never_certain(method: Method) -> None:
    curve = fit("large", pairs_of(), method).curve
    said = curve.probabilities(np.linspace(-1000, 1000, 4001))
    assert (np.diff(said) >= 0).all()
    assert (said.min(), said.max()) == (LEAST, 1 - LEAST)


def test_an_isotonic_curve_is_the_line_through_its_breakpoints() -> None:
    curve = Curve(method="isotonic", x=(0.0, 1.0, 3.0), y=(0.1, 0.2, 0.6))
    assert curve.probabilities([-5, 0, 0.5, 2, 9]) == pytest.approx([0.1, 0.1, 0.15, 0.4, 0.6])


def test_folds_are_whole_queries_and_share_out_those_with_a_relevant_pair() -> None:
    pairs = pairs_of(lambda scores: np.where(np.arange(len(scores)) < 400, 0.9, 0.0))
    folds = folds_of(pairs)
    assert all(len(set(folds[pairs.queries == query])) == 1 for query in range(100))
    assert [len(set(pairs.queries[folds == fold])) for fold in range(FOLDS)] == [20] * FOLDS
    assert [len(set(pairs.queries[pairs.relevant & (folds == fold)])) for fold in range(FOLDS)] == [4] * FOLDS


def test_a_query_whose_pairs_are_all_alike_does_not_make_the_figures_look_better() -> None:
    # A score that names its query: over pairs a step curve would know every label, over queries it knows none.
    queries, each, random = 60, 20, np.random.default_rng(3)
    scores = np.repeat(random.normal(0, 1, queries), each)
    relevant = np.repeat(random.random(queries) < 0.5, each)
    pairs = Pairs(scores, np.full(len(scores), 0.5), relevant, np.repeat(np.arange(queries), each))
    with pytest.raises(InputError, match="of held-out pairs a relevant one scores higher"):
        fit("large", pairs, "isotonic")


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (pairs_of(lambda scores: np.full(len(scores), 0.3)), "of held-out pairs a relevant one scores higher"),
        (pairs_of(lambda scores: 1 / (1 + np.exp(scores))), "its score does not rise with relevance"),
        (pairs_of(queries=12), "12 queries, at least 20 are needed"),
        (
            pairs_of(lambda scores: (np.arange(len(scores)) % 90 == 0) * 1.0),
            "23 relevant pairs, at least 30 are needed",
        ),
        (pairs_of(lambda scores: (np.arange(len(scores)) % 90 > 0) * 1.0), "23 pairs that are judged and not relevant"),
        (pairs_of(lambda scores: (np.arange(len(scores)) < 160) * 1.0), "8 queries with a relevant pair"),
        (pairs_of(queries=0), "nothing that it decided on is judged"),
        (None, "nothing that it decided on is judged"),
    ],
    ids=["noise", "upside down", "few queries", "few relevant", "few others", "few relevant queries", "none", "never"],
)
def test_labels_that_do_not_separate_are_refused_with_the_reason(pairs: Pairs | None, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        fit("large", pairs)
    assert refused.value.code == "does_not_separate"


def test_the_area_is_that_worked_by_hand() -> None:
    said, so = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    # Of four couples: .4 over .1, .4 beside .4, .8 over .1, .8 over .4.
    assert auc(said, so, np.ones(4)) == pytest.approx(3.5 / 4)
    assert auc(said, so, np.array([0.0, 2, 1, 0])) == pytest.approx(0.5)
