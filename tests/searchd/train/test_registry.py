"""Versions of trained models: stored, promoted, rolled back."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from indexer.device import Device
from indexer.errors import Busy, Conflict, InputError, NotFound
from indexer.weights import digest_of
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.scheduler import Scheduler
from searchd.settings import Settings, Stage
from searchd.train import registry
from searchd.train.registry import Card, Figures
from tests.searchd.rerank.models import write_tiny


def figures(blended: float) -> Figures:
    return Figures(queries=10, fused=0.5, alone=0.4, blended=blended)


def card(before: float, after: float, name: str = "rerank-base") -> Card:
    return Card(
        name=name,
        version="v0",
        made_at=1.0,
        base="rerank-base",
        collection="default",
        groups=20,
        kinds={"faq": 20},
        settings={},
        before=figures(before),
        after=figures(after),
        took_s=1.0,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=str(tmp_path / "data"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "model")


def test_versions_count_up_and_keep_model_and_card(settings: Settings, model: Path) -> None:
    assert [registry.store(settings, model, card(0.5, 0.6)).version for _ in range(2)] == ["v1", "v2"]
    folder = registry.folder_of(settings, "rerank-base", "v2")
    assert (folder / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert registry.card_of(settings, "rerank-base").version == "v2"
    assert registry.cards(settings, "rerank-small") == []


def test_the_packaged_model_is_in_use_until_a_version_is_promoted(settings: Settings, model: Path) -> None:
    registry.store(settings, model, card(0.5, 0.6))
    assert registry.promoted(settings, "rerank-base") is None
    registry.promote(settings, "rerank-base", "v1")
    assert registry.promoted(settings, "rerank-base") == registry.folder_of(settings, "rerank-base", "v1")
    assert registry.promoted(settings, "rerank-small") is None


def test_rollback_returns_step_by_step_to_the_packaged_model(settings: Settings, model: Path) -> None:
    for _ in range(2):
        stored = registry.store(settings, model, card(0.5, 0.6))
        registry.promote(settings, "rerank-base", stored.version)
    assert registry.rollback(settings, "rerank-base") == "v1"
    assert registry.promoted(settings, "rerank-base") == registry.folder_of(settings, "rerank-base", "v1")
    assert registry.rollback(settings, "rerank-base") == registry.PACKAGED
    assert registry.promoted(settings, "rerank-base") is None
    with pytest.raises(Conflict, match="nothing to go back to"):
        registry.rollback(settings, "rerank-base")


def test_promoting_what_is_in_use_changes_nothing(settings: Settings, model: Path) -> None:
    registry.store(settings, model, card(0.5, 0.6))
    registry.promote(settings, "rerank-base", "v1")
    registry.promote(settings, "rerank-base", "v1")
    assert registry.rollback(settings, "rerank-base") == registry.PACKAGED


def test_a_version_that_is_not_there_is_named_with_those_that_are(settings: Settings, model: Path) -> None:
    registry.store(settings, model, card(0.5, 0.6))
    with pytest.raises(NotFound, match="no version v7; there are: v1"):
        registry.promote(settings, "rerank-base", "v7")
    with pytest.raises(NotFound, match="no trained version"):
        registry.card_of(settings, "rerank-small")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "/etc", "A"])
def test_a_name_that_is_a_path_is_no_model(settings: Settings, model: Path, name: str) -> None:
    assert registry.promoted(settings, name) is None
    with pytest.raises(InputError):
        registry.folder_of(settings, name, "v1")
    with pytest.raises(InputError):
        registry.store(settings, model, card(0.5, 0.6, name))
    with pytest.raises(InputError, match="is no model's name"):
        registry.card_of(settings, name)


def test_an_unfinished_copy_is_no_version(settings: Settings, model: Path) -> None:
    (registry.models_folder(settings) / "rerank-base" / "draft-v1").mkdir(parents=True)
    assert registry.store(settings, model, card(0.5, 0.6)).version == "v1"


def test_a_card_reads_back_as_it_was_written(settings: Settings, model: Path) -> None:
    stored = registry.store(settings, model, card(0.5, 0.6))
    path = registry.folder_of(settings, "rerank-base", "v1") / registry.CARD
    assert msgspec.json.decode(path.read_bytes(), type=Card) == stored


def test_a_stage_that_names_the_packaged_model_runs_what_was_promoted_in_its_place(
    settings: Settings, model: Path
) -> None:
    device = Device(Settings(device="cpu", threads=1))
    registry.store(settings, model, card(0.5, 0.6))

    def fingerprint(name: str) -> str:
        stage = Stage(name="large", model=name, precision="float32")
        return load_cross_encoder(stage, settings, Scheduler(device)).fingerprint

    packaged = fingerprint("rerank-base")
    registry.promote(settings, "rerank-base", "v1")
    assert fingerprint("rerank-base") == fingerprint(str(registry.folder_of(settings, "rerank-base", "v1")))
    registry.rollback(settings, "rerank-base")
    assert fingerprint("rerank-base") == packaged
    device.close()


def test_what_is_stored_with_a_version_lies_beside_it_and_does_not_change_what_it_is(
    settings: Settings, model: Path, tmp_path: Path
) -> None:
    beside = tmp_path / "held-out.jsonl"
    beside.write_text("{}")
    registry.store(settings, model, card(0.5, 0.6), [beside])
    folder = registry.folder_of(settings, "rerank-base", "v1")
    before = digest_of(folder)
    assert (folder / "held-out.jsonl").read_text() == "{}"
    (folder / "held-out.jsonl").write_text("{}\n{}")
    assert digest_of(folder) == before


def test_a_rollback_to_a_version_that_was_deleted_is_refused_and_changes_nothing(
    settings: Settings, model: Path
) -> None:
    for version in ("v1", "v2"):
        registry.store(settings, model, card(0.5, 0.6))
        registry.promote(settings, "rerank-base", version)
    shutil.rmtree(registry.folder_of(settings, "rerank-base", "v1"))
    with pytest.raises(NotFound, match="no version v1"):
        registry.rollback(settings, "rerank-base")
    assert registry.promoted(settings, "rerank-base") == registry.folder_of(settings, "rerank-base", "v2")


def test_versions_of_a_name_are_changed_by_one_process_at_a_time(settings: Settings, model: Path) -> None:
    registry.store(settings, model, card(0.5, 0.6))
    again = registry.changing(settings, "rerank-base", 0.1)
    with registry.changing(settings, "rerank-base"), pytest.raises(Busy, match="another process"), again:
        pytest.fail("both are at it")
