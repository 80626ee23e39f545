"""Token vectors that were stored when passages were indexed: made here, and scored here without the model.

`LateEncoder` is what the indexer is given; `LateReranker` scores what is stored by arithmetic alone and leaves the rest
to the model. Neighbour of `late_interaction.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from indexer.device import Priority
from indexer.store.token_vectors import TokenVectors
from searchd.rerank.known import Rest
from searchd.rerank.local import LocalReranker, Pair
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import PassageText, QueryCut, ScoreRequest

if TYPE_CHECKING:
    from searchd.rerank.late_interaction import LateInteractionModel

BATCH_TOKENS = 1024
"""Of one device job while indexing, so that a query never waits longer."""


class LateEncoder:
    """Makes the token vectors of passages. See `indexer.token_vectors.TokenEncoder`."""

    def __init__(self, model: LateInteractionModel, scheduler: Scheduler) -> None:
        self._model = model
        self._device = scheduler.device
        self.fingerprint = model.stored_as

    def encode(self, texts: Sequence[str]) -> list[TokenVectors | None]:
        """Return each text's vectors, computed longest first in small device jobs; None for one that is too long."""
        frame = self._model.frame("", "", self._model.longest)
        pairs = [Pair(frame, ids) for ids in self._model.tokenizer.encode(texts)]
        fitting = [place for place, pair in enumerate(pairs) if pair.length <= self._model.longest]
        fitting.sort(key=lambda place: -pairs[place].length)
        found: list[TokenVectors | None] = [None] * len(texts)
        while fitting:
            room = max(1, BATCH_TOKENS // pairs[fitting[0]].length)
            places, fitting = fitting[:room], fitting[room:]
            job = partial(self._model.passage_vectors, [pairs[place] for place in places])
            for place, vectors in zip(places, self._device.run(job, priority=Priority.INGEST), strict=True):
                found[place] = TokenVectors(pairs[place].length, vectors.astype(np.float16))
        return found


class LateReranker:
    """A late-interaction model that reads stored vectors where there are some. See `Reranker`."""

    def __init__(self, model: LateInteractionModel, scheduler: Scheduler) -> None:
        self.model = model
        self._device = scheduler.device
        self._computing = LocalReranker(model, scheduler)

    @property
    def fingerprint(self) -> str:
        """The model's."""
        return self.model.fingerprint

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        """See `Reranker.fits`; what is stored takes no time worth counting, and no memory."""
        return self._rest(request, passages, self._found(request, passages)).fits(seconds)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        """See `Reranker.at_once`; what is stored comes along."""
        return self._rest(request, passages, self._found(request, passages)).at_once()

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        """See `Reranker.query_cut`; a query is cut at its own length, whatever the request's."""
        return self._computing.query_cut(request)

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        """See `Reranker.score`."""
        found = self._found(request, passages)
        scores = np.full(len(passages), np.nan, dtype=np.float32)
        known = {place: stored for place, stored in enumerate(found) if stored is not None}
        if known:
            query = self._computing.frame(request).state
            job = partial(self.model.query_array, query)
            asked = self._device.run(job, priority=Priority.QUERY, deadline=request.deadline)
            scores[list(known)] = max_sims(asked, [stored.vectors for stored in known.values()], mean=self.model.mean)
        self._rest(request, passages, found).score(scores)
        return scores

    def _rest(
        self, request: ScoreRequest, passages: Sequence[PassageText], found: Sequence[TokenVectors | None]
    ) -> Rest:
        missing = [place for place, stored in enumerate(found) if stored is None]
        return Rest(self._computing, request, passages, missing)

    def _found(self, request: ScoreRequest, passages: Sequence[PassageText]) -> list[TokenVectors | None]:
        """Return each passage's stored vectors; None where the request's length would have it read in parts, or cut."""
        stored = [passage.vectors.get(self.model.stored_as) for passage in passages]
        return [one if one is not None and one.tokens <= request.max_length else None for one in stored]


def max_sims(query: NDArray[np.float32], passages: Sequence[NDArray[np.float16]], *, mean: bool) -> NDArray[np.float32]:
    """Return float32[len(passages)] as `late_interaction.max_sim` does; one product for all, many small ones are slow."""
    products = np.concatenate(passages).astype(np.float32) @ query.T
    starts = np.cumsum([0, *(len(vectors) for vectors in passages[:-1])])
    best = np.maximum.reduceat(products, starts, axis=0)
    scores: NDArray[np.float32] = best.mean(axis=1) if mean else best.sum(axis=1)
    return scores
