"""Applied profiles on both databases: versions count up, one is in force, and each can be put back."""

from __future__ import annotations

import pytest

from indexer.errors import NotFound
from indexer.store import collections, profiles
from indexer.store.database import Database


def in_force(database: Database) -> list[tuple[str, str, int]]:
    with database.read() as session:
        return [(one.collection, one.name, one.version) for one in profiles.active(session)]


def test_versions_count_up_by_name_and_the_last_applied_is_in_force(database: Database) -> None:
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        collections.ensure(session, "shop", "en", 1.0)
        for name in ("default", "default", "quick"):
            profiles.apply(session, "docs", name, {"depth": 50}, author="tune", why="better", now=2.0)
        assert profiles.apply(session, "shop", "default", {}, author="tune", why="", now=3.0) == 1
    assert in_force(database) == [("docs", "default", 2), ("docs", "quick", 1), ("shop", "default", 1)]
    with database.session() as session:
        profiles.activate(session, "docs", "default", 1)
        profiles.activate(session, "shop", "default", None)
    assert in_force(database) == [("docs", "default", 1), ("docs", "quick", 1)]
    with database.session() as session:
        assert profiles.apply(session, "docs", "default", {"depth": 9}, author="tune", why="w", now=4.0) == 3
    with database.read() as session:
        found = profiles.versions(session, "docs", "default")
        assert [(one.version, one.active, one.body) for one in found] == [
            (1, False, {"depth": 50}),
            (2, False, {"depth": 50}),
            (3, True, {"depth": 9}),
        ]
        assert len(profiles.versions(session)) == 5


def test_what_is_not_there_is_named(database: Database) -> None:
    with pytest.raises(NotFound, match="no collection 'docs'"), database.session() as session:
        profiles.apply(session, "docs", "default", {}, author="tune", why="", now=2.0)
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        profiles.apply(session, "docs", "default", {}, author="tune", why="", now=2.0)
    with pytest.raises(NotFound, match="no version 7"), database.session() as session:
        profiles.activate(session, "docs", "default", 7)
    assert in_force(database) == [("docs", "default", 1)]
