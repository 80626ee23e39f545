"""The reliability diagram and its error, against figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from searchd.evaluate.reliability import reliability


def test_bins_and_error_are_those_worked_by_hand() -> None:
    # [0, .5): says .1 .2 .3, mean .2, one of three is so; [.5, 1]: says .5 .9 1, mean .8, all are so.
    bins, ece = reliability([0.1, 0.2, 0.3, 0.5, 0.9, 1.0], [False, True, False, True, True, True], bins=2)
    assert [(one.low, one.high, one.pairs) for one in bins] == [(0.0, 0.5, 3), (0.5, 1.0, 3)]
    assert [one.said for one in bins] == pytest.approx([0.2, 0.8])
    assert [one.so for one in bins] == pytest.approx([1 / 3, 1.0])
    assert ece == pytest.approx(0.5 * (1 / 3 - 0.2) + 0.5 * (1.0 - 0.8))


def test_a_bin_is_weighed_by_its_pairs_and_an_empty_one_is_left_out() -> None:
    bins, ece = reliability([0.05] * 9 + [0.95], [False] * 9 + [False])
    assert [(one.low, one.pairs) for one in bins] == [(0.0, 9), (0.9, 1)]
    assert ece == pytest.approx(0.9 * 0.05 + 0.1 * 0.95)


def test_an_edge_belongs_to_the_bin_above_it() -> None:
    bins, _ = reliability([0.1, 0.3, 0.7, 1.0], [True] * 4)
    assert [one.low for one in bins] == pytest.approx([0.1, 0.3, 0.7, 0.9])


def test_of_no_pairs_there_is_no_bin_and_no_error() -> None:
    assert reliability([], []) == ((), 0.0)


@pytest.mark.parametrize("said", [[1.1], [-0.1], [float("nan")]])
def test_what_is_no_probability_is_refused(said: list[float]) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        reliability(np.array(said), [True])


def test_each_probability_needs_its_truth() -> None:
    with pytest.raises(ValueError, match="2 probabilities are given for 1"):
        reliability([0.1, 0.2], [True])
