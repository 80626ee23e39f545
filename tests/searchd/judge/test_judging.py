"""What a judge may do to a set, and what the store then holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.errors import InputError, NotFound
from indexer.scope import Scope
from indexer.store import collections, judged
from indexer.store.database import Database, open_database
from indexer.store.judged import CLICKS, Judgment
from searchd.judge import judging, wording
from searchd.services import Services


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    with opened.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
    yield opened
    opened.close()


def test_a_set_is_made_once_and_extended_by_what_is_new(database: Database) -> None:
    proposed = [wording.query_of(text, "file") for text in ("one", "two", "Two ", "three")]
    with database.session() as session:
        made, added = judging.extend(session, "docs", "faq", proposed, 2, 1.0)
        again, more = judging.extend(session, "docs", "faq", proposed, 9, 2.0)
        assert (added, more) == (2, 1)
        assert made == again
        assert [one.text for one in judged.queries(session, made.set_id)] == ["one", "two", "three"]


def test_nobody_judges_into_a_set_of_clicks(database: Database) -> None:
    with database.session() as session:
        judged.create(session, "docs", "seen", 1.0, kind=CLICKS)
        with pytest.raises(InputError, match="never mixed"):
            judging.extend(session, "docs", "seen", [wording.query_of("one", "file")], 9, 1.0)
        with pytest.raises(InputError, match="never mixed"):
            judging.set_of(session, "docs", "seen")


def test_a_query_of_the_search_page_joins_the_set_once(database: Database) -> None:
    with database.session() as session:
        one = judged.create(session, "docs", "faq", 1.0)
        first = judging.query_with(session, one, "how do refunds work", "page")
        assert judging.query_with(session, one, " How do refunds  work", "page").query_id == first.query_id
        assert [query.origin for query in judged.queries(session, one.set_id)] == ["page"]
        with pytest.raises(InputError, match="600 characters"):
            judging.query_with(session, one, "x" * 600, "page")
        with pytest.raises(NotFound, match="no query 'nothing'"):
            judging.query_of(session, one, "nothing")


def test_a_judge_takes_back_his_own_last_grades_one_by_one(database: Database) -> None:
    with database.session() as session:
        one = judged.create(session, "docs", "faq", 1.0)
        judged.add_queries(session, one.set_id, [wording.query_of(text, "file") for text in ("one", "two")])
        ids = [query.query_id for query in judged.queries(session, one.set_id)]
        given = [(ids[0], "a", "ann"), (ids[1], "a", "ann"), (ids[1], "b", "bob")]
        for at, (query, document, judge) in enumerate(given):
            judged.put_judgments(session, one.set_id, [Judgment(query, document, 2, judge, float(at))])
        back = [judging.take_back(session, one, "ann") for _ in range(3)]
        assert [judgment.query_id if judgment else None for judgment in back] == [ids[1], ids[0], None]
        assert [judgment.judge for judgment in judged.judgments(session, one.set_id)] == ["bob"]


def test_a_judge_is_shown_the_grade_that_he_gave_whatever_passages_have(database: Database) -> None:
    with database.session() as session:
        one = judged.create(session, "docs", "faq", 1.0)
        query = judging.query_with(session, one, "how do refunds work", "page")
        given = Judgment(query.query_id, "a", 3, "file", 1.0, "passage")
        judged.put_judgments(session, one.set_id, [given])
        assert judging.grades_of(session, one, query.query_id) == {"a": 3}
        judged.put_judgments(session, one.set_id, [Judgment(query.query_id, "a", 1, "ann", 2.0)])
        assert judging.grades_of(session, one, query.query_id) == {"a": 1}
        assert judging.grades_of(session, one, "another") == {}


def test_only_what_a_judge_may_read_is_graded(services: Services) -> None:
    database = services.engine.database
    with database.session() as session:
        one = judged.create(session, "default", "graded", 1.0)
        query = judging.query_with(session, one, "salary", "page")
        grade = Judgment(query.query_id, "salaries", 3, "ann", 2.0)
        with pytest.raises(NotFound, match="no document 'salaries'"):
            judging.grade(session, Scope.of("default"), one, grade)
        judging.grade(session, Scope.of("default", ("hr",)), one, grade)
        assert judged.judgments(session, one.set_id) == [grade]
        progress = judging.progress_of(session, one, Scope.of("default"))
        assert (progress.judged, progress.enough) == (1, 10)
        judged.delete(session, one.set_id)
