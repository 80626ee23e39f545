"""A calibration of the library, written by hand: how many words of the query a passage has -> how likely it is relevant."""

from __future__ import annotations

from typing import Any

import msgspec

from indexer.engine import Engine
from indexer.store import calibrations
from indexer.store.calibrations import StoredCalibration
from searchd.calibration import Calibration, Curve, StageCalibration, Ties, tied_profile
from searchd.settings import Profile
from tests.searchd.library import COUNT_WORDS

LARGE = Curve(method="isotonic", x=(0, 1, 2, 3, 4, 5, 6), y=(0.02, 0.1, 0.2, 0.3, 0.555, 0.8, 0.9))
SMALL = Curve(method="platt", slope=0.5, intercept=-2.5)


def stage(curve: Curve) -> StageCalibration:
    """Return a stage's calibration with this curve."""
    return StageCalibration(
        curve=curve, pairs=2400, queries=120, relevant=0.25, ece=0.02, raw_ece=0.3, log_loss={curve.method: 0.4},
        auc=0.8, auc_ci=(0.78, 0.82), bins=(), raw_bins=(),
    )  # fmt: skip


def calibration(generation_id: str, profile: Profile, name: str, **changes: Any) -> Calibration:
    """Return the calibration of a profile as it is, its models those that count words."""
    models = {one.name: COUNT_WORDS for one in profile.stages if one.enabled}
    made = Calibration(
        collection="default", profile=name, set_name="valves", fitted_at=1_767_225_600.0, relevant_from=1,
        unjudged_as_irrelevant=True, stages={"large": stage(LARGE), "small": stage(SMALL)},
        ties=Ties(generation_id=generation_id, models=models, profile=tied_profile(profile)),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def put(engine: Engine, one: Calibration) -> None:
    """Store a calibration."""
    with engine.database.session() as session:
        stored = StoredCalibration(one.collection, one.profile, one.fitted_at, msgspec.to_builtins(one))
        calibrations.put(session, stored)
