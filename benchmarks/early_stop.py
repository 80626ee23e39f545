"""What `early_stop_margin` saves and costs on judged sets, and what a margin fitted on other queries does.

    python benchmarks/early_stop.py DATASET_DIR... [--every N] [--depth N] [--timed N [--margin M]] [--data DIR] [--json FILE]

Ranks each judged query by the default cascade once without a margin, replays the rule over the scores of its first stage
for a grid of margins, and runs the cascade again wherever a margin changes anything (scores come from the score cache):
what the replay says and what the cascade does must be the same. Prints by margin the share of pairs that are scored,
nDCG@10 and how much of the first ten stays; beside it a fixed depth, which is the simpler way to score less; then
margins fitted on one half of the queries and on the other set. `--timed` takes turns with and without, nothing cached.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ir_measures
import msgspec
import numpy as np
from ir_measures import ScoredDoc, nDCG

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.blend import fused
from benchmarks.judged import NO_LIMIT_MS, JudgedSet, index, read_judged_set, unlimited
from searchd.operators import meaning_of
from searchd.present import by_document
from searchd.rerank.cascade import Cascade
from searchd.rerank.order import fused_scores
from searchd.rerank.stop_margin import MARGINS, Crossed, Effect, Trial, crossed, effects, fitted, replayed
from searchd.rerank.table import RerankerCache
from searchd.services import Services, build_services
from searchd.settings import Settings, Stage
from searchd.types import Candidate, RerankRequest, StageReport

TOP = 10
DEPTHS = (10, 12, 15, 20, 25, 30, 40, 50, 70, 100)


@dataclass(frozen=True, slots=True)
class Asked:
    """A judged query and what comes to the cascade."""

    query_id: str
    meaning: str
    candidates: Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Ranked:
    """The documents that come first, and what the first stage did."""

    documents: tuple[str, ...]
    report: StageReport


def main() -> None:
    """Measure each set, then fit and cross."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1, help="only every Nth judged query")
    parser.add_argument(
        "--depth", type=int, help="passages that the first stage scores at most (default: the profile's)"
    )
    parser.add_argument("--timed", type=int, default=0, help="queries of each set to time with and without")
    parser.add_argument("--margin", type=float, help="the one to time (default: what is fitted on the set)")
    parser.add_argument("--data", type=Path, help="folder to keep the indexes in, one for each set")
    parser.add_argument("--json", type=Path, help="write every figure here")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    trials, report = {}, {}
    for dataset in arguments.datasets:
        judged = every(read_judged_set(dataset), arguments.every)
        with opened(judged, arguments.data) as services:
            trials[judged.name], report[judged.name] = measure(services, judged, arguments)
    report["crossed"] = {name: asdict(show_crossed(name, folds)) for name, folds in ways(trials)}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def every(judged: JudgedSet, step: int) -> JudgedSet:
    queries = dict(list(judged.queries.items())[::step])
    return JudgedSet(judged.name, judged.folder, queries, [one for one in judged.qrels if one.query_id in queries])


@contextlib.contextmanager
def opened(judged: JudgedSet, data: Path | None) -> Iterator[Services]:
    """Open services over the indexed set; indexes are made unless `data` has them."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) if data is None else data / judged.name
        there = (folder / "searchd.db").is_file()
        settings = unlimited(Settings(data_dir=str(folder), timeout_ms=NO_LIMIT_MS // 10))
        services = build_services(msgspec.structs.replace(settings, score_cache=1_000_000), worker=False)
        try:
            if not there:
                index(services.engine, judged)
            services.warm_up()
            yield services
        finally:
            services.close()


def measure(services: Services, judged: JudgedSet, arguments: argparse.Namespace) -> tuple[list[Trial], dict[str, Any]]:
    """Return a trial of each query, and the figures of the set."""
    profile = services.settings.profile("default")
    assert profile is not None
    first, *others = profile.stages
    first = msgspec.structs.replace(first, depth=arguments.depth or first.depth)
    asked = [ask(services, query_id, text) for query_id, text in judged.queries.items()]
    runs = [under_margins(services.pipeline.cascade, one, first, others) for one in asked]
    trials = trials_of(judged, asked, runs)
    found = effects(trials)
    kept = [np.mean([same(run[column], run[-1]) for run in runs]) for column in range(len(MARGINS))]
    show_margins(judged, first, found, kept)
    depths = under_depths(services.pipeline.cascade, judged, asked, first, others, [run[-1] for run in runs])
    figures: dict[str, Any] = {"queries": len(asked), "margins": [asdict(one) for one in found], "depths": depths}
    figures["trials"] = [{"counts": one.counts.tolist(), "quality": one.quality.tolist()} for one in trials]
    if arguments.timed:
        margin = fitted(found).margin if arguments.margin is None else arguments.margin
        figures["timed"] = timed(services, asked[: arguments.timed], first, others, margin)
    return trials, figures


def ask(services: Services, query_id: str, text: str) -> Asked:
    """Return a query with its candidates in fused order."""
    query, candidates = fused(services, text)
    return Asked(query_id, meaning_of(query), candidates)


def ranked(cascade: Cascade, asked: Asked, first: Stage, others: Sequence[Stage]) -> tuple[Ranked, Sequence[Candidate]]:
    """Run the cascade without limits of time; return what comes first, and all candidates."""
    ordered, reports = cascade.rerank(asked.meaning, asked.candidates, (first, *others), RerankRequest(), float("inf"))
    assert all(report.status == "full" for report in reports), reports
    return Ranked(tuple(by_document(ordered))[:TOP], reports[0]), ordered


def under_margins(cascade: Cascade, asked: Asked, first: Stage, others: Sequence[Stage]) -> list[Ranked]:
    """Return what each margin gives; a replay says where it stops, and the cascade must agree."""
    full, ordered = ranked(cascade, asked, first, others)
    entering = asked.candidates[: first.depth]
    logits = {one.passage_id: one.scores[first.name] for one in ordered if first.name in one.scores}
    counts = replayed(
        np.array([logits[one.passage_id] for one in entering]),
        np.array(fused_scores(entering)),
        first.keep,
        first.blend,
    )
    found = {len(entering): full}
    for margin, count in zip(MARGINS, counts.tolist(), strict=True):
        if count not in found:
            stage = msgspec.structs.replace(first, early_stop_margin=margin)
            found[count], _ = ranked(cascade, asked, stage, others)
            assert found[count].report.scored == count, (asked.query_id, margin, count, found[count].report)
    return [found[count] for count in counts.tolist()]


def trials_of(judged: JudgedSet, asked: Sequence[Asked], runs: Sequence[Sequence[Ranked]]) -> list[Trial]:
    columns = [ndcgs(judged, asked, [run[column] for run in runs]) for column in range(len(MARGINS))]
    return [
        Trial(np.array([one.report.scored for one in run]), np.array(quality))
        for run, *quality in zip(runs, *columns, strict=True)
    ]


def ndcgs(judged: JudgedSet, asked: Sequence[Asked], run: Sequence[Ranked]) -> list[float]:
    """Return nDCG@10 of each query in order."""
    docs = [
        ScoredDoc(one.query_id, name, -rank)
        for one, found in zip(asked, run, strict=True)
        for rank, name in enumerate(found.documents)
    ]
    values = {one.query_id: one.value for one in ir_measures.iter_calc([nDCG @ TOP], judged.qrels, docs)}
    return [values.get(one.query_id, 0.0) for one in asked]


def same(one: Ranked, other: Ranked) -> float:
    """Return how much of the first ten is the same."""
    return len(set(one.documents) & set(other.documents)) / max(1, len(other.documents))


def under_depths(
    cascade: Cascade,
    judged: JudgedSet,
    asked: Sequence[Asked],
    first: Stage,
    others: Sequence[Stage],
    full: Sequence[Ranked],
) -> list[dict[str, float]]:
    """Return and print what a fixed depth of the first stage gives."""
    found = []
    for depth in (one for one in DEPTHS if first.keep <= one < first.depth):
        run = [ranked(cascade, one, msgspec.structs.replace(first, depth=depth), others)[0] for one in asked]
        share = sum(one.report.scored for one in run) / sum(one.report.scored for one in full)
        quality = float(np.mean(ndcgs(judged, asked, run)))
        kept = float(np.mean([same(one, other) for one, other in zip(run, full, strict=True)]))
        found.append({"depth": depth, "share": share, "quality": quality, "kept": kept})
        print(
            f"| depth {depth} | {share:.3f} | {quality:.4f} | {quality - mean_of(judged, asked, full):+.4f} | {kept:.3f} |"
        )
    return found


def mean_of(judged: JudgedSet, asked: Sequence[Asked], run: Sequence[Ranked]) -> float:
    return float(np.mean(ndcgs(judged, asked, run)))


def show_margins(judged: JudgedSet, first: Stage, found: Sequence[Effect], kept: Sequence[Any]) -> None:
    print(
        f"\n{judged.name}: {len(judged.queries)} queries; stage {first.name}, depth {first.depth}, keep {first.keep}\n"
    )
    print("| margin | pairs scored | nDCG@10 | change | of the first ten |\n|---|---|---|---|---|")
    for effect, same_ in zip(found, kept, strict=True):
        change = f"{-effect.loss:+.4f} ± {effect.error:.4f}"
        print(f"| {effect.margin} | {effect.share:.3f} | {effect.quality:.4f} | {change} | {same_:.3f} |")


def ways(trials: dict[str, list[Trial]]) -> list[tuple[str, list[list[Trial]]]]:
    """Return in which folds queries are crossed: halves of each set, then whole sets."""
    found = [(f"{name}, halves", [one[::2], one[1::2]]) for name, one in trials.items()]
    return [*found, ("sets", list(trials.values()))] if len(trials) > 1 else found


def show_crossed(name: str, folds: Sequence[Sequence[Trial]]) -> Crossed:
    found = crossed(folds)
    print(
        f"\n{name}: margins {found.margins}, each fitted on the rest: {found.share:.3f} of the pairs are scored,",
        end=" ",
    )
    print(f"nDCG@10 {found.quality:.4f} ({found.quality - found.full:+.4f})", flush=True)
    return found


def timed(
    services: Services, asked: Sequence[Asked], first: Stage, others: Sequence[Stage], margin: float
) -> dict[str, float]:
    """Return and print medians in ms, with and without, in turns; no score is remembered."""
    cascade = Cascade(RerankerCache(services.settings, services.rerankers.scheduler).of)
    stages = {"off": first, "on": msgspec.structs.replace(first, early_stop_margin=margin)}
    own: dict[str, list[float]] = {name: [] for name in stages}
    whole: dict[str, list[float]] = {name: [] for name in stages}
    pairs = dict.fromkeys(stages, 0)
    for turn, one in enumerate([asked[0], *asked]):
        for name in sorted(stages, reverse=bool(turn % 2)):
            started = time.perf_counter()
            report = ranked(cascade, one, stages[name], others)[0].report
            took_ms = (time.perf_counter() - started) * 1000
            if turn:  # the first one loads the models
                own[name].append(report.ms)
                whole[name].append(took_ms)
                pairs[name] += report.of - report.saved
    found = {
        f"{name}_{part}_ms": statistics.median(ms[name])
        for name in stages
        for part, ms in (("stage", own), ("cascade", whole))
    }
    found |= {"margin": margin, "pairs": pairs["on"] / pairs["off"], "queries": len(asked)}
    print("\n" + ", ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)
    return found


if __name__ == "__main__":
    main()
