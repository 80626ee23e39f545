"""Judged sets on both databases: what is put is read back, replaced, counted, taken back, and goes with its collection."""

from __future__ import annotations

import pytest

from indexer.errors import Conflict, InputError, NotFound
from indexer.scope import Scope
from indexer.store import collections, documents, judged, searches
from indexer.store.database import Database
from indexer.store.judged import JudgedQuery, JudgedSet, Judgment, SetCounts


def made(database: Database, name: str = "faq") -> JudgedSet:
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        one = judged.create(session, "docs", name, 2.0)
        judged.add_queries(
            session, one.set_id, [JudgedQuery("q1", "refunds", "file"), JudgedQuery("q2", "login", "log")]
        )
    return one


def test_queries_keep_their_order_and_one_added_again_keeps_its_text(database: Database) -> None:
    one = made(database)
    with database.session() as session:
        added = [JudgedQuery("q2", "other words", "file"), JudgedQuery("q0", "parcels", "headings")]
        assert judged.add_queries(session, one.set_id, added) == 1
        judged.skip(session, one.set_id, "q2", 5.0)
    with database.read() as session:
        assert judged.queries(session, one.set_id) == [
            JudgedQuery("q1", "refunds", "file", 1),
            JudgedQuery("q2", "login", "log", 2, 5.0),
            JudgedQuery("q0", "parcels", "headings", 3),
        ]


def test_a_judgment_given_again_replaces_the_one_before_and_can_be_taken_back(database: Database) -> None:
    one = made(database)
    first, again = Judgment("q1", "d1", 1, "ann", 3.0), Judgment("q1", "d1", 3, "bob", 4.0)
    of_passage = Judgment("q1", "d1", 0, "ann", 3.5, "p1")
    with database.session() as session:
        assert judged.put_judgments(session, one.set_id, [first, of_passage]) == 2
        judged.put_judgments(session, one.set_id, [again])
    with database.read() as session:
        assert judged.judgments(session, one.set_id) == [again, of_passage]
        assert judged.last_judgment(session, one.set_id, "ann") == of_passage
        assert judged.last_judgment(session, one.set_id, "eve") is None
        assert judged.counts(session, one.set_id) == SetCounts(2, 1, 2, 1)
    for left in ([first, of_passage], [of_passage]):
        with database.session() as session:
            judged.take_back(session, one.set_id, "q1", "d1")
        with database.read() as session:
            assert judged.judgments(session, one.set_id, "q1") == left
    with database.read() as session:
        assert judged.judgments(session, one.set_id, "q2") == []


def test_a_grade_beyond_three_is_refused_and_nothing_is_written(database: Database) -> None:
    one = made(database)
    given = [Judgment("q1", "d1", 1, "ann", 3.0), Judgment("q1", "d2", 4, "ann", 3.0)]
    with pytest.raises(InputError, match="grades are 0 to 3"), database.session() as session:
        judged.put_judgments(session, one.set_id, given)
    with database.read() as session:
        assert judged.judgments(session, one.set_id) == []


def test_names_are_the_collections_own(database: Database) -> None:
    one = made(database)
    with pytest.raises(Conflict, match="already"), database.session() as session:
        judged.create(session, "docs", "faq", 2.0)
    with pytest.raises(InputError, match="1 to 64"), database.session() as session:
        judged.create(session, "docs", "../faq", 2.0)
    with pytest.raises(InputError, match="judged or clicks"), database.session() as session:
        judged.create(session, "docs", "more", 2.0, kind="guessed")
    with database.session() as session:
        collections.ensure(session, "other", "en", 1.0)
        second = judged.create(session, "other", "faq", 2.0, complete=True)
    with database.read() as session:
        assert judged.of_collection(session) == [one, second]
        assert judged.of_collection(session, "other") == [second]
        with pytest.raises(NotFound, match="there are: faq"):
            judged.get(session, "other", "more")


def test_a_set_goes_with_its_queries_and_a_collection_with_its_sets(database: Database) -> None:
    one, second = made(database), made(database, "second")
    with database.session() as session:
        judged.put_judgments(
            session, one.set_id, [Judgment("q1", "d1", 1, "ann", 3.0), Judgment("q2", "d1", 1, "a", 3.0)]
        )
        judged.remove_query(session, one.set_id, "q2")
        judged.set_complete(session, one.set_id, True)
    with database.read() as session:
        assert [query.query_id for query in judged.queries(session, one.set_id)] == ["q1"]
        assert judged.get(session, "docs", "faq").complete
    with database.session() as session:
        judged.delete(session, one.set_id)
    with database.read() as session:
        assert judged.of_collection(session, "docs") == [second]
        assert judged.judgments(session, one.set_id) == []
    with database.session() as session:
        collections.delete(session, "docs", 9.0)
    with database.read() as session:
        assert judged.of_collection(session) == []
        assert judged.queries(session, second.set_id) == []


def test_names_that_no_database_can_hold_are_of_nothing(database: Database) -> None:
    made(database)
    with database.read() as session:
        assert judged.find(session, "docs", "faq\0") is None
        assert judged.find(session, "docs\0", "faq") is None
        assert judged.of_collection(session, "docs\0") == []
        assert collections.get(session, "docs\0") is None
        assert documents.get(session, Scope.of("docs"), "d1\0") is None
        assert searches.get(session, "q1\0") is None


def test_writing_to_a_set_that_is_gone_is_told_and_writes_nothing(database: Database) -> None:
    one = made(database)
    with database.session() as session:
        judged.delete(session, one.set_id)
    for write in (
        lambda session: judged.put_judgments(session, one.set_id, [Judgment("q1", "d1", 1, "ann", 3.0)]),
        lambda session: judged.add_queries(session, one.set_id, [JudgedQuery("q1", "refunds", "file")]),
        lambda session: judged.create(session, "nowhere", "faq", 1.0),
    ):
        with pytest.raises(Conflict, match="was deleted at this moment"), database.session() as session:
            write(session)
