"""Evaluations on both databases: kept, found by the beginning of their id, listed, and the newest before a moment."""

from __future__ import annotations

import pytest

from indexer.errors import InputError, NotFound
from indexer.store import collections, evaluations
from indexer.store.database import Database
from indexer.store.evaluations import StoredEvaluation

FIRST = StoredEvaluation("aaaa-1", "docs", "faq", "default", 10.0, {"systems": [{"name": "rrf"}]})
SECOND = StoredEvaluation("aaaa-2", "docs", "faq", "tuned", 20.0, {})
OTHER = StoredEvaluation("bbbb_1", "docs", "log", "default", 15.0, {})


@pytest.fixture
def kept(database: Database) -> Database:
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        collections.ensure(session, "more", "en", 1.0)
        for one in (FIRST, SECOND, OTHER):
            evaluations.put(session, one)
    return database


def test_one_is_found_by_the_beginning_of_its_id_if_that_names_one_alone(kept: Database) -> None:
    with kept.read() as session:
        assert evaluations.get(session, "docs", "aaaa-1") == FIRST
        assert evaluations.get(session, "docs", "bbbb") == OTHER
        with pytest.raises(InputError, match="several evaluations begin with 'aaaa-'"):
            evaluations.get(session, "docs", "aaaa-")
        for collection, name in (("docs", "bbb"), ("docs", "bbbb%"), ("docs", "bbbbx1"), ("more", "aaaa-1")):
            with pytest.raises(NotFound, match="--list"):
                evaluations.get(session, collection, name)


def test_they_are_listed_newest_first_of_a_collection_or_a_set(kept: Database) -> None:
    with kept.read() as session:
        assert evaluations.of_collection(session, "docs") == [SECOND, OTHER, FIRST]
        assert evaluations.of_collection(session, "docs", "faq") == [SECOND, FIRST]
        assert evaluations.of_collection(session, "docs", limit=1) == [SECOND]
        assert evaluations.of_collection(session, "more") == []


def test_the_newest_of_a_set_before_a_moment(kept: Database) -> None:
    with kept.read() as session:
        assert evaluations.newest(session, "docs", "faq", 20.0) == FIRST
        assert evaluations.newest(session, "docs", "faq", 21.0) == SECOND
        assert evaluations.newest(session, "docs", "faq", 20.0, since=11.0) is None
        assert evaluations.newest(session, "docs", "none", 99.0) is None


def test_the_newest_of_a_profile_is_not_that_of_another(kept: Database) -> None:
    with kept.read() as session:
        assert evaluations.newest(session, "docs", "faq", 21.0, profile="default") == FIRST
        assert evaluations.newest(session, "docs", "faq", 21.0, profile="plain") is None
