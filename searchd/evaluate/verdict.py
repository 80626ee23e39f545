"""What tuning recommends, and how sure it may be. Four verdicts, all by held-out differences and their 95 % intervals.

`base` is the present profile, or rerank off over its fusion where the present one does not fit the budget. `tuned` is what
the choice among all configurations gives on held-out queries, `off` what the choice among those without a stage gives.

- too_few  fewer than 20 queries with a relevant document; or neither is the present cascade proven against off, nor does
           anything beat it, nor is off shown to be as good: `more` queries would settle it. The present profile stays.
- change   tuned beats base, really (the interval leaves out zero); and where off beats base as well, tuned beats off.
- off      off beats base, really; or off was chosen as the cheapest within noise, and the interval of what it costs against
           base ends above -WORTH: it is as good for all that matters, and cheaper. Or nothing else fits the budget.
- keep     else: the default stays unless it is beaten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from searchd.evaluate.bootstrap import Difference
from searchd.evaluate.replay import Values
from searchd.evaluate.select import Held, fixed, gain
from searchd.evaluate.trial import Trial, key_of

KEEP, CHANGE, OFF, TOO_FEW = "keep", "change", "off", "too_few"
LEAST_QUERIES = 20
"""With a relevant document: below, an interval over queries says little about the next ones."""
WORTH = 0.01
"""Of nDCG@10: a smaller difference is not worth having, nor counting judgments for."""
SURE, POWER = 1.959964, 0.841621
"""Normal quantiles: 5 % level, two-sided, and 80 % power."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is recommended; `more`: judged queries that would settle what is open, None if nothing is."""

    kind: str
    recommended: Trial
    over_base: Difference
    """Of `tuned`."""
    off_over_base: Difference
    more: int | None = None


def verdict_of(base: Trial, fits: bool, tuned: Held, off: Held) -> Verdict:
    """Decide; see above. `fits`: whether the present profile fits the budget, that is, whether it is `base`."""
    over, off_over = gain(fixed(base, tuned.folds), tuned), gain(fixed(base, off.folds), off)
    reranks = bool(base.profile.stages)
    open_question = off.ndcg - base.ndcg if reranks else tuned.ndcg - base.ndcg
    if len(base.ndcg) < LEAST_QUERIES:
        needed = max(LEAST_QUERIES, queries_needed(open_question))
        return Verdict(TOO_FEW, base, over, off_over, rounded(needed - len(base.ndcg)))
    found = beaten(base, tuned, off, over, off_over)
    if found is not None:
        to_off = not found.profile.stages and (reranks or not fits)
        return Verdict(OFF if to_off else CHANGE, found, over, off_over)
    if not fits:
        return Verdict(OFF, base, over, off_over)
    proven = off_over.is_real if reranks else over.mean < WORTH
    needed = queries_needed(tuned.ndcg - base.ndcg if proven else open_question) - len(base.ndcg)
    if proven or needed <= 0:
        return Verdict(KEEP, base, over, off_over, rounded(needed) if over.mean >= WORTH and needed > 0 else None)
    return Verdict(TOO_FEW, base, over, off_over, rounded(needed))


def beaten(base: Trial, tuned: Held, off: Held, over: Difference, off_over: Difference) -> Trial | None:
    """Return what is to be in place of `base`, None if it stays."""
    better, off_better = over.is_real and over.mean > 0, off_over.is_real and off_over.mean > 0
    beats_off = gain(off, tuned)
    earned = not off_better or (beats_off.is_real and beats_off.mean > 0)
    if better and (earned or not tuned.chosen.profile.stages):
        return tuned.chosen if key_of(tuned.chosen.profile) != key_of(base.profile) else None
    as_good = not tuned.chosen.profile.stages and off_over.low > -WORTH
    if base.profile.stages and (off_better or as_good):
        return off.chosen
    return None


def queries_needed(apart: Values | Sequence[float]) -> int:
    """Return how many queries tell a difference like that of these pairs, at least WORTH, from none: 5 % level, 80 % power.

    Source: the normal approximation of the paired t test: Sakai, "Topic set size design", Information Retrieval 2016.
    """
    values = np.asarray(apart, dtype=np.float64)
    if len(values) < 2:
        return LEAST_QUERIES
    effect, spread = max(abs(float(values.mean())), WORTH), float(values.std(ddof=1))
    wanted: float = ((SURE + POWER) * spread / effect) ** 2
    return math.ceil(wanted)


def rounded(count: int) -> int:
    """Return a number of queries with two digits that count, rounded up; at least 1."""
    step: int = 10 ** max(0, len(str(max(1, count))) - 2)
    return max(1, -(-count // step) * step)
