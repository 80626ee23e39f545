"""When a stage's order is settled: how many of the passages that enter it have to be scored, in their order.

After n passages, the best of those that are left is credited with a logit `early_stop_margin` standard deviations above
the mean of those n, which with its fused score makes a blend; once `keep` of the n have as much, the stage stops. Where
that is depends on scores alone, never on time: all pages of a search agree, and judged queries can be replayed. Pure
functions: `cascade.py` asks them live, `stop_margin.py` for judged queries.

Source: the stop of the threshold algorithm (Fagin, Lotem, Naor, Optimal Aggregation Algorithms for Middleware, 2003) and
of minimal probing (Chang, Hwang, SIGMOD 2002), with a likely bound in place of the certain one, as in Theobald, Weikum,
Schenkel, Top-k Query Evaluation with Probabilistic Guarantees, VLDB 2004.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ALIKE = 1e-12
"""Scores that differ less have no spread."""
LEAST_WEIGHT = 1e-9
"""Of a stage that has no say in the blend: what it would still score changes nothing, whatever the margin."""


def stop_margins(logits: Array, fused: Array, keep: int, weight: float, *, after: int = 0) -> Array:
    """Return float64[len(logits) + 1]: for each count of scored passages the largest margin at which to stop there.

    `logits` are of the first passages, `fused` of all that enter; stopping where all are scored needs no margin (inf).
    Never to stop is -inf: at fewer than `keep`, while nothing tells how far scores spread, and up to `after`, which was
    asked before.
    """
    scored, entering = len(logits), len(fused)
    found = np.full(scored + 1, -np.inf)
    counts = np.arange(max(keep, after + 1), min(scored, entering - 1) + 1)
    if len(counts):
        found[counts] = _margins_at(counts, logits, fused, keep, max(weight, LEAST_WEIGHT))
    if scored == entering:
        found[scored] = np.inf
    return found


def stop_at(margins: Array, margin: float) -> int | None:
    """Return the first count at which a stage with this margin stops, None while it goes on."""
    (counts,) = np.nonzero(margins >= margin)
    return int(counts[0]) if len(counts) else None


def _margins_at(counts: NDArray[np.intp], logits: Array, fused: Array, keep: int, weight: float) -> Array:
    """Return float64[len(counts)]; a row of blends for each count."""
    scored = len(logits)
    own_mean, own_spread = _running(logits, counts)
    mean, spread = _running(fused[:scored], counts)
    known = (own_spread >= ALIKE) & (spread >= ALIKE)
    own_spread, spread = np.where(known, own_spread, 1.0), np.where(known, spread, 1.0)
    blends = weight * (logits - own_mean[:, None]) / own_spread[:, None]
    blends += (1 - weight) * (fused[:scored] - mean[:, None]) / spread[:, None]
    blends[np.arange(scored) >= counts[:, None]] = -np.inf
    settled = np.partition(blends, scored - keep, axis=1)[:, scored - keep]
    best_left = np.maximum.accumulate(fused[::-1])[::-1][counts]
    gap = settled - (1 - weight) * (best_left - mean) / spread
    return np.where(known, gap / weight, -np.inf)


def _running(values: Array, counts: NDArray[np.intp]) -> tuple[Array, Array]:
    """Return mean and standard deviation (of the population) of the first so many values.

    What comes after them changes no bit of it: a replay, which has all, finds what a search found that had not.
    """
    shifted = values - values[0]
    mean = np.cumsum(shifted)[counts - 1] / counts
    square = np.cumsum(shifted**2)[counts - 1] / counts
    return mean + values[0], np.sqrt(np.maximum(square - mean**2, 0.0))
