"""What may be fitted, and that a run stays with what it began with."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import msgspec
import pytest

from indexer.errors import ConfigError, InputError
from searchd.settings import Profile, Settings, Stage
from searchd.train.base import PINNED, Base, base_of, check
from tests.searchd.rerank.families import ENCODERS, write_encoder
from tests.searchd.rerank.models import write_tiny


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=str(tmp_path / "data"))


def test_a_run_goes_on_with_the_model_it_began_with_and_refuses_one_that_changed(
    settings: Settings, tmp_path: Path
) -> None:
    folder = write_tiny(tmp_path / "tiny")
    assert base_of(settings, str(folder), tmp_path, small=False) == Base(str(folder), folder)
    assert base_of(settings, "rerank-base", tmp_path, small=False).folder == folder
    write_tiny(folder, seed=4)
    with pytest.raises(InputError, match="has changed since; --new begins another run"):
        base_of(settings, str(folder), tmp_path, small=False)


def test_what_a_full_disk_cut_short_is_no_note_of_what_a_run_began_with(settings: Settings, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            base_of(settings, str(folder), tmp_path, small=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert base_of(settings, str(folder), tmp_path, small=False).folder == folder


def test_without_a_name_it_is_what_the_last_stage_runs(settings: Settings, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny")
    stages = (Stage(name="small"), Stage(name="large", model=str(folder)))
    own = msgspec.structs.replace(settings, profiles={"default": Profile(stages=stages)})
    assert base_of(own, "", tmp_path, small=True).folder == folder
    (tmp_path / PINNED).unlink()
    found = base_of(settings, "", tmp_path, small=True)
    assert found.label == "rerank-base packaged"
    assert (found.folder / "model.safetensors").is_file()


def test_a_model_that_is_nowhere_is_one_clear_line(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model '/nowhere/model' cannot be had: there is no folder"):
        base_of(settings, "/nowhere/model", tmp_path, small=False)


def test_two_labels_and_what_is_no_cross_encoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it has 2 labels; one is needed"):
        check(Base("x", write_tiny(tmp_path / "two", labels=2)), small=False)
    plain = write_tiny(tmp_path / "plain")
    config = json.loads((plain / "config.json").read_text())
    (plain / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    with pytest.raises(ConfigError, match="it is BertModel, no cross-encoder"):
        check(Base("x", plain), small=False)
    (plain / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        check(Base("x", plain), small=False)


@pytest.mark.parametrize("family", ENCODERS)
def test_every_family_of_cross_encoders_may_be_fitted_and_most_made_small(family: str, tmp_path: Path) -> None:
    base = Base(family, write_encoder(tmp_path / family, family))
    check(base, small=False)
    if family != "modernbert":
        check(base, small=True)
        return
    with pytest.raises(ConfigError, match="no small model can be made of 'modernbert'"):
        check(base, small=True)
