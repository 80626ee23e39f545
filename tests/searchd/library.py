"""A library for tests: manuals about valves (more than any depth), notes of other kinds, and papers not for everyone.

Rerankers of the profile `plain` count shared words, so that tests about order and faults need no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer import ingest
from indexer.engine import Engine, LiveIndexes
from indexer.status import task_of
from indexer.types import SourceFile
from indexer.worker import Worker
from searchd.api.schemas import SearchRequest
from searchd.api.search import query_from_request
from searchd.metrics import LogMetrics
from searchd.pipeline import SearchPipeline
from searchd.query_log import QueryLog
from searchd.rerank.cascade import Cascade
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.rerank.types import PassageText, QueryCut, Reranker, ScoreRequest
from searchd.services import Services
from searchd.settings import Profile, Settings, Stage
from searchd.standing import Standings
from searchd.types import Query

MANUALS = 60
COUNT_WORDS = "count-words"
PROFILES = {
    "plain": Profile(
        depth=20,
        stages=(
            Stage(name="small", model=COUNT_WORDS, depth=12, keep=6, budget_ms=5000),
            Stage(name="large", model=COUNT_WORDS, depth=6, keep=6, budget_ms=5000),
        ),
    ),
    "by-scores": Profile(
        depth=20,
        fusion="linear",
        weights={"bm25": 0.4, "dense": 0.6},
        stages=(Stage(name="small", model=COUNT_WORDS, depth=12, keep=6, budget_ms=5000, blend=0.3),),
    ),
}


class CountingReranker:
    """Scores a passage by how many different words of the query it has."""

    fingerprint = COUNT_WORDS

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        return len(passages)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        return min(4, len(passages))

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        return None

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        words = set(request.query.lower().split())
        return np.array([len(words & set(one.text.lower().split())) for one in passages], dtype=np.float32)


def source(name: str, text: str, metadata: Mapping[str, Any] | None = None, *access: str) -> SourceFile:
    """Return a markdown file as a source whose document id is `name`."""
    return SourceFile(
        uri=f"file:///library/{name}.md",
        name=f"{name}.md",
        content=text.encode(),
        document_id=name,
        metadata=metadata or {},
        access=access or None,
    )


def library() -> list[SourceFile]:
    """Return the documents."""
    files = []
    for i in range(MANUALS):
        text = f"# Manual {i}\n\nThe valve of pump number {i} is closed {'slowly ' * (i % 7)}before the motor stops.\n"
        metadata = {"kind": "manual", "number": i, "even": i % 2 == 0, "tags": ("pump", f"tag{i % 3}")}
        files.append(source(f"manual-{i:02}", text, metadata))
    files += [
        source("refunds", "# Refunds\n\nA refund is paid to the card within five days.", {"kind": "faq", "lang": "en"}),
        source("shipping", "# Shipping\n\nParcels leave the warehouse every evening.", {"kind": "faq", "lang": "en"}),
        source("returns", "# Returns\n\nSend goods back and get your money again.", {"kind": "faq", "price": 2.5}),
        source("errors", "# Errors\n\nERR_CONN_0x80 means the connection was reset.\n\nSet max_wal_size higher.\n"),
        source("salaries", "# Salaries\n\nThe salary of the valve engineer is secret.", {"kind": "paper"}, "hr"),
        source("board", "# Board\n\nThe board closes the valve factory.", {"kind": "paper"}, "board", "hr"),
    ]
    return files


def index(engine: Engine, files: Sequence[SourceFile], collection: str = "default") -> None:
    """Take files in and index them with a worker of our own, which is gone when this returns."""
    taken = ingest.accept(engine.database, engine.settings, collection, files, engine.clock())
    worker = Worker(engine)
    worker.run_until_idle()
    worker.stop()
    engine.refresh()
    task = task_of(engine.database, taken.task_id)
    assert task is not None
    assert task.state == "succeeded", task.errors


def counting(stage: Stage) -> Reranker:
    """Return the reranker of every stage."""
    return CountingReranker()


def services_over(engine: Engine, settings: Settings, load: Callable[[Stage], Reranker] = counting) -> Services:
    """Return services over an engine, without a worker, with the rerankers that `load` gives."""
    standings = Standings(engine.database, lambda stage: load(stage).fingerprint)
    pipeline = SearchPipeline(engine, Cascade(load), settings, standings=standings)
    rerankers = RerankerCache(settings, Scheduler(engine.device))
    query_log = QueryLog(engine.database, settings, engine.clock, LogMetrics(pipeline.metrics.registry))
    return Services(settings, engine, pipeline, rerankers, None, engine.clock(), query_log)


@contextmanager
def opened_library(data_dir: Path) -> Iterator[Services]:
    """Open the product on the library."""
    settings = Settings(data_dir=str(data_dir), parser_processes=1, timeout_ms=20_000, profiles=PROFILES)
    engine = Engine.open(settings)
    try:
        index(engine, library())
        yield services_over(engine, settings)
    finally:
        engine.close()


class FaultyEngine(Engine):
    """An engine whose live indexes have parts replaced."""

    def __init__(self, sound: Engine, **parts: Any) -> None:
        self.__dict__.update(sound.__dict__)
        self.parts = parts

    def live(self, collection: str) -> LiveIndexes:
        return replace(super().live(collection), **self.parts)


def ask(services: Services, q: str, **options: Any) -> Query:
    """Return the Query of a request in the profile `plain`."""
    asked = SearchRequest(q=q, **({"profile": "plain"} | options))
    return query_from_request(asked, services.settings, services.profiles)[0]
