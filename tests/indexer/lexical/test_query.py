"""The grammar of a user's query: what is a word, a phrase, a sign; any text is a query, within limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import LimitError
from indexer.lexical import Clause, LexicalQuery
from indexer.lexical.matching import Matcher
from indexer.lexical.query import MAX_QUERY_CHARS, MAX_QUERY_TERMS, parse_query
from indexer.lexical.schema import build_schema
from tests.indexer.lexical.timing import takes_within


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        ("  \t\n", []),
        ("? !! -- ...", []),
        ("pump valve", [Clause("pump"), Clause("valve")]),
        ('"water pump" old', [Clause("water pump", phrase=True), Clause("old")]),
        ("\u201cwater pump\u201d", [Clause("water pump", phrase=True)]),
        ("+pump -valve", [Clause("pump", required=True), Clause("valve", forbidden=True)]),
        ('-"water pump"', [Clause("water pump", phrase=True, forbidden=True)]),
        ("title:pump", [Clause("pump", title_only=True)]),
        ('TITLE:"water pump"', [Clause("water pump", phrase=True, title_only=True)]),
        ("-title:pump", [Clause("pump", forbidden=True, title_only=True)]),
        ("+title:pump", [Clause("pump", required=True, title_only=True)]),
        ("title: pump", [Clause("title:"), Clause("pump")]),
        ("subtitle:pump", [Clause("subtitle:pump")]),
        ("foo-bar", [Clause("foo-bar")]),
        ("--no-wait", [Clause("--no-wait")]),
        ("-foo-bar", [Clause("foo-bar", phrase=True, forbidden=True)]),
        ("+max_wal_size", [Clause("max_wal_size", phrase=True, required=True)]),
        ("title:os.path", [Clause("os.path", phrase=True, title_only=True)]),
        ('"water pump', [Clause("water pump", phrase=True)]),
        ('pump"', [Clause("pump")]),
        ('""', []),
        ('a"b c"d', [Clause("a"), Clause("b c", phrase=True), Clause("d")]),
        ("(pump OR valve)", [Clause("(pump"), Clause("OR"), Clause("valve)")]),
        ("C++ .NET", [Clause("C++"), Clause(".NET")]),
    ],
)
def test_a_query_parses_to_its_clauses(text: str, clauses: list[Clause]) -> None:
    assert parse_query(text) == LexicalQuery(tuple(clauses))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("a" * (MAX_QUERY_CHARS + 1), "512"),
        ("(" * 20_000, "512"),
        ("a " * (MAX_QUERY_TERMS + 1), "32"),
        ('"' + "a " * (MAX_QUERY_TERMS + 1) + '"', "32"),
    ],
)
def test_a_limit_is_refused_and_said(text: str, limit: str) -> None:
    with pytest.raises(LimitError, match=limit):
        parse_query(text)


def test_what_is_just_within_the_limits_parses() -> None:
    assert len(parse_query("a " * MAX_QUERY_TERMS).clauses) == MAX_QUERY_TERMS
    assert parse_query("a" * MAX_QUERY_CHARS).clauses


PIECES = st.sampled_from(
    'a the pump +pump -pump "pump valve" " + - title: title:pump foo_bar --x C++ é 東京都 ( ) \\ * ~ ^ \0 \u200d \ud800'.split(
        " "
    )
)
TEXTS = st.one_of(st.text(max_size=120), st.lists(PIECES, max_size=20).map(" ".join), st.lists(PIECES).map("".join))
MATCHER = Matcher(build_schema(), "en")


@given(TEXTS)
@settings(max_examples=1500, deadline=None)
def test_any_text_is_a_query_that_compiles_and_marks_text_or_passes_a_limit(text: str) -> None:
    assert takes_within(0.05, lambda: parse_query(text))
    try:
        query = parse_query(text)
    except LimitError:
        return
    compiled = MATCHER.compile(query)
    assert (compiled is None) == all(clause.forbidden for clause in query.clauses)
    places = MATCHER.matched_terms(query, text)
    assert all(0 <= start < end <= len(text) for start, end, _ in places)
    assert all(left[1] <= right[0] for left, right in pairwise(places))


@pytest.mark.parametrize(
    "piece", ["(", '"', "-", "+", "title:", "a_", "a.b ", "東", "'", "é\u0301", "\u0301", "++", "_"]
)
def test_the_longest_queries_of_any_kind_are_settled_within_50_ms(piece: str) -> None:
    for size in (MAX_QUERY_CHARS, 20_000):
        text = (piece * size)[:size]
        assert takes_within(0.05, lambda text=text: MATCHER.compile(parse_query(text)))  # type: ignore[misc]  # bound now
