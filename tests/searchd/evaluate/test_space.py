"""What is searched: configurations that settings accept, over models of the settings and of the registry."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from searchd.evaluate.scores import asking
from searchd.evaluate.space import (
    DEPTHS,
    LARGE,
    SMALL,
    Space,
    as_name,
    distinct,
    families_of,
    fusions_of,
    models_of,
    neighbours,
    profile_of,
    shape_of,
    starts_of,
)
from searchd.evaluate.trial import family_of, key_of
from searchd.settings import Profile, Settings, Stage
from searchd.train import registry
from searchd.train.compare import Comparison
from searchd.train.registry import Card, Figures

USUAL = Profile()
MODELS = distinct([*USUAL.stages, SMALL, LARGE])
COSTS = {asking(model): float(number) for number, model in enumerate(MODELS, start=1)}
SPACE = Space(USUAL, MODELS, families_of(MODELS, COSTS, family_of(USUAL)))


def test_the_packaged_models_are_asked_as_the_usual_profile_asks_them() -> None:
    assert [stage.name for stage in MODELS] == ["small", "large"]
    assert SPACE.families == ((), family_of(USUAL), (asking(SMALL),), (asking(LARGE),))


def test_the_usual_profile_has_a_shape_which_gives_it_back_in_all_that_counts() -> None:
    again = profile_of(SPACE, shape_of(USUAL))
    for before, after in zip(USUAL.stages, again.stages, strict=True):
        assert (before.depth, before.blend, asking(before)) == (after.depth, after.blend, asking(after))
    assert again.stages[0].keep == USUAL.stages[0].keep


def test_every_configuration_is_one_that_settings_accept() -> None:
    fusions = fusions_of(USUAL, ("rrf", "linear"))
    assert len(fusions) > 25 and {one.fusion for one in fusions} == {"rrf", "linear"}
    count = 0
    for family in SPACE.families[1:]:
        for start in starts_of(SPACE, family, fusions[:3]):
            for shape in (start, *itertools.islice(neighbours(SPACE, start, fusions[:3]), 60)):
                profile = profile_of(SPACE, shape)
                assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile
                assert family_of(profile) == family
                depths = [stage.depth for stage in profile.stages]
                assert depths == sorted(depths, reverse=True) and max(depths) <= max(DEPTHS)
                count += 1
    assert count > 500


def test_a_neighbour_differs_in_one_respect() -> None:
    start = shape_of(USUAL)
    margins = {
        stage.early_stop_margin for one in neighbours(SPACE, start, []) for stage in profile_of(SPACE, one).stages
    }
    assert None in margins and len(margins) > 3
    blends = {tuple(stage.blend for stage in profile_of(SPACE, one).stages) for one in neighbours(SPACE, start, [])}
    assert all(one[0] == 0.4 or one[1] == 0.6 for one in blends)


def test_a_model_that_may_score_few_is_given_few() -> None:
    shallow = tuple(msgspec.structs.replace(model, depth=5) for model in MODELS)
    space = Space(USUAL, shallow, SPACE.families)
    for family in space.families[2:]:
        for start in starts_of(space, family, [Profile(stages=())]):
            assert {stage.depth for stage in profile_of(space, start).stages} == {5}


def test_no_two_fusions_are_the_same() -> None:
    keys = [key_of(one) for one in fusions_of(USUAL, ("rrf", "linear"))]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key_of(Profile(stages=()))


def test_models_of_the_profile_that_may_run_are_there_to_choose_from(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    own = Stage(name="own", model="some/model", max_length=128)
    never = Stage(name="never", model="some/other", enabled=False)
    order = Stage(name="order", kind="listwise", model="m", url="http://127.0.0.1:1")
    found = models_of(settings, Profile(stages=(own, never, order)))
    assert [stage.model for stage in found] == ["some/model", "rerank-small", "rerank-base"]


def card(name: str, after: float, *, small: bool = False) -> Card:
    measured = Figures(queries=50, fused=0.4, alone=0.4, blended=after)
    better = Comparison(queries=50, differ=10, before=0.4, after=after, chance=0.01)
    return Card(
        name=name, version=registry.UNKEPT, made_at=1.0, base="b", collection="default", groups=9, kinds={}, settings={},
        before=measured, after=measured, took_s=1.0, compared=better, small=small,
    )  # fmt: skip


def test_trained_models_are_there_to_choose_from(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    made = tmp_path / "made"
    made.mkdir()
    kept = registry.store(settings, made, card("mine", 0.5, small=True))
    found = models_of(settings, USUAL)
    assert [stage.name for stage in found] == ["small", "large", "mine-v1"]
    assert found[2].model == str(registry.folder_of(settings, "mine", kept.version))
    assert (found[2].max_length, found[2].long) == (64, "beginning")
    registry.promote(settings, "mine", kept.version)
    assert [(stage.name, stage.model) for stage in models_of(settings, USUAL)][2:] == [("mine", "mine")]


@pytest.mark.parametrize(
    ("text", "name"), [("Org/Model.v2", "model-v2"), ("3b", "b"), ("---", "model"), ("x" * 40, "x" * 32)]
)
def test_a_model_gets_a_name_that_a_stage_may_have(text: str, name: str) -> None:
    assert as_name(text) == name
    assert Stage(name=as_name(text)).name == name
