"""How both programs end: with a status for the owner's scripts and CI, and with a line for people."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import pytest

import indexer.__main__
from indexer.owner import Owner
from indexer.store.database import open_database
from searchd.__main__ import cli
from searchd.program import run_command, run_program
from searchd.services import Services
from searchd.terminal import output
from tests.web.product import running


@pytest.mark.parametrize("status", [0, 1, 3])
def test_the_status_that_a_command_exits_with_is_the_program_s(status: int) -> None:
    @click.command()
    @click.pass_context
    def ends(context: click.Context) -> None:
        context.exit(status)

    assert run_command(lambda: ends([], standalone_mode=False), "searchd") == status


def test_a_name_that_is_no_utf8_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_database(f"sqlite:///{tmp_path / 'searchd.db'}").close()
    monkeypatch.setenv("SEARCHD_DATABASE_URL", f"sqlite:///{tmp_path / 'searchd.db'}")
    asked = ["profiles", "list", "--collection", "faq\udcff"]
    assert run_command(lambda: cli(asked, standalone_mode=False), "searchd") == 2
    assert capsys.readouterr().err == "searchd: 'faq\\udcff' is no UTF-8, which names and texts have to be\n"


def test_indexer_tells_it_in_one_line_too(
    services: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEARCHD_DATA_DIR", services.settings.data_dir)
    monkeypatch.setattr("sys.argv", ["indexer", "retry", "--collection", "faq\udcff"])
    with running(services) as url, Owner.acquire(services.settings) as owner:
        owner.announce(url)
        with pytest.raises(SystemExit) as ended:
            indexer.__main__.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("indexer: ") and said.endswith("is no UTF-8, which names and texts have to be\n")
    assert "faq\\udcff" in said and said.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_lacks_characters_gets_them_as_json_writes_them(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    title = {"title": "Café, naïve \u2013 \U0001f50d"}

    @click.command()
    def shows() -> None:
        output.print_json(data=title)

    monkeypatch.setattr("sys.argv", ["shows"])
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding=encoding, errors="strict"))
    with pytest.raises(SystemExit) as ended:
        run_program(shows, "searchd")
    assert ended.value.code == 0
    said = written.getvalue().decode(encoding)
    assert json.loads(said) == title
    assert ("é" in said, "\u2013" in said) == (encoding != "ascii", encoding == "utf-8")
