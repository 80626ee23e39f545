"""What a search takes while `searchd train` runs beside the daemon: windows with the training going on and held up, in turns.

    python benchmarks/beside_training.py [FOLDER] [--windows 10] [--queries 6] [--json FILE]

FOLDER holds documents to search and to train on; without one, 60 of the topics that every Python documents. Daemon and
training are processes of their own, as an owner starts them. Each query is asked once in either sort of window, and no
score is remembered. The training is ended when all is measured: nothing of it is kept. About three minutes on two cores
of its own; where searches are degraded, their stages were cut to a budget, and the ratio says little.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.main_job import percentiles, questions
from indexer.sources.python_docs import walk_python_docs
from tests.daemon import Daemon, environment

DOCUMENTS = 60
DAEMON = {"SEARCHD_SCORE_CACHE": "0", "SEARCHD_DTYPE": "auto"}
TRAINING = ("--groups", "300", "--epochs", "100", "--save-steps", "5", "--small", "", "--new")
"""The base model on few questions, for longer than is measured."""
FITTING_WITHIN_S = 300.0
SETTLING_S = 0.5
"""After the training was held up or let go."""


@dataclass(slots=True)
class Window:
    """What was seen in the windows of one sort."""

    walls_ms: dict[str, float] = field(default_factory=dict)
    """By query."""
    degraded: int = 0
    training_cpu_s: float = 0.0
    seconds: float = 0.0


class Training:
    """`searchd train` on a daemon's data folder; ready when it has fitted its first steps."""

    def __init__(self, daemon: Daemon, log: Path) -> None:
        self._folder = daemon.data_dir / "training" / "default-1" / "base"
        self._log = log
        with log.open("wb") as out:
            self._command = subprocess.Popen(
                [sys.executable, "-m", "searchd", "train", *TRAINING],
                env=environment(daemon.data_dir, **DAEMON), stdout=out, stderr=out,
            )  # fmt: skip
        self._own = psutil.Process(self._command.pid)

    def wait_until_it_fits(self) -> float:
        """Return the seconds until the first checkpoint was there. Raises: RuntimeError if there is none."""
        started = time.monotonic()
        while not any(self._folder.glob("checkpoint-*")):
            if not self.runs() or time.monotonic() - started > FITTING_WITHIN_S:
                raise RuntimeError(f"nothing was fitted: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        return time.monotonic() - started

    def steps(self) -> int:
        """Return how many steps the newest checkpoint has."""
        return max((int(path.name.rpartition("-")[2]) for path in self._folder.glob("checkpoint-*")), default=0)

    def runs(self) -> bool:
        """Say whether it has not ended."""
        return self._command.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started: it may work in a child of its own session."""
        for process in (*self._own.children(recursive=True), self._own):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def cpu_s(self) -> float:
        """Return what it has taken of all cores."""
        times = [one.cpu_times() for one in (*self._own.children(recursive=True), self._own)]
        return sum(one.user + one.system for one in times)

    def end(self) -> None:
        """Kill it."""
        self.send(signal.SIGKILL)
        self._command.wait()


@contextlib.contextmanager
def training_beside(daemon: Daemon, log: Path) -> Iterator[Training]:
    """Have a training run in this block."""
    training = Training(daemon, log)
    try:
        yield training
    finally:
        training.end()


def write_topics(folder: Path) -> Path:
    """Write the first of Python's topics as a folder of files."""
    folder.mkdir()
    for source in itertools.islice(walk_python_docs(), DOCUMENTS):
        (folder / source.name).write_bytes(source.content)
    return folder


def ask(daemon: Daemon, training: Training, texts: list[str], window: Window) -> None:
    """Ask each query once with the default cascade, one after the other."""
    began, cpu_s = time.monotonic(), training.cpu_s()
    with httpx.Client(base_url=daemon.url, timeout=60, trust_env=False) as client:
        for text in texts:
            started = time.monotonic()
            answer = client.post("/api/search", json={"q": text})
            window.walls_ms[text] = (time.monotonic() - started) * 1000
            window.degraded += bool(answer.raise_for_status().json()["degraded"])
    window.seconds += time.monotonic() - began
    window.training_cpu_s += training.cpu_s() - cpu_s


def in_windows(daemon: Daemon, training: Training, texts: list[str], each: int) -> dict[str, Window]:
    """Ask all queries alone and beside the training, in windows of `each`, the sort that goes first changing."""
    found = {"alone": Window(), "beside": Window()}
    sorts = [("alone", signal.SIGSTOP), ("beside", signal.SIGCONT)]
    for start in range(0, len(texts), each):
        for name, number in sorts:
            training.send(number)
            time.sleep(SETTLING_S)
            ask(daemon, training, texts[start : start + each], found[name])
        sorts.reverse()
    if not training.runs():
        raise RuntimeError("the training ended before all was measured; give it more documents")
    return found


def measure(folder: Path | None, scratch: Path, windows: int, each: int) -> dict[str, object]:
    """Return every figure."""
    daemon = Daemon(scratch / "data", fresh=True, **DAEMON)
    with daemon:
        added = [sys.executable, "-m", "indexer", "add", str(folder or write_topics(scratch / "topics"))]
        subprocess.run(added, env=environment(daemon.data_dir, **DAEMON), check=True, stdout=subprocess.DEVNULL)
        texts = list(dict.fromkeys(questions(daemon, windows * each)))
        with training_beside(daemon, scratch / "train.log") as training:
            until_fitting_s = training.wait_until_it_fits()
            training.send(signal.SIGSTOP)
            ask(daemon, training, texts[:each], Window())  # the first searches find memory and caches cold
            first = training.steps()
            found = in_windows(daemon, training, texts, each)
            steps = training.steps() - first
    alone, beside = found["alone"], found["beside"]
    shares = [beside.walls_ms[text] / alone.walls_ms[text] for text in texts]
    return {
        "queries": len(texts),
        "cores": os.cpu_count(),
        "until_fitting_s": until_fitting_s,
        "alone": percentiles(list(alone.walls_ms.values())) | {"degraded": alone.degraded},
        "beside": percentiles(list(beside.walls_ms.values())) | {"degraded": beside.degraded},
        "times_as_long": statistics.median(shares),
        "training_cores": beside.training_cpu_s / beside.seconds,
        "training_cores_held_up": alone.training_cpu_s / alone.seconds,
        "training_steps": steps,
        "walls_ms": {name: list(window.walls_ms.values()) for name, window in found.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="documents; Python's own topics without one")
    parser.add_argument("--windows", type=int, default=10, help="of each sort")
    parser.add_argument("--queries", type=int, default=6, help="in a window")
    parser.add_argument("--json", type=Path, help="write every figure here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(arguments.folder, Path(scratch), arguments.windows, arguments.queries)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    for name in ("alone", "beside"):
        figures = found[name]
        assert isinstance(figures, dict)
        print(
            f"{name:7s} p50 {figures['p50_ms']:.0f} ms, p95 {figures['p95_ms']:.0f} ms, {figures['degraded']} degraded"
        )
    print(
        f"a search beside training takes {found['times_as_long']:.2f} times as long (median of {found['queries']} queries)"
    )
    print(
        f"the training had {found['training_cores']:.2f} of {found['cores']} cores meanwhile "
        f"({found['training_cores_held_up']:.2f} when held up), and wrote {found['training_steps']} more steps"
    )


if __name__ == "__main__":
    main()
