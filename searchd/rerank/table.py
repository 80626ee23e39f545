"""RERANKERS: kind -> loader; and the cache by which stages that name one model share it, loaded in the background."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from indexer.device import Device
from indexer.errors import Busy, ConfigError, TransientError
from indexer.token_vectors import TokenEncoder
from indexer.tokens import PassageTokenizer
from searchd.rerank.background import LoadingReranker
from searchd.rerank.cached import CachedReranker
from searchd.rerank.causal import load_causal
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.late_interaction import load_late_interaction
from searchd.rerank.late_stored import LateEncoder, LateReranker
from searchd.rerank.listwise import ListwiseReranker, load_listwise
from searchd.rerank.loading import OWN_CODE_ERRORS, is_trusted, own_code_refusal
from searchd.rerank.local import LocalReranker
from searchd.rerank.onnx import load_onnx
from searchd.rerank.remote import JOINT_MODELS, RemoteReranker, load_remote
from searchd.rerank.scales import Scale, scale_of
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.score_cache import ScoreCache
from searchd.rerank.seq2seq import load_seq2seq
from searchd.rerank.types import BadScores, PassageText, Reranker, ScoreRequest
from searchd.settings import LOCAL_KINDS, Settings, Stage
from searchd.types import Stored

RERANKERS: dict[str, Callable[[Stage, Settings, Scheduler], Reranker]] = {
    "cross_encoder": load_cross_encoder,
    "listwise": load_listwise,
    "remote": load_remote,
    "causal": load_causal,
    "seq2seq": load_seq2seq,
    "late_interaction": load_late_interaction,
    "onnx": load_onnx,
}

ON_CPU = ("onnx",)
"""Kinds that run on the CPU whatever the device of the others is."""
WARM_UP = [PassageText("It works as it was built to. " * words) for words in (2, 10, 40, 40)]
PER_REQUEST = (
    "depth",
    "keep",
    "max_length",
    "long",
    "instruction",
    "budget_ms",
    "blend",
    "early_stop_margin",
    "enabled",
    "on_request",
)
"""What a stage says about its work, not about its model."""
RETRY_S = 20.0
"""A model that could not be loaded is tried again after this: a hub that was away comes back."""
REMOTE_KEPT_S = 3600.0
"""Longest use of a service's score: nothing tells when it puts another model behind a name."""


class RerankerCache:
    """Loads each model once, and puts the scores that were given before it, if there is a `scores`. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        scheduler: Scheduler,
        scores: ScoreCache | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scheduler = scheduler
        self.scores = scores
        self.settings = settings
        self._clock = clock
        self._known: dict[Stage, LoadingReranker] = {}
        self._loaded: dict[Stage, Reranker] = {}
        self._cpu: Scheduler | None = None
        self._closed = False
        self._lock = threading.Lock()

    def of(self, stage: Stage) -> Reranker:
        """Return a stage's reranker at once; its model is loaded in the background on first use.

        Raises: TransientError once this is closed.
        """
        key = loaded_as(stage)
        with self._lock:
            if self._closed:
                raise TransientError("the models are being shut down")
            known = self._known.get(key)
            stale = known is not None and known.failed_at is not None and self._clock() >= known.failed_at + RETRY_S
            if known is None or stale:
                known = LoadingReranker(lambda: self._load(key), self._clock)
                self._known[key] = known
            return known

    def _load(self, key: Stage) -> Reranker:
        reranker = RERANKERS[key.kind](key, self.settings, self._scheduler_of(key.kind))
        metrics, name = self.scheduler.metrics, reranker.fingerprint
        metrics.named(name, key.kind, shown_model(key))
        with self._lock:
            closed = self._closed
            if not closed:
                self._loaded[key] = reranker
        if closed:
            close(reranker)
            raise TransientError("the models are being shut down")
        if self.scores is None or not reusable(key):
            return reranker
        kept_s = None if key.kind in LOCAL_KINDS else REMOTE_KEPT_S
        note = functools.partial(metrics.looked_up, name)
        return CachedReranker(reranker, self.scores, note, kept_s=kept_s, clock=self._clock)

    def _scheduler_of(self, kind: str) -> Scheduler:
        """Return the queue before the device that a kind runs on.

        A GPU's has one worker and batches for a GPU's time: on it a model of the CPU would hold up those of the GPU, use one
        core of many, and take for a batch a hundred times as long as who cancels it may wait.
        """
        if kind not in ON_CPU or self.scheduler.device.name == "cpu":
            return self.scheduler
        with self._lock:
            if self._closed:
                raise TransientError("the models are being shut down")
            if self._cpu is None:
                device = Device(msgspec.structs.replace(self.settings, device="cpu"))
                self._cpu = Scheduler(device, metrics=self.scheduler.metrics)
            return self._cpu

    def schedulers(self) -> list[Scheduler]:
        """Return the queue before each device that is in use."""
        with self._lock:
            return [self.scheduler] if self._cpu is None else [self.scheduler, self._cpu]

    def waiting(self) -> int:
        """Return how many pairs wait, before whatever device."""
        return sum(scheduler.waiting() for scheduler in self.schedulers())

    def close(self) -> None:
        """Close what rerankers hold open: connections, and the device of those that are not on the caller's.

        One that is still loading is closed when it is there.
        """
        with self._lock:
            self._closed = True
            loaded = list(self._loaded.values())
            self._loaded.clear()
            cpu = self._cpu
        if cpu is not None:
            cpu.device.close()
        for reranker in loaded:
            close(reranker)

    def check(self, stages: Iterable[Stage]) -> None:
        """Load every model of these stages and score some pairs, so that serving starts warm. Raises: ConfigError."""
        for stage in stages:
            if stage.kind not in LOCAL_KINDS:  # its key and address are looked at; an API that is away may come back
                _ = self.of(stage).fingerprint
                continue
            own_code = OWN_CODE_ERRORS if is_trusted(stage, self.settings) else ()
            try:
                self.of(stage).score(warm_up_of(stage), WARM_UP)
            except own_code as error:
                raise ConfigError(own_code_refusal(stage, error)) from error
            except (RuntimeError, IndexError, TypeError, MemoryError, Busy, BadScores) as error:
                raise ConfigError(f"stage {stage.name!r}: model {stage.model!r} does not run: {error}") from error

    def tokenizers(self, stages: Iterable[Stage] | None = None) -> list[PassageTokenizer]:
        """Return those by which the models that are loaded (for these stages, default: any) read passages."""
        return [one.model.tokenizer for one in self._ready(stages) if isinstance(one, LocalReranker | LateReranker)]

    def stored(self, stages: Iterable[Stage]) -> Stored:
        """Return what the models of these stages, as far as they are loaded, can use of what is stored of passages."""
        late = [one.model.stored_as for one in self._ready(stages) if isinstance(one, LateReranker)]
        return Stored(frozenset(one.fingerprint for one in self.tokenizers(stages)), frozenset(late))

    def scales(self, stages: Iterable[Stage], query: str) -> dict[str, Scale]:
        """Return by name on what scale the raw scores of these stages are for a query."""
        found = {}
        for stage in stages:
            late = [one.model.query_vectors(query) for one in self._ready([stage]) if isinstance(one, LateReranker)]
            found[stage.name] = scale_of(stage, *late)
        return found

    def token_encoder(self) -> TokenEncoder | None:
        """Return what makes the token vectors that the settings want stored; waits for its model. Raises: ConfigError."""
        stage = self.settings.token_vectors_stage
        if stage is None:
            return None
        _ = self.of(stage).fingerprint
        (reranker,) = self._ready([stage])
        return LateEncoder(reranker.model, self.scheduler) if isinstance(reranker, LateReranker) else None

    def _ready(self, stages: Iterable[Stage] | None) -> list[Reranker]:
        """Return the rerankers that are loaded, for these stages or all."""
        keys = None if stages is None else {loaded_as(stage) for stage in stages}
        with self._lock:
            return [one for key, one in self._loaded.items() if keys is None or key in keys]

    def fingerprint(self, stage: Stage) -> str | None:
        """Return the fingerprint of a stage's model, None while it is not loaded."""
        found = self._ready([stage])
        return found[0].fingerprint if found else None

    def names(self) -> list[str]:
        """Return the models that are loaded, as all may see them."""
        with self._lock:
            return sorted({shown_model(key) for key, known in self._known.items() if known.ready})

    def paths(self) -> list[tuple[str, str]]:
        """Return the models that are loaded, as all may see them, each with how it runs."""
        with self._lock:
            return sorted({(shown_model(key), path_of(key, reranker)) for key, reranker in self._loaded.items()})


def close(reranker: Reranker) -> None:
    """Close a reranker that holds something open: those whose model is behind an API."""
    if isinstance(reranker, RemoteReranker | ListwiseReranker):
        reranker.close()


@functools.lru_cache(maxsize=256)
def loaded_as(stage: Stage) -> Stage:
    """Return a stage with its defaults in place of what does not concern loading: equal ones share a model."""
    plain = Stage(name="model")
    kept = {name: getattr(plain, name) for name in ("name", *PER_REQUEST)}
    return msgspec.structs.replace(stage, **kept)


def shown_model(stage: Stage) -> str:
    """Return a stage's model as readers and metrics call it: of folders the last part alone."""
    parts = [stage.model, stage.adapter] if stage.adapter else [stage.model]
    return "+".join(Path(part).resolve().name if Path(part).is_dir() else part for part in parts)


def path_of(stage: Stage, reranker: Reranker) -> str:
    """Say in words how a stage's model runs."""
    if isinstance(reranker, LocalReranker | LateReranker):
        return reranker.model.path
    return f"{stage.kind}, {stage.provider or 'a chat'} API"


def reusable(stage: Stage) -> bool:
    """Say whether a score of this stage's model depends on query and passage alone, and may be given again."""
    alone = stage.kind == "remote" and stage.model.rpartition("/")[2] not in JOINT_MODELS
    return stage.kind in LOCAL_KINDS or alone


def warm_up_of(stage: Stage) -> ScoreRequest:
    """Return a request that runs a model at the length of its stage."""
    return ScoreRequest(
        "how does it work", stage.max_length, instruction=stage.instruction, parts=stage.long == "parts"
    )
