"""The tokenizers of the stages that run, read without their models: what is indexed gets its token ids by them.

A process that only indexes loads no reranker, and a daemon's worker begins before its rerankers are there: passages
indexed meanwhile would be tokenised anew by every search. `indexer/apply.py` asks, the roofs put it there; the models
themselves are loaded by `table.py`. Late interaction is not among them: sentence-transformers makes its tokenizer anew
when it loads the model, which an indexer does that stores token vectors.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from indexer.embedder import plain_tokenizer
from indexer.tokens import PassageTokenizer, uncut
from indexer.weights import first_line, house_folder
from searchd.rerank.choosing import profiles_of
from searchd.rerank.house import HOUSE_MODELS
from searchd.rerank.loading import fast_tokenizer, fetched
from searchd.rerank.onnx_files import find_onnx
from searchd.rerank.prompted import PromptFrames
from searchd.rerank.prompts import MONO_T5, PROMPTS
from searchd.rerank.table import loaded_as
from searchd.settings import LOCAL_KINDS, Settings, Stage
from searchd.train.registry import promoted

log = logging.getLogger(__name__)

READ = tuple(kind for kind in LOCAL_KINDS if kind != "late_interaction")
RETRY_S = 600.0
"""A tokenizer that could not be read is tried again after this; while a hub is away, each try takes seconds."""


class StageTokenizers:
    """Gives the tokenizer of every stage that is on and of a kind in READ, each read on first use. Thread-safe.

    One that cannot be read is left out and logged: indexing goes on, and its stage makes the ids itself. Those of models
    that are loaded (`loaded`) come along.
    """

    def __init__(
        self,
        settings: Settings,
        loaded: Callable[[], list[PassageTokenizer]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        stages = [stage for profile in profiles_of(settings).values() for stage in profile.stages if stage.enabled]
        self._stages = list(dict.fromkeys(loaded_as(stage) for stage in stages if stage.kind in READ))
        self._settings = settings
        self._loaded = loaded
        self._clock = clock
        self._read: dict[Stage, PassageTokenizer] = {}
        self._failed_at: dict[Stage, float] = {}
        self._lock = threading.Lock()

    def __call__(self) -> list[PassageTokenizer]:
        """Return those that can be read, and those that are loaded."""
        with self._lock:
            for stage in self._stages:
                failed = self._failed_at.get(stage)
                if stage not in self._read and (failed is None or self._clock() >= failed + RETRY_S):
                    self._try(stage)
            own = list(self._read.values())
        return [*own, *self._loaded()]

    def _try(self, stage: Stage) -> None:
        try:
            self._read[stage] = tokenizer_of(stage, self._settings)
        except Exception as error:  # tokenizers raise no class of their own, and indexing must not end with one
            self._failed_at[stage] = self._clock()
            log.warning("no token ids are stored for stage model %r: %s", stage.model, first_line(error))


def tokenizer_of(stage: Stage, settings: Settings) -> PassageTokenizer:
    """Return what makes the ids that a stage's model reads: equal to the loaded model's own. Raises: whatever reading does."""
    if stage.kind == "onnx":
        return PassageTokenizer(uncut(find_onnx(stage.model).tokenizer()))
    folder, trusted = folder_of(stage, settings)
    tokenizer = fast_tokenizer(folder, trusted=trusted)
    plain = plain_tokenizer(tokenizer)
    if stage.kind == "causal":
        return PromptFrames(plain, PROMPTS[stage.prompt], tokenizer.bos_token_id, tokenizer.eos_token_id).passages
    if stage.kind == "seq2seq":
        return PromptFrames(plain, MONO_T5, None, tokenizer.eos_token_id).passages
    return PassageTokenizer(plain)


def folder_of(stage: Stage, settings: Settings) -> tuple[Path, bool]:
    """Return where a stage's tokenizer is, and whether its own code may run; of a hub model no weights are fetched."""
    if stage.kind == "cross_encoder":
        own = promoted(settings, stage.model)
        if own is not None or stage.model in HOUSE_MODELS:
            return own or house_folder(), False
    return fetched(stage, settings, weights=False)
