"""The ways a search can be done otherwise, each as a link to the same search done that way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from searchd.calibration import LIKELY, VERY_LIKELY, Calibration
from searchd.settings import Stage
from web.state import MODES, SearchState

MODE_WORDS = {
    "hybrid": ("Hybrid", "words and meaning, fused"),
    "lexical": ("Lexical", "words only: bm25"),
    "semantic": ("Semantic", "meaning only: dense vectors"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several ways to search, as a link to the same search done that way."""

    label: str
    hint: str
    href: str
    chosen: bool


def mode_choices(state: SearchState) -> tuple[Choice, ...]:
    """Return the ways to retrieve, the present one chosen."""
    return tuple(Choice(*MODE_WORDS[mode], state.url(mode=mode), mode == state.mode) for mode in MODES)


def stage_choices(state: SearchState, stages: Sequence[Stage]) -> tuple[Choice, ...]:
    """Return a switch for every stage that may run; its link is the same search with that stage the other way."""
    offered = [stage for stage in stages if stage.may_run]
    enabled = {stage.name: stage.enabled for stage in offered}
    choices = []
    for stage in offered:
        runs = state.runs(stage.name, stage.enabled)
        hint = f"{stage.model}: scores the top {stage.depth}, passes on {stage.keep}"
        choices.append(Choice(stage.name, hint, state.switched(stage.name, not runs, enabled).url(), runs))
    return tuple(choices)


def relevance_choices(state: SearchState, stored: Calibration | None) -> tuple[tuple[str, str], ...]:
    """Return the thresholds to choose from, as value and words; none where nothing is calibrated or asked for."""
    asked = state.min_relevance
    if stored is None and asked is None:
        return ()
    cuts = (stored.cuts.likely, stored.cuts.very_likely) if stored else ()
    named = {f"{cut:g}": f"{cut:.0%} or more: {name}" for cut, name in zip(cuts, (LIKELY, VERY_LIKELY), strict=False)}
    own = {} if asked is None else {f"{asked:g}": f"{asked:.0%} or more"}
    return (("", "any"), *sorted({**own, **named}.items(), key=lambda pair: float(pair[0])))


def suggestions(state: SearchState) -> Iterable[Choice]:
    """Yield the same search made less narrow, for a page without hits."""
    if state.page > 1:
        yield Choice("Go back to the first page", "", state.url(), False)
    if state.filter:
        yield Choice("Search without the filter", state.filter, state.url(filter=""), False)
    if '"' in state.q:
        bare = " ".join(state.q.replace('"', " ").split())
        yield Choice("Search for the words without the quotes", bare, state.url(q=bare), False)
    narrowing = [word for word in state.q.split() if word[0] in "+-" or word.lower().startswith("title:")]
    if narrowing and '"' not in state.q:
        bare = " ".join(word.removeprefix("+").removeprefix("title:") for word in state.q.split() if word[0] != "-")
        yield Choice("Drop what must or must not occur", bare, state.url(q=bare), False)
    if state.mode != "hybrid":
        yield Choice("Search by words and by meaning", "hybrid", state.url(mode="hybrid"), False)
