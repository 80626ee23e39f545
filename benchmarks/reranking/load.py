"""Many at once: closed-loop clients, and four times as many requests as can be served.

Takes a loaded `Ours`; gives throughput, latency, whether scores depend on company, and what is refused how fast.
"""

from __future__ import annotations

import itertools
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.reranking.ours import Ours
from benchmarks.reranking.timing import top
from benchmarks.reranking.workload import Group
from indexer.errors import TransientError

DEADLINE_S = 2.0
REFUSED_MS = 50


@dataclass(frozen=True, slots=True)
class Call:
    """A query with the first so many of its passages."""

    query: str
    passages: tuple[str, ...]


def calls_of(groups: Sequence[Group], count: int) -> list[Call]:
    """Return calls of 30 to 100 passages, the same in every run."""
    chance = random.Random(1)
    sizes = [chance.randint(30, 100) for _ in range(count)]
    return [
        Call(group.query, group.passages[:size])
        for size, group in zip(sizes, (groups[number % len(groups)] for number in range(count)), strict=True)
    ]


def again_for(calls: Sequence[Call], seconds: float) -> Iterator[Call]:
    """Yield calls over and over, until so long after the first was asked for."""
    until = time.perf_counter() + seconds
    for call in itertools.cycle(calls):
        if time.perf_counter() >= until:
            return
        yield call


def closed(ours: Ours, calls: Iterable[Call], clients: int) -> dict[str, Any]:
    """Let so many clients ask one call after the other; return throughput, latency and each call's top 10."""
    waiting, lock = iter(calls), threading.Lock()
    found: dict[Call, list[int]] = {}
    latencies: list[float] = []
    pairs = [0]

    def ask() -> None:
        while True:
            with lock:
                call = next(waiting, None)
            if call is None:
                return
            started = time.perf_counter()
            scores = ours.score(call.query, call.passages)
            with lock:
                latencies.append((time.perf_counter() - started) * 1000)
                pairs[0] += len(scores)
                found[call] = top(scores)

    started = time.perf_counter()
    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return figures(clients, pairs[0], time.perf_counter() - started, latencies, found)


def pooled(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what turns of as many clients gave, as one."""
    pairs, seconds = (sum(turn[name] for turn in turns) for name in ("pairs", "seconds"))
    latencies = [ms for turn in turns for ms in turn["latencies_ms"]]
    return figures(turns[0]["clients"], pairs, seconds, latencies, turns[-1]["top10"])


def figures(
    clients: int, pairs: int, seconds: float, latencies_ms: list[float], top10: dict[Call, list[int]]
) -> dict[str, Any]:
    """Return throughput and latency of what was scored meanwhile, beside what they are computed from."""
    return {
        "clients": clients,
        "pairs": pairs,
        "seconds": seconds,
        "pairs_per_s": pairs / seconds,
        "latencies_ms": latencies_ms,
        "p50_ms": statistics.median(latencies_ms),
        "p95_ms": float(np.quantile(latencies_ms, 0.95)),
        "calls": len(latencies_ms),
        "top10": top10,
    }


def same_top10(alone: dict[Call, list[int]], together: dict[Call, list[int]]) -> float:
    """Return the share of calls with the same top 10, in order, alone and in company."""
    both = alone.keys() & together.keys()
    return sum(alone[call] == together[call] for call in both) / max(1, len(both))


def overload(ours: Ours, calls: Sequence[Call], capacity: float, times: float, seconds: float) -> dict[str, Any]:
    """Send `times` the capacity (pairs per second), each with a deadline; return goodput and how fast the rest is refused.

    A call does as a stage of the cascade does: it asks how many passages fit, and scores those. Goodput counts pairs
    scored by their call's deadline; a call that got none was refused.
    """
    lock, good, ends, refusals = threading.Lock(), [0], Counter[str](), list[float]()

    def ask(call: Call) -> None:
        started = time.monotonic()
        scored, how = attempt(ours, call, started + DEADLINE_S)
        with lock:
            good[0] += scored
            ends[how] += 1
            if not scored:
                refusals.append((time.monotonic() - started) * 1000)

    took = flood(calls, times * capacity, seconds, ask)
    goodput = good[0] / took
    return {
        "times": times,
        "deadline_ms": DEADLINE_S * 1000,
        "calls": sum(ends.values()),
        "ends": dict(ends),
        "goodput_pairs_per_s": goodput,
        "goodput_share": goodput / capacity,
        "refused_p50_ms": statistics.median(refusals) if refusals else 0.0,
        "refused_within_50ms": float(np.mean([ms <= REFUSED_MS for ms in refusals])) if refusals else 1.0,
    }


def flood(calls: Sequence[Call], pairs_per_s: float, seconds: float, ask: Callable[[Call], None]) -> float:
    """Ask calls over and over, each on a thread of its own, so many pairs a second in the mean, whether others are done or not.

    Returns the seconds until the last one was done; none is begun after `seconds`.
    """
    chance, threads = random.Random(2), list[threading.Thread]()
    started = due = time.monotonic()
    for call in itertools.cycle(calls):
        if due >= started + seconds:
            break
        time.sleep(max(0.0, due - time.monotonic()))
        threads.append(threading.Thread(target=ask, args=(call,)))
        threads[-1].start()
        due += chance.expovariate(pairs_per_s / len(call.passages))
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def attempt(ours: Ours, call: Call, deadline: float) -> tuple[int, str]:
    """Return how many passages were scored in time, and how it ended."""
    request = ours.request(call.query, deadline)
    passages = [ours.stored[text] for text in call.passages]
    try:
        fitting = ours.reranker.fits(request, passages, deadline - time.monotonic())
        if fitting <= 0:
            return 0, "refused: nothing fits"
        scores: NDArray[np.float32] = ours.reranker.score(request, passages[:fitting])
    except TimeoutError:
        return 0, "late"
    except TransientError as error:
        return 0, f"refused: {type(error).__name__}"
    scored = int(np.isfinite(scores).sum()) if time.monotonic() <= deadline + 0.02 else 0
    return scored, "whole" if scored == len(passages) else "part" if scored else "late"
