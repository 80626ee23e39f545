"""What commands print as it is, and how far a step is, told to people and to logs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from indexer.__main__ import output as of_the_indexer
from indexer.errors import InputError
from searchd.terminal import Steps, check_places, line, output, whole_line


def test_a_log_gets_a_step_at_once_then_every_ten_seconds_and_at_its_end() -> None:
    out = io.StringIO()
    now = iter((0.0, 3.0, 11.0, 12.0, 13.0))
    steps = Steps(Progress(console=Console(file=out)), clock=lambda: next(now))
    for done in (1, 2, 3, 4):
        steps.report(f"fitting, loss 0.{done}", done, 4)
    steps.report("measuring the new", 1, 9)
    assert out.getvalue().splitlines() == [
        "fitting, loss 0.1: 1 of 4",
        "fitting, loss 0.3: 3 of 4",
        "fitting, loss 0.4: 4 of 4",
        "measuring the new: 1 of 9",
    ]


def test_a_terminal_gets_one_bar_for_each_step_whatever_its_loss() -> None:
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=True))
    steps = Steps(progress)
    for done in (1, 2):
        steps.report(f"fitting, loss 0.{done}", done, 4)
    steps.report("mining", 5, 9)
    assert [(task.description, task.completed, task.total) for task in progress.tasks] == [
        ("fitting, loss 0.2", 2, 4),
        ("mining", 5, 9),
    ]


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    check_places(None, tmp_path / "new.json")
    for path, why in ((tmp_path, "it is a folder"), (tmp_path / "none" / "a.json", "none is not there")):
        with pytest.raises(InputError, match=why):
            check_places(None, path)


def test_texts_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    said = "[b]notes[/b] :bug:.md 7"
    line(said)
    whole_line(said)
    output.print(escape(said))
    of_the_indexer.print(escape(said))
    assert capsys.readouterr().out.splitlines() == [said] * 4


def test_a_line_is_wrapped_at_words_and_a_whole_one_never_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_width", 20)  # rich reads COLUMNS once, where it is set when the console is made
    line("three words are here for two lines")
    whole_line("three words are here for two lines")
    assert capsys.readouterr().out.splitlines() == [
        "three words are here",
        "for two lines",
        "three words are here for two lines",
    ]
