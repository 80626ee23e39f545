"""`searchd profiles` over a data folder: applied, shown, compared, put back; what is not there is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from indexer.errors import ConfigError, InputError, NotFound
from indexer.store import collections
from indexer.store.database import open_database
from searchd.__main__ import cli
from searchd.settings import Settings


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("SEARCHD_PROFILES", '{"quick": {"depth": 40, "stages": []}, "deep": {"depth": 300}}')
    database = open_database(Settings(data_dir=str(tmp_path)).resolved_database_url)
    with database.session() as session:
        collections.ensure(session, "default", "en", 1.0)
    database.close()
    return tmp_path


def run(*arguments: str) -> str:
    done: Result = CliRunner().invoke(cli, ["profiles", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(cli, ["profiles", *arguments]).exception


def test_a_profile_is_applied_shown_compared_and_put_back() -> None:
    assert "version 1 is in force" in run("apply", "quick", "--why", "a slow machine")
    assert "version 2 is in force" in run("apply", "deep")
    shown = run("show")
    assert "version 2, in force" in shown
    assert tomllib.loads(shown)["profiles"]["default"]["depth"] == 300
    assert tomllib.loads(run("show", "default", "1"))["profiles"]["default"]["stages"] == []
    assert tomllib.loads(run("show", "default", "settings"))["profiles"]["default"].get("depth") is None
    compared = run("compare", "1", "settings")
    assert "depth" in compared and "40" in compared and "100" in compared and "none" in compared
    assert "the same" in run("compare", "2", "2")
    listed = run("list")
    assert "a slow machine" in listed and listed.count("*") == 1
    assert "version 1 is in force" in run("rollback")
    assert "the settings' profile is in force" in run("rollback")
    assert "version 2 is in force" in run("rollback", "--to", "2")
    assert "the settings' profile is in force" in run("rollback", "--to", "settings")


def test_what_is_not_there_is_named() -> None:
    assert isinstance(refused("apply", "fast"), NotFound)
    assert isinstance(refused("show", "fast"), NotFound)
    assert isinstance(refused("show", "default", "4"), NotFound)
    assert isinstance(refused("rollback"), NotFound)
    assert isinstance(refused("rollback", "--to", "4"), NotFound)
    assert isinstance(refused("rollback", "--to", "four"), InputError)
    assert isinstance(refused("apply", "quick", "--collection", "nowhere"), NotFound)


def test_a_database_is_neither_made_nor_upgraded_beside_who_owns_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(empty))
    error = refused("list")
    assert isinstance(error, ConfigError) and "is empty; `indexer add` fills it" in str(error)


@pytest.mark.parametrize("name", ["", "a\nb", "[/b]", "a.b", "_a", "a" * 65])
def test_a_profile_that_searchd_toml_could_not_name_is_refused(name: str) -> None:
    assert isinstance(refused("apply", "quick", "--name", name), InputError)
    assert "the settings' profile is in force" in run("rollback", name, "--to", "settings")
