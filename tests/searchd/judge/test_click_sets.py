"""From kept clicks to a set of weak grades, and `searchd clicks`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from indexer.errors import Conflict, NotFound
from indexer.store import collections, judged, searches
from indexer.store.database import Database, open_database
from indexer.store.searches import Click, Search
from searchd.__main__ import cli
from searchd.judge.click_sets import impressions_of, refresh
from searchd.judge.given import query_id_of
from searchd.judge.impressions import Impression


def kept(database: Database, *, answers: int = 10, opened: int = 8, at: float = 100.0) -> None:
    """Keep answers with two documents, of which the first was opened so many times; two of the others are left alone."""
    shown = [
        Search(f"{at:.0f}-{n}", "docs", "default", 1, ("a", "", "b"), at, "Refunds" if n % 3 else "refunds ")
        for n in range(answers)
    ]
    clicked = [Click(f"{at:.0f}-{n}", "a", "docs", 1, 60_000, at) for n in range(opened)]
    seen = [Click(f"{at:.0f}-{n}", "b", "docs", 3, None, at) for n in range(opened, answers - 2)]
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        searches.add(session, shown)
        searches.add_clicks(session, [*clicked, *seen])


def test_answers_nothing_was_opened_from_and_lost_places_are_no_impressions() -> None:
    first = Search("q1", "docs", "default", 1, ("a", "", "b"), 1.0, "Refunds")
    again, alone = (
        Search("q2", "docs", "default", 1, ("b",), 2.0, "  refunds"),
        Search("q3", "docs", "default", 1, ("a",), 3.0, "x"),
    )
    clicked = Click("q1", "b", "docs", 3, 700, 1.0)
    pages = [(first, {"b": clicked}), (again, {"b": Click("q2", "b", "docs", 1, None, 2.0)}), (alone, {})]
    assert impressions_of(pages) == [
        Impression("  refunds", "a", 1, False),
        Impression("  refunds", "b", 3, True, 700),
        Impression("  refunds", "b", 1, True),
    ]


def test_a_set_of_clicks_is_made_and_made_anew(database: Database) -> None:
    kept(database, answers=12, opened=9)
    with database.session() as session:
        made = refresh(session, "docs", "weak", 0.0, 200.0)
    assert (made.answers, made.opened, made.impressions, made.clicks, made.queries) == (12, 10, 20, 10, 1)
    with database.read() as session:
        one = judged.get(session, "docs", "weak")
        assert (one.kind, one.complete) == ("clicks", False)
        assert [(query.query_id, query.text) for query in judged.queries(session, one.set_id)] == [
            (query_id_of("Refunds"), "Refunds")
        ]
        assert [(found.document_id, found.grade, found.judge) for found in judged.judgments(session, one.set_id)] == [
            ("a", 3, "clicks")
        ]
    kept(database, answers=90, opened=0, at=300.0)
    with database.session() as session:
        again = refresh(session, "docs", "weak", 0.0, 400.0)
        assert (again.answers, again.opened) == (102, 98)
        now = judged.get(session, "docs", "weak")
        assert now.created_at == one.created_at
        assert [(found.document_id, found.grade) for found in judged.judgments(session, now.set_id)] == [("b", 3)]
        assert judged.of_collection(session) == [now]


def test_only_what_is_recent_enough_counts(database: Database) -> None:
    kept(database)
    with database.session() as session:
        assert refresh(session, "docs", "weak", 101.0, 200.0).answers == 0
        assert judged.find(session, "docs", "weak") is None


def test_clicks_are_never_mixed_with_judgments(database: Database) -> None:
    kept(database)
    with database.session() as session:
        judged.create(session, "docs", "mine", 1.0)
    with pytest.raises(Conflict, match="never mixed"), database.session() as session:
        refresh(session, "docs", "mine", 0.0, 200.0)


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(tmp_path))
    database = open_database(f"sqlite:///{tmp_path / 'searchd.db'}")
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
    database.close()
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["clicks", *arguments])


def test_the_command_says_what_it_made(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_database(f"sqlite:///{data_dir / 'searchd.db'}")
    kept(database)
    database.close()
    monkeypatch.setenv("SEARCHD_LOG_QUERIES", "true")
    told = run("weak", "--collection", "docs")
    assert told.exit_code == 0, told.output
    assert told.output.splitlines() == [
        "Opened from 8 of 10 answers: 16 impressions, 8 clicks.",
        "Set weak, of kind clicks: 1 query; weak grades: 1 of grade 3, 0 of grade 2, 0 of grade 1, 0 of grade 0.",
    ]
    none = run("weak", "--collection", "docs", "--since", "1")
    assert none.output.startswith("No clicks to make grades of: 0 answers with their text")


def test_the_command_says_plainly_that_texts_are_not_kept(data_dir: Path) -> None:
    assert "log_queries is off" in run("weak", "--collection", "docs").output
    database = open_database(f"sqlite:///{data_dir / 'searchd.db'}")
    with database.session() as session:
        searches.add_clicks(session, [Click("q1", "a", "docs", 1, None, 1.0)])
    database.close()
    told = run("weak", "--collection", "docs").output
    assert "1 click kept of answers whose text is not" in told
    assert "Set log_queries to true" in told


def test_a_collection_that_there_is_not_is_named(data_dir: Path) -> None:
    assert isinstance(run("weak", "--collection", "nothing").exception, NotFound)
