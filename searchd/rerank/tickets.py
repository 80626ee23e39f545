"""What waits before the device: one ticket a request, whose pairs are taken out as batches and come back as scores.

`scheduler.py` adds tickets, takes batches and tells how they ended; here is all that threads share, behind one lock. Later
stages go first, then nearer deadlines; pairs that nobody waits for any more leave at once.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.errors import Busy
from searchd.rerank.batches import Batch, Ticket, batch_of, in_order, like_length
from searchd.rerank.local import LocalModel, Pair
from searchd.rerank.types import BadScores, ScoreRequest


class Tickets:
    """The queue. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tickets: list[Ticket] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._turns = 0
        """Turns that are asked of the device, or taken: each forms and runs a batch, as long as some wait."""

    def ticket(self, model: LocalModel, pairs: Sequence[Pair], request: ScoreRequest) -> Ticket:
        """Return a request's ticket, which does not wait yet."""
        return Ticket(
            model=model,
            pairs=pairs,
            lengths=[pair.length for pair in pairs],
            request=request,
            urgency=(*urgency_of(request), next(self._numbers)),
            scores=np.full(len(pairs), np.nan, dtype=np.float32),
            waiting=set(range(len(pairs))),
            since=self._clock(),
        )

    def add(self, ticket: Ticket, workers: int, most_tokens: int) -> int:
        """Let a ticket wait; return how many turns to ask of the device for it. Raises: Busy if the queue is full."""
        with self._lock:
            waiting = sum(one.lengths[place] for one in self._tickets for place in one.waiting)
            if waiting + sum(ticket.lengths) > most_tokens:
                raise Busy(f"{waiting:,} tokens wait to be reranked, which is the most")
            self._tickets.append(ticket)
            turns = max(0, min(workers - self._turns, len(ticket.pairs)))
            self._turns += turns
            return turns

    def waiting(self) -> int:
        """Return how many pairs wait."""
        with self._lock:
            return sum(len(ticket.waiting) for ticket in self._tickets)

    def ahead(self, request: ScoreRequest) -> list[tuple[str, int, int]]:
        """Return of all that waits and goes before a request (model, tokens, pairs)."""
        mine = urgency_of(request)
        with self._lock:
            ahead = [ticket for ticket in self._tickets if ticket.waiting and ticket.urgency[:3] <= mine]
            return [(one.model.fingerprint, sum(map(one.lengths.__getitem__, one.waiting)), len(one.waiting))
                    for one in ahead]  # fmt: skip

    def take(self, budget_of: Callable[[LocalModel, Sequence[Ticket]], int]) -> Batch | None:
        """Take the next batch out; `budget_of` says how many tokens it may have."""
        with self._lock:
            now = self._clock()
            for ticket in self._tickets:
                late = ticket.request.deadline is not None and ticket.request.deadline <= now
                if late or ticket.request.cancelled():
                    ticket.waiting.clear()
            tickets = [ticket for ticket in self._tickets if ticket.waiting]
            if not tickets:
                return None
            tickets.sort(key=lambda ticket: ticket.urgency)
            model = tickets[0].model
            tickets = [ticket for ticket in tickets if ticket.model is model]
            budget = budget_of(model, tickets)
            places = like_length(tickets, budget) if model.packs is None else in_order(tickets, budget)
            for ticket, place in places:
                ticket.waiting.discard(place)
                ticket.running += 1
            return batch_of(model, places, now - min(ticket.since for ticket, _ in places))

    def goes_on(self) -> bool:
        """Say whether the turn that has run its batch is to ask for the next one; if not, it is over."""
        with self._lock:
            more = any(ticket.waiting for ticket in self._tickets)
            self._turns -= not more
            return more

    # -- how pairs end --------------------------------------------------------------------------------------------

    def scored(self, batch: Batch, scores: NDArray[np.float32]) -> None:
        """Give pairs their scores; a request that gets one that is none fails."""
        with self._lock:
            for (ticket, place), score in zip(batch.places, scores, strict=True):
                if not np.isfinite(score) and ticket.error is None:
                    ticket.error = BadScores("a score is not a number")
                    ticket.waiting.clear()
                ticket.scores[place] = score
                _one_less(ticket)

    def failed(self, batch: Batch, error: BaseException) -> None:
        """Fail the requests that have pairs in a batch."""
        with self._lock:
            for ticket, _ in batch.places:
                ticket.error = error
                ticket.waiting.clear()
                _one_less(ticket)

    def unfit(self, found: Sequence[tuple[Ticket, Busy]]) -> None:
        """End pairs that do not fit into memory: theirs is the only score that is lost, unless all are wanted or none."""
        with self._lock:
            for ticket, error in found:
                ticket.unfit = ticket.unfit or error
                if ticket.request.whole:
                    ticket.error = error
                    ticket.waiting.clear()
                _one_less(ticket)

    def leave_alone(self, model: str, error: Busy) -> None:
        """Fail all that waits for a model."""
        with self._lock:
            for ticket in self._tickets:
                if ticket.model.fingerprint == model and ticket.waiting:
                    ticket.error = error
                    ticket.waiting.clear()
                    if not ticket.running:
                        ticket.ended.set()

    def withdraw(self, ticket: Ticket) -> NDArray[np.float32]:
        """Let nothing of a ticket wait any more; a batch that still runs writes into what nobody reads."""
        with self._lock:
            ticket.waiting.clear()
            ticket.ended.set()
            if ticket in self._tickets:
                self._tickets.remove(ticket)
            return ticket.scores.copy()

    def turn_lost(self, error: BaseException) -> None:
        """Fail all that waits: a turn did not come to its end, and nobody would take them out."""
        with self._lock:
            self._turns -= 1
            for ticket in self._tickets:
                ticket.error = error
                ticket.waiting.clear()
                ticket.ended.set()


def _one_less(ticket: Ticket) -> None:
    ticket.running -= 1
    if not ticket.running and not ticket.waiting:
        ticket.ended.set()


def urgency_of(request: ScoreRequest) -> tuple[bool, int, float]:
    """Return what sorts requests: searches before lists that must be scored whole, later stages first, nearer deadlines."""
    return request.whole, -request.place, math.inf if request.deadline is None else request.deadline
