"""`searchd judge`: makes and extends sets beside a daemon, and says where the page is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from indexer.owner import Owner
from indexer.store import collections, judged, searches
from indexer.store.database import open_database
from searchd.__main__ import cli
from searchd.judge import page_commands, proposals
from searchd.program import run_command
from searchd.services import Services
from searchd.settings import Settings
from tests.web.product import running


@pytest.fixture
def library(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The library's folder, as this invocation's settings and with a daemon announced in it."""
    monkeypatch.setenv("SEARCHD_DATA_DIR", services.settings.data_dir)
    with services.engine.database.session() as session:
        searches.forget(session, float("inf"))  # other tests share the library, and search it
    with running(services) as url, Owner.acquire(services.settings) as owner:
        owner.announce(url)
        yield services


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["judge", *arguments])


def error_of(*arguments: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = run_command(lambda: cli(["judge", *arguments], standalone_mode=False), "searchd")
    return status, " ".join(capfd.readouterr().err.split())


def test_beside_a_daemon_a_set_is_made_extended_and_its_page_named(library: Services, tmp_path: Path) -> None:
    made = run("faq", "--queries", "5")
    assert made.exit_code == 0, made.output
    assert "by the setting `log_queries`; headings are used" in made.output
    assert "5 queries added from headings." in made.output
    assert "Set faq of collection default: 5 queries, 0 judged, 5 waiting." in made.output
    assert "/judge?collection=default&set=faq" in made.output
    path = tmp_path / "mine.txt"
    path.write_text("how do refunds work\nparcels in the evening\nHow do refunds  work\n")
    extended = run("faq", "--from", str(path))
    assert f"2 queries added from {path}." in extended.output
    again = run("faq")
    assert "added" not in again.output
    assert "7 queries, 0 judged, 7 waiting" in again.output
    with library.engine.database.session() as session:
        one = judged.get(session, "default", "faq")
        assert [query.origin for query in judged.queries(session, one.set_id)] == ["headings"] * 5 + ["file"] * 2
        judged.delete(session, one.set_id)


def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(tmp_path / "data"))
    status, said = error_of(capfd=capfd)
    assert (status, "add documents first" in said) == (2, True)
    (tmp_path / "data").mkdir()
    database = open_database(Settings(data_dir=str(tmp_path / "data")).resolved_database_url)
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
    database.close()
    for arguments, words in (
        ((), "there is no collection 'default'; there are: docs"),
        (("--collection", "docs", "--from", "log"), "only where the owner opted in"),
        (("--collection", "docs", "--from", "headings"), "nothing indexed"),
        (("--collection", "docs", "--from", str(tmp_path / "none.txt")), "none.txt"),
    ):
        assert error_of(*arguments, capfd=capfd)[0] == 2
        assert words in error_of(*arguments, capfd=capfd)[1]


def test_the_limits_that_help_names_are_those_that_hold() -> None:
    assert (page_commands.MOST, page_commands.USUAL) == (proposals.MOST, proposals.USUAL)
