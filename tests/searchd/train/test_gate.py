"""The gate: what a version has to beat is what serves when it is promoted, asked as its stage asks, over its own queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from indexer.device import Device
from indexer.errors import Conflict
from searchd.settings import Profile, Settings, Stage
from searchd.train import gate, registry
from searchd.train.files import whole_lines, write_lines
from searchd.train.fit import FitSettings, fit
from searchd.train.measure import MEASURED, Measured
from searchd.train.prepare import HELD_OUT, HeldOut
from searchd.train.registry import Card, Figures
from searchd.train.served import place_of, served
from tests.searchd.rerank.models import write_tiny
from tests.searchd.train.documents import WORDS, groups

QUICK = FitSettings(groups_at_once=8, learning_rate=2e-3, warmup_steps=2, max_length=48)
STAGES = (Stage(name="small", max_length=64, blend=0.4), Stage(name="large", model="mine", max_length=96, blend=0.9))


def silent(step: str, done: int, whole: int) -> None:
    """Take progress."""


@dataclass(frozen=True, slots=True)
class Shop:
    """Models of two qualities in a data folder of their own; stage large runs the role `mine`."""

    settings: Settings
    device: Device
    models: dict[str, Path]

    def add(self, quality: str, name: str = "mine") -> Card:
        """Store a model under a role, as a run does, and return its card."""
        card = Card(
            name=name, version="v0", made_at=1.0, base="x", collection="default", groups=20, kinds={}, settings={},
            before=NO_FIGURES, after=NO_FIGURES, took_s=1.0,
        )  # fmt: skip
        return registry.store(self.settings, self.models[quality], card, [self.settings.data_path / HELD_OUT])

    def promote(self, version: str, name: str = "mine", *, force: bool = False) -> tuple[Card, gate.Weighed | None]:
        return gate.promote(self.settings, self.device, name, version, force=force, progress=silent)

    def measured(self, version: str) -> list[Measured]:
        folder = registry.folder_of(self.settings, "mine", version)
        found: list[Measured] = whole_lines(folder / MEASURED, Measured)
        return found


NO_FIGURES = Figures(queries=0, fused=0.0, alone=0.0, blended=0.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model that learned nothing, and one that learned what the queries ask."""
    folder = tmp_path_factory.mktemp("models")
    none = write_tiny(folder / "none")

    def fitted(name: str, epochs: float) -> Path:
        return fit(none, groups(), folder / name, replace(QUICK, epochs=epochs), lambda *_: None)

    return {"none": none, "good": fitted("good", 4)}


@pytest.fixture
def shop(models: dict[str, Path], tmp_path: Path) -> Iterator[Shop]:
    device = Device(Settings(device="cpu", threads=1))
    settings = Settings(
        data_dir=str(tmp_path), dtype="float32", profiles={"default": Profile(stages=STAGES)}, device="cpu", threads=1
    )
    write_lines(tmp_path / HELD_OUT, queries())
    yield Shop(settings, device, models)
    device.close()


def queries() -> list[HeldOut]:
    """Return queries whose answer comes fourth in the fused order."""
    found = []
    for number, word in enumerate(WORDS):
        others = [WORDS[(number + step) % len(WORDS)] for step in (1, 2, 3, 5, 7)]
        wrong = [f"The {other} of today." if at % 2 else f"A {other}." for at, other in enumerate(others)]
        answer = f"All about the {word} and its use."
        found.append(HeldOut(f"what is a {word}", "asked", (*wrong[:3], answer, *wrong[3:]), (3,)))
    return found


def test_a_version_is_weighed_against_the_one_in_use_not_against_the_one_it_was_fitted_from(shop: Shop) -> None:
    shop.add("none")
    shop.promote("v1", force=True)
    assert shop.add("good").base == "x"
    _, weighed = shop.promote("v2")
    assert weighed is not None and weighed.against == "mine v1"
    shop.add("good")
    with pytest.raises(
        Conflict,
        match=r"mine v3 is not better than mine v2 \(stage 'large'\): nDCG@10 1\.0000 in use, 1\.0000 new, over 12 ",
    ):
        shop.promote("v3")
    assert registry.promoted(shop.settings, "mine") == registry.folder_of(shop.settings, "mine", "v2")
    shop.promote("v3", force=True)
    assert registry.promoted(shop.settings, "mine") == registry.folder_of(shop.settings, "mine", "v3")


def test_what_is_in_use_may_have_changed_since_the_run_and_is_measured_again(shop: Shop) -> None:
    for quality in ("none", "good", "good"):
        shop.add(quality)
    shop.promote("v1", force=True)
    assert shop.promote("v2")[1] is not None
    gate.rollback(shop.settings, "mine")
    _, first = shop.promote("v3")
    assert first is not None and first.against == "mine v1"
    registry.promote(shop.settings, "mine", "v2")
    with pytest.raises(Conflict, match="than mine v2"):
        shop.promote("v3")


def test_figures_are_used_again_for_the_same_model_queries_and_stage_alone(shop: Shop) -> None:
    shop.add("none")
    shop.promote("v1", force=True)
    shop.add("good")
    shop.promote("v2")
    gate.rollback(shop.settings, "mine")
    shop.promote("v2")
    assert len(shop.measured("v2")) == 2
    gate.rollback(shop.settings, "mine")
    write_lines(registry.folder_of(shop.settings, "mine", "v2") / HELD_OUT, queries()[:9])
    _, weighed = shop.promote("v2")
    assert weighed is not None and weighed.comparison.queries == 9
    assert len(shop.measured("v2")) == 4
    gate.rollback(shop.settings, "mine")
    stage = msgspec.structs.replace(STAGES[1], blend=0.2)
    other = msgspec.structs.replace(shop.settings, profiles={"default": Profile(stages=(stage,))})
    gate.promote(other, shop.device, "mine", "v2", force=False, progress=silent)
    assert [one.asked[:9] for one in shop.measured("v2")] == ["96 tokens"] * 6


def test_the_models_are_asked_as_the_stage_asks_them(shop: Shop) -> None:
    shop.add("none")
    shop.promote("v1", force=True)
    shop.add("good")
    shop.promote("v2")
    assert {one.asked for one in shop.measured("v2")} == {
        "96 tokens, long passages in parts, blend 0.9, precision float32"
    }


def test_what_is_in_use_already_is_not_weighed(shop: Shop) -> None:
    shop.add("none")
    shop.promote("v1", force=True)
    assert shop.promote("v1")[1] is None
    assert shop.measured("v1") == []


def test_a_version_without_held_out_queries_is_promoted_by_force_alone(shop: Shop) -> None:
    shop.add("good")
    (registry.folder_of(shop.settings, "mine", "v1") / HELD_OUT).unlink()
    with pytest.raises(Conflict, match="without held-out queries; --force"):
        shop.promote("v1")


def test_a_rollback_that_would_leave_a_stage_without_a_model_is_refused(shop: Shop) -> None:
    shop.add("good")
    shop.promote("v1", force=True)
    with pytest.raises(Conflict, match=r"there was no mine, which default\.large needs"):
        gate.rollback(shop.settings, "mine")
    elsewhere = msgspec.structs.replace(shop.settings, profiles={})
    assert gate.rollback(elsewhere, "mine") == "no model of that name"


def test_a_small_model_is_for_the_first_stage_and_weighed_with_what_runs_there(shop: Shop) -> None:
    assert place_of(shop.settings, "rerank-small", small=True).name == "small"
    found = served(shop.settings, "rerank-small", small=True)
    assert found is not None
    assert (found.label, found.stage.name, found.stage.max_length) == ("rerank-base packaged", "small", 64)
    assert place_of(shop.settings, "another").name == "large"
    assert place_of(shop.settings, "mine", small=True).name == "large"


def test_what_serves_is_named_by_version_packaged_name_or_folder(shop: Shop, models: dict[str, Path]) -> None:
    shop.add("good")
    shop.promote("v1", force=True)
    assert [one.label for one in (served(shop.settings, "mine"), served(shop.settings, "x")) if one] == ["mine v1"] * 2
    stage = Stage(name="large", model=str(models["none"]))
    folder = msgspec.structs.replace(shop.settings, profiles={"default": Profile(stages=(stage,))})
    found = served(folder, "x")
    assert found is not None and found.label == str(models["none"])
    none = msgspec.structs.replace(shop.settings, profiles={"default": Profile(stages=())})
    assert served(none, "x") is None
    _, weighed = gate.promote(none, shop.device, "mine", "v1", force=False, progress=silent)
    assert weighed is None


def test_where_no_reranker_serves_the_fused_order_has_to_be_beaten(shop: Shop) -> None:
    settings = msgspec.structs.replace(shop.settings, profiles={"default": Profile(stages=())})
    shop.add("good")
    _, weighed = gate.promote(settings, shop.device, "mine", "v1", force=False, progress=silent)
    assert weighed is not None and weighed.against == gate.NOTHING
    assert weighed.comparison.before == pytest.approx(0.4307, abs=1e-4)
