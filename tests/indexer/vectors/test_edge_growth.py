"""Growth of an edge index: graphs built aside, deletions caught up with, write amplification, failing children."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from indexer.scope import Scope
from indexer.vectors.edge import EdgeIndex
from indexer.vectors.edge_build import build_aside
from indexer.vectors.edge_files import CHECKSUMS
from indexer.vectors.edge_growth import Growth
from tests.vector_documents import COLLECTION, DIMENSION, document, unit_vectors

EVERYONE = Scope.of(COLLECTION)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


def build_nothing(folder: Path, stopped: Callable[[], bool]) -> None:
    """Leave the copy without a graph: for tests that count."""


def held(index: EdgeIndex) -> dict[str, int]:
    return {point.document_id: point.version for point, _ in index.scan()}


def folders(path: Path) -> int:
    return len(list(path.glob("part-*")))


def test_a_full_part_gets_its_graph_and_answers_as_before(path: Path) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=100)
    index.replace([document(n, metadata={"n": n, "lang": "en"}) for n in range(120)])
    index.replace([document(n) for n in range(120, 130)])
    index.flush()
    query = unit_vectors(1, 5)[0]
    before = index.search(query, EVERYONE, None, 50)
    assert [part.built for part in index.parts] == [False, False]
    assert index.optimize() is True
    assert [part.built for part in index.parts] == [True, False]
    assert index.optimize() is False
    with index.parts[0].use() as shard:
        assert shard.info().indexed_vectors_count == 120
    after = index.search(query, EVERYONE, None, 50)
    assert [hit.passage_id for hit in after] == [hit.passage_id for hit in before]
    assert folders(path) == 2
    assert index.verify() == []
    index.close()
    again = EdgeIndex(path, DIMENSION, part_points=100)
    assert len(held(again)) == 130
    assert [part.built for part in again.parts] == [True, False]
    again.close()


def test_below_the_threshold_nothing_is_built(path: Path) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=100)
    index.replace([document(n) for n in range(99)])
    assert index.optimize() is False
    assert index.written.copied_bytes == 0
    index.close()


def test_what_is_written_while_a_graph_is_built_is_there_after_the_swap(path: Path) -> None:
    def build_and_write(folder: Path, stopped: Callable[[], bool]) -> None:
        build_aside(folder, stopped)
        index.replace([document(n, version=2) for n in range(10)])
        index.delete([f"d{n}" for n in range(10, 40)])
        index.replace([document(300)])

    index = EdgeIndex(path, DIMENSION, part_points=100, build=build_and_write)
    index.replace([document(n) for n in range(150)])
    index.replace([document(200)])
    assert index.optimize() is True
    expected = {f"d{n}": 2 for n in range(10)} | {f"d{n}": 1 for n in [*range(40, 150), 200, 300]}
    assert held(index) == expected
    assert len(list(index.scan())) == len(expected)
    with index.parts[0].use() as shard:
        assert shard.info().points_count == 110
    index.flush()
    index.close()
    again = EdgeIndex(path, DIMENSION, part_points=100)
    assert held(again) == expected
    again.close()


def test_more_deletions_than_one_batch_are_caught_up_with(path: Path) -> None:
    def delete(folder: Path, stopped: Callable[[], bool]) -> None:
        index.delete([f"d{n}" for n in range(400)])

    index = EdgeIndex(path, DIMENSION, part_points=1000, build=delete)
    index.replace([document(n) for n in range(1000)])
    index.replace([document(2000)])
    assert index.optimize() is True
    assert sorted(held(index)) == sorted([*(f"d{n}" for n in range(400, 1000)), "d2000"])
    index.close()


def test_searches_and_writes_go_on_while_a_graph_is_built(path: Path) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=400)
    index.replace([document(n) for n in range(400)])
    index.replace([document(1000)])
    worker = threading.Thread(target=index.optimize)
    worker.start()
    done, version = 0, 1
    while worker.is_alive():
        version += 1
        index.replace([document(7, version=version)])
        ids = [hit.document_id for hit in index.search(unit_vectors(1, done)[0], EVERYONE, None, 500)]
        assert len(ids) == len(set(ids)) == 401
        done += 1
    worker.join()
    assert done > 5
    assert index.parts[0].built
    assert held(index)["d7"] == version
    index.close()


def test_a_failing_child_leaves_the_part_as_it_was_and_is_tried_again_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=100)
    index.replace([document(n) for n in range(100)])
    index.replace([document(100)])
    clock = [1000.0]
    growth = Growth(index, build_aside, lambda: clock[0])
    monkeypatch.setenv("SEARCHD_CRASH_AT", "vectors-child")
    waits = []
    for _ in range(3):
        assert growth.step() is False
        start = clock[0]
        while growth._not_before > clock[0]:
            clock[0] += 10
        waits.append(clock[0] - start)
    assert waits == [30, 60, 120]
    assert "exit status 137" in caplog.text
    assert folders(path) == 2
    assert len(held(index)) == 101
    monkeypatch.delenv("SEARCHD_CRASH_AT")
    assert growth.step() is True
    assert index.parts[0].built
    index.close()


def test_closing_stops_the_child(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=100)
    index.replace([document(n) for n in range(100)])
    index.replace([document(100)])
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: real(sleeper, **options))
    worker = threading.Thread(target=index.optimize)
    worker.start()
    time.sleep(0.3)
    start = time.monotonic()
    index.close()
    assert time.monotonic() - start < 5
    worker.join(5)
    assert not worker.is_alive()
    assert folders(path) == 2
    EdgeIndex(path, DIMENSION).close()


def test_the_child_imports_no_model_library() -> None:
    code = "import sys, indexer.vectors.edge_build; print('torch' in sys.modules, 'transformers' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.split() == ["False", "False"]


def test_growing_without_deletions_writes_each_vector_once_and_builds_it_once(path: Path) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=50, build=build_nothing)
    for start in range(0, 250, 10):
        index.replace([document(n) for n in range(start, start + 10)])
        while index.optimize():
            pass
    assert (index.written.appended, index.written.moved, index.written.built) == (250, 0, 200)
    index.close()


def test_with_any_deletions_appends_and_graphs_stay_within_the_stated_bound(path: Path) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=40, build=build_nothing)
    random = np.random.default_rng(3)
    expected: dict[str, int] = {}
    for version in range(1, 40):
        numbers = [int(n) for n in random.choice(150, size=10, replace=False)]
        index.replace([document(n, version=version) for n in numbers])
        expected |= {f"d{n}": version for n in numbers}
        while index.optimize():
            pass
    written = index.written
    assert held(index) == expected
    assert written.appended == 390
    assert written.appended + written.moved <= 2 * written.appended
    assert written.built <= written.appended + written.moved
    assert len(index.parts) <= 2 + 150 // 20
    assert folders(path) == len(index.parts)
    index.close()


def test_an_emptied_part_is_dropped_and_its_points_are_found_elsewhere(path: Path) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=100)
    index.replace([document(n) for n in range(100)])
    index.replace([document(n) for n in range(100, 110)])
    index.delete([f"d{n}" for n in range(60)])
    assert index.optimize() is True
    assert len(index.parts) == 1
    assert sorted(held(index)) == sorted(f"d{n}" for n in range(60, 110))
    assert folders(path) == 1
    index.close()
    again = EdgeIndex(path, DIMENSION)
    assert len(held(again)) == 50
    again.close()


def test_a_changed_byte_in_a_built_part_is_noticed(path: Path) -> None:
    index = EdgeIndex(path, DIMENSION, part_points=100)
    index.replace([document(n) for n in range(100)])
    index.replace([document(100)])
    index.optimize()
    assert index.verify() == []
    part = index.parts[0].path
    names = {file.name for file in part.rglob("*")}
    assert {"matrix.dat", CHECKSUMS} <= names
    vectors = next(part.rglob("matrix.dat"))
    content = bytearray(vectors.read_bytes())
    content[len(content) // 2] ^= 1
    vectors.write_bytes(content)
    assert any("matrix.dat" in sentence for sentence in index.verify())
    index.close()
