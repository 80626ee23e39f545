"""Where a run is kept, and what it takes of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from indexer.errors import InputError
from searchd.settings import Settings
from searchd.train.fit import FitSettings
from searchd.train.options import (
    FINISHED,
    OPTIONS,
    TrainOptions,
    check_names,
    half_of_the_threads,
    run_folder,
    same_options,
    whole,
)


def test_an_unfinished_run_is_gone_on_with_and_a_finished_one_is_followed_by_the_next(tmp_path: Path) -> None:
    settings, options = Settings(data_dir=str(tmp_path)), TrainOptions(collection="docs")
    first = run_folder(settings, options, new=False)
    assert first == tmp_path / "training" / "docs-1"
    first.mkdir(parents=True)
    (tmp_path / "training" / "docs-old-7").mkdir()
    assert run_folder(settings, options, new=False) == first
    assert run_folder(settings, options, new=True).name == "docs-2"
    (first / FINISHED).touch()
    assert run_folder(settings, options, new=False).name == "docs-2"


def test_half_of_the_threads_are_left_to_others_and_one_is_taken_at_least() -> None:
    assert [half_of_the_threads(Settings(threads=count)).threads for count in (1, 2, 5, 16)] == [1, 1, 2, 8]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"name": "My model"}, "'My model' is no model's name"),
        ({"small": "../small"}, "'../small' is no model's name"),
        ({"name": "mine", "small": "mine"}, "both models would be called 'mine'"),
    ],
)
def test_models_that_could_not_be_kept_are_refused_before_any_work(names: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_names(TrainOptions(**names))
    check_names(TrainOptions(name="mine", small=""))


def test_other_options_than_those_a_run_began_with_are_named(tmp_path: Path) -> None:
    same_options(tmp_path, TrainOptions())
    same_options(tmp_path, TrainOptions())
    with pytest.raises(InputError, match="judged '', not 'file'; name 'rerank-base', not 'rerank-mine'; --new begins"):
        same_options(tmp_path, TrainOptions(name="rerank-mine", judged="file"))
    with pytest.raises(InputError, match=r"begun with fit\.epochs 1\.0, not 2\.0; --new"):
        same_options(tmp_path, TrainOptions(fit=FitSettings(epochs=2.0)))


def test_a_run_that_an_earlier_version_began_goes_on(tmp_path: Path) -> None:
    same_options(tmp_path, TrainOptions())
    noted = json.loads((tmp_path / OPTIONS).read_text())
    noted["prepare"]["language"] = "en"
    (tmp_path / OPTIONS).write_text(json.dumps(noted))
    same_options(tmp_path, TrainOptions())


def test_a_run_goes_on_with_other_threads_and_on_another_device(tmp_path: Path) -> None:
    same_options(tmp_path, TrainOptions())
    same_options(tmp_path, TrainOptions(fit=FitSettings(threads=4, device="cuda", bfloat16=True)))


def test_a_file_is_the_same_wherever_the_run_goes_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert whole(Path("corpus.jsonl")) == whole(tmp_path / "corpus.jsonl")
    assert whole(None) == ""
