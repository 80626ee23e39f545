"""Tuning: judged questions, models and a score table -> what the engine should run, and why.

Retrieval was done once a query; here every pair is scored once, then a search over all queries makes the recommendation and
one search per fold says what such a recommendation is worth on other queries. `tune_commands.py` is the roof.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from indexer.errors import InputError
from searchd.evaluate.advice import sentence_of
from searchd.evaluate.replay import Places
from searchd.evaluate.scores import ScoreTable, asking
from searchd.evaluate.scoring import Report, affordable_family, score
from searchd.evaluate.search import Search
from searchd.evaluate.select import Held, Tried, fixed, folds_of, gain, held_out, others_of
from searchd.evaluate.space import Space, families_of
from searchd.evaluate.trial import Family, Trial, Trials, family_of, fusion_of
from searchd.evaluate.tuned import CascadeFigures, ConfigurationFigures, Gains, ModelFigures, Tuning, figures
from searchd.evaluate.types import JudgedData, Question
from searchd.evaluate.verdict import verdict_of
from searchd.rerank.table import shown_model
from searchd.settings import Profile, Stage

CONFIGURATIONS = 200
SERVED_ROOM = 3
"""A stage of a recommended profile may take so many times what it is estimated to take."""
LEAST_BUDGET_MS = 300


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How much is tried, and within what."""

    profile_name: str = "default"
    configurations: int = CONFIGURATIONS
    budget_ms: float = math.inf
    seed: int = 7


@dataclass(frozen=True, slots=True)
class _Searched:
    """What was tried, by the search over all queries and by the one of each fold."""

    by_all: Tried
    by_fold: Sequence[Tried]
    folds: Sequence[Places]
    space: Space
    budget_ms: float

    def held(self, among: Callable[[Trial], bool]) -> Held | None:
        """Return what choosing among some configurations within the budget gives."""

        def allowed(one: Trial) -> bool:
            return one.p95_ms <= self.budget_ms and among(one)

        return held_out(self.by_fold, self.by_all, self.folds, self.space.present, allowed)

    def family(self, family: Family) -> Held | None:
        """Return what choosing among the cascades of these models gives."""
        return self.held(lambda one: one.family == family)


def tune(
    questions: Sequence[Question],
    data: JudgedData,
    present: Profile,
    models: Sequence[Stage],
    table: ScoreTable,
    options: TuneOptions,
    report: Report,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Try configurations on judged questions and say what to run.

    `present` and `models` as `space.py` makes them. Raises: InputError if no query has a relevant document, or if
    retrieval alone exceeds the budget.
    """
    started = clock()
    relevant = with_relevant(questions, data)
    trials = Trials(relevant, data.qrels, table, clock=clock)
    searched = search_all(trials, present, models, options, report)
    tuned, off = searched.held(lambda one: True), searched.family(())
    if tuned is None or off is None:
        least = min(trials.of(fusion_of(one.profile)).p95_ms for one in searched.by_all)
        raise InputError(
            f"retrieval alone takes about {least:.0f} ms (95th percentile); no configuration fits --budget-ms "
            f"{options.budget_ms:.0f}"
        )
    now, unranked = trials.of(present), trials.of(fusion_of(present))
    fits = now.p95_ms <= options.budget_ms
    base = now if fits else unranked if unranked.p95_ms <= options.budget_ms else off.chosen
    verdict = verdict_of(base, fits, tuned, off)
    found = Tuning(
        tuned_at=time.time(),
        collection=data.collection,
        set_name=data.name,
        kind=data.kind,
        queries=len(relevant),
        without_relevant=len(questions) - len(relevant),
        judged_pairs=data.pairs,
        profile_name=options.profile_name,
        budget_ms=options.budget_ms if math.isfinite(options.budget_ms) else None,
        seed=options.seed,
        folds=len(searched.folds),
        configurations=len(searched.by_all),
        configurations_in_all=trials.tried,
        models=tuple(model_figures(table, model) for model in models),
        took_s=clock() - started,
        beside_daemon=False,
        verdict=verdict.kind,
        sentence="",
        more_judgments=verdict.more,
        present=configuration(now),
        recommended=configuration(verdict.recommended, served=verdict.recommended is not now),
        gains=gains_of(trials, present, tuned, off),
        cascades=cascades_of(searched),
    )
    return msgspec.structs.replace(found, sentence=sentence_of(found))


def with_relevant(questions: Sequence[Question], data: JudgedData) -> list[Question]:
    """Return those that have a relevant document: of others every configuration is worth nothing. Raises: InputError."""
    found = [one for one in questions if any(grade > 0 for grade in data.qrels[one.topic.query_id].values())]
    if not found:
        raise InputError(
            f"no query of judged set {data.name!r} has a relevant document, so nothing can be better than anything else; "
            f"`searchd judge {data.name}` goes on judging",
            code="nothing_relevant",
        )
    return found


def search_all(
    trials: Trials, present: Profile, models: Sequence[Stage], options: TuneOptions, report: Report
) -> _Searched:
    """Choose fusions, score pairs, then search: over all queries, and over those outside each fold."""
    count = len(trials.questions)
    folds = folds_of(count, options.seed)
    everything = [np.arange(count), *(others_of(fold, count) for fold in folds)]
    search = Search(trials, Space(present, tuple(models), ((),)), options.configurations, options.budget_ms)
    starts = [one for rows in everything for one in search.starts(rows)]
    affordable = score(trials, models, present, starts, options.budget_ms, report)
    costs = {asking(model): trials.table.ms_per_pair(model) for model in affordable}
    own = family_of(present) if affordable_family(present, affordable) else ()
    search = replace(search, space=Space(present, affordable, families_of(affordable, costs, own)))
    tried = []
    for number, rows in enumerate(everything):
        report(f"Trying configurations, {trials.tried} by now", number, len(everything))
        tried.append(search.run(rows))
    report(f"Trying configurations, {trials.tried} in all", len(everything), len(everything))
    return _Searched(tried[0], tried[1:], folds, search.space, options.budget_ms)


def gains_of(trials: Trials, present: Profile, tuned: Held, off: Held) -> Gains:
    """Return what is gained over the present profile, over its fusion alone, and over plain RRF."""
    now, unranked, plain = (
        fixed(trials.of(one), tuned.folds) for one in (present, fusion_of(present), Profile(stages=()))
    )
    return Gains(
        tuned_over_present=figures(gain(now, tuned)),
        tuned_over_off=figures(gain(unranked, tuned)),
        tuned_over_rrf=figures(gain(plain, tuned)),
        off_over_present=figures(gain(now, off)),
    )


def cascades_of(searched: _Searched) -> tuple[CascadeFigures, ...]:
    """Return what the cascades of each family give that fit the budget."""
    by_cascade = {family: held for family in searched.space.families if (held := searched.family(family)) is not None}
    return tuple(cascade_figures(family, by_cascade) for family in by_cascade)


def cascade_figures(family: Family, by_cascade: Mapping[Family, Held]) -> CascadeFigures:
    """Return what cascades of these models give, and what the last of them adds."""
    held, off, without = by_cascade[family], by_cascade.get(()), by_cascade.get(family[:-1])
    stages = held.chosen.profile.stages
    apart = figures(gain(off, held)) if off and family else None
    step = figures(gain(without, held)) if without and family else None
    return CascadeFigures(
        models=tuple(map(shown_model, stages)),
        ndcg=float(held.ndcg.mean()),
        over_off=apart,
        step=step,
        step_ms=held.chosen.stage_ms[-1] if stages else 0.0,
        p95_ms=held.chosen.p95_ms,
        pairs=float(held.chosen.pairs.mean()),
        profile=held.chosen.profile,
    )


def configuration(trial: Trial, *, served: bool = False) -> ConfigurationFigures:
    """Return a configuration on all queries; `served`: its stages get budgets with room for what they take."""
    return ConfigurationFigures(
        profile=with_room(trial) if served else trial.profile,
        ndcg=float(trial.ndcg.mean()),
        p95_ms=trial.p95_ms,
        mean_ms=trial.cost_ms,
        pairs=float(trial.pairs.mean()),
    )


def with_room(trial: Trial) -> Profile:
    """Return a profile whose stages do not run out of time where they take what they are estimated to take."""
    stages = [
        msgspec.structs.replace(
            stage, budget_ms=min(60_000, max(LEAST_BUDGET_MS, math.ceil(SERVED_ROOM * ms / 100) * 100))
        )
        for stage, ms in zip(trial.profile.stages, trial.stage_ms, strict=True)
    ]
    return msgspec.structs.replace(trial.profile, stages=tuple(stages))


def model_figures(table: ScoreTable, model: Stage) -> ModelFigures:
    """Return what a model was asked and took."""
    return ModelFigures(
        name=shown_model(model),
        max_length=model.max_length,
        pairs=table.pairs(model),
        ms_per_pair=table.ms_per_pair(model),
    )
