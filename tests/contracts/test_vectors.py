"""The VectorIndex contract, run over every backend: qdrant_edge on disk, qdrant-client in memory and over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from indexer.errors import InputError, StaleIndex, TransientError
from indexer.filters import And, Compare, Contains, Exists, In, Not, Or, StartsWith
from indexer.scope import Scope
from indexer.vectors import VectorIndex
from indexer.vectors.backends import VECTOR_BACKENDS
from indexer.vectors.edge import EdgeIndex
from indexer.vectors.server import ServerIndex, open_client
from tests.qdrant_server import qdrant_server
from tests.vector_documents import COLLECTION, DIMENSION, document, unit_vectors

EVERYONE = Scope.of(COLLECTION)
Opener = Callable[[int], VectorIndex]


@contextmanager
def edge_opener(folder: Path) -> Iterator[Opener]:
    yield lambda dimension: EdgeIndex(folder / "edge", dimension)


@contextmanager
def edge_in_parts_opener(folder: Path) -> Iterator[Opener]:
    yield lambda dimension: EdgeIndex(folder / "parts", dimension, part_points=4)


@contextmanager
def memory_opener(folder: Path) -> Iterator[Opener]:
    client = QdrantClient(":memory:")
    yield lambda dimension: ServerIndex(client, "contract", dimension)


@contextmanager
def http_opener(folder: Path) -> Iterator[Opener]:
    with qdrant_server() as server:
        yield lambda dimension: ServerIndex(open_client(server.url, ""), "contract", dimension)


OPENERS = {
    "edge": edge_opener,
    "edge in parts": edge_in_parts_opener,
    "server in memory": memory_opener,
    "server over http": http_opener,
}


@pytest.fixture(params=sorted(OPENERS))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    with OPENERS[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def index(opener: Opener) -> Iterator[VectorIndex]:
    opened = opener(DIMENSION)
    yield opened
    opened.close()


def found(index: VectorIndex, scope: Scope = EVERYONE, filter: object = None, depth: int = 50) -> set[str]:
    query = unit_vectors(1, 7)[0]
    return {hit.document_id for hit in index.search(query, scope, filter, depth)}  # type: ignore[arg-type] # any tree


class TestVectorIndex:
    def test_an_empty_index_finds_nothing(self, index: VectorIndex) -> None:
        assert index.search(unit_vectors(1, 1)[0], EVERYONE, None, 10) == ()
        assert list(index.scan()) == []
        assert index.verify() == []

    def test_a_passage_is_nearest_to_its_own_vector(self, index: VectorIndex) -> None:
        documents = [document(n, count=3) for n in range(6)]
        index.replace(documents)
        index.flush()
        for one in documents:
            best = index.search(one.vectors[1], EVERYONE, None, 3)[0]
            assert (best.passage_id, best.document_id) == (one.passages[1].passage_id, one.document_id)
            assert best.score == pytest.approx(1.0, abs=1e-6)

    def test_the_order_is_by_cosine(self, index: VectorIndex) -> None:
        documents = [document(n, count=2) for n in range(10)]
        index.replace(documents)
        query = unit_vectors(1, 99)[0]
        truth = {
            p.passage_id: float(v @ query) for one in documents for p, v in zip(one.passages, one.vectors, strict=True)
        }
        ranking = index.search(query, EVERYONE, None, 20)
        assert [hit.passage_id for hit in ranking] == sorted(truth, key=lambda key: -truth[key])
        assert [hit.score for hit in ranking] == pytest.approx([truth[hit.passage_id] for hit in ranking], abs=1e-6)

    def test_depth_cuts(self, index: VectorIndex) -> None:
        index.replace([document(n, count=2) for n in range(10)])
        query = unit_vectors(1, 3)[0]
        whole = index.search(query, EVERYONE, None, 100)
        assert len(whole) == 20
        assert index.search(query, EVERYONE, None, 7) == whole[:7]
        assert index.search(query, EVERYONE, None, 0) == ()

    def test_replacing_again_changes_nothing(self, index: VectorIndex) -> None:
        documents = [document(n, count=3) for n in range(5)]
        index.replace(documents)
        before = sorted(point.passage_id for point, _ in index.scan())
        index.replace(documents)
        index.replace(documents[:2])
        assert sorted(point.passage_id for point, _ in index.scan()) == before
        assert len(list(index.scan())) == 15

    def test_a_replaced_document_leaves_no_old_passage(self, index: VectorIndex) -> None:
        index.replace([document(n, count=4) for n in range(4)])
        index.replace([document(2, count=2, version=2)])
        held = [point for point, _ in index.scan() if point.document_id == "d2"]
        assert [point.version for point in held] == [2, 2]
        assert len(list(index.scan())) == 14

    def test_the_later_of_one_document_twice_in_a_batch_wins(self, index: VectorIndex) -> None:
        index.replace([document(1, count=3), document(1, count=1, version=2)])
        assert [(point.document_id, point.version) for point, _ in index.scan()] == [("d1", 2)]

    def test_a_document_without_passages_is_emptied(self, index: VectorIndex) -> None:
        index.replace([document(1, count=2), document(2)])
        index.replace([document(1, vectors=np.zeros((0, DIMENSION), np.float32))])
        assert {point.document_id for point, _ in index.scan()} == {"d2"}

    def test_deleted_documents_are_gone_and_unknown_ones_ignored(self, index: VectorIndex) -> None:
        index.replace([document(n, count=2) for n in range(6)])
        index.delete(["d1", "d4", "nobody"])
        index.delete([])
        assert found(index) == {"d0", "d2", "d3", "d5"}

    def test_hundreds_of_documents_are_deleted_at_once(self, index: VectorIndex) -> None:
        index.replace([document(n) for n in range(300)])
        index.delete([f"d{n}" for n in range(299)])
        assert found(index) == {"d299"}

    def test_scan_gives_the_stored_bits(self, index: VectorIndex) -> None:
        documents = [document(n, count=2, version=n + 1) for n in range(8)]
        index.replace(documents)
        held = {point.passage_id: (point, vector) for point, vector in index.scan()}
        for one in documents:
            for passage, vector in zip(one.passages, one.vectors, strict=True):
                point, stored = held[passage.passage_id]
                assert (point.document_id, point.version) == (one.document_id, one.version)
                assert stored.dtype == np.float32
                assert np.array_equal(stored, vector)

    def test_ties_come_in_order_of_passage_id_wherever_the_cut_is(self, index: VectorIndex) -> None:
        same = unit_vectors(1, 5)
        index.replace([document(n, vectors=same) for n in range(60)])
        everything = index.search(same[0], EVERYONE, None, 60)
        ids = [hit.passage_id for hit in everything]
        assert ids == sorted(ids)
        for depth in (1, 5, 33):
            assert index.search(same[0], EVERYONE, None, depth) == everything[:depth]

    def test_the_scope_is_applied_before_the_cut(self, index: VectorIndex) -> None:
        query = unit_vectors(1, 7)
        index.replace([document(n, vectors=query, access=("staff",)) for n in range(40)])
        index.replace([document(100, access=("public",)), document(101, access=("staff", "guests"))])
        assert found(index, EVERYONE, depth=1) == {"d100"}
        assert found(index, Scope.of(COLLECTION, ["guests"]), depth=10) == {"d100", "d101"}
        assert len(found(index, Scope.of(COLLECTION, ["staff"]), depth=50)) == 42
        assert found(index, Scope(COLLECTION, frozenset())) == set()

    def test_a_changed_access_list_counts_at_once(self, index: VectorIndex) -> None:
        index.replace([document(1), document(2)])
        index.replace([document(1, version=2, access=("staff",))])
        assert found(index) == {"d2"}

    def test_filters_are_applied_before_the_cut(self, index: VectorIndex) -> None:
        near = unit_vectors(1, 7)
        index.replace(
            [document(n, vectors=near, metadata={"lang": "en", "n": n, "date": "2024-03-01"}) for n in range(30)]
        )
        index.replace(
            [document(50, metadata={"lang": "de", "n": 50, "tags": ("a", "beta"), "date": "2023-12-31T23:59:59"})]
        )
        for tree in (
            Compare("lang", "=", "de"),
            Compare("lang", "!=", "en"),
            Compare("n", ">", 29.5),
            In("n", (50.0, 77)),
            Exists("tags"),
            Contains("tags", "et"),
            StartsWith("tags", "be"),
            Compare("date", "<", "2024-01"),
            Not(Compare("lang", "=", "en")),
            And((Or((Compare("n", "<", 0), Exists("tags"))), Not(Exists("absent")))),
        ):
            assert found(index, filter=tree, depth=1) == {"d50"}, tree

    def test_data_are_there_after_reopening(self, opener: Opener, request: pytest.FixtureRequest) -> None:
        if "server in memory" in request.node.name:
            pytest.skip("the in-memory client forgets; a server keeps its own data")
        first = opener(DIMENSION)
        first.replace([document(n, count=2) for n in range(5)])
        first.delete(["d3"])
        first.flush()
        first.close()
        again = opener(DIMENSION)
        assert len(list(again.scan())) == 8
        assert found(again) == {"d0", "d1", "d2", "d4"}
        again.close()

    def test_another_dimension_is_a_stale_index_that_names_the_command(self, opener: Opener) -> None:
        first = opener(DIMENSION)
        first.replace([document(1)])
        if isinstance(first, EdgeIndex):
            first.close()
        with pytest.raises(StaleIndex, match=r"indexer rebuild$"):
            opener(DIMENSION + 1)

    def test_vectors_of_a_wrong_shape_are_refused(self, index: VectorIndex) -> None:
        with pytest.raises(InputError):
            index.replace([document(1, dimension=DIMENSION + 1)])
        with pytest.raises(InputError):
            index.search(unit_vectors(1, 1, DIMENSION + 1)[0], EVERYONE, None, 5)
        with pytest.raises(InputError):
            index.replace([document(1, vectors=np.full((1, DIMENSION), np.nan, np.float32))])

    def test_optimize_says_that_there_was_nothing_to_do(self, opener: Opener) -> None:
        index = opener(DIMENSION)
        index.replace([document(1)])
        assert index.optimize() is False
        index.close()

    def test_odd_names_and_values_are_kept_apart(self, index: VectorIndex) -> None:
        index.replace(
            [
                document(1, metadata={"a.b": "x=y", 'q"uote': "?", "ü": "ß"}),
                document(2, metadata={"a": "b.x=y", "a-2e-b": "x=y"}),
                document(3, metadata={"flag": True, "n": 1}),
                document(4, metadata={"flag": 1, "n": True}),
                document(5, metadata={"long": "x" * 5000}),
                document(6, metadata={"long": "x" * 4999 + "y", "big": 2**60 + 1}),
            ]
        )
        assert found(index, filter=Compare("a.b", "=", "x=y")) == {"d1"}
        assert found(index, filter=Compare('q"uote', "=", "?")) == {"d1"}
        assert found(index, filter=Contains("ü", "ß")) == {"d1"}
        assert found(index, filter=Compare("flag", "=", True)) == {"d3"}
        assert found(index, filter=Compare("flag", "=", 1.0)) == {"d4"}
        assert found(index, filter=Compare("long", "=", "x" * 5000)) == {"d5"}
        assert found(index, filter=StartsWith("long", "x" * 4999 + "y")) == {"d6"}
        assert found(index, filter=Compare("big", "=", 2**60)) == set()
        assert found(index, filter=Compare("big", ">", 2**60)) == {"d6"}


class TestTogether:
    def test_every_backend_of_the_table_keeps_this_contract(self) -> None:
        assert set(VECTOR_BACKENDS) == {"edge", "server"}

    @pytest.mark.parametrize("part_points", [50, 100_000])
    def test_searches_go_on_while_documents_are_replaced_and_the_index_is_closed(
        self, tmp_path: Path, part_points: int
    ) -> None:
        index = EdgeIndex(tmp_path / "edge", DIMENSION, part_points=part_points)
        index.replace([document(n) for n in range(20)])
        wrong: list[object] = []
        query = unit_vectors(1, 7)[0]

        def search() -> None:
            while True:
                try:
                    ids = [hit.passage_id for hit in index.search(query, EVERYONE, None, 50)]
                except TransientError:
                    return
                except BaseException as error:
                    wrong.append(error)
                    return
                if len(ids) != 20 or len(set(ids)) != 20:
                    wrong.append(ids)

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for version in range(2, 10):
            index.replace([document(n, version=version) for n in range(20)])
        index.close()
        for thread in threads:
            thread.join(10)
        assert wrong == []
