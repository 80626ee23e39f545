"""The golden corpus ranked by every system and every prefix of the default cascade, and the table of what came out.

Takes the BEIR files beside it; gives runs and the text of `rank_stats.txt`, for `test_golden.py`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ir_measures
import msgspec
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from indexer.scope import Scope
from indexer.types import SourceFile
from searchd.api.search import SearchRequest, query_from_request
from searchd.services import Services, build_services
from searchd.settings import Profile, Settings
from searchd.types import Mode, RerankRequest
from tests.searchd.library import index

HERE = Path(__file__).parent
MEASURES = {"nDCG@10": nDCG @ 10, "MRR@10": RR @ 10, "Recall@50": R @ 50}
DEPTH = 20
"""Of each system. The usual 100 would be nearly all passages here: what BM25 finds by chance would be in both rankings."""
SHOWN = 50
NO_LIMIT_MS = 60_000

Run = dict[str, list[str]]
"""By query id: the documents that one system found, best first."""


def corpus() -> dict[str, dict[str, str]]:
    """Return the documents by id, as BEIR has them: `_id`, `title`, `text`."""
    return {row["_id"]: row for row in map(json.loads, (HERE / "corpus.jsonl").read_text("utf-8").splitlines())}


def queries() -> dict[str, str]:
    """Return the queries by id."""
    rows = [json.loads(line) for line in (HERE / "queries.jsonl").read_text("utf-8").splitlines()]
    return {row["_id"]: row["text"] for row in rows}


def judgments() -> list[Qrel]:
    """Return the qrels."""
    rows = [line.split("\t") for line in (HERE / "qrels" / "test.tsv").read_text("utf-8").splitlines()[1:]]
    return [Qrel(query_id, document_id, int(grade)) for query_id, document_id, grade in rows]


def ranked_corpus() -> dict[str, Run]:
    """Index the corpus in a throw-away folder and return the run of every system."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as services:
        systems = systems_of(services.settings.profiles["default"])
        return {name: run_of(services, mode, rerank) for name, (mode, rerank) in systems.items()}


@contextmanager
def opened(folder: Path) -> Iterator[Services]:
    """Open the product on the corpus; texts are read as markdown, so that long documents have headings."""
    services = build_services(settings_in(folder), worker=False)
    try:
        rows = [{"id": row["_id"], "title": row["title"], "markdown": row["text"]} for row in corpus().values()]
        content = "\n".join(map(json.dumps, rows)).encode()
        index(services.engine, [SourceFile(uri="golden:corpus", name="corpus.jsonl", content=content)])
        yield services
    finally:
        services.close()


def settings_in(folder: Path) -> Settings:
    """Return settings under which ranks do not hang on the machine: on the CPU, float32, two threads, time for all."""
    usual = Profile()
    stages = tuple(msgspec.structs.replace(stage, budget_ms=NO_LIMIT_MS) for stage in usual.stages)
    return Settings(
        data_dir=str(folder), device="cpu", dtype="float32", threads=2, parser_processes=1, timeout_ms=NO_LIMIT_MS,
        max_timeout_ms=NO_LIMIT_MS, profiles={"default": msgspec.structs.replace(usual, depth=DEPTH, stages=stages)},
    )  # fmt: skip


def systems_of(profile: Profile) -> dict[str, tuple[Mode, RerankRequest]]:
    """Return what ranks: each system, their fusion, and the cascade after each of its stages."""
    off = RerankRequest(enabled=False)
    systems: dict[str, tuple[Mode, RerankRequest]] = {
        "bm25": ("lexical", off), "dense": ("semantic", off), "rrf": ("hybrid", off),
    }  # fmt: skip
    names = tuple(stage.name for stage in profile.stages)
    return systems | {f"+ {name}": ("hybrid", RerankRequest(stages=names[:n])) for n, name in enumerate(names, start=1)}


def run_of(services: Services, mode: Mode, rerank: RerankRequest) -> Run:
    """Rank every query; one that a part did not answer in full raises TransientError."""
    run: Run = {}
    for query_id, text in queries().items():
        asked = SearchRequest(q=text, mode=mode, limit=SHOWN, strict=True)
        query, collection = query_from_request(asked, services.settings)
        response = services.pipeline.search(replace(query, rerank=rerank), Scope.of(collection))
        run[query_id] = [hit.candidate.document_id for hit in response.hits]
    return run


def rendered(runs: dict[str, Run]) -> str:
    """Return the table: each system's measures, then for each query the rank of its best document in each system."""
    qrels = judgments()
    best = {q.query_id: q.doc_id for q in sorted(qrels, key=lambda qrel: qrel.relevance)}
    lines = [f"{'':12}" + "".join(f"{name:>11}" for name in MEASURES)]
    for system, run in runs.items():
        scored = [ScoredDoc(q, found, -float(rank)) for q in run for rank, found in enumerate(run[q])]
        measured = ir_measures.calc_aggregate(list(MEASURES.values()), qrels, scored)
        lines.append(f"{system:12}" + "".join(f"{measured[measure]:11.4f}" for measure in MEASURES.values()))
    lines += ["", f"{'best at rank':12}" + "".join(f"{system:>9}" for system in runs)]
    for query_id, text in queries().items():
        found = [run[query_id] for run in runs.values()]
        ranks = [ids.index(best[query_id]) + 1 if best[query_id] in ids else "-" for ids in found]
        lines.append(f"{query_id:12}" + "".join(f"{rank:>9}" for rank in ranks) + f"   {text}")
    return "\n".join(lines) + "\n"
