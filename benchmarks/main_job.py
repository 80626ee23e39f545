"""The main job on the PostgreSQL manual: ingestion speed, index sizes, then latencies through the running daemon.

    python benchmarks/main_job.py FOLDER [--queries 200] [--data-dir DIR] [--json FILE]

FOLDER holds the manual's HTML (Debian: apt-get download postgresql-doc-15; dpkg -x). The daemon is a child process:
its peak memory is its own. Queries are 200 headings of the manual, spread evenly; with the cascade eight clients ask 200
others, and then the same again. Timings: medians of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.daemon import Daemon, command


class PeakMemory:
    """Samples the resident memory of a process and its children twice a second: more often it takes the time it measures."""

    def __init__(self, daemon: Daemon) -> None:
        assert daemon.process is not None
        self.process, self.peak_bytes, self._stop = psutil.Process(daemon.process.pid), 0, threading.Event()
        self.main_bytes = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            try:
                own = self.process.memory_info().rss
                all_of = own + sum(child.memory_info().rss for child in self.process.children(recursive=True))
            except psutil.NoSuchProcess:
                continue
            self.main_bytes = max(self.main_bytes, own)
            self.peak_bytes = max(self.peak_bytes, all_of)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def folder_mb(path: Path) -> float:
    """Return what a folder takes on disk, in MB (blocks, so that sparse files count as they are)."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(f.stat().st_blocks * 512 for f in files) / 1e6


def ingest(daemon: Daemon, folder: Path) -> dict[str, float]:
    """Add the folder through the command line; return rates, peak memory and sizes."""
    memory = PeakMemory(daemon)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "indexer", "add", str(folder)],
        env=os.environ | {"SEARCHD_DATA_DIR": str(daemon.data_dir)},
        check=False,
    )
    took = time.monotonic() - started
    memory.stop()
    (collection,) = [c for c in httpx.get(f"{daemon.url}/api/status").json()["collections"] if c["name"] == "default"]
    started = time.monotonic()
    again = command("indexer", "add", str(folder), data_dir=daemon.data_dir, timeout=600)
    return {
        "exit": done.returncode,
        "seconds": took,
        "documents": collection["documents"],
        "passages": collection["passages"],
        "documents_per_s": collection["documents"] / took,
        "passages_per_s": collection["passages"] / took,
        "daemon_peak_mb": memory.main_bytes / 1e6,
        "with_parsers_peak_mb": memory.peak_bytes / 1e6,
        "unchanged_again_s": time.monotonic() - started,
        "unchanged_again": again.stderr.strip().splitlines()[-1],
        "sql_mb": sum(folder_mb(f) for f in daemon.data_dir.glob("searchd.db*")),
        "tantivy_mb": folder_mb(daemon.data_dir / "lexical"),
        "qdrant_mb": folder_mb(daemon.data_dir / "vectors"),
    }


def questions(daemon: Daemon, count: int) -> list[str]:
    """Return `count` document titles, spread evenly over the manual, without their section numbers."""
    titles, cursor = [], None
    with httpx.Client(base_url=daemon.url, timeout=60) as client:
        while True:
            query = {"limit": 100} | ({"cursor": cursor} if cursor else {})
            page = client.get("/api/documents", params=query).json()
            titles += [document["title"].split(". ", 1)[-1] for document in page["documents"]]
            cursor = page.get("cursor")
            if not cursor:
                break
    return [titles[i * len(titles) // count] for i in range(count)]


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50 and p95."""
    ordered = sorted(values)
    return {"p50_ms": statistics.median(ordered), "p95_ms": ordered[max(0, round(0.95 * len(ordered)) - 1)]}


def measure(daemon: Daemon, texts: list[str], clients: int, *, cascade: bool) -> dict[str, object]:
    """Ask every query once with `clients` at a time; return percentiles of the whole, each part, and what was degraded."""
    answers: list[tuple[int, dict[str, Any]]] = []
    walls: list[float] = []

    def ask(text: str) -> None:
        body = {"q": text, "rerank": {"enabled": cascade}}
        started = time.monotonic()
        answer = client.post("/api/search", json=body)
        walls.append((time.monotonic() - started) * 1000)
        answers.append((answer.status_code, answer.json()))

    with httpx.Client(base_url=daemon.url, timeout=60) as client, ThreadPoolExecutor(clients) as pool:
        started = time.monotonic()
        list(pool.map(ask, texts))
        took = time.monotonic() - started
    good = [body for status, body in answers if status == 200]
    parts: dict[str, list[float]] = {}
    for body in good:
        for name, ms in body["timings_ms"].items():
            parts.setdefault(name, []).append(ms)
    return {
        "clients": clients,
        "cascade": cascade,
        "refused": len(answers) - len(good),
        "degraded": sum(bool(body["degraded"]) for body in good),
        "queries_per_s": len(good) / took,
        "whole": percentiles([body["took_ms"] for body in good]),
        "http": percentiles(walls),
        "parts": {name: percentiles(values) for name, values in parts.items()},
    }


def main() -> None:
    """Run it all and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--data-dir", type=Path, help="use (and keep) this data folder")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        daemon = Daemon(arguments.data_dir or Path(scratch) / "data", SEARCHD_DTYPE="auto")  # as an owner has it
        found: dict[str, object] = {}
        with daemon:
            found["ingestion"] = ingest(daemon, arguments.folder)
            show(found["ingestion"])
            daemon.stop()
        started = time.monotonic()
        with daemon:
            found["cold_start_s"] = time.monotonic() - started
            print(f"cold start to ready: {found['cold_start_s']:.1f} s")
            memory = PeakMemory(daemon)
            every = questions(daemon, 2 * arguments.queries)
            texts, others = every[::2], every[1::2]
            measure(daemon, texts[:10], 1, cascade=True)
            runs = [measure(daemon, texts, clients, cascade=False) for clients in (1, 8)]
            # What one client asked is remembered: eight ask others, then those again.
            asked = ((texts, 1), (others, 8), (others, 8))
            runs += [measure(daemon, those, clients, cascade=True) for those, clients in asked]
            memory.stop()
            found["serving_peak_mb"] = memory.main_bytes / 1e6
        found["searches"] = runs
        for run in runs:
            show(run)
        print(f"daemon's peak memory while serving: {found['serving_peak_mb']:.0f} MB")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def show(figures: object) -> None:
    """Print a dictionary of figures, a line each."""
    assert isinstance(figures, dict)
    for name, value in figures.items():
        if isinstance(value, dict):
            for part, inner in value.items():
                print(f"  {name} {part}: {inner if not isinstance(inner, float) else round(inner, 1)}")
        else:
            print(f"{name}: {round(value, 1) if isinstance(value, float) else value}")
    print()


if __name__ == "__main__":
    main()
