"""Which configuration is chosen, and what such a choice is worth on questions that had no part in it.

The rule: of all that are within one standard error of the best, the cheapest. What it is worth is told by nested
cross-validation: in each of five folds the search and the rule see the other folds' questions alone, and what they
choose is measured on the fold. Pure functions over trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from searchd.evaluate.bootstrap import CONFIDENCE, Difference
from searchd.evaluate.replay import Places, Values
from searchd.evaluate.trial import Trial, fusion_of, key_of
from searchd.settings import Profile

FOLDS = 5
SAME_COST = 0.05
"""Costs that differ by less of themselves are the same: they are estimates."""
SAME_COST_MS = 1.0
ROUNDS = 1000
SEED = 7
ALIKE = 1e-12

Tried = Sequence[Trial]


@dataclass(frozen=True, slots=True)
class Pool:
    """Configurations to choose from, cheapest first, as the rule sees them."""

    trials: Tried
    ndcg: Values
    """float64[configurations, questions]"""
    costs: Values
    ranks: Values
    """2: the present configuration; 1: over its fusion; 0: others."""


@dataclass(frozen=True, slots=True)
class Held:
    """What choosing among some configurations gives on questions that had no part in the choice."""

    chosen: Trial
    """The choice by all questions."""
    ndcg: Values
    """Of each question, under what was chosen without its fold."""
    pools: Sequence[Pool]
    """What was to choose from for each fold."""
    folds: Sequence[Places]


def folds_of(count: int, seed: int, folds: int = FOLDS) -> list[Places]:
    """Return which questions each fold holds; every question is in one."""
    shuffled = np.random.default_rng(seed).permutation(count)
    return [np.sort(part) for part in np.array_split(shuffled, min(folds, count))]


def others_of(fold: Places, count: int) -> Places:
    """Return the questions outside a fold; where there are none, the fold's own."""
    others = np.setdiff1d(np.arange(count), fold)
    return others if len(others) else fold


def pool_of(tried: Tried, present: Profile) -> Pool:
    """Return some configurations as a pool."""
    ordered = sorted(tried, key=lambda one: one.cost_ms)
    own, fusion = key_of(present), key_of(fusion_of(present))
    ranks = [2.0 if key_of(one.profile) == own else float(key_of(fusion_of(one.profile)) == fusion) for one in ordered]
    costs = np.array([one.cost_ms for one in ordered])
    return Pool(ordered, np.stack([one.ndcg for one in ordered]), costs, np.array(ranks))


def chosen(tried: Tried, rows: Places, present: Profile) -> Trial:
    """Return the cheapest of those within one standard error of the best over these rows, query by query.

    Of those that cost the same the present configuration comes first, then its fusion, then the better: without need
    nothing is changed. Source: Breiman, Friedman, Olshen, Stone, "Classification and Regression Trees", 1984, 3.4.3.
    """
    pool = pool_of(tried, present)
    return pool.trials[int(picked(pool, pool.ndcg[:, rows], np.ones((len(rows), 1)))[0])]


def picked(pool: Pool, values: Values, signs: Values, behind: Values | None = None) -> Places:
    """Return intp[rounds]: what the rule chooses by float64[configurations, rows] times each column of signs.

    `behind`: by how much each configuration is worse beside that.
    """
    count, late = values.shape[1], np.zeros(len(values)) if behind is None else behind
    drawn = values @ signs / count
    means = drawn - late[:, None]
    best, rounds = means.argmax(axis=0), np.arange(signs.shape[1])
    squares = squares_apart(values)[:, best] / count
    apart = means[best, rounds] - means
    errors = np.sqrt(np.maximum(0.0, squares - (drawn[best, rounds] - drawn) ** 2) / max(1, count - 1))
    contends = apart <= errors + ALIKE
    least = pool.costs[contends.argmax(axis=0)]  # they stand by cost
    cheap = contends & (pool.costs[:, None] <= least * (1 + SAME_COST) + SAME_COST_MS)
    spread = 2 * float(np.abs(means).max()) + 1
    found: Places = np.where(cheap, pool.ranks[:, None] * spread + means, -np.inf).argmax(axis=0)
    return found


def squares_apart(values: Values) -> Values:
    """Return float64[configurations, configurations]: the sum of squared differences over rows."""
    squares = (values**2).sum(axis=1)
    found: Values = np.maximum(0.0, squares[:, None] + squares[None, :] - 2 * values @ values.T)
    return found


def held_out(
    by_fold: Sequence[Tried], by_all: Tried, folds: Sequence[Places], present: Profile, among: Callable[[Trial], bool]
) -> Held | None:
    """Return what choosing among those that `among` allows gives; None where a search tried none of them.

    `by_fold` has what was tried by a search that did not see the fold, `by_all` by one that saw all.
    """
    allowed = [[one for one in tried if among(one)] for tried in (by_all, *by_fold)]
    if not all(allowed):
        return None
    count = sum(map(len, folds))
    pools = [pool_of(tried, present) for tried in allowed[1:]]
    found = np.zeros(count)
    for fold, pool in zip(folds, pools, strict=True):
        rows = others_of(fold, count)
        (place,) = picked(pool, pool.ndcg[:, rows], np.ones((len(rows), 1)))
        found[fold] = pool.ndcg[place, fold]
    return Held(chosen(allowed[0], np.arange(count), present), found, pools, folds)


def fixed(trial: Trial, folds: Sequence[Places]) -> Held:
    """Return a configuration that nobody had to choose."""
    return Held(trial, trial.ndcg, [pool_of([trial], trial.profile)] * len(folds), folds)


def gain(before: Held, after: Held) -> Difference:
    """Return how much better one choice is than another on held-out queries, with a 95 % interval.

    Folds share their queries, and a configuration that is lucky on most is chosen in all: an interval over queries alone may
    be too narrow by half as much again. So the choices are made anew in rounds where configurations that may be the best
    differ by chance alone (each one's differences centred, their signs drawn by query, for all alike; the others are as
    much worse as they are); how far such a choice seems to gain is what the gain may be off. Source: the wild bootstrap of
    Hansen, "A test for superior predictive ability", Journal of Business and Economic Statistics 2005; why it is needed:
    Nadeau, Bengio, "Inference for the generalization error", Machine Learning 2003.
    """
    apart = after.ndcg - before.ndcg
    count = len(apart)
    signs = np.random.default_rng(SEED).choice((-1.0, 1.0), (count, ROUNDS))
    reference = before.pools[0].ndcg[0]
    by_chance = chance(after, reference, signs) - chance(before, reference, signs)
    half = float(np.quantile(np.abs(by_chance), CONFIDENCE))
    mean = float(apart.mean())
    return Difference(mean, mean - half, mean + half, count)


def chance(held: Held, reference: Values, signs: Values) -> Values:
    """Return float64[rounds]: what the choice seems to give over a reference, and does not."""
    count = len(reference)
    found = np.zeros(signs.shape[1])
    for fold, pool in zip(held.folds, held.pools, strict=True):
        apart = pool.ndcg - reference
        apart = apart - apart.mean(axis=1, keepdims=True)
        rows = others_of(fold, count)
        places = picked(pool, apart[:, rows], signs[rows], surely_behind(pool))
        found += (apart[:, fold] @ signs[fold])[places, np.arange(signs.shape[1])]
    return found / count


def surely_behind(pool: Pool) -> Values:
    """Return by how much each configuration is worse than the best of all, 0 for those that may be as good.

    The line is drawn at sqrt(2 log log n) standard errors, as Hansen does (see `gain`), but from the best, not from what is
    to be beaten: it is an interval that is wanted, where a test would do with the worst case.
    """
    count = pool.ndcg.shape[1]
    means = pool.ndcg.mean(axis=1)
    best = int(means.argmax())
    apart = means[best] - means
    squares = ((pool.ndcg[best] - pool.ndcg) ** 2).mean(axis=1)
    errors = np.sqrt(np.maximum(0.0, squares - apart**2) / max(1, count - 1))
    line = math.sqrt(2 * math.log(max(1.0, math.log(max(3, count)))))
    found: Values = np.where(apart > line * errors, apart, 0.0)
    return found
