"""Reranking against the others: same weights, same pairs, same length, taking turns in one run, with gates on quality.

    python benchmarks/rerank.py [DATASET_DIR] [--quick] [--json FILE] [--peer-python NAME=PYTHON] [--only PART]
    python benchmarks/rerank.py [DATASET_DIR] --only models [--model NAME]
    python benchmarks/rerank.py --gpu [--rehearse] [--json FILE]

Reranks the 100 best passages by BM25 of real queries with the packaged model, through the product's loader and
scheduler, then with each peer that is installed. `--quick` has sentence-transformers as documented only. The part
`models` has other models beside the packaged one. `--gpu` has random weights of the true shapes of four models, on a
CUDA GPU.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.reranking.load import calls_of, closed, overload, pooled, same_top10
from benchmarks.reranking.models import measure_models
from benchmarks.reranking.ours import Ours, house_stage
from benchmarks.reranking.peers import PEERS, Apart
from benchmarks.reranking.timing import GATES, Runs, Scorer, agreement, in_turns, pairs_per_s, passes, ratio
from benchmarks.reranking.workload import CANDIDATES, SIZES, Workload, read_workload
from indexer.device import Device
from indexer.embedder import plain_tokenizer
from indexer.weights import house_folder
from searchd.rerank import house
from searchd.settings import Settings

DATASET = Path(__file__).resolve().parent.parent.parent / "shared" / "eval" / "perlfaq"
QUICK_S = 46
"""From the process's start, when the last quick round is to have ended: all ends within 50."""
PARTS = ("peers", "models", "clients", "overload")
GUIDES = {"ours": 2.8, "ours-int8": 3.8}
"""How many times as fast as sentence-transformers as documented."""
CROWDS = ((1, 1), (8, 1), (32, 2))
"""How many clients, and how often they ask all calls: 32 want more of them to be under way together for a while."""
PROCESS_STARTED = time.perf_counter() - (time.time() - psutil.Process().create_time())
"""Imports count too."""
Report = dict[str, Any]


def main() -> None:
    """Measure, print, and write every figure."""
    arguments = parsed()
    # On a GPU, warnings say why CUDA graphs or the packed pass are not there.
    logging.disable(logging.INFO if arguments.gpu else logging.WARNING)
    warnings.simplefilter("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if arguments.gpu:
        from benchmarks.reranking.gpu import measure_gpu

        report = measure_gpu(say, rehearse=arguments.rehearse)
    else:
        with tempfile.TemporaryDirectory() as folder:
            report = measure(arguments, Path(folder) / "rerank-base")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    say(f"{time.perf_counter() - PROCESS_STARTED:.0f} s in all")
    left_out = any("skipped" in one for one in report.get("models", {}).values()) if arguments.gpu else False
    os._exit(1 if left_out else 0)  # threads of peers do not end by themselves


def parsed() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?", default=DATASET, help="judged set in the BEIR layout")
    parser.add_argument("--quick", action="store_true", help="natural length, one peer, within 50 s on 2 cores")
    parser.add_argument("--gpu", action="store_true", help="random weights of true shapes on a CUDA GPU")
    parser.add_argument("--rehearse", action="store_true", help="with --gpu: all of it in tiny shapes, on any device")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each at each length, of 100 pairs")
    parser.add_argument("--queries", type=int, default=40, help="queries that the gates rest on")
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts")
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="beside rerank-base, packaged or a folder (rerank-small)"
    )
    parser.add_argument("--lengths", choices=SIZES, action="append", help="leave out the other lengths")
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="NAME=PYTHON", help="run a peer in this interpreter"
    )
    found = parser.parse_args()
    if found.quick and found.only:
        parser.error("--quick has the peers alone; leave out --only")
    if found.model and found.only and "models" not in found.only:
        parser.error("--model is for the part models; add --only models")
    return found


def measure(arguments: argparse.Namespace, folder: Path) -> Report:
    """Return every figure of a CPU (or of whatever device the settings choose)."""
    device = Device(Settings())
    ours = {"ours": Ours(house_stage(), device)}
    report: Report = {"ratio_vs_st": 0.0, "ratio_vs_st_int8": None, "skipped": {}, "lengths": {}}
    parts = ["peers"] if arguments.quick else arguments.only or list(PARTS)
    int8 = precise("int8", device) if "peers" in parts and not arguments.quick else None
    if int8 is not None:
        ours["ours-int8"] = int8
    report["paths"] = {name: one.path for name, one in ours.items()}
    say(f"ours: {report['paths']}, {os.cpu_count()} cores")
    house.export("rerank-base", folder)
    pythons = dict(one.split("=", 1) for one in arguments.peer_python)
    wanted = ["st"] if arguments.quick else list(PEERS)
    theirs = built(wanted, folder, pythons, report["skipped"]) if "peers" in parts else {}
    lengths = ["natural"] if arguments.quick else arguments.lengths or list(SIZES)
    for length in lengths if "peers" in parts else []:
        report["lengths"][length] = at_length(arguments, length, ours, theirs)
    if natural := report["lengths"].get("natural"):
        ratios = natural["ratio_vs_st"]
        report |= {"ratio_vs_st": ratios["ours"], "ratio_vs_st_int8": ratios.get("ours-int8")}
    if "models" in parts:
        report["models"] = beside(arguments, device)
    if "clients" in parts or "overload" in parts:
        report |= under_load(arguments, ours["ours"], parts)
    return report


def precise(precision: str, device: Device) -> Ours | None:
    """Return our side at this precision; None where the product does not run it."""
    found = Ours(house_stage(precision), device)
    if precision in found.path:
        return found
    say(f"ours at {precision}: skipped, the loader gave {found.path}")
    return None


def built(names: Sequence[str], folder: Path, pythons: dict[str, str], skipped: dict[str, str]) -> dict[str, Scorer]:
    """Build the peers that are there; name the others in `skipped`."""
    found: dict[str, Scorer] = {}
    for name in names:
        peer = PEERS[name]
        missing = "" if name in pythons else peer.missing()
        if missing:
            skipped[name] = f"{missing} is not installed; {peer.install}"
            continue
        try:
            found[name] = Apart(pythons[name], name, folder) if name in pythons else peer.build(folder)
        except Exception as error:  # whatever a peer's own code raises: the others are measured all the same
            skipped[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"
    for name, reason in skipped.items():
        say(f"{name}: skipped: {reason}")
    return found


def at_length(arguments: argparse.Namespace, length: str, ours: dict[str, Ours], theirs: dict[str, Scorer]) -> Report:
    """Time all at one length, and hold their scores against float32."""
    workload = natural_workload(arguments.dataset, length, queries=8 if arguments.quick else arguments.queries)
    scorers: dict[str, Scorer] = {}
    for name, one in ours.items():
        one.store(workload.groups)
        scorers[name] = one.score
    if not arguments.quick:
        scorers["ours, ids not stored"] = ours["ours"].score_texts
    scorers |= theirs
    for scorer in scorers.values():  # memory, thread pools and what the scheduler knows of costs
        scorer(workload.groups[-1].query, workload.groups[-1].passages[:: 5 if arguments.quick else 1])
    until = PROCESS_STARTED + QUICK_S if arguments.quick else float("inf")
    rounds = 1000 if arguments.quick else arguments.rounds
    with ours["ours"].counting() as given:
        runs = in_turns(scorers, workload.groups, rounds, until)
    plain = runs["st"] if "st" in runs else None
    report: Report = {
        "mean_tokens": given.tokens / max(1, given.pairs),
        "rounds": len(runs["ours"].seconds),
        "padding_share": given.padding_share,
        "batches_per_group": given.batches / max(1, len(runs["ours"].seconds) * (1 if arguments.quick else 2)),
        "assembly_ms": ours["ours"].assembly_ms(workload.groups[0]),
        "pairs_per_s": {name: pairs_per_s(one, CANDIDATES) for name, one in runs.items()},
        "ratio_vs_st": {name: ratio(plain, one) for name, one in runs.items()} if plain else {},
        "seconds": {name: one.seconds for name, one in runs.items()},
    }
    if not arguments.quick and plain:
        score_all(workload, {**{name: one.score for name, one in ours.items()}, "st": theirs["st"]}, runs)
    report["quality"] = {name: agreement(workload, plain, one) for name, one in runs.items()} if plain else {}
    show(length, report)
    return report


def natural_workload(dataset: Path, length: str, queries: int) -> Workload:
    """Return groups of a length, split as the packaged model's tokenizer counts."""
    from transformers import AutoTokenizer

    tokenizer = plain_tokenizer(AutoTokenizer.from_pretrained(house_folder(), local_files_only=True))
    return read_workload(dataset, length, tokenizer, queries)


def score_all(workload: Workload, scorers: dict[str, Scorer], runs: dict[str, Runs]) -> None:
    """Score the groups that no round came to, untimed, so that gates rest on all queries."""
    for group in workload.groups:
        for name, scorer in scorers.items():
            if group.query_id not in runs[name].scores:
                runs[name].scores[group.query_id] = numbers(scorer(group.query, group.passages))


def beside(arguments: argparse.Namespace, device: Device) -> Report:
    """Time other models beside the packaged one, natural lengths."""
    names = ["rerank-base", *(arguments.model or ["rerank-small"])]
    workload = natural_workload(arguments.dataset, "natural", arguments.rounds)
    found = measure_models(names, workload, arguments.rounds, device)
    say("\n| precision | model | pairs/s | x rerank-base |\n|---|---|---|---|")
    for precision, models in found.items():
        for name, one in models.items():
            say(f"| {precision} | {name} | {one['pairs_per_s']:.1f} | {one['ratio']:.2f} |")
    return found


def numbers(scores: Any) -> Any:
    import numpy as np

    return np.asarray(scores, dtype=np.float32)


def under_load(arguments: argparse.Namespace, ours: Ours, parts: Sequence[str]) -> Report:
    """Measure clients side by side and overload, natural lengths."""
    workload = natural_workload(arguments.dataset, "natural", 40)
    ours.store(workload.groups)
    calls = calls_of(workload.groups, 40)
    # All ask the same, and each crowd has its turn before and after the others: a shared machine may be slower later.
    turns = [(clients, closed(ours, calls * times, clients)) for clients, times in (*CROWDS, *reversed(CROWDS))]
    found = {clients: pooled([turn for of, turn in turns if of == clients]) for clients, _ in CROWDS}
    alone, crowd = found[1]["top10"], found[32]["top10"]
    for one in found.values():
        del one["top10"]
    speeds = {clients: float(one["pairs_per_s"]) for clients, one in found.items()}
    best, latest = max(speeds.values()), float(turns[-1][1]["pairs_per_s"])
    report: Report = {
        "clients": found,
        "clients_32_share_of_best": speeds[32] / best,
        "same_top10_at_1_and_32": same_top10(alone, crowd),
    }
    for clients, one in sorted(found.items()):
        say(
            f"{clients:3d} clients: {speeds[clients]:.0f} pairs/s, p50 {one['p50_ms']:.0f} ms, p95 {one['p95_ms']:.0f} ms"
        )
    mark("32 clients, share of the best throughput", report["clients_32_share_of_best"], 0.95)
    mark("same top 10 at 1 and 32 clients", report["same_top10_at_1_and_32"], 0.995)
    if "overload" in parts:
        report["overload"] = after = overload(ours, calls, latest, 4.0, 20.0)
        say(f"overload: {after}")
        mark("goodput at 4x", after["goodput_share"], 0.9)
        mark("refused within 50 ms", after["refused_within_50ms"], 1.0)
    return report


def show(length: str, report: Report) -> None:
    """Print one length's figures."""
    say(
        f"\n{length}: mean {report['mean_tokens']:.0f} tokens a pair, {report['rounds']} rounds of {CANDIDATES} pairs; "
        f"padding {report['padding_share']:.1%}, assembly {report['assembly_ms']:.2f} ms"
    )
    say("| who | pairs/s | x st | Spearman mean (least) | top-10 overlap | nDCG@10 |\n|---|---|---|---|---|---|")
    for name, speed in report["pairs_per_s"].items():
        times, good = report["ratio_vs_st"].get(name, float("nan")), report["quality"].get(name)
        cells = "| | |" if good is None else (
            f"{good['spearman_mean']:.5f} ({good['spearman_least']:.5f}) | {good['top10_overlap']:.3f} | "
            f"{good['ndcg10']:.4f} |"
        )  # fmt: skip
        say(f"| {name} | {speed:.1f} | {times:.2f} | {cells}")
    for name in GUIDES.keys() & report["quality"].keys():
        precision = "int8" if "int8" in name else "float"
        good = passes(report["quality"][name], precision)
        say(
            f"{'ok  ' if good else 'MISS'} {name}: gates {GATES[precision]} over {report['quality'][name]['queries']} queries, "
            f"{report['quality'][name]['top10_differ']} of {report['quality'][name]['top10_places']} places differ"
        )
        if length == "natural":
            mark(f"{name} over sentence-transformers", report["ratio_vs_st"][name], GUIDES[name])
    mark("padding share, at most", -report["padding_share"], -0.08)
    mark("assembly ms, at most", -report["assembly_ms"], -1.0)


def mark(what: str, value: float, least: float) -> None:
    """Print whether a figure reaches its guide."""
    say(f"{'ok  ' if value >= least else 'MISS'} {what}: {abs(value):.3f}, guide {abs(least)}")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
