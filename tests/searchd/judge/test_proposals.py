"""Where queries to judge come from: files, the log, headings that the asker may read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.errors import InputError
from indexer.scope import Scope
from indexer.store import collections, searches
from indexer.store.database import Database, open_database
from indexer.store.judged import JudgedQuery
from indexer.store.searches import Search
from searchd.judge import proposals, wording
from searchd.judge.given import query_id_of
from searchd.services import Services


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'a.db'}")
    yield opened
    opened.close()


def texts(found: list[JudgedQuery] | tuple[JudgedQuery, ...]) -> list[str]:
    return [one.text for one in found]


def test_a_file_has_a_query_a_line(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_text("\ufeffhow do refunds work\n\n  ERR_CONN_0x80  \r\nHow do  refunds work\n", encoding="utf-8")
    found = proposals.of_file(path)
    assert texts(found) == ["how do refunds work", "ERR_CONN_0x80", "How do refunds work"]
    assert {one.origin for one in found} == {"file"}
    assert texts(wording.fresh(found, [], 10)) == ["how do refunds work", "ERR_CONN_0x80"]


def test_a_file_of_json_lines_keeps_its_ids(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text('{"_id": "7", "text": "refund", "metadata": {}}\n{"_id": 8, "text": "parcel"}\n', encoding="utf-8")
    assert [(one.query_id, one.text) for one in proposals.of_file(path)] == [("7", "refund"), ("8", "parcel")]
    assert wording.query_of(" parcel  box", "page").query_id == query_id_of("parcel box")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "q.txt",
            b"good\n" + b"x" * 600 + b"\nfine\n" + b"a " * 40,
            "2 mistakes\n.*line 2: the query has 600(.|\n)*line 4",
        ),
        ("q.txt", b"\n \n", "there is no query"),
        ("q.txt", b"caf\xe9", "UTF-8"),
        ("q.jsonl", b'{"_id": 1, "text": "a"}\n[1]', "line 2: "),
        ("q.jsonl", b'{"_id": 1}', "line 1: the query is empty"),
        ("q.jsonl", b'{"_id": 1, "text": " "}', "line 1: the query is empty"),
        ("q.jsonl", b'{"_id": "%s", "text": "a"}' % (b"x" * 300), "line 1: .* more than 256"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_as_a_whole_with_its_lines(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        proposals.of_file(path)
    with pytest.raises(InputError, match=r"none\.txt"):
        proposals.of_file(tmp_path / "none.txt")


def test_the_log_gives_what_was_asked_most_first_and_says_when_it_kept_nothing(database: Database) -> None:
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        collections.ensure(session, "other", "en", 1.0)
    with database.read() as session, pytest.raises(InputError, match="opted in"):
        proposals.of_log(session, "docs")
    asked = ["rare", "often", "often", "", "", "", "Often"]
    rows = [("docs", 1, text) for text in asked] + [("docs", 11, "rare")] * 5 + [("other", 1, "elsewhere")]
    with database.session() as session:
        searches.add(
            session,
            [
                Search(str(at), collection, "default", first, (), float(at), text)
                for at, (collection, first, text) in enumerate(rows)
            ],
        )
    with database.read() as session:
        found = proposals.of_log(session, "docs")
    assert texts(found) == ["often", "Often", "rare"]
    assert texts(wording.fresh(found, [JudgedQuery("x", "RARE", "file")], 9)) == ["often"]


def test_headings_become_queries_of_many_documents_that_the_asker_may_read(services: Services) -> None:
    with services.engine.database.read() as session:
        found = proposals.of_headings(session, Scope.of("default"), 20)
        again = proposals.of_headings(session, Scope.of("default"), 20)
        more = proposals.of_headings(session, Scope.of("default"), 20, known=found)
        everything = proposals.of_headings(session, Scope.of("default"), 500)
        for_hr = proposals.of_headings(session, Scope.of("default", ("hr",)), 500)
    assert found == again
    assert len({wording.folded(text) for text in texts(found)}) == len(found) == 20
    assert {one.origin for one in found} == {"headings"}
    assert not {one.query_id for one in found} & {one.query_id for one in more}
    secret = ("salar", "board")
    assert not [text for text in texts(everything) if any(word in text.lower() for word in secret)]
    assert [text for text in texts(for_hr) if any(word in text.lower() for word in secret)]


def test_headings_of_nothing_say_what_to_do(database: Database) -> None:
    with database.read() as session, pytest.raises(InputError, match="add documents first"):
        proposals.of_headings(session, Scope.of("docs"))
