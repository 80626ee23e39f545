"""When a difference of two models is one: by hand, by exact counts, and on drawn figures."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.train.compare import LEVEL, compared


def test_four_of_four_better_queries_are_within_noise_and_six_of_six_are_not() -> None:
    four, six = compared([0.1] * 4, [0.2] * 4), compared([0.1] * 6, [0.2] * 6)
    assert four.chance == pytest.approx(1 / 2**4, abs=0.01)
    assert six.chance == pytest.approx(1 / 2**6, abs=0.005)
    assert (four.better, six.better) == (False, True)


def test_a_thousandth_over_few_queries_is_no_improvement_and_the_answer_says_so() -> None:
    rng = np.random.default_rng(1)
    before = rng.uniform(0, 1, 40)
    after = before + rng.normal(0, 0.2, 40)
    after += 0.001 - (after - before).mean()
    found = compared(before.tolist(), after.tolist())
    assert found.after - found.before == pytest.approx(0.001)
    assert not found.better
    assert "over 40 held-out queries" in found.said and "within noise" in found.said


def test_a_constant_gain_over_many_queries_is_an_improvement() -> None:
    rng = np.random.default_rng(2)
    before = rng.uniform(0, 0.8, 200)
    found = compared(before.tolist(), (before + rng.normal(0.05, 0.1, 200)).tolist())
    assert found.better
    assert found.chance <= LEVEL
    assert "beyond noise" in found.said


def test_equal_and_worse_figures_and_none_at_all_are_no_improvement() -> None:
    assert not compared([0.5, 0.6], [0.5, 0.6]).better
    assert not compared([0.9] * 50, [0.1] * 50).better
    assert compared([], []).queries == 0
    assert not compared([], []).better


def test_queries_that_both_answer_alike_change_nothing() -> None:
    few, many = compared([0.1] * 6, [0.2] * 6), compared([0.1] * 6 + [0.5] * 90, [0.2] * 6 + [0.5] * 90)
    assert few.chance == many.chance
    assert (many.queries, many.differ) == (96, 6)
