"""Does building the HNSW graph delay searches? 100,000 x 384 vectors in process, queried all the while.

Grows an EdgeIndex in batches as the worker does and calls optimize() until nothing is left to do, with query threads
in the same process measuring each search. Then the same measurement with nothing being built is the control.
Run: python benchmarks/hnsw_build.py [--vectors 100000] [--threads 1] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.scope import Scope
from indexer.types import PUBLIC, IndexedDocument, Passage, passage_id
from indexer.vectors.edge import EdgeIndex

DIMENSION, PER_DOCUMENT, BATCH, DEPTH = 384, 10, 500, 100
EVERYONE = Scope.of("benchmark")
LIMIT_MS = 100.0


def make_vectors(count: int) -> NDArray[np.float32]:
    """Return float32[count, DIMENSION] unit vectors around 2,000 centres, as text embeddings cluster."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((2_000, DIMENSION)).astype(np.float32)
    vectors = centres[random.integers(0, len(centres), count)]
    vectors += 0.8 * random.standard_normal((count, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def documents(vectors: NDArray[np.float32], start: int, stop: int) -> list[IndexedDocument]:
    """Return the documents that rows start..stop belong to, PER_DOCUMENT passages each."""
    made = []
    for first in range(start, stop, PER_DOCUMENT):
        name = f"d{first}"
        rows = vectors[first : min(stop, first + PER_DOCUMENT)]
        passages = tuple(Passage(passage_id("benchmark", name, n), name, n, "text", 0, 4) for n in range(len(rows)))
        metadata = {"lang": ("en", "de", "fr")[first % 3], "year": 2000 + first % 25}
        made.append(IndexedDocument(name, 1, name, metadata, (PUBLIC,), passages, rows))
    return made


@dataclass
class Meter:
    """Searches in threads of this process; latencies by the phase that was on when a search began."""

    index: EdgeIndex
    queries: NDArray[np.float32]
    pause_s: float
    phase: str = ""
    latencies_ms: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    stopped: bool = False

    def run(self, seed: int) -> None:
        """Search until stopped."""
        random = np.random.default_rng(seed)
        while not self.stopped:
            vector, phase = self.queries[random.integers(len(self.queries))], self.phase
            start, own = time.perf_counter(), time.thread_time()
            self.index.search(vector, EVERYONE, None, DEPTH)
            worked = time.thread_time() - own
            taken = time.perf_counter() - start
            if phase:
                self.latencies_ms.setdefault(phase, []).append((1000 * taken, 1000 * (taken - worked)))
            time.sleep(self.pause_s)

    def report(self, phase: str) -> None:
        """Print a phase's latencies, and how long its searches waited: for the interpreter's lock or for a core."""
        values = np.asarray(self.latencies_ms.get(phase) or [(0.0, 0.0)])
        whole, waited = values[:, 0], values[:, 1]
        p50, p99 = np.percentile(whole, [50, 99])
        over = int((waited > LIMIT_MS).sum())
        print(f"{phase:28} {len(values):8,d} {p50:8.1f} {p99:8.1f} {whole.max():8.1f} {waited.max():12.1f} {over:8d}")


def bytes_written() -> tuple[int, int]:
    """Return what this process and its ended children have written, in bytes (page cache write-back included)."""
    own = 0
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes"):
            own = int(line.split()[1])
    return own, 512 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock


def recall(index: EdgeIndex, vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> float:
    """Return the mean share of the true nearest DEPTH that are found."""
    shares = []
    for query in queries:
        truth = set(np.argpartition(-(vectors @ query), DEPTH)[:DEPTH].tolist())
        ids = {passage_id("benchmark", f"d{n - n % PER_DOCUMENT}", n % PER_DOCUMENT) for n in truth}
        shares.append(len(ids & {hit.passage_id for hit in index.search(query, EVERYONE, None, DEPTH)}) / DEPTH)
    return float(np.mean(shares))


def grow(index: EdgeIndex, meter: Meter, vectors: NDArray[np.float32]) -> tuple[float, float, int]:
    """Add all vectors in batches; build whatever becomes due. Returns seconds adding, seconds building, builds."""
    adding = building = 0.0
    builds = 0
    for start in range(0, len(vectors), BATCH):
        batch = documents(vectors, start, min(len(vectors), start + BATCH))
        meter.phase, began = "adding", time.perf_counter()
        index.replace(batch)
        index.flush()
        adding += time.perf_counter() - began
        while True:
            full = any(not part.built for part in index.parts[:-1])
            meter.phase, began = ("building" if full else ""), time.perf_counter()
            if not index.optimize():
                break
            building += time.perf_counter() - began
            builds += 1
    return adding, building, builds


def watch(meter: Meter, phase: str, seconds: float) -> None:
    """Let the meter run with nothing else going on."""
    meter.phase = phase
    time.sleep(seconds)
    meter.phase = ""


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pause-ms", type=float, default=5.0, help="between two searches of a thread")
    parser.add_argument("--control-s", type=float, default=30.0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    vectors = make_vectors(options.vectors)
    queries = make_vectors(200)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        index = EdgeIndex(Path(folder) / "vectors", DIMENSION)
        meter = Meter(index, queries, options.pause_ms / 1000)
        threads = [threading.Thread(target=meter.run, args=(n,), daemon=True) for n in range(options.threads)]
        for thread in threads:
            thread.start()
        print(f"load average at the start: {', '.join(f'{value:.1f}' for value in os.getloadavg())}")
        before = bytes_written()
        watch(meter, "before (empty index)", 5.0)
        adding, building, builds = grow(index, meter, vectors)
        watch(meter, "after (control, no build)", options.control_s)
        meter.stopped = True
        for thread in threads:
            thread.join()
        after = bytes_written()
        heads = ("searches", "count", "p50 ms", "p99 ms", "max ms", "waited ms", "> 100")
        print("{:28} {:>8} {:>8} {:>8} {:>8} {:>12} {:>8}".format(*heads))
        for phase in ("before (empty index)", "adding", "building", "after (control, no build)"):
            meter.report(phase)
        raw = vectors.nbytes
        own, children = after[0] - before[0], after[1] - before[1]
        written = index.written
        print(f"added {options.vectors:,} vectors in {adding:.1f} s, built {builds} graphs in {building:.1f} s")
        print(
            f"vectors appended {written.appended:,}, moved {written.moved:,}, laid out with a graph {written.built:,}, "
            f"copied {written.copied_bytes / 1e6:,.0f} MB"
        )
        print(
            f"bytes written: {own / 1e6:,.0f} MB here, {children / 1e6:,.0f} MB by children; "
            f"{(own + children) / raw:.1f} x the {raw / 1e6:,.0f} MB of vectors"
        )
        print(f"recall at {DEPTH}: {recall(index, vectors, queries[:100]):.3f}; parts {len(index.parts)}")
        print(f"load average at the end: {', '.join(f'{value:.1f}' for value in os.getloadavg())}")
        index.close()


if __name__ == "__main__":
    main()
