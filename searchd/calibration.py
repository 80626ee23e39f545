"""A calibration: how raw scores of a collection's profile become probabilities, and what it is tied to.

`evaluate/calibration.py` fits one, `indexer/store/calibrations.py` keeps it, `standing.py` says whether it still holds,
`relevance.py` gives its numbers to hits. What is calibrated is the raw score of the last stage that scored a hit's best
passage. The blend, which orders, is made of scores that are standardised within one query: it says nothing across queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from searchd.evaluate.evaluation import ReliabilityBin
from searchd.settings import Profile, Stage

UNLIKELY, LIKELY, VERY_LIKELY = "unlikely", "likely", "very likely"
LEAST = 0.01
"""No probability is nearer to 0 or 1: no set of judgments is large enough to be certain."""
NOT_TIED = ("budget_ms", "enabled", "on_request", "key_variable")
"""What a stage may change without changing what its scores mean."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Raw score -> probability, never falling: Platt's sigmoid, or breakpoints joined by lines (isotonic)."""

    method: Literal["platt", "isotonic"]
    slope: float = 0.0
    intercept: float = 0.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def probabilities(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Return float64 of the shape of `raw`, within [LEAST, 1 - LEAST].

        Source: Platt, "Probabilistic outputs for support vector machines", 1999; Zadrozny, Elkan, "Transforming classifier
        scores into accurate multiclass probability estimates", KDD 2002.
        """
        scores = np.asarray(raw, dtype=np.float64)
        if self.method == "platt":
            found = 1 / (1 + np.exp(-np.clip(self.slope * scores + self.intercept, -50, 50)))
        else:
            found = np.interp(scores, self.x, self.y)
        return np.clip(found, LEAST, 1 - LEAST)


class Cuts(msgspec.Struct, frozen=True, kw_only=True):
    """From which relevance on a hit is called likely and very likely; what is below is unlikely."""

    likely: float = 0.5
    very_likely: float = 0.75

    def label(self, relevance: float) -> str:
        """Return what a relevance is called."""
        if relevance >= self.very_likely:
            return VERY_LIKELY
        return LIKELY if relevance >= self.likely else UNLIKELY


class StageCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """The curve of one stage, fitted on all its pairs, and what cross-validation over queries says of such curves."""

    curve: Curve
    pairs: int
    queries: int
    relevant: float
    """Share of the pairs."""
    ece: float
    """Expected calibration error of held-out pairs."""
    raw_ece: float
    """Of the raw scores, brought to 0 to 1 as the rerank APIs do: a logit's sigmoid."""
    log_loss: dict[str, float]
    """Of held-out pairs, by method; the lower one chose."""
    auc: float
    """Of held-out pairs: how often a relevant one has the higher probability."""
    auc_ci: tuple[float, float]
    """95 % interval, by bootstrap over queries."""
    bins: tuple[ReliabilityBin, ...]
    raw_bins: tuple[ReliabilityBin, ...]


class Ties(msgspec.Struct, frozen=True, kw_only=True):
    """What scores come of: when one of these changes, the calibration is stale."""

    generation_id: str
    models: dict[str, str]
    """Fingerprint of each stage's model as it is loaded, its precision included."""
    profile: dict[str, Any]
    """The profile as `tied_profile` gives it."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How scores of one profile of one collection become relevance."""

    collection: str
    profile: str
    set_name: str
    fitted_at: float
    """UTC seconds since the epoch."""
    relevant_from: int
    """The grade from which on a document counts as relevant."""
    unjudged_as_irrelevant: bool
    cuts: Cuts = Cuts()
    stages: dict[str, StageCalibration]
    """By name: the last stage, and those before it for hits that no later one scored."""
    refused: dict[str, str] = {}
    """Stages before the last whose labels do not separate, and why: hits that only they scored have no relevance."""
    ties: Ties


def tied_profile(profile: Profile) -> dict[str, Any]:
    """Return what scores depend on in a profile: all but budgets, keys' names and stages that are off."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(profile, stages=())))
    return plain | {"stages": [tied_stage(stage) for stage in enabled_stages(profile)]}


def tied_stage(stage: Stage) -> dict[str, Any]:
    """Return what scores depend on in a stage."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(stage))
    return {name: value for name, value in plain.items() if name not in NOT_TIED}


def enabled_stages(profile: Profile) -> tuple[Stage, ...]:
    """Return the stages that a profile runs, in order."""
    return tuple(stage for stage in profile.stages if stage.enabled)


def broken_ties(ties: Ties, generation_id: str, models: Mapping[str, str | None], profile: Profile) -> tuple[str, ...]:
    """Say in words which ties no longer hold; a model of which nothing is known yet (None) breaks none."""
    said = []
    if ties.generation_id != generation_id:
        said.append("the index was rebuilt")
    now = tied_profile(profile)
    if ties.profile != now:
        said.append(f"the profile changed: {', '.join(changed_names(ties.profile, now))}")
    for name, fingerprint in models.items():
        if fingerprint is not None and name in ties.models and ties.models[name] != fingerprint:
            said.append(f"stage {name} runs another model, or in another precision")
    return tuple(said)


def changed_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of what differs between two plain profiles, stages by name."""
    stages = [{one["name"]: one for one in side.get("stages", ())} for side in (before, after)]
    if [*stages[0]] != [*stages[1]]:
        return ["stages"]
    names = [name for name in {**before, **after} if name != "stages" and before.get(name) != after.get(name)]
    for stage, there in stages[0].items():
        here = stages[1][stage]
        names += [f"{stage}.{name}" for name in {**there, **here} if there.get(name) != here.get(name)]
    return names
