"""Profiles in force: an applied one serves its collection at once, is written as settings write it, and can be undone."""

from __future__ import annotations

import contextlib
import time
import tomllib
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from indexer.store import collections
from indexer.store import profiles as store
from indexer.store.database import READERS, Database, open_database
from searchd.profiles import FRESH_S, Profiles, body_of, differences, toml_of
from searchd.settings import Profile, Settings, Stage

TUNED = Profile(
    depth=50,
    fusion="linear",
    weights={"bm25": 0.3, "dense": 0.7},
    stages=(Stage(name="large", depth=20, keep=10, blend=0.55, instruction="", early_stop_margin=1.5),),
)

SQLITE_READERS = READERS + 4
"""Connections that a database of SQLite gives to readers."""


@pytest.fixture
def database(tmp_path: Path) -> Database:
    opened = open_database(f"sqlite:///{tmp_path / 'searchd.db'}")
    with opened.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
    return opened


def apply(database: Database, name: str, profile: Profile) -> int:
    with database.session() as session:
        return store.apply(session, "docs", name, body_of(profile), author="tune", why="", now=2.0)


def test_an_applied_profile_serves_its_collection_and_no_other(database: Database) -> None:
    now = 0.0
    profiles = Profiles(Settings(), database, clock=lambda: now, patience_s=60.0)
    assert profiles.get("docs", "default") == Profile()
    apply(database, "default", TUNED)
    assert profiles.get("docs", "default") == Profile()
    now += FRESH_S
    assert profiles.get("docs", "default") == TUNED
    assert profiles.get("shop", "default") == Profile()
    assert (profiles.version("docs", "default"), profiles.version("shop", "default")) == (1, None)
    assert TUNED in profiles.all()
    with database.session() as session:
        store.activate(session, "docs", "default", None)
    now += FRESH_S
    assert profiles.get("docs", "default") == Profile()


def test_a_name_of_its_own_is_a_profile_of_the_collection(database: Database) -> None:
    apply(database, "tuned", TUNED)
    profiles = Profiles(Settings(profiles={"quick": Profile(stages=())}), database)
    assert profiles.names("docs") == ("default", "quick", "tuned")
    assert profiles.names("shop") == ("default", "quick")
    assert profiles.get("shop", "tuned") is None


def test_a_database_that_is_away_leaves_what_was_known(database: Database, tmp_path: Path) -> None:
    now = 0.0
    profiles = Profiles(Settings(), database, clock=lambda: now, patience_s=60.0)
    apply(database, "default", TUNED)
    assert profiles.get("docs", "default") == TUNED
    database.close()
    (tmp_path / "searchd.db").rename(tmp_path / "moved.db")
    (tmp_path / "searchd.db").mkdir()
    now += FRESH_S
    assert profiles.get("docs", "default") == TUNED


def test_a_database_that_keeps_readers_waiting_keeps_no_search_waiting(database: Database) -> None:
    now = 0.0
    profiles = Profiles(Settings(), database, clock=lambda: now, patience_s=0.0)
    assert profiles.get("docs", "default") == Profile()
    apply(database, "default", TUNED)
    now += FRESH_S
    with contextlib.ExitStack() as held:
        for _ in range(SQLITE_READERS):
            held.enter_context(database.read()).execute(text("SELECT 1"))
        assert profiles.get("docs", "default") == Profile()
    for _ in range(3000):  # until the reading that nobody waited for is done; the clock stands still
        if profiles.get("docs", "default") == TUNED:
            break
        time.sleep(0.01)
    assert profiles.get("docs", "default") == TUNED


def test_what_this_version_does_not_understand_is_not_served(database: Database) -> None:
    with database.session() as session:
        store.apply(session, "docs", "default", {"depht": 5}, author="hand", why="", now=2.0)
    assert Profiles(Settings(), database).get("docs", "default") == Profile()


@pytest.mark.parametrize("profile", [TUNED, Profile(), Profile(stages=()), Profile(rrf_k=10.5, stages=TUNED.stages)])
def test_a_profile_is_read_back_from_its_body_and_from_its_toml(profile: Profile) -> None:
    assert msgspec.convert(body_of(profile), Profile) == profile
    assert msgspec.convert(tomllib.loads(toml_of("tuned", profile))["profiles"]["tuned"], Profile) == profile


def test_a_version_does_not_lean_on_defaults_that_may_change() -> None:
    body = body_of(Profile())
    assert set(body) == {field.name for field in msgspec.structs.fields(Profile)}
    for stage in body["stages"]:  # type: ignore[attr-defined]
        assert set(stage) == {field.name for field in msgspec.structs.fields(Stage)}


def test_differences_name_settings_and_stages() -> None:
    found = differences(Profile(), TUNED)
    assert ("depth", "100", "50") in found
    assert ("stages", "small, large", "large") in found
    assert ("large.blend", "0.6", "0.55") in found
    assert ("small.depth", "30", "") in found
    assert differences(TUNED, TUNED) == []
