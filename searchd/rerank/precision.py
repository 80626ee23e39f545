"""Which precision a model runs in: the fastest here whose ranking agrees with float32's, found at its first start.

Builds the model in each precision, scores the same examples with each in turns, and remembers the choice for this model
and processor in `precision.json` of the data folder. The setting `precision` of a stage, or `dtype`, overrules it.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.device import Device, cpu_has_bfloat16
from searchd.rerank.examples import close_questions
from searchd.rerank.local import LocalModel, Pair, parts_of

log = logging.getLogger(__name__)

QUERIES, PASSAGES, MAX_LENGTH = 4, 32, 128
TRIAL = 4
"""Of how precisions are tried: what another way of trying chose is not held to. To be raised with every change of it."""
GPU_REPEATS = 8
"""A small batch costs a GPU the same in any precision: its time goes by in starting kernels."""
LEAST_ROOM = 64
"""Tokens that a prompt leaves of MAX_LENGTH, or the examples are longer."""
ROUNDS = 3
LEAST_SPEARMAN = {"float16": 0.998, "bfloat16": 0.998, "int8": 0.995}
LEAST_OVERLAP = 0.95
"""Of the first third of each list."""
LEAST_GAIN = 1.1
"""A precision must be so many times faster than the next better one."""
FILE = "precision.json"
_WRITING = threading.Lock()
"""Two models may be loaded at once."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one precision did on the examples."""

    seconds: float
    spearman: float
    overlap: float


def precisions_of(device: Device) -> tuple[str, ...]:
    """Return what this device may run fast, the best first."""
    import torch

    if device.name.startswith("cuda"):
        return ("float32", "bfloat16" if torch.cuda.is_bf16_supported() else "float16")
    if device.name != "cpu":
        return ("float32",)
    halves = ("bfloat16",) if cpu_has_bfloat16() else ()
    return ("float32", *halves, *(("int8",) if torch.cpu._is_vnni_supported() else ()))


def choose(
    fingerprint: str, device: Device, folder: Path, build: Callable[[str], LocalModel]
) -> tuple[LocalModel, Mapping[str, Trial]]:
    """Return the model in the precision that was or is chosen, and what was measured now (nothing if it was known).

    `build` raises ValueError for a precision that the model cannot have. Runs on a thread of the device's.
    """
    key = f"{fingerprint} on {processor(device)}"
    known = remembered(folder).get(key)
    if known in precisions_of(device):
        try:
            return build(known), {}
        except ValueError as error:
            log.info("%s is chosen anew: %s", key, error)
    models: dict[str, LocalModel] = {}
    refused: ValueError | None = None
    for precision in precisions_of(device):
        try:
            models[precision] = build(precision)
        except ValueError as error:
            log.info("not in %s: %s", precision, error)
            refused = refused or error
    if refused is not None and not models:
        raise refused
    if len(models) == 1:
        return next(iter(models.values())), {}
    trials = tried(models, 1 if device.name == "cpu" else GPU_REPEATS)
    best = fastest(trials)
    remember(folder, key, best)
    log.info("%s runs in %s: %s", key, best, trials)
    return models[best], trials


def fastest(trials: Mapping[str, Trial]) -> str:
    """Return the precision to run in; the first is the standard, the others come with what they lose."""
    best = next(iter(trials))
    for name, trial in trials.items():
        if agrees(name, trial) and trial.seconds * LEAST_GAIN <= trials[best].seconds:
            best = name
    return best


def agrees(precision: str, trial: Trial) -> bool:
    """Say whether a precision ranks as float32 does."""
    return trial.spearman >= LEAST_SPEARMAN.get(precision, 1.0) and trial.overlap >= LEAST_OVERLAP


def disagreement(
    fingerprint: str, device: Device, folder: Path, precision: str, build: Callable[[str], LocalModel]
) -> str:
    """Say how a precision that its owner wants ranks, if that is unlike float32; empty if it agrees. Measured once and kept."""
    key = f"{fingerprint} wanted in {precision} on {processor(device)}"
    said = remembered(folder).get(key)
    if not isinstance(said, str):
        trial = tried({name: build(name) for name in ("float32", precision)})[precision]
        figures = f"Spearman {trial.spearman:.3f}, {trial.overlap:.0%} of the first third the same"
        said = "" if agrees(precision, trial) else f"ranks unlike float32 on examples ({figures})"
        remember(folder, key, said)
    return said


def tried(models: Mapping[str, LocalModel], repeats: int = 1) -> dict[str, Trial]:
    """Score the examples with every model in turns; the first is the standard for the others.

    What is timed is one query's examples, so many times over in one batch.
    """
    batches = examples(next(iter(models.values())))
    scores: dict[str, list[NDArray[np.float32]]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for name, model in models.items():
        scores[name] = [model.forward(batch) for batch in batches]
    for _ in range(ROUNDS):
        for name, model in models.items():
            started = time.perf_counter()
            model.forward(batches[0] * repeats)
            seconds[name].append(time.perf_counter() - started)
    standard = next(iter(scores.values()))
    return {
        name: Trial(
            seconds=statistics.median(seconds[name]),
            spearman=float(np.mean([spearman(a, b) for a, b in zip(standard, found, strict=True)])),
            overlap=float(np.mean([overlap(a, b, PASSAGES // 3) for a, b in zip(standard, found, strict=True)])),
        )
        for name, found in scores.items()
    }


def examples(model: LocalModel, seed: int = 1) -> list[list[Pair]]:
    """Return one batch of pairs per example query."""
    bare = model.frame("a", "", model.longest)
    limit = min(model.longest, max(MAX_LENGTH, len(bare.head) + len(bare.tail) + LEAST_ROOM))
    found = []
    for query, passages in close_questions(QUERIES, PASSAGES, seed):
        frame = model.frame(query, "", limit)
        found.append(parts_of(frame, model.tokenizer.encode(passages), limit, whole=False)[0])
    return found


def spearman(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the rank correlation of two lists of scores; 1 where neither differs."""
    ranks = [np.argsort(np.argsort(scores, kind="stable"), kind="stable").astype(float) for scores in (first, second)]
    if len(first) < 2:
        return 1.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def overlap(first: NDArray[np.float32], second: NDArray[np.float32], depth: int) -> float:
    """Return the share of the first `depth` that both have."""
    tops = [set(np.argsort(-scores, kind="stable")[:depth].tolist()) for scores in (first, second)]
    return len(tops[0] & tops[1]) / max(1, len(tops[0]))


def processor(device: Device) -> str:
    """Return what a choice of precision holds for: the processor, the version of torch, and how it was tried."""
    import torch

    if device.name.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device.name)}, torch {torch.__version__}, trial {TRIAL}"
    return f"{_cpu_name()}, {os.cpu_count()} cores, torch {torch.__version__}, trial {TRIAL}"


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def remembered(folder: Path) -> dict[str, Any]:
    """Return the choices of this data folder; nothing if the file is not there or not ours."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(folder: Path, key: str, precision: str) -> None:
    """Keep a choice; where the folder cannot be written it is made again at the next start."""
    fresh = folder / f"{FILE}.{os.getpid()}"
    with _WRITING:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({**remembered(folder), key: precision}, indent=1), encoding="utf-8")
            fresh.replace(folder / FILE)
        except OSError as error:
            log.warning("the choice of a precision is not kept: %s", error)
