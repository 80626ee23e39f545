"""Scores of rerankers, each (model as it is asked, query, passage) computed once: what tuning and calibration try things on.

`remembered` gives a reranker over what is known, so that the product's own cascade runs on it without a model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from searchd.evaluate.types import Question
from searchd.rerank.text import passage_text
from searchd.rerank.types import PassageText, QueryCut, Reranker, ScoreRequest, never
from searchd.rerank.wish import request_of
from searchd.settings import Stage
from searchd.types import RerankRequest

Asking = tuple[str, str, str, str, str, int, str, str]
"""What a stage's scores depend on beside query and passage."""


def asking(stage: Stage) -> Asking:
    """Return what a stage's scores depend on: its model and how it is asked, not its depth, budget or blend."""
    return (
        stage.kind, stage.model, stage.adapter, stage.prompt, stage.precision, stage.max_length, stage.long,
        stage.instruction,
    )  # fmt: skip


def pairs_of(question: Question, stage: Stage, passage_ids: Sequence[str]) -> tuple[ScoreRequest, list[PassageText]]:
    """Return what a stage's model is asked about these passages."""
    found = [question.passages[name] for name in passage_ids]
    texts = [PassageText(passage_text(one), one.tokens, one.vectors) for one in found]
    return request_of(question.meaning, stage, RerankRequest(), 0, never), texts


class ScoreTable:
    """Raw scores by asking, query id and passage id, and what they took. Not thread-safe."""

    def __init__(self, load: Callable[[Stage], Reranker], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._scores: dict[tuple[Asking, str], dict[str, float]] = {}
        self._seconds: dict[Asking, float] = {}
        self._pairs: dict[Asking, int] = {}

    def missing(self, question: Question, stage: Stage, passage_ids: Sequence[str]) -> list[str]:
        """Return which of these passages have no score yet."""
        known = self._scores.get((asking(stage), question.topic.query_id), {})
        return [name for name in passage_ids if name not in known]

    def scores(self, question: Question, stage: Stage, passage_ids: Sequence[str]) -> dict[str, float]:
        """Return the raw score of each passage, computing those that are not known. Raises: what the reranker raises."""
        key = asking(stage)
        known = self._scores.setdefault((key, question.topic.query_id), {})
        missing = self.missing(question, stage, passage_ids)
        if missing:
            request, texts = pairs_of(question, stage, missing)
            started = self._clock()
            computed = self._load(stage).score(request, texts)
            self._seconds[key] = self._seconds.get(key, 0.0) + self._clock() - started
            self._pairs[key] = self._pairs.get(key, 0) + len(missing)
            known.update(zip(missing, map(float, computed), strict=True))
        return {name: known[name] for name in passage_ids}

    def at_once(self, question: Question, stage: Stage, passage_ids: Sequence[str]) -> int:
        """Return how many of these passages a stage's model runs side by side."""
        return self._load(stage).at_once(*pairs_of(question, stage, passage_ids))

    def pairs(self, stage: Stage) -> int:
        """Return how many pairs a stage's model has scored."""
        return self._pairs.get(asking(stage), 0)

    def ms_per_pair(self, stage: Stage) -> float:
        """Return what a pair took, by all that were scored; 0 before the first."""
        return 1000 * self._seconds.get(asking(stage), 0.0) / max(1, self.pairs(stage))

    def remembered(self, question: Question) -> Callable[[Stage], Reranker]:
        """Return what gives a cascade rerankers of this table for one question: what is not known is computed."""
        by_text: dict[str, str] = {passage_text(one): name for name, one in question.passages.items()}
        return lambda stage: Remembered(self, question, stage, by_text)


class Remembered:
    """A reranker that gives a table's scores. See `Reranker`."""

    def __init__(self, table: ScoreTable, question: Question, stage: Stage, by_text: dict[str, str]) -> None:
        self._table, self._question, self._stage, self._by_text = table, question, stage, by_text

    @property
    def fingerprint(self) -> str:
        """The asking, in words."""
        return " ".join(map(str, asking(self._stage)))

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        """See `Reranker.fits`: there is no limit."""
        return len(passages)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        """See `Reranker.at_once`: as the model would be asked without a margin."""
        return len(passages)

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        """Return None: of a replay nobody is told."""
        return None

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        """See `Reranker.score`."""
        names = [self._by_text[passage.text] for passage in passages]
        found = self._table.scores(self._question, self._stage, list(dict.fromkeys(names)))
        return np.array([found[name] for name in names], dtype=np.float32)
