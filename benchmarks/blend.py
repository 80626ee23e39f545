"""Which blend weights of the default cascade, or of two other stages, are best on judged sets: every pair of weights over
the same scores.

    python benchmarks/blend.py DATASET_DIR... [--depth N ...] [--keep N ...] [--limit N] [--stages JSON]

Candidates and scores come from the product's own pipeline and rerankers, once per query, without time limits; each pair
of weights then runs the product's cascade over them, for every depth of the first stage and every number that it keeps.
Prints nDCG@10, a row per weight of the first stage, a column per weight of the second; then the means over the sets.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ir_measures
import msgspec
import numpy as np
from ir_measures import ScoredDoc, nDCG
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.judged import NO_LIMIT_MS, JudgedSet, index, read_judged_set, unlimited
from indexer.scope import Scope
from searchd.api.search import SearchRequest, query_from_request
from searchd.present import by_document
from searchd.rerank.cascade import Cascade
from searchd.rerank.text import passage_text
from searchd.rerank.types import PassageText, Reranker, ScoreRequest, never
from searchd.rerank.wish import request_of
from searchd.services import Services, build_services
from searchd.settings import Profile, Settings, Stage
from searchd.types import Candidate, Query, RerankRequest, StageReport

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0)
Scores = Mapping[str, Mapping[str, float]]
"""Logits by stage, then by the text that the stage sees."""


class Watching(Cascade):
    """Notes the candidates that come to the cascade and leaves them as they are."""

    seen: Sequence[Candidate] = ()

    def rerank(self, query, candidates, *others, **named):  # type: ignore[no-untyped-def]  # passed over whole
        self.seen = candidates
        return tuple(candidates), ()


class Recorded:
    """A reranker that knows its scores."""

    fingerprint = "recorded"

    def __init__(self, logits: Mapping[str, float]) -> None:
        self.logits = logits

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return len(passages)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        return len(passages)

    def query_cut(self, request: ScoreRequest) -> None:
        return None

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        return np.array([self.logits[passage.text] for passage in passages], dtype=np.float32)


def fused(services: Services, text: str) -> tuple[Query, Sequence[Candidate]]:
    """Return a query, and its candidates in fused order as they come to the cascade."""
    watching = Watching(services.pipeline.cascade._load)
    cascade, services.pipeline.cascade = services.pipeline.cascade, watching
    try:
        query, collection = query_from_request(SearchRequest(q=text, limit=100), services.settings)
        services.pipeline.search(query, Scope.of(collection))
    finally:
        services.pipeline.cascade = cascade
    return query, watching.seen


def scored(services: Services, text: str, stages: Sequence[Stage]) -> tuple[Sequence[Candidate], Scores]:
    """Return a query's candidates in fused order, and the logits of each stage for the first stage's depth of them."""
    _, candidates = fused(services, text)
    texts = [passage_text(candidate) for candidate in candidates[: stages[0].depth]]
    scores = {}
    for stage in stages:
        asked = request_of(text, stage, RerankRequest(), 0, never)
        logits = services.pipeline.cascade._load(stage).score(asked, [PassageText(one) for one in texts])
        scores[stage.name] = dict(zip(texts, map(float, logits), strict=True))
    return candidates, scores


def grid(
    judged: JudgedSet, found: Mapping[str, tuple[Sequence[Candidate], Scores]], stages: Sequence[Stage]
) -> NDArray:  # type: ignore[type-arg]
    """Return nDCG@10 for every pair of weights."""
    table = np.zeros((len(WEIGHTS), len(WEIGHTS)))
    for row, first in enumerate(WEIGHTS):
        for column, second in enumerate(WEIGHTS):
            chosen = [msgspec.structs.replace(s, blend=w) for s, w in zip(stages, (first, second), strict=True)]
            run = []
            for query_id, (candidates, scores) in found.items():
                cascade = Cascade(recorded_by(scores))
                ordered, reports = cascade.rerank("", candidates, chosen, RerankRequest(), float("inf"))
                assert all(complete(report) for report in reports), reports
                run += [ScoredDoc(query_id, one, -rank) for rank, one in enumerate(by_document(ordered))]
            table[row, column] = ir_measures.calc_aggregate([nDCG @ 10], judged.qrels, run)[nDCG @ 10]
    return table


def recorded_by(scores: Scores) -> Callable[[Stage], Reranker]:
    """Return what gives a cascade the reranker of a stage."""
    return lambda stage: Recorded(scores[stage.name])


def complete(report: StageReport) -> bool:
    return report.status == "full"


def show(name: str, table: NDArray) -> None:  # type: ignore[type-arg]
    print(f"\n{name}: nDCG@10, first stage's weight down, second's across")
    print("      " + " ".join(f"{weight:6.1f}" for weight in WEIGHTS))
    for weight, row in zip(WEIGHTS, table, strict=True):
        print(f"{weight:5.1f} " + " ".join(f"{value:6.4f}" for value in row))


def main() -> None:
    """Score each set once, then try every pair of weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=0, help="only the first N judged queries of each")
    parser.add_argument("--depth", type=int, nargs="+", help="passages that the first stage scores")
    parser.add_argument("--keep", type=int, nargs="+", help="passages that the second stage scores")
    parser.add_argument("--stages", help="two stages as settings have them, in place of the default cascade's")
    arguments = parser.parse_args()
    given = msgspec.json.decode(arguments.stages, type=tuple[Stage, Stage]) if arguments.stages else None
    logging.disable(logging.INFO)
    tables: defaultdict[tuple[int, int], list[NDArray[np.float64]]] = defaultdict(list)
    for dataset in arguments.datasets:
        judged = read_judged_set(dataset, limit=arguments.limit)
        with tempfile.TemporaryDirectory() as folder:
            profiles = {"default": Profile(stages=given)} if given else {}
            settings = unlimited(Settings(data_dir=folder, timeout_ms=NO_LIMIT_MS // 10, profiles=profiles))
            profile = settings.profile("default")
            assert profile is not None
            first, second = profile.stages
            depths, keeps = arguments.depth or [first.depth], arguments.keep or [first.keep]
            services = build_services(settings, worker=False)
            try:
                index(services.engine, judged)
                all_of = (msgspec.structs.replace(first, depth=max(depths)), second)
                found = {key: scored(services, text, all_of) for key, text in judged.queries.items()}
            finally:
                services.close()
        for depth, keep in itertools.product(depths, keeps):
            if keep <= depth:
                stages = (
                    msgspec.structs.replace(first, depth=depth, keep=keep),
                    msgspec.structs.replace(second, depth=keep),
                )
                tables[depth, keep].append(grid(judged, found, stages))
                show(f"{judged.name}, depth {depth}, keep {keep}", tables[depth, keep][-1])
    if len(arguments.datasets) > 1:
        for (depth, keep), some in tables.items():
            show(f"mean, depth {depth}, keep {keep}", np.mean(some, axis=0))


if __name__ == "__main__":
    main()
