"""What each stage brings on a judged set, through the product's own ingestion and pipeline.

    python benchmarks/quality.py DATASET_DIR [--limit N] [--json FILE]

Indexes the corpus in a throw-away folder, then ranks every judged query by bm25, dense, rrf and each prefix of the
default cascade, without time limits, and prints nDCG@10, MRR@10 and Recall@50 (by ir-measures) and the median ms.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import ir_measures
import msgspec
from ir_measures import RR, R, ScoredDoc, nDCG

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.judged import JudgedSet, read_judged_set
from indexer.engine import Engine
from indexer.ingest import accept
from indexer.scope import Scope
from indexer.types import SourceFile
from indexer.worker import Worker
from searchd.api.search import SearchRequest, query_from_request
from searchd.services import build_services
from searchd.settings import Settings
from searchd.types import RerankRequest

MEASURES = {"nDCG@10": nDCG @ 10, "MRR@10": RR @ 10, "Recall@50": R @ 50}
NO_LIMIT_MS = 600_000
DEPTH = 100


def unlimited(settings: Settings) -> Settings:
    """Return settings in which no stage runs out of time: quality is measured apart from speed."""
    profile = settings.profile("default")
    assert profile is not None
    stages = tuple(msgspec.structs.replace(stage, budget_ms=60_000) for stage in profile.stages)
    return msgspec.structs.replace(
        settings,
        max_timeout_ms=NO_LIMIT_MS,
        score_cache=0,  # a second pass over the same queries is timed as the first
        profiles=dict(settings.profiles) | {"default": msgspec.structs.replace(profile, stages=stages)},
    )


def index(engine: Engine, judged: JudgedSet) -> None:
    """Index the corpus as one jsonl source per 2,000 documents."""
    rows = [json.dumps(row) for row in judged.corpus()]
    files = [
        SourceFile(uri=f"corpus:{i}", name=f"corpus-{i}.jsonl", content="\n".join(rows[i : i + 2000]).encode())
        for i in range(0, len(rows), 2000)
    ]
    accept(engine.database, engine.settings, "default", files, time.time())
    worker = Worker(engine)
    worker.run_until_idle()
    worker.stop()
    engine.refresh()


def main() -> None:
    """Index, rank, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=0, help="only the first N judged queries")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    judged = read_judged_set(arguments.dataset, arguments.split, arguments.limit)
    with tempfile.TemporaryDirectory() as folder:
        settings = unlimited(Settings(data_dir=folder, timeout_ms=60_000))
        services = build_services(settings, worker=False)
        try:
            index(services.engine, judged)
            systems = measure(services, judged, settings)
        finally:
            services.close()
    print(f"\n{judged.name}: {len(judged.queries)} queries\n")
    print("| system | " + " | ".join(MEASURES) + " | median ms |\n|---|" + "---|" * (len(MEASURES) + 1))
    for system in systems:
        figures = " | ".join(f"{system['metrics'][name]:.4f}" for name in MEASURES)
        print(f"| {system['name']} | {figures} | {system['p50_ms']:.0f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"set": judged.name, "systems": systems}, indent=1))


def measure(services, judged: JudgedSet, settings: Settings) -> list[dict]:  # type: ignore[no-untyped-def,type-arg]
    """Rank all queries by each system and each prefix of the cascade."""
    profile = settings.profile("default")
    assert profile is not None
    names = [stage.name for stage in profile.stages]
    off = RerankRequest(enabled=False)
    systems = [("bm25", "lexical", off), ("dense", "semantic", off), ("rrf", "hybrid", off)]
    systems += [
        (f"rrf + {' + '.join(names[: i + 1])}", "hybrid", RerankRequest(stages=tuple(names[: i + 1])))
        for i in range(len(names))
    ]
    found = []
    for name, mode, rerank in systems:
        run, times = [], []
        for query_id, text in judged.queries.items():
            query, collection = query_from_request(SearchRequest(q=text, mode=mode, limit=DEPTH), settings)
            response = services.pipeline.search(replace(query, rerank=rerank), Scope.of(collection))
            assert not response.degraded, (text, response.stages, response.systems)
            times.append(response.took_ms)
            run += [ScoredDoc(query_id, hit.candidate.document_id, -hit.rank) for hit in response.hits]
        metrics = ir_measures.calc_aggregate(list(MEASURES.values()), judged.qrels, run)
        found.append(
            {
                "name": name,
                "metrics": {label: metrics[measure_] for label, measure_ in MEASURES.items()},
                "p50_ms": statistics.median(times),
            }
        )
        print(f"{name}: done", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
