"""Where a run is kept, and what it takes of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.errors import InputError
from searchd.settings import Settings
from searchd.train.options import FINISHED, TrainOptions, half_of_the_threads, run_folder, same_options


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


def test_other_options_than_those_a_run_began_with_are_named(tmp_path: Path) -> None:
    same_options(tmp_path, TrainOptions())
    same_options(tmp_path, TrainOptions())
    with pytest.raises(InputError, match="another judged, name"):
        same_options(tmp_path, TrainOptions(name="rerank-mine", judged="file"))
