"""Models that run in this process: a frame around each passage, token ids joined, scored by the scheduler.

`LocalModel` is what a kind writes; `LocalReranker` makes a Reranker of it: stored token ids, long passages as their best
overlapping part, scores remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.tokens import Grown, PassageTokenizer, TokenIds
from searchd.rerank.types import PartScores, PassageText, QueryCut, ScoreRequest

if TYPE_CHECKING:
    from searchd.rerank.scheduler import Scheduler

OVERLAP_SHARE = 0.25
"""Of a part's length, which it repeats of the part before it."""
FRAMES_KEPT = 256
"""Of one model's queries: each is asked for several times, and again when its scores are known."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a model reads around every passage for one query: token ids before it (the query's) and after it."""

    head: TokenIds
    tail: TokenIds
    passage_type: int = 0
    """Segment id of passage and tail; the head's is 0."""
    state: Any = None
    """What else the kind needs of the query."""
    cut: QueryCut | None = None
    """How far the query is read, if not to its end."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One sequence to score: frame.head + passage + frame.tail."""

    frame: Frame
    passage: TokenIds

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.frame.head) + len(self.passage) + len(self.frame.tail)


class LocalModel(Protocol):
    """What a kind of local model is. `frame` is called from any thread, `forward` on the device's own threads only."""

    @property
    def fingerprint(self) -> str:
        """Names weights, configuration and precision: equal fingerprints give equal scores."""

    @property
    def path(self) -> str:
        """How it runs, in words for `/readyz`: `cross_encoder, bfloat16, padded batches`."""

    @property
    def packs(self) -> Callable[[int], int] | None:
        """For models whose batch is one row, whatever the lengths: how many tokens a row of so many has in the end."""

    @property
    def longest(self) -> int:
        """Tokens that a sequence may have."""

    @property
    def tokenizer(self) -> PassageTokenizer:
        """Makes the ids of passages."""

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        """Return the frame for a query; the query is cut so that of `limit` tokens half is left to the passage."""

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        """Return float32[len(batch)], raw scores."""


class LocalReranker:
    """A LocalModel behind the scheduler. Thread-safe."""

    def __init__(self, model: LocalModel, scheduler: Scheduler) -> None:
        self.model = model
        self._scheduler = scheduler
        self._frames = lru_cache(FRAMES_KEPT)(model.frame)

    @property
    def fingerprint(self) -> str:
        """The model's."""
        return self.model.fingerprint

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        """See `Reranker.fits`."""
        pairs, firsts = self._parts(request, passages)
        fitting = self._scheduler.fits(self.model, [pair.length for pair in pairs], seconds, request)
        return int(np.searchsorted([*firsts[1:], len(pairs)], fitting, side="right"))

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        """See `Reranker.at_once`."""
        pairs, firsts = self._parts(request, passages)
        running = self._scheduler.at_once(self.model, [pair.length for pair in pairs])
        return max(1, int(np.searchsorted([*firsts[1:], len(pairs)], running, side="right")))

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        """See `Reranker.query_cut`."""
        return self.frame(request).cut

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        """See `Reranker.score`."""
        if not passages:
            return np.zeros(0, dtype=np.float32)
        pairs, firsts = self._parts(request, passages)
        try:
            best: NDArray[np.float32] = np.maximum.reduceat(self._scheduler.score(self.model, pairs, request), firsts)
        except PartScores as part:  # what was not read whole has no score
            raise part.with_scores(np.maximum.reduceat(part.scores, firsts)) from part.__cause__
        return best

    def frame(self, request: ScoreRequest) -> Frame:
        """Return the frame of a request's query, made once."""
        return self._frames(request.query, request.instruction, self._limit(request))

    def _limit(self, request: ScoreRequest) -> int:
        return min(request.max_length, self.model.longest)

    def _parts(self, request: ScoreRequest, passages: Sequence[PassageText]) -> tuple[list[Pair], NDArray[np.intp]]:
        return parts_of(self.frame(request), self._ids(passages), self._limit(request), whole=request.parts)

    def _ids(self, passages: Sequence[PassageText]) -> list[TokenIds | Grown]:
        """Return the stored ids of each passage; those that were not stored are made, once, as they stand in the whole."""
        tokenizer = self.model.tokenizer
        name = tokenizer.fingerprint
        missing = [passage for passage in passages if name not in passage.tokens and name not in passage.made]
        for passage, ids in zip(
            missing, tokenizer.within([one.text for one in missing]) if missing else (), strict=True
        ):
            passage.made[name] = ids
        return [passage.tokens[name] if name in passage.tokens else passage.made[name] for passage in passages]


def parts_of(
    frame: Frame, passages: Sequence[TokenIds | Grown], limit: int, *, whole: bool
) -> tuple[list[Pair], NDArray[np.intp]]:
    """Return the pairs to score, and for each passage the place of its first one.

    A passage that does not fit into `limit` tokens beside its frame gives overlapping parts, the last of which ends with
    it; not `whole`: only its beginning.
    """
    room = max(1, limit - len(frame.head) - len(frame.tail))
    step = max(1, room - int(room * OVERLAP_SHARE))
    pairs: list[Pair] = []
    firsts: list[int] = []
    for ids in passages:
        firsts.append(len(pairs))
        if isinstance(ids, Grown):
            pairs += grown_parts(frame, ids, limit, whole=whole)
            continue
        if len(ids) <= room or not whole:
            pairs.append(Pair(frame, ids[:room]))
            continue
        starts = [*range(0, len(ids) - room, step), len(ids) - room]
        pairs += [Pair(frame, ids[start : start + room]) for start in starts]
    return pairs, np.asarray(firsts, dtype=np.intp)


def grown_parts(frame: Frame, passage: Grown, limit: int, *, whole: bool) -> list[Pair]:
    """Return the pairs of a passage that swallows tokens of its frame: those before where it begins, those after where it ends.

    A part that is cut from it at a side has all of the frame there.
    """
    begins = replace(frame, head=frame.head[: len(frame.head) - passage.head_less])
    ends = replace(frame, tail=frame.tail[passage.tail_less :])
    alone = Pair(Frame(begins.head, ends.tail, frame.passage_type, frame.state), passage.ids)
    if alone.length <= limit:
        return [alone]
    pairs = parts_of(frame, [passage.ids], limit, whole=whole)[0]
    if len(pairs) > 1:
        pairs[-1] = Pair(ends, pairs[-1].passage)
    pairs[0] = Pair(begins, passage.ids[: max(1, limit - len(begins.head) - len(begins.tail))])
    return pairs


def padded(batch: Sequence[Pair], pad_id: int, *, left: bool = False) -> tuple[NDArray[np.int64], ...]:
    """Return ids, attention mask and segment ids, each int64[len(batch), longest pair], padded right (or left)."""
    width = max(pair.length for pair in batch)
    ids = np.full((len(batch), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(batch), width), dtype=np.int64)
    types = np.zeros((len(batch), width), dtype=np.int64)
    for row, pair in enumerate(batch):
        start = width - pair.length if left else 0
        middle = start + len(pair.frame.head)
        after, end = middle + len(pair.passage), start + pair.length
        ids[row, start:middle] = pair.frame.head
        ids[row, middle:after] = pair.passage
        ids[row, after:end] = pair.frame.tail
        mask[row, start:end] = 1
        if pair.frame.passage_type:
            types[row, middle:end] = pair.frame.passage_type
    return ids, mask, types
