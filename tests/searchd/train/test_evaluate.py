"""Held-out figures: nDCG@10 of the fused order, of the model's own, and of both."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import numpy as np
import pytest
from numpy.typing import NDArray

from searchd.train.evaluate import evaluate
from searchd.train.prepare import HeldOut
from searchd.train.registry import Figures


def by_length(query: str, texts: Sequence[str]) -> NDArray[np.float32]:
    return np.array([len(text) for text in texts], dtype=np.float32)


def ignore(done: int, whole: int) -> None:
    """Take progress."""


def test_an_answer_that_the_model_puts_first_counts_whole_and_at_its_fused_rank_by_the_discount() -> None:
    query = HeldOut("q", "asked", ("a", "bb", "the longest"), (2,))
    found = evaluate(by_length, [query], ignore).figures
    assert found.alone == pytest.approx(1.0)
    assert found.fused == pytest.approx(1 / log2(4))
    assert found.queries == 1


def test_the_mean_is_over_queries_and_ties_keep_the_fused_order() -> None:
    first = HeldOut("q", "asked", ("same", "size"), (0,))
    second = HeldOut("r", "asked", ("same", "size"), (1,))
    assert evaluate(by_length, [first, second], ignore).figures.alone == pytest.approx((1 + 1 / log2(3)) / 2)


def test_more_texts_than_a_batch_come_back_in_their_places() -> None:
    texts = tuple("x" * (1 + (number * 7) % 40) for number in range(40))
    best = max(range(40), key=lambda number: len(texts[number]))
    assert evaluate(by_length, [HeldOut("q", "asked", texts, (best,))], ignore).figures.alone == pytest.approx(1.0)


def test_without_held_out_queries_every_figure_is_nothing() -> None:
    assert evaluate(by_length, [], ignore).figures == Figures(queries=0, fused=0.0, alone=0.0, blended=0.0)


def test_each_query_has_its_figure_in_order_and_the_weight_of_the_blend_decides() -> None:
    queries = [HeldOut("q", "asked", ("a", "bb", "the longest"), (place,)) for place in (0, 2)]
    assert evaluate(by_length, queries, ignore, blend=0.0).blended == pytest.approx((1.0, 0.5))
    assert evaluate(by_length, queries, ignore, blend=1.0).blended == pytest.approx((0.5, 1.0))
