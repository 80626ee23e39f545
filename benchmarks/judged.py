"""Judged sets in the BEIR layout, read and indexed for the benchmarks by the product's own `searchd/evaluate/dataset.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from ir_measures import Qrel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from indexer.engine import Engine
from searchd.evaluate.dataset import CORPUS, index_corpus, read_dataset, read_rows
from searchd.judge.given import within_limits
from searchd.settings import Settings

NO_LIMIT_MS = 600_000


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Queries by id and their judgments; the corpus is read as it is indexed."""

    name: str
    folder: Path
    queries: dict[str, str]
    qrels: list[Qrel]

    def corpus(self) -> Iterator[dict[str, str]]:
        """Yield {"id", "title", "text"} per document."""
        for row in read_rows(self.folder / CORPUS, ("_id", "text")):
            yield {"id": row["_id"], "title": row.get("title", ""), "text": row["text"]}


def read_judged_set(folder: Path, split: str = "test", limit: int = 0) -> JudgedSet:
    """Read a BEIR folder; `limit` keeps the first so many judged queries (0: all)."""
    data = read_dataset(folder, split, limit=limit)
    queries = {topic.query_id: within_limits(topic.text) for topic in data.topics}
    qrels = [Qrel(query_id, name, grade) for query_id, of in data.qrels.items() for name, grade in of.items()]
    return JudgedSet(data.name, folder, queries, qrels)


def index(engine: Engine, judged: JudgedSet) -> None:
    """Index the corpus."""
    index_corpus(engine, judged.folder)


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
