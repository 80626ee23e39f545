"""What the log remembers of answers, what it writes and when not, what is dropped and counted, and what it forgets."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.errors import Busy, TransientError
from indexer.store import collections, searches
from indexer.store.database import Database, open_database
from indexer.store.searches import Click, Kept, Search
from searchd import query_log as module
from searchd.metrics import LogMetrics
from searchd.query_log import DAY_S, QueryLog
from searchd.settings import Settings
from searchd.types import Candidate, Hit, SearchResponse

NOW = 1_000_000_000.0
TEXT = "where is my refund"


def response(query_id: str, *documents: str, first: int = 1) -> SearchResponse:
    """Return an answer with these documents, ranked from `first`; an empty id is a place whose document was lost."""
    hits = tuple(
        Hit(Candidate(f"{name}-1", name, {}, {}), "docs", rank, 1.0, "rrf", (), (), {})
        for rank, name in enumerate(documents, start=first)
        if name
    )
    return SearchResponse(query_id, hits, len(hits), True, {}, (), (), (), {}, 1.0, "default")


def click(query_id: str, document_id: str = "a", dwell_ms: int | None = None) -> Click:
    return Click(query_id, document_id, "docs", 1, dwell_ms, NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "searchd.db"


@pytest.fixture
def opened(file: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{file}")
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
    yield database
    database.close()


def kept(database: Database) -> Kept:
    with database.read() as session:
        return searches.kept(session, "docs")


def found(database: Database, query_id: str) -> Search | None:
    with database.read() as session:
        return searches.get(session, query_id)


def within_a_minute(is_so: Callable[[], bool]) -> bool:
    """Say whether something becomes so; the thread takes its time."""
    until = time.monotonic() + 60
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


def count(metrics: LogMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_no_text_is_written_unless_the_owner_opted_in(opened: Database, file: Path) -> None:
    log = QueryLog(opened, Settings(), lambda: NOW)
    log.answered(TEXT, "docs", 0, response("q1", "a", "b"))
    log.clicked([click("q1", dwell_ms=900)])
    log.close()
    assert kept(opened) == Kept(0, 1)
    opened.close()
    assert all(TEXT.encode() not in path.read_bytes() for path in file.parent.iterdir())


def test_with_log_queries_a_search_is_kept_with_what_was_shown(opened: Database) -> None:
    log = QueryLog(opened, Settings(log_queries=True), lambda: NOW)
    log.answered(f" {TEXT} ", "docs", 10, response("q1", "a", "", "b", first=11))
    log.answered("nothing fits", "docs", 0, response("q2"))
    log.flush()
    with opened.read() as session:
        assert searches.get(session, "q1") == Search("q1", "docs", "default", 11, ("a", "", "b"), NOW, TEXT)
        assert searches.get(session, "q2") == Search("q2", "docs", "default", 1, (), NOW, "nothing fits")


def test_a_document_was_shown_where_it_stood_and_nowhere_else(opened: Database) -> None:
    log = QueryLog(opened, Settings(), lambda: NOW)
    log.answered(TEXT, "docs", 10, response("q1", "a", "", "b", first=11))
    shown = log.shown("q1")
    assert shown is not None
    assert (shown.has("a", 11), shown.has("b", 13)) == (True, True)
    assert not any(shown.has(*wrong) for wrong in [("a", 1), ("b", 12), ("", 12), ("a", 10), ("c", 13), ("b", 14)])
    assert log.shown("q9") is None


def test_memory_holds_the_latest_answers_and_sql_those_before(opened: Database) -> None:
    log = QueryLog(opened, Settings(log_queries=True), lambda: NOW, remembered=2)
    for number in range(4):
        log.answered(TEXT, "docs", 0, response(f"q{number}", "a"))
    assert log.shown("q0") is None
    assert log.shown("q3") is not None
    log.flush()
    assert log.shown("q0") == log.shown("q3")


def test_memory_is_bounded_by_the_length_of_ids_too(opened: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_CHARS", 1000)
    log = QueryLog(opened, Settings(), lambda: NOW)
    for number in range(5):
        log.answered(TEXT, "docs", 0, response(f"q{number}", "a" * 400))
    assert [log.shown(f"q{number}") is not None for number in range(5)] == [False, False, False, True, True]


def test_a_full_queue_drops_searches_refuses_clicks_and_counts_both(opened: Database) -> None:
    metrics = LogMetrics()
    log = QueryLog(opened, Settings(log_queries=True), lambda: NOW, metrics, queued=2)
    for number in range(3):
        log.answered(TEXT, "docs", 0, response(f"q{number}", "a"))
    with pytest.raises(Busy, match="try again"):
        log.clicked([click("q0")])
    assert count(metrics, "searchd_log_drops_total", sort="search") == 1
    assert count(metrics, "searchd_log_drops_total", sort="click") == 1
    log.flush()
    log.clicked([click("q0")])
    log.flush()
    assert kept(opened) == Kept(2, 1)
    assert count(metrics, "searchd_clicks_total") == 1


def test_while_the_database_is_away_entries_wait(opened: Database, file: Path) -> None:
    log = QueryLog(opened, Settings(log_queries=True), lambda: NOW)
    log.answered(TEXT, "docs", 0, response("q1", "a"))
    opened.close()
    away = file.parent.rename(file.parent.with_name("away"))
    with pytest.raises(TransientError):
        log.flush()
    away.rename(file.parent)
    log.flush()
    assert kept(opened) == Kept(1, 0)


def test_what_cannot_ever_be_written_is_dropped_and_counted(opened: Database, file: Path) -> None:
    with sqlite3.connect(file) as other:
        other.execute("DROP TABLE searches")
    metrics = LogMetrics()
    log = QueryLog(opened, Settings(log_queries=True), lambda: NOW, metrics)
    log.answered(TEXT, "docs", 0, response("q1", "a"))
    log.flush()
    assert count(metrics, "searchd_log_drops_total", sort="search") == 1


def test_the_thread_writes_and_close_writes_the_rest(opened: Database) -> None:
    log = QueryLog(opened, Settings(log_queries=True), lambda: NOW)
    log.start()
    for number in range(3):
        log.answered(TEXT, "docs", 0, response(f"q{number}", "a"))
    log.close()
    assert kept(opened) == Kept(3, 0)


def test_the_thread_goes_on_where_what_is_old_cannot_be_forgotten(
    opened: Database, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(file) as other:
        other.execute("DROP TABLE clicks")
    monkeypatch.setattr(module, "FIRST_FORGOTTEN_S", 0.0)
    monkeypatch.setattr(module, "GATHERED_S", 0.01)
    log = QueryLog(opened, Settings(log_queries=True), lambda: NOW)
    log.start()
    assert within_a_minute(lambda: "cannot be forgotten" in caplog.text)
    log.answered(TEXT, "docs", 0, response("q1", "a"))
    assert within_a_minute(lambda: found(opened, "q1") is not None)
    log.close()


def test_what_is_older_than_log_days_is_forgotten(opened: Database) -> None:
    log = QueryLog(opened, Settings(log_queries=True, log_days=2), lambda: NOW)
    log.answered(TEXT, "docs", 0, response("q1", "a"))
    log.clicked([click("q1")])
    log.flush()
    assert log.forget() == 0
    later = QueryLog(opened, Settings(log_days=2), lambda: NOW + 2 * DAY_S + 1)
    assert later.forget() == 2
    assert kept(opened) == Kept(0, 0)
