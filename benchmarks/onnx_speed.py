"""Pairs a second of rerank-base by ONNX Runtime (float32, int8) and by torch (bfloat16, float32), on this CPU.

Run: python benchmarks/onnx_speed.py [rounds]. All take turns on the same batches, so that what else the machine does
meets each alike; medians of the rounds are printed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from indexer.device import Device
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.local import LocalModel, LocalReranker, Pair
from searchd.rerank.onnx import load_onnx
from searchd.rerank.onnx_export import export_onnx
from searchd.rerank.scheduler import Scheduler
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


def main(rounds: int, folder: Path) -> None:
    """Time every form."""
    for check in export_onnx("rerank-base", folder / "base", int8=True):
        print(f"{check.graph.name}: worst {check.worst:.2g}, Spearman {check.spearman:.4f}, top 10 {check.top:.0%}")
    forms: dict[str, LocalReranker] = {}
    for dtype in ("bfloat16", "float32"):
        settings = Settings(device="cpu", dtype=dtype)
        forms[f"torch {dtype}"] = load_cross_encoder(Stage(name="s"), settings, Scheduler(Device(settings)))  # type: ignore[assignment]
        settings = Settings(device="cpu")
    for file in ("model.onnx", "model_int8.onnx"):
        stage = Stage(name="s", kind="onnx", model=str(folder / "base" / "onnx" / file))
        forms[f"onnx {file}"] = load_onnx(stage, settings, Scheduler(Device(settings)))  # type: ignore[assignment]
    work = batches(forms["torch float32"].model)
    rates: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(rounds + 1):
        for name, reranker in forms.items():
            started = time.perf_counter()
            for batch in work:
                reranker.model.forward(batch)
            if turn:  # the first is for warming up
                rates[name].append(PAIRS / (time.perf_counter() - started))
    for name, found in rates.items():
        print(f"{name:22} {statistics.median(found):6.1f} pairs/s (best {max(found):.1f})")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 9, Path(temporary))
