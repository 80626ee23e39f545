"""SIGKILL at any moment of writing, growing and building: what was flushed is there, and can be replaced again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from indexer.vectors.edge import EdgeIndex
from tests.vector_documents import DIMENSION, document

KILLS = int(os.environ.get("EDGE_KILLS", "4"))

WRITER = """
import random, sys, threading, time
from pathlib import Path
from indexer.vectors.edge import EdgeIndex
from tests.vector_documents import DIMENSION, document

path, seed = Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(seed)
index = EdgeIndex(path, DIMENSION, part_points=300)
print("ready", flush=True)

def grow():
    while True:
        index.optimize() or time.sleep(0.01)

threading.Thread(target=grow, daemon=True).start()
version = seed * 10_000
while True:
    version += 1
    numbers = draw.sample(range(1000), draw.randint(1, 40))
    gone = set(numbers[: draw.randint(0, 3)])
    names = {f"d{n}": 0 if n in gone else n % 4 + 1 for n in numbers}
    print("trying", version, *(f"{name}:{count}" for name, count in names.items()), flush=True)
    index.replace([document(n, count=n % 4 + 1, version=version) for n in numbers if n not in gone])
    index.delete([f"d{n}" for n in gone])
    index.flush()
    print("flushed", version, flush=True)
"""


def kill_one(path: Path, seed: int, after_lines: int, after_s: float) -> list[str]:
    """Run the writer and kill it some time after it wrote so many lines; return its whole lines."""
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        first = [process.stdout.readline().rstrip("\n") for _ in range(after_lines)]
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")
    return first + rest[:-1]


def test_kills_lose_nothing_flushed_and_leave_no_ghost(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    draw = random.Random(5)
    expected: dict[str, tuple[int, int]] = {}
    flushes = 0
    for seed in range(1, KILLS + 1):
        trying: dict[str, tuple[int, int]] = {}
        for line in kill_one(path, seed, draw.randint(4, 60), draw.uniform(0, 0.3)):
            word, version, *names = line.split()
            if word == "flushed":
                expected |= trying
                trying = {}
                flushes += 1
            else:
                pairs = [name.split(":") for name in names]
                trying = {name: (int(version), int(count)) for name, count in pairs}
        index = EdgeIndex(path, DIMENSION, part_points=300)
        held: dict[str, list[int]] = {}
        for point, _ in index.scan():
            held.setdefault(point.document_id, []).append(point.version)
        for name, (wanted, passages) in expected.items():
            if name not in trying:
                assert held.get(name, []) == [wanted] * passages, (seed, name)
        assert set(held) <= set(expected) | set(trying)
        # What was under way is written again, as its job would be.
        again = [int(name[1:]) for name in trying]
        index.replace([document(n, count=n % 4 + 1, version=seed * 10_000 + 9_999) for n in again])
        expected |= {f"d{n}": (seed * 10_000 + 9_999, n % 4 + 1) for n in again}
        index.flush()
        assert len(list(index.scan())) == sum(count for _, count in expected.values())
        assert index.verify() == []
        index.close()
    assert flushes > KILLS
