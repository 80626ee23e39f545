"""Computes the scores that tuning needs, once: the first passages of a few fusions, by every model.

Takes Trials and models; fills the ScoreTable, and says which models are tried how deep within the budget. What is left is
told as pairs and time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from searchd.evaluate.scores import Asking, asking
from searchd.evaluate.space import DEPTHS
from searchd.evaluate.trial import Trials, family_of
from searchd.settings import Profile, Stage

PILOT = 3
"""Questions that tell what a pair takes, before it is decided how deep models are tried."""
SLACK = 1.2
"""How far over the budget a depth may be by that first estimate."""

Report = Callable[[str, int, int], None]


def score(
    trials: Trials,
    models: Sequence[Stage],
    present: Profile,
    fusions: Sequence[Profile],
    budget_ms: float,
    report: Report,
) -> tuple[Stage, ...]:
    """Compute all scores; return the models that fit the budget, `depth` being the most that each is tried with.

    Models of the present profile are scored as deep as it needs them, whatever the budget.
    """
    pilot = Plan(trials, models, fusions, max(DEPTHS))
    pilot.run(range(min(PILOT, len(trials.questions))), report)
    trials.at_once = {asking(model): pilot.at_once(model) for model in models}
    before_ms = float(np.quantile([one.retrieve_ms + one.ms.get("load", 0.0) for one in trials.questions], 0.95))
    affordable = []
    for model in models:
        most = SLACK * (budget_ms - before_ms) / max(1e-9, trials.table.ms_per_pair(model))
        depths = [depth for depth in DEPTHS if depth <= most]
        if depths:
            affordable.append(msgspec.structs.replace(model, depth=max(depths)))
    deepest = max((model.depth for model in affordable), default=0)
    Plan(trials, affordable, fusions, deepest).run(range(len(trials.questions)), report)
    trials.of(present)
    return tuple(affordable)


class Plan:
    """The pairs of some models with the first `depth` passages of each fusion."""

    def __init__(self, trials: Trials, models: Sequence[Stage], fusions: Sequence[Profile], depth: int) -> None:
        self._trials, self._models, self._fusions, self._depth = trials, models, fusions, depth

    def wanted(self, number: int) -> list[str]:
        """Return the passages of one question."""
        firsts = (self._trials.first(fusion, number, self._depth) for fusion in self._fusions)
        return list(dict.fromkeys(name for first in firsts for name in first))

    def run(self, numbers: Sequence[int], report: Report) -> None:
        """Score those of these questions that have no score yet, reporting pairs and the time that is left."""
        table, questions = self._trials.table, self._trials.questions
        missing: dict[Asking, int] = {}
        for model in self._models:
            missing[asking(model)] = sum(
                len(table.missing(questions[number], model, self.wanted(number))) for number in numbers
            )
        whole, done = sum(missing.values()), 0
        for model in self._models:
            for number in numbers:
                names = table.missing(questions[number], model, self.wanted(number))
                table.scores(questions[number], model, names)
                done += len(names)
                missing[asking(model)] -= len(names)
                left_s = sum(table.ms_per_pair(one) * missing[asking(one)] / 1000 for one in self._models)
                report(f"Scoring pairs, {model.model}; about {left_s:,.0f} s left", done, whole)

    def at_once(self, model: Stage) -> int:
        """Return how many pairs of the first question a model runs side by side."""
        names = self.wanted(0)
        return self._trials.table.at_once(self._trials.questions[0], model, names) if names else 1


def affordable_family(present: Profile, models: Sequence[Stage]) -> bool:
    """Say whether all models of the present cascade are among these."""
    return set(family_of(present)) <= {asking(model) for model in models}
