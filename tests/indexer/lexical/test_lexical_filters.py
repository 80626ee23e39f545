"""Tantivy passes exactly the documents that the oracle passes, for any metadata and any filter."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.filters import And, Compare, Contains, Exists, Filter, In, Not, Or, StartsWith, matches
from indexer.lexical.filters import LONG_CHARS, number_key
from indexer.lexical.query import parse_query
from indexer.lexical.tantivy import TantivyIndex
from indexer.types import Metadata, Scalar
from tests.indexer.lexical.documents import EVERYONE, document

FIELDS = ("lang", "n", "day", "a.b", 'odd "ü" name', "f=s", "x" * 300)
BLURB = "lorem ipsum " * 40
BOOK = "".join(f"line {number}\n" for number in range(4 * LONG_CHARS // 10))
VALUES: tuple[Scalar, ...] = (
    *("", "e", "en", "en-US", "de", "x=y", "ß", "日本", "nul\0l", "?", "n2", "btrue", "2", "true", "x\ny", 'q"\\.*['),
    *("2024-03-01", "2024-03-01T10:00:00Z", "2024-03-01T10:00:00+09:00", "2024-02-29T23:30-05:00", "2024-03", "1999"),
    *(BLURB, BLURB + "a", BOOK, BOOK + "!", "\U0010ffff", "\uffff", "\ud800"),
    *(0, -0.0, 1, 2, 2.0, 2.5, -1, -2.5, True, False, 1e300, -1e-300, float("inf"), -float("inf"), float("nan")),
    *(2**53, 2**53 + 1, float(2**53), 2**60 + 1, -(2**60) - 1, 10**400, -(10**400)),
    *(0.1, 0.3, 0.1 + 0.2, 1 / 3, 1e22, 1e-7, 5e-324, -5e-324, 123456789.123456),
)
PLAIN = tuple(value for value in VALUES if value != "\ud800")  # no filter text holds half a pair


def make_metadata(seed: int) -> Metadata:
    draw = random.Random(seed)
    made: dict[str, Scalar | tuple[Scalar, ...]] = {}
    for field in FIELDS:
        kind = draw.random()
        if kind < 0.5:
            made[field] = draw.choice(VALUES)
        elif kind < 0.75:
            made[field] = tuple(draw.choice(VALUES) for _ in range(draw.randint(0, 3)))
    return made


METADATA = {f"d{seed}": make_metadata(seed) for seed in range(150)}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TantivyIndex]:
    opened = TantivyIndex(Path(tmp_path_factory.mktemp("filters")), "en")
    names = list(METADATA)
    for some in (names[:50], names[50:]):  # two files
        opened.replace([document(name, "word", metadata=METADATA[name]) for name in some])
        opened.flush()
    yield opened
    opened.close()


def passing(index: TantivyIndex, tree: Filter) -> set[str]:
    return set(index.search(parse_query("word"), EVERYONE, tree, 10).document_ids)


def expected(tree: Filter) -> set[str]:
    return {name for name, metadata in METADATA.items() if matches(tree, metadata)}


FIELD = st.sampled_from((*FIELDS, "absent"))
SHORT = tuple(value for value in PLAIN if not isinstance(value, str) or len(value) < 100)
VALUE = st.one_of(st.sampled_from(SHORT), st.text(max_size=3), st.integers(), st.floats())
TEXT = st.one_of(
    st.sampled_from([value for value in SHORT if isinstance(value, str)]),
    st.sampled_from(["n", "20", "-0", "T10", "=", "\n", BOOK[9990:10050], BLURB[:100], "ipsum lorem"]),
    st.text(max_size=2),
)
LEAF: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Compare, FIELD, st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), VALUE),
    st.builds(In, FIELD, st.lists(VALUE, min_size=1, max_size=4).map(tuple)),
    st.builds(Exists, FIELD),
    st.builds(Contains, FIELD, TEXT),
    st.builds(StartsWith, FIELD, TEXT),
)
TREE: st.SearchStrategy[Filter] = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@given(tree=TREE)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tantivy_passes_exactly_what_the_oracle_passes(index: TantivyIndex, tree: Filter) -> None:
    assert passing(index, tree) == expected(tree)


@pytest.mark.parametrize("operator", ["=", "!=", ">", ">=", "<", "<="])
def test_every_value_is_told_from_every_other(index: TantivyIndex, operator: str) -> None:
    for field in ("n", "day"):
        for value in PLAIN:
            tree = Compare(field, operator, value)  # type: ignore[arg-type]  # a parameter is any text
            assert passing(index, tree) == expected(tree), value


@pytest.mark.parametrize(
    "text", ["", "l", "line", "ine 39", "e 99\nline 100", BOOK[:500], BOOK[200:3000], BLURB[3:200]]
)
def test_substrings_and_beginnings_of_long_texts_are_found(index: TantivyIndex, text: str) -> None:
    for field in FIELDS[:4]:
        for tree in (Contains(field, text), StartsWith(field, text)):
            assert passing(index, tree) == expected(tree)


NUMBER = st.one_of(st.integers(), st.floats(allow_nan=False), st.sampled_from([10**4000, -(10**4000)]))


@given(NUMBER, NUMBER)
@settings(max_examples=500, deadline=None)
def test_keys_of_numbers_sort_and_equal_as_the_numbers_do(left: float, right: float) -> None:
    first, second = number_key(left), number_key(right)
    assert (first < second) == (left < right)
    assert (first == second) == (left == right)


def test_an_index_without_documents_takes_any_filter(tmp_path: Path) -> None:
    empty = TantivyIndex(tmp_path / "empty", "en")
    assert passing(empty, Not(Contains("a", "x" * 500))) == set()
    empty.close()
