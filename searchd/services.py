"""What a process needs to answer: engine, pipeline, perhaps a worker; one place for daemon, CLI and benchmarks.

Handlers and pages get it as the dependency `services`; whoever builds it closes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from indexer.engine import Engine
from indexer.owner import needs_owner
from indexer.worker import Worker
from searchd.metrics import LogMetrics, RerankMetrics, SearchMetrics
from searchd.pipeline import SearchPipeline
from searchd.profiles import Profiles
from searchd.query_log import QueryLog
from searchd.rerank.cascade import Cascade
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.score_cache import ScoreCache
from searchd.rerank.stage_tokenizers import StageTokenizers
from searchd.rerank.table import RerankerCache
from searchd.settings import Settings
from searchd.standing import Standings


@dataclass(frozen=True, slots=True)
class Services:
    """The opened parts; `started_at` is in UTC seconds since the epoch."""

    settings: Settings
    engine: Engine
    pipeline: SearchPipeline
    rerankers: RerankerCache
    worker: Worker | None
    started_at: float
    query_log: QueryLog

    @property
    def profiles(self) -> Profiles:
        """The profiles in force."""
        return self.pipeline.profiles

    def warm_up(self) -> None:
        """Load every model that a profile runs, and use each once. Raises: ConfigError naming the setting."""
        self.engine.embedder.encode_query("warm up")
        stages = [stage for profile in self.profiles.all() for stage in profile.stages if stage.enabled]
        self.rerankers.check(dict.fromkeys(stages))

    def close(self) -> None:
        """Stop the worker after its batch, write what the log still holds, then close rerankers and the engine."""
        if self.worker is not None:
            self.worker.stop()
        self.query_log.close()
        self.rerankers.close()
        self.engine.close()


def build_services(settings: Settings, *, worker: bool = True, check: bool = True) -> Services:
    """Open the data folder (whose owner the caller is) and start a worker if one is wanted.

    Without a worker, what other processes index is followed in the background. With `check`, settings that do not fit
    a live index are refused. Raises: StaleIndex, ConfigError, TransientError.
    """
    engine = Engine.open(settings, check=check)
    rerankers: RerankerCache | None = None
    try:
        scores = ScoreCache(settings.score_cache) if settings.score_cache else None
        metrics = SearchMetrics()
        scheduler = Scheduler(engine.device, metrics=RerankMetrics(metrics.registry))
        rerankers = RerankerCache(settings, scheduler, scores)
        engine.reranking = StageTokenizers(settings, rerankers.tokenizers)
        engine.token_encoder = rerankers.token_encoder()
        pipeline = SearchPipeline(
            engine,
            Cascade(rerankers.of),
            settings,
            metrics=metrics,
            stored=rerankers.stored,
            standings=Standings(engine.database, rerankers.fingerprint),
        )
        running = Worker(engine) if worker else None
        if running is not None:
            running.start()
        if running is None or not needs_owner(settings):
            engine.start_refresher()
        query_log = QueryLog(engine.database, settings, engine.clock, LogMetrics(metrics.registry))
        query_log.start()
    except BaseException:
        if rerankers is not None:
            rerankers.close()
        engine.close()
        raise
    return Services(settings, engine, pipeline, rerankers, running, engine.clock(), query_log)
