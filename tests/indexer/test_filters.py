"""Filter expressions: what parses to what, where errors point, what limits there are, and what each operator means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import LimitError, QueryError
from indexer.filters import (
    MAX_FILTER_CHARS,
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    In,
    Not,
    Or,
    StartsWith,
    fields_of,
    instant_of,
    matches,
    parse_filter,
)
from indexer.types import Metadata
from tests.indexer.lexical.timing import takes_within


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('product = "router"', Compare("product", "=", "router")),
        ("product == router", Compare("product", "=", "router")),
        ("version >= 2", Compare("version", ">=", 2)),
        ("price<2.5", Compare("price", "<", 2.5)),
        ("price > -1e3", Compare("price", ">", -1000.0)),
        ("n = 123456789012345678901", Compare("n", "=", 123456789012345678901)),
        ("day >= 2024-03-01", Compare("day", ">=", "2024-03-01")),
        ("day < '2024-03-01T10:00:00+01:00'", Compare("day", "<", "2024-03-01T10:00:00+01:00")),
        ("draft", Compare("draft", "=", True)),
        ("draft != FALSE", Compare("draft", "!=", False)),
        ("NOT draft", Not(Compare("draft", "=", True))),
        ("not not draft", Not(Not(Compare("draft", "=", True)))),
        ("lang IN [en, 'de', 3]", In("lang", ("en", "de", 3))),
        ("lang not in [en]", Not(In("lang", ("en",)))),
        ("lang EXISTS", Exists("lang")),
        ("lang NOT EXISTS", Not(Exists("lang"))),
        ("title CONTAINS 'a b'", Contains("title", "a b")),
        ("title CONTAINS 42", Contains("title", "42")),
        ("title STARTS  WITH re", StartsWith("title", "re")),
        ("a.b_c = x:y/z", Compare("a.b_c", "=", "x:y/z")),
        ("'not' = \"and\"", Compare("not", "=", "and")),
        (r'name = "say \"hi\" \\ "', Compare("name", "=", 'say "hi" \\ ')),
        ("name = 'ünï \U0001f600'", Compare("name", "=", "ünï \U0001f600")),
        ("a = 1 OR b = 2 AND c = 3", Or((Compare("a", "=", 1), And((Compare("b", "=", 2), Compare("c", "=", 3)))))),
        ("(a = 1 OR b = 2) AND c", And((Or((Compare("a", "=", 1), Compare("b", "=", 2))), Compare("c", "=", True)))),
        ("NOT a AND b", And((Not(Compare("a", "=", True)), Compare("b", "=", True)))),
    ],
)
def test_an_expression_parses_to_its_tree(text: str, tree: Filter) -> None:
    assert parse_filter(text) == tree


def test_the_example_of_the_api_parses() -> None:
    tree = parse_filter('product = "router" AND (lang IN [en, de] OR version >= 2) AND NOT draft')
    assert fields_of(tree) == {"product", "lang", "version", "draft"}
    assert matches(tree, {"product": "router", "lang": "de"})
    assert matches(tree, {"product": "router", "version": 2, "draft": False})
    assert not matches(tree, {"product": "router", "lang": "de", "draft": True})
    assert not matches(tree, {"product": "router", "lang": "fr"})


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("", "at the end (character 1)", "a field name"),
        ("  ", "at the end", "a field name"),
        ("a =", "at the end (character 4)", "a value"),
        ("a = 1 b", "character 7, not 'b'", "AND, OR or the end"),
        ("(a = 1", "at the end", "`)`"),
        ("a = 1)", "character 6", "the end"),
        ("a IN 3", "character 6", "`[`"),
        ("a IN [1, 2", "at the end", "`]`"),
        ("a IN []", "character 7", "a value"),
        ("a = and", "character 5", "a value"),
        ("and = 1", "character 1", "a field name"),
        ("a STARTS x", "character 10", "WITH"),
        ("a NOT = 1", "character 7", "IN or EXISTS"),
        ("a CONTAINS (b)", "character 12", "a text"),
        ('a = "x', "character 5", "not closed"),
        ("a ! b", "character 3", "not understood"),
        ("name > abc", "character 8, not 'abc'", "a number or a date"),
        ("a <= true", "character 6", "a number or a date"),
        ("day > 2024-02-30", "character 7", "a number or a date"),
        ("a = 1e999", "character 5", "a number below"),
    ],
)
def test_an_error_says_the_place_and_what_was_expected(text: str, place: str, expected: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_filter(text)
    assert place in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("a" * (MAX_FILTER_CHARS + 1), "4,096"),
        ("(" * 3000 + "a", "8 levels"),
        ("NOT " * 200 + "a", "8 levels"),
        ("(" * 9 + "a" + ")" * 9, "8 levels"),
        (" AND ".join(["a = 1"] * 65), "64"),
        (f"a IN [{','.join('1' * 65)}]", "64"),
    ],
)
def test_a_limit_is_refused_and_said(text: str, limit: str) -> None:
    with pytest.raises(LimitError, match=limit):
        parse_filter(text)


def test_what_is_just_within_the_limits_parses() -> None:
    parse_filter("(" * 8 + "a" + ")" * 8)
    parse_filter(" AND ".join(["a = 1"] * 64))
    parse_filter(f"a = '{'x' * (MAX_FILTER_CHARS - 6)}'")


WORDS = st.sampled_from(
    'a AND or NOT IN exists CONTAINS STARTS WITH ( ) [ ] , = != > \' 1 2.5 true "x" 2024-01-01 \\ ! \0 é'.split(" ")
)


@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=40).map(" ".join), st.lists(WORDS).map("".join)))
@settings(max_examples=1500, deadline=None)
def test_any_text_parses_or_is_refused_with_a_reason_at_once(text: str) -> None:
    assert takes_within(0.05, lambda: parse_filter(text))
    try:
        tree = parse_filter(text)
    except (QueryError, LimitError) as error:
        assert str(error)
    else:
        assert matches(tree, {}) in (True, False)


@pytest.mark.parametrize("piece", ["(", "NOT ", "a AND ", "'", '"\\', "a IN [", "[", "a,", "é ", " ", "a=1 OR ", ")"])
def test_the_longest_filters_of_any_kind_are_settled_within_50_ms(piece: str) -> None:
    for size in (MAX_FILTER_CHARS, 20_000):
        text = (piece * size)[:size]
        with pytest.raises((QueryError, LimitError)):
            parse_filter(text)
        assert takes_within(0.05, lambda text=text: parse_filter(text))  # type: ignore[misc]  # bound now


@pytest.mark.parametrize(
    ("text", "metadata", "passes"),
    [
        ("n = 2", {"n": 2.0}, True),
        ("n = 2.0", {"n": 2}, True),
        ("n = 1", {"n": True}, False),
        ("n = true", {"n": 1}, False),
        ("n = '2'", {"n": 2}, False),
        ("n = 2", {"n": "2"}, False),
        ("n > 1", {"n": "2"}, False),
        ("n > 1", {"n": True}, False),
        ("n >= 2", {"n": (1, 2)}, True),
        ("n != 2", {"n": (1, 2)}, False),
        ("n != 2", {"n": (1, 3)}, True),
        ("n != 2", {}, True),
        ("NOT n = 2", {}, True),
        ("n NOT IN [2]", {}, True),
        ("NOT n > 2", {}, True),
        ("n > 2", {}, False),
        ("n EXISTS", {"n": ()}, True),
        ("n EXISTS", {"n": False}, True),
        ("n NOT EXISTS", {}, True),
        ("n", {"n": "true"}, False),
        ("n CONTAINS b", {"n": ("xx", "abc")}, True),
        ("n CONTAINS B", {"n": "abc"}, False),
        ("n CONTAINS 2", {"n": 2}, False),
        ("n CONTAINS ''", {"n": ""}, True),
        ("n STARTS WITH ab", {"n": ("xx", "abc")}, True),
        ("n STARTS WITH b", {"n": "abc"}, False),
        ("n > 9007199254740992", {"n": 9007199254740993}, True),
        ("d > 2024-03-01", {"d": "2024-03-01T00:00:01"}, True),
        ("d > 2024-03-01", {"d": "2024-03-01T00:30:00+01:00"}, False),
        ("d = 2024-03-01", {"d": "2024-03-01T00:00:00"}, False),
        ("d <= 2024-03", {"d": "2024-03-01"}, True),
        ("d >= 2024-03", {"d": "n/a"}, False),
        ("d < 2024-03", {"d": 1}, False),
    ],
)
def test_each_operator_means_what_it_says(text: str, metadata: Metadata, passes: bool) -> None:
    assert matches(parse_filter(text), metadata) is passes


@pytest.mark.parametrize(
    "text",
    ["", "2024", "20240301", "2024-13", "2024-02-30", "2024-03-01T25:00", "2024-03-01x", "10:00", "2024-01-0\u0661"],
)
def test_what_is_no_date_has_no_instant(text: str) -> None:
    assert instant_of(text) is None


def test_dates_of_all_forms_fall_on_one_line() -> None:
    ordered = [
        "0001-01-01T00:00+23:59",
        "0001-01-01",
        "1969-12-31T23:59:59.999999Z",
        "1970-01",
        "2024-03-01T00:59+02:00",
        "2024-02-29T23:00:00z",
        "2024-03-01",
        "2024-03-01 00:00:00.5",
        "2024-03-01T00:00:01,25Z",
        "9999-12-31T23:59:59-23:59",
    ]
    instants = [instant_of(text) for text in ordered]
    assert None not in instants
    assert instants == sorted(instants, key=lambda instant: instant or 0)
    assert instant_of("1970-01-01T00:00:00.000001Z") == 1
