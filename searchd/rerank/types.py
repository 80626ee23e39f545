"""The one protocol of every reranker: (request, passages) -> raw scores. Kinds register in `table.py`.

A request is one query's wish of one stage; passages come with the token ids that were stored when they were indexed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.errors import Busy, ConfigError
from indexer.store.token_vectors import TokenVectors
from indexer.tokens import Grown, TokenIds


class LongInstruction(ConfigError):
    """An instruction leaves no room for query and passage: the settings' mistake, or the caller's whose it is."""


class BadScores(ValueError):
    """What a reranker gave back is no score for each passage."""


class PartScores(Busy):
    """Some passages got a score, the others cannot now; the message says why, in words for every reader.

    Raised from what went wrong, and only where a part is of use: never for requests that are `whole`.
    """

    def __init__(self, scores: NDArray[np.float32], said: str) -> None:
        super().__init__(said)
        self.scores = scores
        """As `Reranker.score` returns them, NaN where there is none."""

    def with_scores(self, scores: NDArray[np.float32]) -> PartScores:
        """Return the same of other passages."""
        return PartScores(scores, str(self))


def public_reason(error: BaseException) -> str:
    """Return what every reader may know of an error: a library's or a service's words name folders and hosts."""
    told = isinstance(error, Busy | BadScores) and str(error)
    return told or f"{type(error).__name__}; the daemon's log says more"


def never() -> bool:
    """Say that nobody went away."""
    return False


@dataclass(frozen=True, slots=True)
class PassageText:
    """What a reranker reads of a passage; `tokens` are its ids by the fingerprint of the tokenizer that made them."""

    text: str
    tokens: Mapping[str, TokenIds] = field(default_factory=dict)
    vectors: Mapping[str, TokenVectors] = field(default_factory=dict)
    """Stored token vectors, by the fingerprint of the model that made them."""
    made: dict[str, TokenIds | Grown] = field(default_factory=dict)
    """Ids that were made because none were stored: rerankers keep them here, or each question and each stage of a query
    would have the text tokenised anew."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What one query asks of one stage."""

    query: str
    max_length: int
    """Tokens of query and passage together; the query takes half at most."""
    instruction: str = ""
    """What to look for, for kinds that take an instruction; empty: the model's usual one."""
    parts: bool = True
    """Whether a passage that is too long scores as its best overlapping part, or only its beginning is read."""
    whole: bool = False
    """Whether only all scores are of use: then what cannot end in time is not begun, and searches go first."""
    deadline: float | None = None
    """Monotonic seconds."""
    place: int = 0
    """Of the stage in its cascade, from 0: later stages go first."""
    cancelled: Callable[[], bool] = never
    """Asked often, from any thread; must be cheap."""


@dataclass(frozen=True, slots=True)
class QueryCut:
    """A query of which a model reads only so many of its first tokens, counted by the model's own tokenizer."""

    read: int
    tokens: int

    def __str__(self) -> str:
        return f"the query was read to {self.read:,} of its {self.tokens:,} tokens"


def query_cut(read: int, tokens: int) -> QueryCut | None:
    """Return what is to be told of a query that is read so far; None if that is all of it."""
    return QueryCut(read, tokens) if read < tokens else None


class Reranker(Protocol):
    """A model that scores passages for a query. Thread-safe."""

    @property
    def fingerprint(self) -> str:
        """Names the model: equal fingerprints give equal scores."""

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        """Return how many of the first passages can be scored in so many seconds, by what was measured; all if unknown."""

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        """Return how many of the first passages run side by side: to ask for fewer leaves room unused. At least one of any.

        Only for local kinds: what others score may depend on all that is asked for, and they return all.
        """

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        """Return how far the query of a request is read; None if to its end, and where all of it is sent elsewhere.

        Asked after `score`, for every query: must be cheap, and waits for nothing.
        """

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        """Return float32[len(passages)], raw scores, higher is better, in the order given.

        NaN where the deadline or a cancellation came first. Raises: TimeoutError if nothing was scored by then;
        BadScores; TransientError if there is no room for the work, or a service is away, PartScores if that is so of some.
        """
