"""Filter expressions: what parses to what, where errors point, and that Tantivy answers as the oracle does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.errors import LimitError, QueryError
from indexer.filters import And, Compare, Contains, Exists, Filter, In, Not, Or, StartsWith, matches, parse_filter
from indexer.lexical.query import parse_query
from indexer.lexical.tantivy import TantivyIndex
from indexer.scope import Scope
from indexer.types import IndexedDocument, Metadata, Passage


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('product = "router"', Compare("product", "=", "router")),
        ("version >= 2", Compare("version", ">=", 2)),
        ("price < 2.5", Compare("price", "<", 2.5)),
        ("draft", Compare("draft", "=", True)),
        ("NOT draft", Not(Compare("draft", "=", True))),
        ("lang IN [en, 'de']", In("lang", ("en", "de"))),
        ("lang not in [en]", Not(In("lang", ("en",)))),
        ("lang EXISTS", Exists("lang")),
        ("lang NOT EXISTS", Not(Exists("lang"))),
        ("title CONTAINS 'a b'", Contains("title", "a b")),
        ("title STARTS WITH re", StartsWith("title", "re")),
        ("a = 1 OR b = 2 AND c = 3", Or((Compare("a", "=", 1), And((Compare("b", "=", 2), Compare("c", "=", 3)))))),
        ("(a = 1 OR b = 2) AND c", And((Or((Compare("a", "=", 1), Compare("b", "=", 2))), Compare("c", "=", True)))),
        (r'name = "say \"hi\""', Compare("name", "=", 'say "hi"')),
    ],
)
def test_an_expression_parses_to_its_tree(text: str, tree: Filter) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "end"),
        ("a =", "end"),
        ("a = 1 b", "character 7"),
        ("(a = 1", "end"),
        ("a IN 3", "character 6"),
        ('a = "x', "character 5"),
    ],
)
def test_an_error_points_at_its_place(text: str, place: str) -> None:
    with pytest.raises(QueryError, match=place):
        parse_filter(text)


def test_limits_are_refused_and_said() -> None:
    for text in ("(" * 3000 + "a", "NOT " * 200 + "a", " AND ".join(["a = 1"] * 65), "a" * 5000):
        with pytest.raises(LimitError, match=r"\d"):
            parse_filter(text)


@given(st.text(max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_text_parses_or_is_refused_with_a_reason(text: str) -> None:
    try:
        parse_filter(text)
    except (QueryError, LimitError) as error:
        assert str(error)


SCALARS = st.one_of(
    st.sampled_from(["", "a", "ab", "b", "ba", "é", "2", "true", "2024-01-02", "x\ny", 'q"\\.*']),
    st.integers(-3, 3),
    st.sampled_from([0.5, -0.5, 2.0, 1e9, -1e-9]),
    st.booleans(),
)
FIELDS = st.sampled_from(["f", "g", "f.g", "f=s"])
METADATA = st.dictionaries(FIELDS, st.one_of(SCALARS, st.lists(SCALARS, max_size=3).map(tuple)), max_size=3)
LEAVES: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Compare, FIELDS, st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), SCALARS),
    st.builds(In, FIELDS, st.lists(SCALARS, min_size=1, max_size=3).map(tuple)),
    st.builds(Exists, FIELDS),
    st.builds(Contains, FIELDS, st.sampled_from(["", "a", "b", "\n", ".", "é"])),
    st.builds(StartsWith, FIELDS, st.sampled_from(["", "a", "b", "x", "q"])),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def indexed(number: int, metadata: Metadata) -> IndexedDocument:
    passage = Passage(f"p{number}", f"d{number}", 0, "word", 0, 4)
    return IndexedDocument(f"d{number}", 1, "", metadata, ("public",), (passage,), np.zeros((1, 2), np.float32))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TantivyIndex, dict[str, Metadata]]]:
    """Index 150 documents of arbitrary metadata once."""
    drawn: list[Metadata] = []

    @given(METADATA)
    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def draw(metadata: Metadata) -> None:
        drawn.append(metadata)

    draw()
    index = TantivyIndex(Path(tmp_path_factory.mktemp("filters")), "en")
    index.replace([indexed(number, metadata) for number, metadata in enumerate(drawn)])
    index.flush()
    yield index, {f"d{number}": metadata for number, metadata in enumerate(drawn)}
    index.close()


@given(tree=TREES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tantivy_passes_exactly_what_the_oracle_passes(
    corpus: tuple[TantivyIndex, dict[str, Metadata]], tree: Filter
) -> None:
    index, held = corpus
    found = index.search(parse_query("word"), Scope.of("default"), tree, 200)
    assert found.document_ids == {name for name, metadata in held.items() if matches(tree, metadata)}
