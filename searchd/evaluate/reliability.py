"""How far a score can be read as a probability: the reliability diagram's bins, and the expected calibration error.

Takes what was said of scored pairs, and what was so; pure functions for `calibration.py` and the report.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from searchd.evaluate.evaluation import ReliabilityBin

BINS = 10


def reliability(
    probabilities: ArrayLike, relevant: ArrayLike, bins: int = BINS
) -> tuple[tuple[ReliabilityBin, ...], float]:
    """Return the bins that hold a pair, of equal width over [0, 1], and the expected calibration error; of no pairs 0.

    `probabilities` are 0 to 1 (the last bin holds 1 too), `relevant` truths in the same order.
    Raises: ValueError if they differ in number, or a probability is none.
    Source: sum over bins of pairs / all * |share that was so - mean that was said|: Naeini, Cooper, Hauskrecht, "Obtaining
    well calibrated probabilities using Bayesian binning", AAAI 2015; in equal bins Guo, Pleiss, Sun, Weinberger, "On
    calibration of modern neural networks", ICML 2017.
    """
    said = np.asarray(probabilities, dtype=np.float64)
    so = np.asarray(relevant, dtype=bool)
    if said.shape != so.shape:
        raise ValueError(f"{said.size} probabilities are given for {so.size} truths")
    if said.size and not (said.min() >= 0 and said.max() <= 1):
        raise ValueError("probabilities are 0 to 1")
    edges = np.arange(bins + 1) / bins  # linspace puts .3 below its edge
    places = np.clip(np.searchsorted(edges, said, side="right") - 1, 0, bins - 1)
    found = tuple(
        ReliabilityBin(
            low=float(edges[place]),
            high=float(edges[place + 1]),
            pairs=int(inside.sum()),
            said=float(said[inside].mean()),
            so=float(so[inside].mean()),
        )
        for place in range(bins)
        if (inside := places == place).any()
    )
    return found, ece_of(found)


def ece_of(bins: Sequence[ReliabilityBin]) -> float:
    """Return the expected calibration error of a diagram: its bins' differences, weighed by their pairs."""
    pairs = sum(one.pairs for one in bins)
    return sum(one.pairs * abs(one.so - one.said) for one in bins) / pairs if pairs else 0.0
