"""Dying at every named point of an edge index: what was flushed is there afterwards, once, and work goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.crash import EXIT_CODE, VARIABLE
from indexer.errors import Busy, StaleIndex
from indexer.vectors.edge import EdgeIndex
from indexer.vectors.edge_files import CURRENT, write_checksums
from tests.vector_documents import DIMENSION, document

POINTS = (
    "vectors-created",
    "vectors-before-current",
    "vectors-after-current",
    "vectors-mid-replace",
    "vectors-copied",
    "vectors-built",
    "vectors-replayed",
    "vectors-swapped",
    "vectors-mid-move",
    "vectors-moved",
)
PART_POINTS = 40

SCRIPT = """
import sys
from pathlib import Path
from indexer.vectors.edge import EdgeIndex
from indexer.vectors.edge_files import write_checksums
from tests.vector_documents import DIMENSION, document

index = EdgeIndex(Path(sys.argv[1]), DIMENSION, part_points=40, build=lambda folder, stopped: write_checksums(folder))
for version in range(1, 9):
    for start in range(0, 60, 10):
        print("trying", version, start, flush=True)
        index.replace([document(n, count=2, version=version) for n in range(start, start + 10)])
        index.flush()
        print("flushed", version, start, flush=True)
        while index.optimize():
            pass
"""


def run(path: Path, crash_at: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).resolve().parents[3])
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        env={**os.environ, VARIABLE: crash_at, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
    )


def acknowledged(output: str) -> tuple[dict[str, int], set[str]]:
    """Read off what was flushed: document -> version, and which documents were being written when the process died."""
    flushed: dict[str, int] = {}
    trying: set[str] = set()
    for line in output.splitlines():
        word, version, start = line.split()
        names = {f"d{n}" for n in range(int(start), int(start) + 10)}
        if word == "trying":
            trying = names
        else:
            flushed |= dict.fromkeys(names, int(version))
            trying = set()
    return flushed, trying


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_loses_nothing_flushed_and_leaves_nothing_twice(point: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    ended = run(path, point)
    assert ended.returncode == EXIT_CODE, ended.stderr
    flushed, trying = acknowledged(ended.stdout)
    index = EdgeIndex(path, DIMENSION, part_points=PART_POINTS, build=lambda folder, stopped: write_checksums(folder))
    assert {folder.name for folder in path.glob("part-*")} == {part.folder for part in index.parts}
    held = [(p.passage_id, p.document_id, p.version) for p, _ in index.scan()]
    assert len({passage for passage, _, _ in held}) == len(held)
    for name, version in flushed.items():
        if name not in trying:
            assert [v for _, document_id, v in held if document_id == name] == [version, version], name
    assert index.verify() == []
    # The job that was not finished runs again, and everything after it.
    again = [document(n, count=2, version=9) for n in range(60)]
    for start in range(0, 60, 10):
        index.replace(again[start : start + 10])
        while index.optimize():
            pass
    index.flush()
    index.close()
    reopened = EdgeIndex(path, DIMENSION)
    assert sum(part.count() for part in reopened.parts) == 120
    assert {(p.document_id, p.version) for p, _ in reopened.scan()} == {(f"d{n}", 9) for n in range(60)}
    reopened.close()


def test_a_second_owner_is_told_that_it_is_busy(tmp_path: Path) -> None:
    index = EdgeIndex(tmp_path / "vectors", DIMENSION)
    with pytest.raises(Busy):
        EdgeIndex(tmp_path / "vectors", DIMENSION)
    index.close()
    EdgeIndex(tmp_path / "vectors", DIMENSION).close()


def test_a_damaged_pointer_names_the_command(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    EdgeIndex(path, DIMENSION).close()
    for content in (b"", b"{", b'{"dimension":16,"parts":[],"format":1}', b'{"dimension":16,"parts":[],"format":9}'):
        (path / CURRENT).write_bytes(content)
        with pytest.raises(StaleIndex, match=r"indexer rebuild$"):
            EdgeIndex(path, DIMENSION)


def test_vectors_without_their_pointer_are_not_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    index = EdgeIndex(path, DIMENSION)
    index.replace([document(1)])
    index.close()
    (path / CURRENT).unlink()
    with pytest.raises(StaleIndex, match=r"indexer rebuild$"):
        EdgeIndex(path, DIMENSION)
    assert list(path.glob("part-*"))


@pytest.mark.parametrize("victim", ["segment.json", "edge_config.json", "mutable_id_tracker.mappings"])
def test_damaged_files_of_the_engine_name_the_command(tmp_path: Path, victim: str) -> None:
    path = tmp_path / "vectors"
    index = EdgeIndex(path, DIMENSION)
    index.replace([document(n) for n in range(20)])
    index.close()
    for file in path.rglob(victim):
        file.write_bytes(b"\xff\xfe broken")
    try:
        opened = EdgeIndex(path, DIMENSION)
    except StaleIndex as error:
        assert str(error).endswith("indexer rebuild")
    else:
        readable = len(list(opened.scan())) == 20
        opened.close()
        assert readable


def test_a_missing_part_names_the_command(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    EdgeIndex(path, DIMENSION).close()
    for folder in path.glob("part-*"):
        folder.rename(path / "elsewhere")
    with pytest.raises(StaleIndex, match=r"indexer rebuild$"):
        EdgeIndex(path, DIMENSION)
