"""Four times as many rerank calls as can be done, over HTTP: what is done, and how fast the rest is refused.

    python benchmarks/overload_http.py [DATASET_DIR] [--times 4] [--most-s 10] [--seconds 30]

The daemon is a process of its own; calls have 30 to 100 passages that BM25 finds for questions of the set, none remembered.
First one client asks, one call after the other: that is the capacity. Then calls come whether others are done or not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.rerank import DATASET, natural_workload
from benchmarks.reranking.load import REFUSED_MS, Call, calls_of, flood
from tests.daemon import Daemon

CALLS = 40


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call; `code` is empty where it was done."""

    code: str
    ms: float
    pairs: int


def ask(client: httpx.Client, call: Call) -> Answer:
    """Send a call and wait for its answer."""
    started = time.perf_counter()
    body = {"query": call.query, "documents": list(call.passages), "top_n": 10}
    answer = client.post("/v1/rerank", json=body)
    code = "" if answer.status_code == httpx.codes.OK else str(answer.json()["code"])
    return Answer(code, (time.perf_counter() - started) * 1000, len(call.passages))


def capacity(client: httpx.Client, calls: Sequence[Call]) -> float:
    """Return pairs per second of one client."""
    for call in calls[:8]:
        ask(client, call)
    started = time.perf_counter()
    pairs = sum(one.pairs for one in (ask(client, call) for call in calls) if not one.code)
    return pairs / (time.perf_counter() - started)


def main() -> None:
    """Measure and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?", default=DATASET)
    parser.add_argument("--times", type=float, default=4.0)
    parser.add_argument("--most-s", type=float, default=10.0, help="what a call may take: the setting max_timeout_ms")
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    calls = calls_of(natural_workload(given.dataset, "natural", CALLS).groups, CALLS)
    most_ms = str(int(given.most_s * 1000))
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(
            Path(folder) / "data", SEARCHD_SCORE_CACHE="0", SEARCHD_DTYPE="auto", SEARCHD_TIMEOUT_MS="1000",
            SEARCHD_MAX_TIMEOUT_MS=most_ms,
        )  # fmt: skip
        with daemon, httpx.Client(base_url=daemon.url, timeout=120, limits=httpx.Limits(max_connections=500)) as client:
            alone = capacity(client, calls)
            print(f"one client: {alone:.0f} pairs/s", flush=True)
            answers: list[Answer] = []
            seconds = flood(calls, given.times * alone, given.seconds, lambda call: answers.append(ask(client, call)))
    done, refused = [one for one in answers if not one.code], [one.ms for one in answers if one.code]
    share = sum(one.pairs for one in done) / seconds / alone
    print(
        f"{len(answers)} calls at {given.times:g} times that: {len(done)} done, {share:.2f} of one client's throughput"
    )
    if done:
        print(f"those took p50 {statistics.median(one.ms for one in done):.0f} ms")
    if refused:
        early = sum(ms <= REFUSED_MS for ms in refused) / len(refused)
        print(
            f"{len(refused)} refused ({dict(Counter(one.code for one in answers if one.code))}): p50 "
            f"{statistics.median(refused):.0f} ms, {early:.0%} within {REFUSED_MS} ms"
        )


if __name__ == "__main__":
    main()
