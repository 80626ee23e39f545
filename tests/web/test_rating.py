"""What the playground's percentages may rest on: a calibration that holds, of a run that is as the profile is."""

from __future__ import annotations

from msgspec.structs import replace as changed

from searchd.rerank.texts import RankedText
from searchd.settings import Profile, Stage
from searchd.standing import Standing
from tests.searchd.calibrations import calibration
from web.rating import rating_of

LARGE = Stage(name="large", max_length=256)
ASKED = Stage(name="large", kind="causal", model="m", instruction="be exact")


def standing(stage: Stage, *broken: str) -> Standing:
    return Standing("default", "p", calibration("g1", Profile(stages=(stage,)), "p"), broken)


def test_only_what_the_last_stage_read_is_rated() -> None:
    rating = rating_of([standing(LARGE)], "p", (LARGE,), "")
    assert rating is not None
    assert rating.of(RankedText(0, "large", {"large": 5.0}, {"large": 1})) == "80% very likely"
    assert rating.of(RankedText(1, "small", {"small": 5.0}, {"small": 2})) == ""
    assert "collection default: large is calibrated there on valves" in rating.said


def test_no_percentage_is_shown_that_was_not_calibrated_so() -> None:
    beginning = changed(LARGE, long="beginning")
    for standings, profile, stage, instruction in (
        ([], "p", LARGE, ""),
        ([standing(LARGE, "the index was rebuilt")], "p", LARGE, ""),
        ([standing(LARGE)], "other", LARGE, ""),
        ([standing(LARGE)], "p", changed(LARGE, max_length=64), ""),
        ([standing(beginning)], "p", beginning, ""),
        ([standing(ASKED)], "p", ASKED, "be kind"),
    ):
        assert rating_of(standings, profile, (stage,), instruction) is None
    assert rating_of([standing(ASKED)], "p", (ASKED,), "be exact") is not None
    assert rating_of([standing(LARGE)], "p", (changed(LARGE, budget_ms=1),), "") is not None
