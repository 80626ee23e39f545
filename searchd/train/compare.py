"""Whether a model is better than another one on the same queries, or only luckier: a paired randomization test.

Takes each query's figure under both models; gives the means, and how often chance alone does as well. Pure; `gate.py`
decides by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

ROUNDS = 10_000
LEVEL = 0.05
"""A difference that chance gives more often than so is none."""
SEED = 7


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Mean nDCG@10 of the model in use and of the new one, over the same held-out queries."""

    queries: int
    differ: int
    """Queries that the two models answer differently well."""
    before: float
    after: float
    chance: float
    """How often (0 to 1) the difference comes out at least as high if each query's two figures are swapped at random."""

    @property
    def better(self) -> bool:
        """Whether the new model is better by more than chance gives."""
        return self.after > self.before and self.chance <= LEVEL

    @property
    def said(self) -> str:
        """Both figures, over how many queries, and what the difference is worth, in words."""
        figures = f"nDCG@10 {self.before:.4f} in use, {self.after:.4f} new, over {self.queries} held-out queries"
        if self.after <= self.before:
            return figures
        often = f"chance gives as much in {max(1, round(100 * self.chance))} of 100 cases"
        verdict = "beyond noise" if self.better else "within noise"
        return f"{figures} ({self.differ} differ; +{self.after - self.before:.4f} is {verdict}: {often})"


def compared(before: Sequence[float], after: Sequence[float]) -> Comparison:
    """Compare two models by their figures on the same queries, in the same order; of none, neither is better.

    Source: randomization (sign-flip) test, one-sided: Smucker, Allan, Carterette, "A comparison of statistical
    significance tests for information retrieval evaluation", CIKM 2007.
    """
    if not before:
        return Comparison(queries=0, differ=0, before=0.0, after=0.0, chance=1.0)
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    difference = new - old
    apart = difference[np.abs(difference) > 1e-12]
    signs = np.random.default_rng(SEED).choice((-1.0, 1.0), size=(ROUNDS, len(apart)))
    as_high = int((signs @ apart >= apart.sum() - 1e-12).sum())
    return Comparison(
        queries=len(old),
        differ=len(apart),
        before=float(old.mean()),
        after=float(new.mean()),
        chance=(as_high + 1) / (ROUNDS + 1),
    )
