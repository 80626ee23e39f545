"""Kept searches and clicks on both databases: written once, joined, counted, and gone when they are old."""

from __future__ import annotations

from indexer.store import collections, searches
from indexer.store.database import Database
from indexer.store.searches import Click, Kept, Search


def search(query_id: str, text: str, at: float, *, collection: str = "docs", first_rank: int = 1) -> Search:
    return Search(query_id, collection, "default", first_rank, ("a", "b"), at, text)


def click(query_id: str, document_id: str, at: float, position: int = 1, dwell_ms: int | None = None) -> Click:
    return Click(query_id, document_id, "docs", position, dwell_ms, at)


def made(database: Database) -> None:
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        searches.add(session, [search("q1", "refunds", 10), search("q2", "login", 20), search("q3", "refunds\x00", 30)])


def test_a_search_is_written_once_and_only_for_a_collection_that_there_is(database: Database) -> None:
    made(database)
    with database.session() as session:
        assert searches.add(session, [search("q9", "gone", 40, collection="gone"), search("q1", "again", 50)]) == 1
    with database.read() as session:
        assert searches.get(session, "q1") == search("q1", "refunds", 10)
        assert searches.get(session, "q3") == search("q3", "refunds\ufffd", 30)
        assert searches.get(session, "q9") is None
        assert searches.kept(session, "docs") == Kept(3, 0)


def test_of_repeated_clicks_the_first_position_and_the_longest_dwell_stay(database: Database) -> None:
    made(database)
    with database.session() as session:
        first = [click("q1", "a", 11, 2), click("q1", "a", 12, 5, 900), click("q1", "a", 13, 1, 400)]
        assert searches.add_clicks(session, [*first, click("q1", "a", 14), click("q2", "b", 21, 2, 7)]) == 5
    with database.read() as session:
        pages = searches.first_pages(session, "docs")
        assert [(one.query_id, dict(opened)) for one, opened in pages] == [
            ("q1", {"a": click("q1", "a", 11, 2, 900)}),
            ("q2", {"b": click("q2", "b", 21, 2, 7)}),
            ("q3", {}),
        ]
        assert searches.kept(session, "docs") == Kept(3, 2)


def test_a_click_needs_no_search_but_a_collection(database: Database) -> None:
    made(database)
    stray = Click("q8", "a", "gone", 1, None, 5.0)
    with database.session() as session:
        assert searches.add_clicks(session, [click("q7", "a", 5), stray]) == 1
    with database.read() as session:
        assert searches.kept(session, "docs") == Kept(3, 1)
        assert all(not opened for _, opened in searches.first_pages(session, "docs"))


def test_later_pages_are_kept_and_no_impressions(database: Database) -> None:
    made(database)
    with database.session() as session:
        searches.add(session, [search("q4", "login", 40, first_rank=11)])
    with database.read() as session:
        assert searches.get(session, "q4") is not None
        assert [one.query_id for one, _ in searches.first_pages(session, "docs", since=20)] == ["q2", "q3"]
        assert searches.texts(session, "docs", 9) == [("refunds\ufffd", 1), ("login", 1), ("refunds", 1)]


def test_texts_come_most_frequent_first(database: Database) -> None:
    made(database)
    with database.session() as session:
        collections.ensure(session, "other", "en", 1.0)
        searches.add(session, [search("q5", "login", 15), search("q6", "elsewhere", 99, collection="other")])
    with database.read() as session:
        assert searches.texts(session, "docs", 2) == [("login", 2), ("refunds\ufffd", 1)]


def test_what_is_old_is_forgotten_in_every_collection(database: Database) -> None:
    made(database)
    with database.session() as session:
        collections.ensure(session, "other", "en", 1.0)
        searches.add(
            session, [search("q5", "login", 15, collection="other"), search("q6", "x", 99, collection="other")]
        )
        searches.add_clicks(session, [click("q1", "a", 11), click("q1", "b", 12)])
        assert searches.forget(session, 20) == 4
        assert searches.forget(session, 20) == 0
    with database.read() as session:
        assert [searches.kept(session, name) for name in ("docs", "other")] == [Kept(2, 0), Kept(1, 0)]


def test_what_is_old_is_forgotten_and_all_goes_with_the_collection(database: Database) -> None:
    made(database)
    with database.session() as session:
        searches.add_clicks(session, [click("q1", "a", 11), click("q2", "a", 25)])
        assert searches.forget(session, 20) == 2
    with database.read() as session:
        assert searches.kept(session, "docs") == Kept(2, 1)
    with database.session() as session:
        collections.delete(session, "docs", 50.0)
    with database.read() as session:
        assert searches.kept(session, "docs") == Kept(0, 0)
