"""Identifiers, error codes and phrases are found as written; prose is found by its stems; marks fall on what matched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.lexical.query import parse_query
from indexer.lexical.tantivy import TantivyIndex
from tests.indexer.lexical.documents import document, found

FILLER = " ".join(f"word{number}" for number in range(150))
NAMES = {
    "wal": ("max_wal_size", "The max wal of size: max, wal, size. Wal max size; size max wal. Max! Wal! Size!"),
    "path": ("os.path.join", "os path join, join path os. The os can join a path; join os, path path join."),
    "error": ("ERR_CONN_0x80", "err conn 0x80, conn err 0x80, err err conn conn 0x80 0x80"),
    "vector": ("std::vector", "vector std. The std of a vector, vector vector std std vector"),
    "option": ("--no-wait", "no wait, wait no, no no wait wait: do not wait, no wait wait"),
    "cpp": ("C++", "c, c and c; c c c c; the letter c, grade c, c"),
    "conf": ("postgresql.conf", "conf postgresql conf. A postgresql conf, conf of postgresql, postgresql conf"),
    "address": ("10.0.0.1", "10, 0, 0 and 1; 1 0 0 10; 10 10 0 0 1 1 0 10 0 0 1"),
    "init": ("__init__", "init init init init; init, init init"),
    "cvs": ("CVE-2024-3094", "cve 2024 3094; 3094 cve cve 2024 2024 3094, cve 2024 3094 cve"),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TantivyIndex]:
    opened = TantivyIndex(Path(tmp_path_factory.mktemp("identifiers")), "en")
    for name, (identifier, scattered) in NAMES.items():
        opened.replace(
            [
                document(f"{name}-exact", f"{FILLER} {identifier} {FILLER}"),
                document(f"{name}-scattered", scattered, title=scattered[:40]),
            ]
        )
    opened.replace([document("prose", "How parsers parse the command line: options of a program", title="Parsing")])
    opened.flush()
    yield opened
    opened.close()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_passage_with_the_identifier_comes_before_its_scattered_parts(index: TantivyIndex, name: str) -> None:
    identifier = NAMES[name][0]
    for query in (identifier, identifier.upper(), f"{identifier}?", f"what is {identifier}"):
        assert found(index, query)[0] == f"{name}-exact", query


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_quoted_or_required_identifier_finds_nothing_else(index: TantivyIndex, name: str) -> None:
    identifier = NAMES[name][0]
    assert found(index, f'"{identifier}"') == [f"{name}-exact"]
    if not identifier.startswith("-"):
        assert found(index, f"+{identifier}") == [f"{name}-exact"]
        assert f"{name}-exact" not in found(index, f"word1 -{identifier}")


def test_a_part_of_an_identifier_finds_it(index: TantivyIndex) -> None:
    assert "wal-exact" in found(index, "wal")
    assert found(index, '"wal_size"') == ["wal-exact"]
    assert found(index, '"path.join"') == ["path-exact"]
    assert "error-exact" in found(index, "0x80")


def test_words_are_found_by_stem_and_phrases_are_not(index: TantivyIndex) -> None:
    assert found(index, "option")[0] == "prose"
    assert found(index, "commands parser")[0] == "prose"
    assert found(index, '"command line"') == ["prose"]
    assert found(index, '"commands line"') == []
    assert found(index, '"line command"') == []


def test_stop_words_match_nothing_unless_there_is_nothing_else(index: TantivyIndex) -> None:
    assert found(index, "how do I zzz") == []
    assert "prose" in found(index, "how of the")
    assert found(index, '"of a program"') == ["prose"]
    assert found(index, "+how parse")[0] == "prose"


def marks(index: TantivyIndex, query: str, text: str) -> list[tuple[str, str]]:
    return [(text[start:end], word) for start, end, word in index.matched_terms(parse_query(query), text)]


@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ("option", "Options and optional", [("Options", "option"), ("optional", "option")]),
        ("how to parse", "How to parse", [("parse", "parse")]),
        ("cafe", "😀 Le CAFÉ, cafe\u0301", [("CAFÉ", "cafe"), ("cafe\u0301", "cafe")]),
        ("max_wal_size", "set max_wal_size, size", [("max_wal_size", "max_wal_size")]),
        ("max_wal_size", "the size", [("size", "max_wal_size")]),
        ('"command line"', "command line, line command", [("command line", "command line")]),
        ("+parse -line", "line parsing", [("parsing", "parse")]),
        ("title:parse", "parsed", [("parsed", "parse")]),
        ('"a b" b', "a b b", [("a b", "a b"), ("b", "b")]),
        ("real-time", "in real time", [("real", "real-time"), ("time", "real-time")]),
        ("東京都", "大東京都庁", [("東京都", "東京都")]),
        ("zzz", "nothing", []),
        ("", "nothing", []),
    ],
)
def test_marks_fall_on_what_the_query_matches(
    index: TantivyIndex, query: str, text: str, marked: list[tuple[str, str]]
) -> None:
    assert marks(index, query, text) == marked


@pytest.mark.parametrize(
    ("language", "text", "query"),
    [
        ("de", "Die Häuser der Straße", "haus"),
        ("fr", "les crêpes mangées", "manger"),
        ("ru", "красный трактор", "красная"),
        ("ja", "東京都庁の場所はどこですか", "場所"),
        ("ja", "私は車を買う", "車"),
        ("th", "ภาษาไทยง่ายมาก", "ไทย"),
        ("ko", "한국어를 배운다", "한국어"),
        ("hi", "मानक हिन्दी", "हिन्दी"),
        ("pl", "Zażółć gęślą jaźń", "zazolc"),
    ],
)
def test_each_language_is_found_in_its_own_way(tmp_path: Path, language: str, text: str, query: str) -> None:
    opened = TantivyIndex(tmp_path / language, language)
    opened.replace([document("a", text), document("b", "nothing of the kind")])
    opened.flush()
    assert found(opened, query) == ["a"]
    assert opened.matched_terms(parse_query(query), text)
    opened.close()
