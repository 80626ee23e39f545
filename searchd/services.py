"""What a process that searches holds together: engine, cascade, pipeline, and perhaps a worker."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from indexer.engine import Engine
from indexer.worker import Worker
from searchd.pipeline import SearchPipeline
from searchd.rerank.cascade import Cascade
from searchd.rerank.table import RerankerCache
from searchd.settings import Profile, Settings


@dataclass(slots=True)
class Services:
    """The opened product; handlers of API and pages get it by the dependency `services`."""

    settings: Settings
    engine: Engine
    pipeline: SearchPipeline
    rerankers: RerankerCache
    worker: Worker | None
    started_at: float = field(default_factory=time.time)

    def close(self) -> None:
        """Stop the worker after its batch, then close everything."""
        if self.worker is not None:
            self.worker.stop()
        self.pipeline.close()
        self.engine.close()


def build_services(settings: Settings, *, worker: bool = True, check: bool = True) -> Services:
    """Open engine and models; start the worker if asked, else follow what other processes index.

    Raises: StaleIndex, ConfigError, TransientError.
    """
    engine = Engine.open(settings, check=check)
    try:
        rerankers = RerankerCache(settings, engine.device)
        for profile in (settings.profile("default") or Profile(), *settings.profiles.values()):
            rerankers.check(profile.stages)
        pipeline = SearchPipeline(engine, Cascade(rerankers.of), settings)
        started: Worker | None = None
        if worker:
            started = Worker(engine)
            started.start()
        return Services(settings, engine, pipeline, rerankers, started)
    except BaseException:
        engine.close()
        raise
