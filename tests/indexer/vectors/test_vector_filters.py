"""Filters on Qdrant mean exactly what `filters.matches` says: on fresh and built parts, and on the server's client."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from indexer.filters import And, Compare, Contains, Exists, Filter, In, Not, Or, StartsWith, matches, parse_filter
from indexer.scope import Scope
from indexer.types import Metadata, Scalar
from indexer.vectors import VectorIndex
from indexer.vectors.edge import EdgeIndex
from indexer.vectors.filters import compile_filter
from indexer.vectors.server import ServerIndex
from tests.vector_documents import COLLECTION, DIMENSION, document, unit_vectors

EVERYONE = Scope.of(COLLECTION)
FIELDS = ("lang", "n", "date", "a.b", 'odd "ü" name', "flag")
LONG = "lorem ipsum " * 40
VALUES: tuple[Scalar, ...] = (
    *("", "e", "en", "en-US", "de", "x=y", "ß", "日本", "nul\0l", "?s", "n2", "btrue", "2", "true"),
    *("2024-03-01", "2024-03-01T10:00:00Z", "2024-03-01T10:00:05Z", "2024-11-30", "1999", "2024-03", "2024-02-30"),
    *(
        "2024-03-01T12:00:05+02:00",
        "2024-03-01T10:00:05.000001Z",
        "2024-03-01T10:00:05.000999",
        "0001-01-01",
        "9999-12-31",
    ),
    *(LONG, LONG + "a", LONG + "b", "\U0010ffff", "\uffff"),
    *(0, -0.0, 1, 2, 2.0, 2.5, -1, True, False, 1e300, -1e-300),
    *(2**53, 2**53 + 1, float(2**53), 2**60, 2**60 + 1, -(2**60) - 1, 2**70, 10**400),
    *(0.1, 0.3, 0.1 + 0.2, 1 / 3, 1e22, 1e-7, 9.99e-8, 123456789.123456, 5e-324, 999999999999999),
)
COUNT = 80


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


METADATA = [make_metadata(seed) for seed in range(COUNT)]
DOCUMENTS = [document(n, metadata=METADATA[n]) for n in range(COUNT)]


@pytest.fixture(scope="module", params=["fresh part", "built part", "server"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorIndex]:
    opened: VectorIndex
    if request.param == "server":
        opened = ServerIndex(QdrantClient(":memory:"), "filters", DIMENSION)
    else:
        size = COUNT if request.param == "built part" else 10 * COUNT
        opened = EdgeIndex(Path(tmp_path_factory.mktemp("filters")) / "vectors", DIMENSION, part_points=size)
    opened.replace(DOCUMENTS)
    if request.param == "built part":
        opened.replace([document(COUNT, access=("nobody",))])
        assert opened.optimize()
    yield opened
    opened.close()


FIELD = st.sampled_from((*FIELDS, "absent"))
VALUE = st.one_of(st.sampled_from(VALUES), st.text(max_size=3), st.integers(), st.floats(allow_nan=False))
TEXT = st.one_of(
    st.sampled_from([v for v in VALUES if isinstance(v, str)]),
    st.sampled_from(["n", "20", "-0", "T10", "="]),
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


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREE, seed=st.integers(0, 5), depth=st.sampled_from([1, 4, COUNT]))
def test_a_filter_lets_through_what_the_oracle_lets_through_before_the_cut(
    index: VectorIndex, tree: Filter, seed: int, depth: int
) -> None:
    query = unit_vectors(1, seed)[0]
    passing = [one for one, metadata in zip(DOCUMENTS, METADATA, strict=True) if matches(tree, metadata)]
    best = sorted(passing, key=lambda one: -float(one.vectors[0] @ query))[:depth]
    found = index.search(query, EVERYONE, tree, depth)
    assert [hit.document_id for hit in found] == [one.document_id for one in best]


@pytest.mark.parametrize("field", ["date", "n"])
def test_every_value_is_told_from_every_other_by_every_operator(index: VectorIndex, field: str) -> None:
    query = unit_vectors(1, 1)[0]
    for value in VALUES:
        for operator in ("=", "!=", ">", ">=", "<", "<="):
            tree = Compare(field, operator, value)
            expected = {f"d{n}" for n, metadata in enumerate(METADATA) if matches(tree, metadata)}
            assert {hit.document_id for hit in index.search(query, EVERYONE, tree, COUNT)} == expected, tree


@pytest.mark.parametrize(
    "text",
    [
        'product = "router" AND (lang IN [en, de] OR version = 2) AND NOT draft',
        "price = 10.5 OR tags CONTAINS et",
        "title STARTS WITH Re AND author EXISTS",
        "year NOT IN [2001, 2002] AND x != 3",
    ],
)
def test_common_filters_are_left_to_the_engine_alone(text: str) -> None:
    assert compile_filter(parse_filter(text)).exact


@pytest.mark.parametrize("text", ['date >= "2024-03-01"', "version >= 2"])
def test_ranges_get_a_second_look(text: str) -> None:
    assert not compile_filter(parse_filter(text)).exact
