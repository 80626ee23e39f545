from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from indexer.errors import ConfigError, TransientError
from indexer.store import collections
from indexer.store.database import Database, batches, normalised, open_database
from tests.indexer.store.steps import DOCS
from tests.postgres import PostgresServer


def test_a_session_commits_when_its_block_ends_well(database: Database) -> None:
    with database.session() as session:
        collections.ensure(session, DOCS, "en", 1.0)
    with database.read() as session:
        assert collections.get(session, DOCS) is not None


def test_a_session_rolls_back_when_its_block_raises(database: Database) -> None:
    with pytest.raises(KeyError), database.session() as session:
        collections.ensure(session, DOCS, "en", 1.0)
        raise KeyError
    with database.read() as session:
        assert collections.get(session, DOCS) is None


def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(TransientError, match=r"read-?only"), database.read() as session:
        collections.ensure(session, DOCS, "en", 1.0)
    with database.read() as session:
        assert collections.get(session, DOCS) is None


def test_a_read_sees_one_snapshot_while_others_write(database: Database) -> None:
    with database.read() as reading:
        assert collections.list_all(reading) == []
        with database.session() as session:
            collections.ensure(session, DOCS, "en", 1.0)
        assert collections.list_all(reading) == []
    with database.read() as reading:
        assert len(collections.list_all(reading)) == 1


def test_threads_that_write_at_once_all_succeed(database: Database) -> None:
    def write(name: str) -> None:
        for number in range(5):
            with database.session() as session:
                collections.ensure(session, f"{name}-{number}", "en", 1.0)

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert len(collections.list_all(session)) == 30


def test_a_mistake_in_sql_stays_a_bug(database: Database) -> None:
    with pytest.raises(Exception, match="no_such_table") as caught, database.read() as session:
        session.execute(text("SELECT * FROM no_such_table"))
    assert not isinstance(caught.value, TransientError)


def test_no_error_shows_the_text_of_a_document(database: Database) -> None:
    with pytest.raises(Exception, match="no_such_table") as caught, database.session() as session:
        session.execute(text("INSERT INTO no_such_table VALUES (:text)"), {"text": "very secret"})
    assert "very secret" not in str(caught.value)


def test_sqlite_is_durable_checks_foreign_keys_and_lets_readers_read(tmp_path: Path) -> None:
    opened = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    with opened.session() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    opened.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_write_on_sqlite_holds_the_lock_before_it_reads(tmp_path: Path) -> None:
    opened = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    other = sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None)
    with opened.session() as session:
        collections.get(session, DOCS)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.close()
    opened.close()


def test_a_locked_sqlite_is_transient_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.store.database.WAIT_S", 0.05)
    opened = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        pytest.raises(TransientError, match=r"a\.db cannot be used now: database is locked"),
        opened.session() as session,
    ):
        collections.ensure(session, DOCS, "en", 1.0)
    other.close()
    opened.close()


def test_postgresql_that_is_away_is_transient_and_comes_back(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        opened = open_database(url)
        postgres.stop()
        try:
            with pytest.raises(TransientError, match="postgresql") as caught, opened.session() as session:
                collections.ensure(session, DOCS, "en", 1.0)
            assert "cannot be used now" in str(caught.value)
            with pytest.raises(TransientError):
                open_database(url)
        finally:
            postgres.start()
        with opened.session() as session:
            collections.ensure(session, DOCS, "en", 1.0)
        opened.close()


def test_a_connection_that_breaks_in_a_transaction_is_transient(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        opened = open_database(url)
        with pytest.raises(TransientError), opened.session() as session:
            backend = session.execute(text("SELECT pg_backend_pid()")).scalar()
            with postgres.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s)", [backend])
            collections.ensure(session, DOCS, "en", 1.0)
        opened.close()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgres://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("postgresql://h/db", "postgresql+psycopg://h/db"),
        ("postgresql+psycopg2://h/db", "postgresql+psycopg://h/db"),
        ("sqlite:////tmp/a.db", "sqlite+pysqlite:////tmp/a.db"),
    ],
)
def test_urls_are_given_the_driver_that_is_used(given: str, meant: str) -> None:
    assert normalised(given).render_as_string(hide_password=False) == meant


@pytest.mark.parametrize("url", ["", "no url", "mysql://h/db", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_work_says_what_is_accepted(url: str) -> None:
    with pytest.raises(ConfigError, match=r"database_url .*postgresql://"):
        open_database(url)


def test_a_file_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"database_url .*missing/a\.db"):
        open_database(f"sqlite:///{tmp_path / 'missing' / 'a.db'}")


def test_no_message_shows_the_password(postgres: PostgresServer) -> None:
    url = postgres.url("nothing").replace("searchd@", "searchd:very-secret@")
    with pytest.raises(TransientError, match="nothing") as caught:
        open_database(url)
    assert "very-secret" not in str(caught.value)


def test_batches_are_in_order_and_none_for_nothing() -> None:
    assert [list(some) for some in batches([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
    assert list(batches([])) == []
