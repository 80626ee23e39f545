"""Fitting the margin of early stops: the replay, what a margin may cost, and that no query chooses its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchd.rerank.early_stop import stop_at, stop_margins
from searchd.rerank.stop_margin import MARGINS, Trial, crossed, effects, fitted, replayed

THREE = (0.0, 1.0, math.inf)


def trial(counts: tuple[int, ...], quality: tuple[float, ...]) -> Trial:
    return Trial(np.array(counts), np.array(quality))


@given(st.lists(st.floats(-12, 12, width=32), min_size=1, max_size=40), st.integers(1, 12), st.floats(0.05, 1))
def test_a_replay_gives_for_every_margin_what_a_search_scores_under_it(
    logits: list[float], keep: int, weight: float
) -> None:
    fused = 1 / (60 + np.arange(1, len(logits) + 1))
    counts = replayed(np.array(logits), fused, keep, weight)
    margins = stop_margins(np.array(logits), fused, keep, weight)
    assert counts.tolist() == [stop_at(margins, margin) for margin in MARGINS]
    assert counts[-1] == len(logits)


def test_no_passages_are_none_to_score() -> None:
    assert set(replayed(np.zeros(0), np.zeros(0), 10, 0.4).tolist()) == {0}


def test_an_effect_is_the_share_of_all_pairs_and_the_mean_over_queries() -> None:
    found = effects([trial((10, 20, 30), (0.5, 0.6, 0.7)), trial((5, 10, 10), (0.3, 0.4, 0.3))], THREE)
    assert [effect.share for effect in found] == [15 / 40, 30 / 40, 1]
    assert [effect.quality for effect in found] == pytest.approx([0.4, 0.5, 0.5])
    assert [effect.loss for effect in found] == pytest.approx([0.1, 0, 0])
    assert [effect.error for effect in found] == pytest.approx([0.1 / math.sqrt(2), 0.1 / math.sqrt(2), 0])


def test_the_margin_fitted_is_the_smallest_down_to_which_none_costs_too_much() -> None:
    found = effects([trial((10, 20, 30), (0.4980, 0.4999, 0.5))], THREE)
    assert [fitted(found, most).margin for most in (0.0021, 0.002 - 1e-6, 0.0)] == [0.0, 1.0, math.inf]
    lucky = effects([trial((10, 20, 30), (0.5001, 0.4, 0.5))], THREE)
    assert fitted(lucky, 0.002).margin == math.inf


def test_each_fold_gets_the_margin_of_the_others() -> None:
    bears = trial((10, 20, 30), (0.5, 0.5, 0.5))
    suffers = trial((10, 20, 30), (0.1, 0.2, 0.5))
    found = crossed([[bears, bears], [suffers]], THREE)
    assert found.margins == (math.inf, 0.0)
    assert found.share == pytest.approx(70 / 90)
    assert found.quality == pytest.approx((0.5 + 0.5 + 0.1) / 3)
    assert found.full == pytest.approx(0.5)
