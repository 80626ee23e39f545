"""Whether a difference between two systems on the same queries is real: paired bootstrap over queries. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS = 10_000
CONFIDENCE = 0.95
SEED = 7
ROUNDS_AT_ONCE = 500
ALIKE = 1e-9
"""What differs by less differs by rounding."""
LEAST_DIFFERING = 6
"""Queries that have to differ before a difference can be real. Five that agree do so by chance once in sixteen; resampled,
they still leave out zero, as a single query does always.

Source: the sign test: Dixon, Mood, "The statistical sign test", JASA 1946.
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean difference over `queries` queries, and its confidence interval."""

    mean: float
    low: float
    high: float
    queries: int
    differing: int | None = None
    """How many of them differ at all; None: that was not counted."""

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out zero, and enough queries differ for it to say so: more than noise."""
        enough = self.differing is None or self.differing >= LEAST_DIFFERING
        return enough and (self.low > 0 or self.high < 0)


def interval(values: Sequence[float], *, confidence: float = CONFIDENCE, rounds: int = ROUNDS) -> tuple[float, float]:
    """Return the confidence interval of a mean over queries; (0, 0) of none, and always the same for the same values.

    Source: percentile bootstrap: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993; over queries: Sakai,
    "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006.
    """
    if not len(values):
        return 0.0, 0.0
    array = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(SEED)
    drawn = [
        array[random.integers(0, len(array), (min(ROUNDS_AT_ONCE, rounds - start), len(array)))].mean(axis=1)
        for start in range(0, rounds, ROUNDS_AT_ONCE)
    ]
    edge = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(drawn), (edge, 1 - edge))
    return float(low), float(high)


def difference(before: Sequence[float], after: Sequence[float], *, confidence: float = CONFIDENCE) -> Difference:
    """Return how much better `after` is than `before`, query by query, in the same order; of no queries 0."""
    apart = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    low, high = interval(apart.tolist(), confidence=confidence)
    mean = float(apart.mean()) if len(apart) else 0.0
    return Difference(mean, low, high, len(apart), int(np.count_nonzero(np.abs(apart) > ALIKE)))
