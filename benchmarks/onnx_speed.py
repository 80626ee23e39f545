"""Pairs a second of rerank-base by ONNX Runtime (float32, int8) and by torch (bfloat16, float32), on this CPU.

Run: python benchmarks/onnx_speed.py [rounds [threads]]. All take turns on the same batches, so that what else the machine does
meets each alike; medians of the rounds are printed. On a busy machine CPU time with one thread says more.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from indexer.device import Device, Priority
from searchd.rerank.local import LocalModel, LocalReranker, Pair
from searchd.rerank.onnx_export import export_onnx
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RERANKERS
from searchd.settings import Settings, Stage

PAIRS, BATCH_TOKENS = 24, 1024


def batches(model: LocalModel) -> list[list[Pair]]:
    """Return pairs of natural lengths (mean 150 tokens, 256 at most), longest first, in batches of so many tokens."""
    random = np.random.default_rng(7)
    frame = model.frame("how is a reranker run without a graphics card", "", 256)
    lengths = np.clip(random.lognormal(5.15, 0.5, PAIRS), 24, 256).astype(int) - len(frame.head) - len(frame.tail)
    pairs = [Pair(frame, random.integers(2000, 20000, length).astype(np.int32)) for length in sorted(lengths)[::-1]]
    found: list[list[Pair]] = [[]]
    for pair in pairs:
        if found[-1] and found[-1][0].length * (len(found[-1]) + 1) > BATCH_TOKENS:
            found.append([])
        found[-1].append(pair)
    print(f"{PAIRS} pairs, {np.mean([pair.length for pair in pairs]):.0f} tokens on average, {len(found)} batches")
    return found


def main(rounds: int, threads: int, folder: Path) -> None:
    """Time every form."""
    for check in export_onnx("rerank-base", folder / "base", int8=True):
        print(f"{check.graph.name}: worst {check.worst:.2g}, Spearman {check.spearman:.4f}, top 10 {check.top:.0%}")
    forms: dict[str, tuple[Device, LocalModel]] = {}
    for name, stage, dtype in stages(folder / "base" / "onnx"):
        settings = Settings(device="cpu", dtype=dtype, threads=threads)
        device = Device(settings)
        reranker = RERANKERS[stage.kind](stage, settings, Scheduler(device))
        assert isinstance(reranker, LocalReranker)
        forms[name] = device, reranker.model
    work = batches(forms["torch float32"][1])
    wall: dict[str, list[float]] = {name: [] for name in forms}
    cpu: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(rounds + 1):
        for name, (device, model) in forms.items():
            started, busy = time.perf_counter(), time.process_time()
            for batch in work:
                device.run(partial(model.forward, batch), priority=Priority.RERANK)
            if turn:  # the first is for warming up
                wall[name].append(PAIRS / (time.perf_counter() - started))
                cpu[name].append(PAIRS / (time.process_time() - busy))
    for name in forms:
        print(
            f"{name:16} {statistics.median(wall[name]):6.1f} pairs/s (best {max(wall[name]):.1f}), "
            f"{statistics.median(cpu[name]):.1f} a second of CPU time"
        )


def stages(graphs: Path) -> list[tuple[str, Stage, str]]:
    """Return what is compared: name, stage and torch's precision."""
    onnx = [(f"onnx {file}", Stage(name="s", kind="onnx", model=str(graphs / f"{file}.onnx")), "float32")
            for file in ("model", "model_int8")]  # fmt: skip
    return [("torch bfloat16", Stage(name="s"), "bfloat16"), ("torch float32", Stage(name="s"), "float32"), *onnx]


if __name__ == "__main__":
    rounds_given, threads_given = [*map(int, sys.argv[1:]), *(9, 0)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as temporary:
        main(rounds_given, threads_given, Path(temporary))
