"""What the playground's percentages rest on: a calibration of some collection that fits the profile which ran.

Takes how the collections that the caller may know of stand; gives a Rating of bare texts, or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from searchd.calibration import Calibration, tied_stage
from searchd.rerank.texts import RankedText
from searchd.settings import OPTIONS, Stage
from searchd.standing import Standing
from web import words


@dataclass(frozen=True, slots=True)
class Rating:
    """Rates what `stage`, the last one, read as it reads passages of the collection."""

    calibration: Calibration
    stage: str

    def of(self, text: RankedText) -> str:
        """Return a text's relevance in words; empty if the stage did not read it."""
        if text.stage != self.stage:
            return ""
        relevance = float(self.calibration.stages[self.stage].curve.probabilities(text.score).round(2))
        return words.in_relevance(relevance, self.calibration.cuts.label(relevance))

    @property
    def said(self) -> str:
        """What the numbers rest on."""
        fit, cuts = self.calibration, self.calibration.cuts
        return (
            f"Percentages are how likely a passage is relevant, had it been found in collection {fit.collection}: {self.stage} "
            f"is calibrated there on {fit.set_name}. Likely from {cuts.likely:.0%}, very likely from {cuts.very_likely:.0%}."
        )


def rating_of(
    standings: Iterable[Standing], profile: str, stages: tuple[Stage, ...], instruction: str
) -> Rating | None:
    """Return the first calibration that fits a run of these stages, None if there is none.

    An instruction that the run brings changes scores, and so does reading a long text otherwise than the profile does.
    """
    last = stages[-1]
    if last.takes_instruction and instruction not in ("", last.instruction):
        return None
    if last.kind in OPTIONS["long"] and last.long != "parts":
        return None
    for one in standings:
        fit = one.calibration if one.profile == profile else None
        # A collection may have a profile of this name applied that is another.
        if fit is not None and last.name in fit.stages and tied_stage(last) in fit.ties.profile["stages"]:
            return Rating(fit, last.name)
    return None
