"""Our side: the product's own path, from a stage's settings through the loader and the scheduler to scores.

Takes a Stage; gives a scoring function over a query's passages, with token ids stored beforehand as the index holds
them, or made on the way. Counts what the model was given, so that padding can be told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.reranking.workload import Group
from indexer.device import Device
from searchd.rerank.local import LocalReranker, Pair, padded, parts_of
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RERANKERS
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.settings import Settings, Stage

NEVER_MS = 60_000


def house_stage(precision: str = "auto", model: str = "rerank-base") -> Stage:
    """Return the stage that is measured: a packaged model or a folder's, 512 tokens as every peer has them."""
    return Stage(
        name="measured", model=model, max_length=512, depth=1000, keep=1000, budget_ms=NEVER_MS, precision=precision
    )


@dataclass(slots=True)
class Given:
    """What the model was given: pairs, their tokens, and the tokens of batches with what pads or fills them."""

    pairs: int = 0
    tokens: int = 0
    padded: int = 0
    batches: int = 0

    @property
    def padding_share(self) -> float:
        """The share of tokens computed that were padding, or filled up a row."""
        return 1 - self.tokens / max(1, self.padded)


class Ours:
    """One stage's reranker, as `RerankerCache` would load it."""

    def __init__(self, stage: Stage, device: Device) -> None:
        self.stage = stage
        self.scheduler = Scheduler(device)
        with TemporaryDirectory() as folder:  # the precision is chosen here and now
            loaded = RERANKERS[stage.kind](stage, Settings(data_dir=folder), self.scheduler)
        assert isinstance(loaded, LocalReranker)
        self.reranker = loaded
        self.given = Given()
        self.stored: dict[str, PassageText] = {}

    @property
    def path(self) -> str:
        """How the model runs, in the loader's words."""
        return str(self.reranker.model.path)

    def store(self, groups: Sequence[Group]) -> None:
        """Make the token ids of all passages, as the indexer does once."""
        texts = sorted({text for group in groups for text in group.passages} - self.stored.keys())
        tokenizer = self.reranker.model.tokenizer
        for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
            self.stored[text] = PassageText(text, {tokenizer.fingerprint: ids})

    def request(self, query: str, deadline: float | None = None) -> ScoreRequest:
        """Return what a query asks of the stage."""
        return ScoreRequest(query, self.stage.max_length, parts=False, deadline=deadline)

    def score(self, query: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """Score passages whose token ids are stored."""
        return self.reranker.score(self.request(query), [self.stored[text] for text in passages])

    def score_texts(self, query: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """Score passages whose token ids were not stored."""
        return self.reranker.score(self.request(query), [PassageText(text) for text in passages])

    @contextmanager
    def counting(self) -> Iterator[Given]:
        """Count what the model is given meanwhile."""
        model: Any = self.reranker.model
        forward, given = model.forward, Given()

        def counted(batch: Sequence[Pair]) -> NDArray[np.float32]:
            lengths = [pair.length for pair in batch]
            given.pairs += len(batch)
            given.tokens += sum(lengths)
            given.padded += max(lengths) * len(batch) if model.packs is None else model.packs(sum(lengths))
            given.batches += 1
            scores: NDArray[np.float32] = forward(batch)
            return scores

        model.forward = counted
        try:
            yield given
        finally:
            model.forward = forward

    def assembly_ms(self, group: Group, rounds: int = 200) -> float:
        """Return the median time to make pairs of a query and stored token ids, and arrays of the pairs."""
        model, passages = self.reranker.model, [self.stored[text] for text in group.passages]
        limit, times = min(self.stage.max_length, model.longest), []
        for _ in range(rounds):
            started = time.perf_counter()
            frame = model.frame(group.query, "", limit)
            ids = [passage.tokens[model.tokenizer.fingerprint] for passage in passages]
            pairs, _ = parts_of(frame, ids, limit, whole=False)
            padded(sorted(pairs, key=lambda pair: pair.length), 0)
            times.append((time.perf_counter() - started) * 1000)
        return median(times)
