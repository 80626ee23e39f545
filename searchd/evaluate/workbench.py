"""The workbench of evaluation and tuning: the product's own retrieval, fusion, texts and rerankers, a step at a time.

Beside a running daemon its indexes are asked over its API, SQL is read directly, and rerankers run in this process; without
one the folder is opened. `tests/searchd/evaluate` holds it to what the pipeline answers.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from indexer.apply import text_hash
from indexer.client import RemoteIndexer
from indexer.device import Device
from indexer.errors import InputError, NotFound, TransientError
from indexer.owner import Owner, running_daemon
from indexer.scope import Scope
from indexer.store import generations, passages, token_vectors, tokens
from indexer.store.database import Database
from searchd.database import opened_database
from searchd.evaluate.sources import DaemonSource, FolderSource, RetrievalSource, bare_candidates
from searchd.evaluate.types import Question, Topic
from searchd.fuse import FUSIONS
from searchd.load import filled
from searchd.rerank.cascade import Cascade
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.rerank.text import passage_text
from searchd.services import Services, build_services
from searchd.settings import Profile, Settings, Stage
from searchd.types import Candidate, RerankRequest, StageReport, Stored

NO_BUDGET_MS = 60_000
"""The most that a stage's budget takes."""
DEPTH = 100


@dataclass(frozen=True, slots=True)
class Workbench:
    """One collection, opened for measuring, as one reader sees it."""

    settings: Settings
    database: Database
    scope: Scope
    generation_id: str
    source: RetrievalSource
    rerankers: RerankerCache
    beside_daemon: bool

    def ask(self, topic: Topic, depth: int = DEPTH, stages: Sequence[Stage] | None = None) -> Question:
        """Return what the systems find for a topic, `depth` passages each, with their texts and what is stored of them for
        the rerankers of these stages (default: the profile `default` of the settings).

        Raises: TransientError if a system does not answer, or if the collection was rebuilt since.
        """
        found = self.source.retrieve(topic.text, depth)
        started = time.monotonic()
        bare = bare_candidates(found.rankings)
        with self.database.read() as session:
            live = generations.live(session, self.scope.collection)
            if live is None or live.generation_id != self.generation_id:
                raise TransientError(f"collection {self.scope.collection!r} was rebuilt meanwhile; begin again")
            loaded = passages.load(session, self.scope, self.generation_id, list(bare))
            read = [filled(bare[name], one) for name, one in loaded.items() if name not in found.excluded]
            hashes = [text_hash(passage_text(one)) for one in read]
            stored = self.stored(stages)
            ids = tokens.read(session, stored.tokenizers, hashes) if stored.tokenizers else {}
            vectors = {model: token_vectors.read(session, model, hashes) for model in stored.models}
        known = {}
        for one, hashed in zip(read, hashes, strict=True):
            of_one = {model: by_hash[hashed] for model, by_hash in vectors.items() if hashed in by_hash}
            known[one.passage_id] = replace(one, tokens=ids.get(hashed, {}), vectors=of_one)
        ms = {**found.ms, "load": (time.monotonic() - started) * 1000}
        return Question(topic, found.meaning, found.rankings, known, ms)

    def stored(self, stages: Sequence[Stage] | None = None) -> Stored:
        """Return what the loaded models of stages can use of what is stored of passages."""
        usual = self.settings.profile("default") or Profile()
        return self.rerankers.stored(usual.stages if stages is None else stages)

    def load_models(self, stages: Sequence[Stage]) -> None:
        """Load what stages run, and use each once. Raises: ConfigError naming the setting."""
        self.rerankers.check(dict.fromkeys(stages))

    def rerank(
        self, question: Question, fused: Sequence[Candidate], stages: Sequence[Stage]
    ) -> tuple[tuple[Candidate, ...], tuple[StageReport, ...]]:
        """Return the candidates as these stages leave them, without time limits, and what each stage did and took."""
        cascade = Cascade(self.rerankers.of)
        return cascade.rerank(question.meaning, fused, unlimited(stages), RerankRequest(), math.inf)


def fused_candidates(question: Question, profile: Profile) -> tuple[Candidate, ...]:
    """Return a question's candidates in the fused order of a profile, as they come to its cascade."""
    fused = bare_fused(question, profile)
    return tuple(replace(question.passages[one.passage_id], scores=one.scores, ranks=one.ranks) for one in fused)


def bare_fused(question: Question, profile: Profile) -> tuple[Candidate, ...]:
    """Return the same without their texts, which takes a third of the time."""
    rankings = [replace(one, passages=one.passages[: profile.depth]) for one in question.rankings]
    fused = FUSIONS[profile.fusion](rankings, k=profile.rrf_k, weights=profile.weights)
    return tuple(one for one in fused if one.passage_id in question.passages)


def unlimited(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return stages that do not run out of time: quality is measured apart from speed."""
    return tuple(msgspec.structs.replace(stage, budget_ms=NO_BUDGET_MS) for stage in stages)


@contextlib.contextmanager
def open_workbench(settings: Settings, collection: str, principals: Sequence[str] = ()) -> Iterator[Workbench]:
    """Yield the workbench of a collection: through its daemon if one runs, else over the folder, which is owned meanwhile.

    Raises: NotFound; Busy; InputError for `principals` beside a daemon; StaleIndex, ConfigError.
    """
    daemon = running_daemon(settings)
    if daemon is None:
        with Owner.acquire(settings):
            services = build_services(settings, worker=False)
            try:
                yield of_services(services, Scope.of(collection, principals))
            finally:
                services.close()
        return
    if principals:
        raise InputError(
            "--as reads the folder itself, which a daemon owns now; stop the daemon, or measure without --as"
        )
    key = next((key for key in settings.keys if key.write), None)
    scope = Scope.of(collection, key.principals if key else ())
    with opened_database(settings) as database:
        with database.read() as session:
            generation = generations.live(session, collection)
        if generation is None:
            raise NotFound(f"there is no collection {collection!r}")
        source = DaemonSource(RemoteIndexer(daemon.url, key.secret if key else ""), collection)
        with contextlib.closing(Device(settings)) as device, contextlib.closing(_rerankers(settings, device)) as loaded:
            yield Workbench(settings, database, scope, generation.generation_id, source, loaded, True)


def of_services(services: Services, scope: Scope) -> Workbench:
    """Return the workbench over opened services. Raises: NotFound."""
    live = services.engine.live(scope.collection)
    return Workbench(
        services.settings,
        services.engine.database,
        scope,
        live.generation_id,
        FolderSource(services, scope),
        services.rerankers,
        False,
    )


def _rerankers(settings: Settings, device: Device) -> RerankerCache:
    return RerankerCache(settings, Scheduler(device))
