"""What tuning says, in words: what each model adds, what is recommended and why, what is open.

Takes a Tuning; gives lines. All gains are of held-out queries, with 95 % intervals; all ms are estimates.
"""

from __future__ import annotations

from collections.abc import Iterator

from searchd.evaluate.sentences import learned_sentences
from searchd.evaluate.sentences import said_difference as said
from searchd.evaluate.tuned import CascadeFigures, Tuning
from searchd.evaluate.verdict import CHANGE, KEEP, LEAST_QUERIES, OFF, WORTH
from searchd.plurals import plural
from searchd.rerank.table import shown_model
from searchd.settings import Profile, Stage

CLICKS_NOTE = "weak grades from clicks, not judgments: "
SECOND_S = 1000


def sentence_of(found: Tuning) -> str:
    """Return the whole answer: what each model adds, then what to do. Kept as the reason of an applied profile."""
    weak = CLICKS_NOTE if found.kind == "clicks" else ""
    steps = "; ".join(step_sentences(found))
    return f"{weak}{steps}{'; ' if steps else ''}{verdict_sentence(found)}"


def step_sentences(found: Tuning) -> list[str]:
    """Say what each model adds on held-out queries: alone, and after the one before it in the recommended cascade."""
    names = tuple(shown_model(stage) for stage in found.recommended.profile.stages)
    wanted = [names[: count + 1] for count in range(len(names))]
    by_models = {one.models: one for one in found.cascades}
    alone = [one.models for one in found.cascades if len(one.models) == 1]
    told = [by_models[models] for models in dict.fromkeys([*wanted, *alone]) if models in by_models]
    return [step_sentence(one, by_models) for one in told if one.step is not None]


def step_sentence(one: CascadeFigures, by_models: dict[tuple[str, ...], CascadeFigures]) -> str:
    """Say what the last model of a cascade adds."""
    single = len(one.models) == 1
    also = any(len(models) > 1 for models in by_models)
    who = f"{one.models[-1]}{' alone' if single and also else '' if single else f' after {one.models[-2]}'}"
    step = one.step
    if step is None or not step.real:
        return f"{who} adds nothing significant ({said(step)} for {took(one.step_ms)})" if step else who
    if step.mean < 0:
        return f"{who} makes it worse, {said(step)}, for {took(one.step_ms)}"
    return f"{who} adds {said(step)} for {took(one.step_ms)}"


def verdict_sentence(found: Tuning) -> str:
    """Say what to do, and what is still open."""
    present, gains = found.present, found.gains
    if found.verdict == CHANGE:
        return (
            f"recommended: {described(found.recommended.profile)}: {said(gains.tuned_over_present)} over the present profile, "
            f"{said(gains.tuned_over_rrf)} over plain RRF, p95 about {took(found.recommended.p95_ms)} "
            f"({took(present.p95_ms)} now{', over the budget' if over_budget(found) else ''})"
        )
    saves = f"it saves about {took(max(0.0, present.p95_ms - found.recommended.p95_ms))} a query (p95)"
    if found.verdict == OFF:
        return f"rerank off is best here: {described(found.recommended.profile)}; {off_reason(found)}, and {saves}"
    if found.verdict == KEEP:
        more = f"; about {found.more_judgments:,} more judged queries would tell" if found.more_judgments else ""
        return (
            f"the present profile stays: nothing that was tried beats it by more than noise ({best_said(found)}{more})"
        )
    more = f"too few judgments to tell; about {found.more_judgments or 1:,} more would be needed"
    if found.queries < LEAST_QUERIES:
        least = f"{plural(found.queries, 'query', 'queries')} with a relevant document, {LEAST_QUERIES} are the least"
        return f"{more}: {least}; the present profile stays"
    return f"{more}: {open_question(found)}"


def off_reason(found: Tuning) -> str:
    """Say why reranking is to be off."""
    apart = found.gains.off_over_present
    if over_budget(found):
        return (
            f"the present profile takes about {took(found.present.p95_ms)}, {took(found.budget_ms or 0)} are allowed, and no "
            "cascade within that beats rerank off by more than noise"
        )
    if apart.real:
        return f"{said(apart)} over the present profile"
    return f"the present cascade adds nothing that counts (off is {said(apart)} against it)"


def over_budget(found: Tuning) -> bool:
    """Say whether the present profile takes longer than it may."""
    return found.budget_ms is not None and found.present.p95_ms > found.budget_ms


def open_question(found: Tuning) -> str:
    """Say what cannot be told yet."""
    if not found.present.profile.stages:
        return f"whether anything beats rerank off ({best_said(found)}); it stays off"
    off = next((one for one in found.cascades if not one.models), None)
    saves = max(0.0, found.present.p95_ms - off.p95_ms) if off else 0.0
    return (
        f"whether the present cascade earns its place (rerank off is {said(found.gains.off_over_present)} against it and "
        f"would save about {took(saves)} a query); the present profile stays"
    )


def best_said(found: Tuning) -> str:
    """Say what choosing among all that was tried gives."""
    return f"what was chosen without them gives held-out queries {said(found.gains.tuned_over_present)}"


def took(ms: float) -> str:
    """Return a time in ms, or in seconds from ten on."""
    return f"{ms:,.0f} ms" if ms < 10 * SECOND_S else f"{ms / SECOND_S:,.0f} s"


def described(profile: Profile) -> str:
    """Say in words what a profile does."""
    weights = ", ".join(f"{name} {weight:.3g}" for name, weight in profile.weights.items())
    how = f"k {profile.rrf_k:g}" if profile.fusion == "rrf" else ""
    inside = ", ".join(part for part in (f"{profile.depth} of each", how, weights) if part)
    stages = [described_stage(stage) for stage in profile.stages] or ["no reranking"]
    return ", then ".join([f"{profile.fusion} ({inside})", *stages])


def described_stage(stage: Stage) -> str:
    """Say in words what a stage does."""
    early = "" if stage.early_stop_margin is None else f", early stop at {stage.early_stop_margin:g}"
    return f"{shown_model(stage)} over {stage.depth} (keeps {stage.keep}, blend {stage.blend:g}{early})"


def notes(found: Tuning) -> Iterator[str]:
    """Yield what to know of the figures: what was tried, on what, and what is an estimate."""
    left = f" ({found.without_relevant} without a relevant document left out)" if found.without_relevant else ""
    yield (
        f"{found.collection}/{found.set_name}: {found.queries:,} queries{left}, {found.judged_pairs:,} judged pairs"
        f"{', ' + CLICKS_NOTE.removesuffix(': ') if found.kind == 'clicks' else ''}; {found.configurations:,} configurations, "
        f"{found.configurations_in_all:,} with those that {found.folds} folds tried of their own; {found.took_s:.0f} s"
    )
    left_out = {one.name for one in found.models} - {name for one in found.cascades for name in one.models}
    if left_out:
        yield f"too slow for the budget of {took(found.budget_ms or 0)} in every cascade: {', '.join(sorted(left_out))}"
    scored = [f"{one.name} {one.pairs:,} pairs at {one.ms_per_pair:.1f} ms" for one in found.models if one.pairs]
    yield f"scored once: {', '.join(scored) or 'nothing'}"
    yield (
        "gains: nDCG@10 of queries that had no part in the choice, with 95 % intervals that count the choice; one below "
        f"{WORTH} counts for nothing. Times: estimates for one query at a time, measured retrieval and mean ms of a pair."
    )
    yield from learned_sentences(found.learned_from, found.set_name)
    if found.beside_daemon:
        yield "a daemon was serving meanwhile: times are longer than they need be"
