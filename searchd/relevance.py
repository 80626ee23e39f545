"""Relevance at query time: calibrated numbers on hits, and the cut below `min_relevance`, on exactly the number shown.

Takes what the cascade left and the calibration that holds; gives hits their numbers, and the loaded set what the cut leaves
of it. A number needs the search to be run as it was calibrated: a request that changes the profile has none, nor has a hit
that a later stage would have scored, had it not been late. Nothing is cut unless every stage did all of its work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from indexer.errors import InputError
from searchd.calibration import Calibration, enabled_stages
from searchd.load import Loaded
from searchd.matching import Matches, counted
from searchd.settings import Profile
from searchd.standing import Standing
from searchd.types import Calibrated, Candidate, Cut, Hit, Query, StageReport

DECIMALS = 2
"""Relevance is in whole percent, so that what is cut is what is shown."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads relevance off candidates; `stages` ran in this order, those of `whole` did all of their work."""

    calibration: Calibration
    stages: tuple[str, ...]
    whole: frozenset[str]

    def of(self, candidate: Candidate) -> float | None:
        """Return a candidate's relevance in whole percent, None if no calibrated stage decided on it."""
        for place in reversed(range(len(self.stages))):
            if self.stages[place] in candidate.scores:
                return self._by(self.stages[place], self.stages[place + 1 :], candidate)
        return None

    def _by(self, stage: str, later: Sequence[str], candidate: Candidate) -> float | None:
        fitted = self.calibration.stages.get(stage)
        if fitted is None or not self.whole.issuperset(later):
            return None
        return round(float(fitted.curve.probabilities(candidate.scores[stage])), DECIMALS)


def deviation(query: Query, profile: Profile) -> str | None:
    """Say what a request changes of its profile that scores depend on, None if it is asked as it was calibrated."""
    stages = enabled_stages(profile)
    asked = query.rerank
    changed = {
        "sort": bool(query.sort),
        "mode": query.mode != "hybrid",
        "weights": any(profile.weights.get(name, 1.0) != weight for name, weight in query.weights.items()),
        "rerank.enabled": not asked.enabled,
        "rerank.stages": asked.stages is not None and asked.stages != tuple(stage.name for stage in stages),
        "rerank.depth": asked.depth is not None and bool(stages) and asked.depth < stages[0].depth,
        "rerank.instruction": asked.instruction is not None
        and any(stage.takes_instruction and stage.instruction != asked.instruction for stage in stages),
    }
    names = [name for name, differs in changed.items() if differs]
    return ", ".join(names) or None


def refuse_uncalibrated(query: Query, standing: Standing, profile: Profile) -> None:
    """Refuse a threshold where there is no number that it could cut on. Raises: InputError (`not_calibrated`)."""
    if query.min_relevance is None:
        return
    where = f"profile {standing.profile!r} of collection {standing.collection!r}"
    if standing.stored is None:
        why = f"{where} is not calibrated, so there is no relevance to ask for; `{standing.command}` fits it"
    elif standing.broken:
        why = f"the calibration of {where} is stale: {'; '.join(standing.broken)}; `{standing.command}` fits it anew"
    elif changed := deviation(query, profile):
        why = f"{where} is calibrated as it stands, and this request changes {changed}; leave one or the other out"
    else:
        return
    raise InputError(f"min_relevance: {why}", code="not_calibrated")


def reading_of(
    query: Query, standing: Standing, profile: Profile, degraded: Sequence[str], reports: Sequence[StageReport]
) -> Reading | None:
    """Return what reads relevance, None where no score can be read so; `degraded` are systems that did not answer."""
    calibration = standing.calibration
    if calibration is None or degraded or deviation(query, profile) is not None:
        return None
    names = tuple(stage.name for stage in enabled_stages(profile))
    return Reading(calibration, names, frozenset(one.name for one in reports if one.status == "full"))


def rated(hits: Sequence[Hit], reading: Reading | None) -> tuple[Hit, ...]:
    """Return hits with their relevance and what it is called."""
    if reading is None:
        return tuple(hits)
    found = []
    for hit in hits:
        relevance = reading.of(hit.candidate)
        label = None if relevance is None else reading.calibration.cuts.label(relevance)
        found.append(replace(hit, relevance=relevance, relevance_label=label))
    return tuple(found)


def calibrated_by(reading: Reading | None) -> Calibrated | None:
    """Return what an answer's numbers rest on, None if it has none."""
    if reading is None:
        return None
    fit = reading.calibration
    return Calibrated(fit.set_name, fit.fitted_at, fit.cuts.likely, fit.cuts.very_likely)


def cut_below(
    query: Query,
    loaded: Loaded,
    head: Mapping[str, Sequence[Candidate]],
    reading: Reading | None,
    reports: Sequence[StageReport],
) -> tuple[Loaded, Cut | None]:
    """Return what a threshold leaves of the loaded set, and how much it left out; `head` are passages by document, in order.

    What is left is a set of its own: total, facets and pages are over it. All stays where a stage or a system fell short.
    """
    least = query.min_relevance
    if least is None:
        return loaded, None
    reason = why_not_applied(reading, reports)
    if reading is None or reason is not None:
        return loaded, Cut(least, False, reason=reason)
    numbers = {name: reading.of(passages[0]) for name, passages in head.items()}
    kept = tuple(name for name, number in numbers.items() if number is not None and number >= least)
    below = [number for number in numbers.values() if number is not None and number < least]
    matches = loaded.matches
    facets = {name: counted((head[one][0].metadata for one in kept), name) for name in query.facets}
    cut = Cut(
        least=least,
        applied=True,
        below=len(below),
        best_below=max(below, default=None),
        unscored=max(0, matches.total - len(kept) - len(below)),
        unscored_is_exact=matches.is_exact,
    )
    return Loaded(loaded.head, Matches(len(kept), True, facets, kept)), cut


def why_not_applied(reading: Reading | None, reports: Sequence[StageReport]) -> str | None:
    """Say what keeps a threshold from being applied, None if nothing does."""
    if reading is None:
        return "not all systems answered, so what was scored is not what was calibrated"
    short = [one for one in reports if one.name in reading.stages and one.status != "full"]
    if not short:
        return None
    return "not all was scored: " + "; ".join(f"{one.name} {one.status}: {one.reason}" for one in short)
