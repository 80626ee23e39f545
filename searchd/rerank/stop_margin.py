"""Which `early_stop_margin` judged queries bear: replays the rule over known scores, fits the margin, tries it on others.

Takes for each query the scores of all passages that entered a stage, and how good the order is after so many of them;
gives shares and losses by margin. What measures an order is the caller's: any measure that higher is better. Pure
functions over `early_stop.py`, which searches use as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.early_stop import Array, stop_margins

MARGINS = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, math.inf)
"""Those that are tried, rising; the last one never stops."""
MOST_LOSS = 0.002
"""Of the measure, which a margin may cost."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One judged query under each margin in order, the last of which never stops."""

    counts: NDArray[np.intp]
    """Passages scored."""
    quality: Array


@dataclass(frozen=True, slots=True)
class Effect:
    """What a margin does over some queries: the share of pairs that are scored, and the mean measure with and without."""

    margin: float
    share: float
    quality: float
    full: float
    error: float
    """Standard error of the loss: how much of it may be these queries' own."""

    @property
    def loss(self) -> float:
        """What the margin costs; less than nothing where it gains."""
        return self.full - self.quality


@dataclass(frozen=True, slots=True)
class Crossed:
    """Queries under margins that they had no part in: the margin each fold was given, and the effect over all."""

    margins: tuple[float, ...]
    share: float
    quality: float
    full: float


def replayed(
    logits: Array, fused: Array, keep: int, weight: float, margins: Sequence[float] = MARGINS
) -> NDArray[np.intp]:
    """Return intp[len(margins)]: how many passages a search scores under each margin; all logits are known."""
    found = stop_margins(logits, fused, keep, weight)
    counts: NDArray[np.intp] = np.argmax(found[None, :] >= np.asarray(margins)[:, None], axis=1)
    return counts


def effects(trials: Sequence[Trial], margins: Sequence[float] = MARGINS) -> list[Effect]:
    """Return the effect of each margin over these queries."""
    counts = np.array([trial.counts for trial in trials])
    quality = np.array([trial.quality for trial in trials])
    shares = counts.sum(axis=0) / counts[:, -1].sum()
    full = float(quality[:, -1].mean())
    errors = (quality - quality[:, -1:]).std(axis=0) / math.sqrt(len(trials))
    return [
        Effect(margin, float(share), float(mean), full, float(error))
        for margin, share, mean, error in zip(margins, shares, quality.mean(axis=0), errors, strict=True)
    ]


def fitted(found: Sequence[Effect], most_loss: float = MOST_LOSS) -> Effect:
    """Return the smallest margin down to which none costs more than this; the largest, which never stops, costs nothing.

    A smaller one that costs less than one above it does so by chance: over few queries there are several.
    """
    bearable = itertools.takewhile(lambda effect: effect.loss <= most_loss, reversed(found))
    return list(bearable)[-1]


def crossed(
    folds: Sequence[Sequence[Trial]], margins: Sequence[float] = MARGINS, most_loss: float = MOST_LOSS
) -> Crossed:
    """Give each fold the margin that is fitted on all the others, and return what comes of it over all queries."""
    chosen = []
    for place in range(len(folds)):
        others = [trial for number, fold in enumerate(folds) if number != place for trial in fold]
        chosen.append(list(margins).index(fitted(effects(others, margins), most_loss).margin))
    trials = [(trial, column) for fold, column in zip(folds, chosen, strict=True) for trial in fold]
    return Crossed(
        margins=tuple(margins[column] for column in chosen),
        share=sum(int(trial.counts[column]) for trial, column in trials)
        / sum(int(one.counts[-1]) for one, _ in trials),
        quality=float(np.mean([trial.quality[column] for trial, column in trials])),
        full=float(np.mean([trial.quality[-1] for trial, _ in trials])),
    )
