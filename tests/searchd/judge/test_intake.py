"""What is given goes into a set, all of it or nothing, and what a set has is added to and replaced."""

from __future__ import annotations

import pytest

from indexer.errors import Conflict, InputError, NotFound
from indexer.store import collections, documents, judged
from indexer.store.database import Database
from indexer.store.judged import JudgedQuery, SetCounts
from searchd.judge import jsonl
from searchd.judge.content import told_of
from searchd.judge.given import Given, GivenJudgment, GivenQuery, Problems, query_id_of
from searchd.judge.intake import FILE, Intake, TakenIn, take_in
from searchd.settings import NO_JUDGE


def given(*lines: str) -> Given:
    return jsonl.read(jsonl.numbered(line.encode() for line in lines), Problems())


def take(database: Database, name: str, said: Given, now: float = 10.0, **how: object) -> TakenIn:
    with database.session() as session:
        return take_in(session, "default", name, said, Intake(**how), now)  # type: ignore[arg-type]


def stored(database: Database, name: str) -> tuple[list[JudgedQuery], set[tuple[str, str, int, str, float]]]:
    with database.read() as session:
        one = judged.get(session, "default", name)
        found = judged.judgments(session, one.set_id)
        return judged.queries(session, one.set_id), {
            (each.query_id, each.document_id, each.grade, each.judge, each.judged_at) for each in found
        }


def test_both_databases_make_a_set_and_count_documents_that_are_not_there(database: Database) -> None:
    said = given('{"query": "a\\u0000b", "document_id": "d\\u0000", "grade": 3}', '{"query": "b"}')
    with database.session() as session:
        collections.ensure(session, "default", "en", 1.0)
        taken = take_in(session, "default", "faq", said, Intake(complete=True), 2.0)
        assert documents.present(session, "default", ["x", "y"]) == set()
    assert (taken.made, taken.of.complete, taken.queries, taken.judgments, taken.unknown_documents) == (
        True, True, 2, 1, 1,
    )  # fmt: skip
    assert {row[:3] for row in stored(database, "faq")[1]} == {(query_id_of("a\ufffdb"), "d\ufffd", 3)}


def test_a_text_without_an_id_is_the_query_that_has_the_text_in_the_file_or_in_the_set(store: Database) -> None:
    first = given('{"query": "refunds", "document_id": "d1"}', '{"query": "refunds", "query_id": "q1"}')
    assert take(store, "ids", first).queries == 1
    again = given(
        '{"query": "refunds", "document_id": "d1", "grade": 3, "judge": "ann", "judged_at": 4}',
        '{"query": "login", "document_id": "d2", "grade": 0}',
    )
    taken = take(store, "ids", again, now=20.0)
    assert (taken.made, taken.queries, taken.new_queries, taken.judgments) == (False, 2, 1, 2)
    queries, grades = stored(store, "ids")
    login = query_id_of("login")
    assert [(one.query_id, one.text, one.origin) for one in queries] == [
        ("q1", "refunds", "file"),
        (login, "login", "file"),
    ]
    assert grades == {("q1", "d1", 3, "ann", 4.0), (login, "d2", 0, "file", 20.0)}


def test_replace_empties_the_set_first_and_complete_is_as_it_was_unless_told(store: Database) -> None:
    take(store, "again", given('{"query": "a", "document_id": "d1"}'), complete=True)
    assert take(store, "again", given('{"query": "b", "document_id": "d1"}')).of.complete
    assert not take(store, "again", given('{"query": "b", "document_id": "d1"}'), complete=False).of.complete
    take(store, "again", given('{"query": "b"}'), complete=True)
    assert take(store, "again", given('{"query": "a", "document_id": "d1"}'), replace=True).of.complete
    replaced = take(
        store, "again", given('{"query": "c", "document_id": "d9", "grade": 2}'), replace=True, complete=False
    )
    assert not replaced.of.complete
    assert not replaced.made
    queries, grades = stored(store, "again")
    assert ([one.text for one in queries], {row[1:3] for row in grades}) == (["c"], {("d9", 2)})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ('{"query": "a", "query_id": "q"}', '{"query": "b", "query_id": "q"}'),
            "line 2: query id 'q' has another text",
        ),
        (('{"query": "kept", "query_id": "other"}', '{"query": "x", "query_id": "q0"}'), "line 2: query id 'q0' has"),
        (
            ('{"query": "a", "document_id": "d"}', '{"query": "a", "document_id": "d", "grade": 2}'),
            "line 2: document 'd' of query .* has grade 2 here, 1 on line 1",
        ),
    ],
)
def test_lines_that_contradict_each_other_or_the_set_are_named_and_nothing_is_written(
    store: Database, lines: tuple[str, ...], said: str
) -> None:
    take(store, "firm", given('{"query": "kept", "query_id": "q0", "document_id": "d"}'))
    before = stored(store, "firm")
    with pytest.raises(InputError, match=said):
        take(store, "firm", given(*lines, '{"query": "new", "document_id": "n"}'))
    assert stored(store, "firm") == before


def test_the_same_line_twice_is_no_contradiction(store: Database) -> None:
    line = '{"query": "a", "document_id": "d", "grade": 2}'
    assert take(store, "twice", given(line, line)).judgments == 1


def test_qrels_go_into_a_set_that_has_their_queries_and_others_are_named(store: Database) -> None:
    take(store, "qrels", given('{"query": "refunds", "query_id": "q1"}'))
    known, unknown = GivenJudgment("line 1", "q1", "", "d", 2), GivenJudgment("line 2", "q9", "", "d", 2)
    assert take(store, "qrels", Given((), (known,))).judgments == 1
    with pytest.raises(InputError, match="line 2: neither the set nor what was given has a query 'q9'"):
        take(store, "qrels", Given((), (known, unknown)))
    assert len(stored(store, "qrels")[1]) == 1


def test_weak_grades_of_clicks_and_judgments_are_never_in_one_set(store: Database) -> None:
    clicks, judgments = (f'{{"query": "a", "document_id": "d", "judge": "{judge}"}}' for judge in ("clicks", "ann"))
    assert take(store, "weak", given(clicks)).of.kind == "clicks"
    with pytest.raises(Conflict, match="set 'weak' holds weak grades of clicks, and these are judgments"):
        take(store, "weak", given(judgments))
    assert take(store, "firm-ones", given(judgments)).of.kind == "judged"
    with pytest.raises(Conflict, match="set 'firm-ones' holds judgments, and these are weak grades of clicks"):
        take(store, "firm-ones", given('{"query": "a", "document_id": "d"}'), judge="clicks")
    with pytest.raises(Conflict, match="they are not mixed; part them"):
        take(store, "mixed", given(clicks, judgments))
    assert take(store, "weak", given(judgments), replace=True).of.kind == "judged"


def test_strict_names_documents_that_are_not_there_and_makes_no_set(store: Database) -> None:
    with pytest.raises(InputError, match="line 1: collection 'default' has no document 'gone'"):
        take(store, "strict", given('{"query": "a", "document_id": "gone"}'), strict=True)
    with pytest.raises(NotFound), store.read() as session:
        judged.get(session, "default", "strict")


@pytest.mark.parametrize(
    ("collection", "name", "said", "error"),
    [
        ("default", "empty", "there is no query in it", InputError),
        ("other", "a", "there is no collection 'other'; there are: default", NotFound),
        ("default", "no name", "a name has 1 to 64 characters", InputError),
    ],
)
def test_where_nothing_can_go_is_said(
    store: Database, collection: str, name: str, said: str, error: type[InputError]
) -> None:
    queries = () if name == "empty" else (GivenQuery("line 1", "", "a", False),)
    with pytest.raises(error, match=said), store.session() as session:
        take_in(session, collection, name, Given(queries, ()), Intake(), 1.0)


def test_a_set_tells_of_its_grades_judges_and_dates(store: Database) -> None:
    take(store, "told", given('{"query": "a", "document_id": "d", "grade": 3, "judge": "ann", "judged_at": 4}'))
    take(store, "told", given('{"query": "b", "document_id": "d", "grade": 0}', '{"query": "c"}'), now=9.0)
    with store.read() as session:
        one = judged.get(session, "default", "told")
        told = told_of(session, one)
        assert judged.counts(session, one.set_id) == SetCounts(3, 2, 2, 1)
    assert (told.grades, told.judges) == ({3: 1, 0: 1}, {"ann": 1, "file": 1})
    assert (told.first_at, told.last_at, told.unknown_documents, told.queries, told.skipped) == (4.0, 9.0, 1, 3, 0)


def test_no_key_may_be_named_as_what_stands_in_the_place_of_a_judge() -> None:
    assert set(NO_JUDGE) == {FILE, judged.CLICKS}
