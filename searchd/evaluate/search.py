"""In which order configurations are tried on some of the questions, so that a few hundred find what thousands hold.

Fusions first, for they cost nothing; then for each family of models cascades over the best few fusions; then what differs in
one respect from the best cascade so far, until the family's share of tries is used up. Labels of the given rows alone are
looked at: cross-validation searches anew in each fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from searchd.evaluate.replay import Places
from searchd.evaluate.space import Shape, Space, deeper, fusions_of, neighbours, profile_of, starts_of
from searchd.evaluate.trial import Family, Trial, Trials, fusion_of, key_of
from searchd.fuse import FUSIONS
from searchd.settings import Profile

FUSIONS_SHARE = 0.35
"""Of all tries, for fusions at most."""


@dataclass(frozen=True, slots=True)
class Search:
    """Looks for good configurations; `most` are tried at most in one search, all families together."""

    trials: Trials
    space: Space
    most: int
    budget_ms: float

    def fusions(self, rows: Places) -> list[Trial]:
        """Return the fusions that were tried: the grid, then the best of each kind over other depths."""
        grid = fusions_of(self.space.present, tuple(FUSIONS))[: max(2, int(self.most * FUSIONS_SHARE))]
        tried = [self.trials.of(one) for one in grid]
        for best in bests(tried, rows):
            tried += [self.trials.of(one) for one in deeper(best.profile)]
        return tried

    def starts(self, rows: Places) -> list[Profile]:
        """Return the fusions that cascades are tried over: the present one, plain RRF, and the best of each kind."""
        plain = [fusion_of(self.space.present), Profile(stages=())]
        found = [*plain, *(one.profile for one in bests(self.fusions(rows), rows))]
        return list({key_of(one): one for one in found}.values())

    def run(self, rows: Places, note: Callable[[], None] = lambda: None) -> list[Trial]:
        """Return all that was tried, the present profile first."""
        tried = [self.trials.of(self.space.present), *self.fusions(rows)]
        starts = self.starts(rows)
        families = [family for family in self.space.families if family]
        share = max(2, (self.most - len(tried)) // max(1, len(families)))
        for family in families:
            tried += self._family(family, starts, rows, share)
            note()
        return list({key_of(one.profile): one for one in tried}.values())

    def _family(self, family: Family, starts: Sequence[Profile], rows: Places, share: int) -> list[Trial]:
        tried: dict[bytes, tuple[Shape, Trial]] = {}

        def look(shapes: Sequence[Shape]) -> None:
            for shape in shapes:
                profile = profile_of(self.space, shape)
                if len(tried) < share and key_of(profile) not in tried:
                    tried[key_of(profile)] = (shape, self.trials.of(profile))

        look(starts_of(self.space, family, starts))
        seen: set[bytes] = set()
        while len(tried) < share:
            fitting = [one for one in tried.values() if one[1].p95_ms <= self.budget_ms] or list(tried.values())
            shape, best = max(fitting, key=lambda one: (quality(one[1], rows), -one[1].cost_ms))
            if key_of(best.profile) in seen:
                break
            seen.add(key_of(best.profile))
            look(list(neighbours(self.space, shape, starts)))
        return [trial for _, trial in tried.values()]


def bests(tried: Sequence[Trial], rows: Places) -> list[Trial]:
    """Return the best fusion of each kind."""
    found = []
    for kind in FUSIONS:
        own = [one for one in tried if one.profile.fusion == kind]
        if own:
            found.append(max(own, key=lambda one: quality(one, rows)))
    return found


def quality(trial: Trial, rows: Places) -> float:
    """Return the mean nDCG@10 over these rows."""
    return float(np.mean(trial.ndcg[rows])) if len(rows) else 0.0
