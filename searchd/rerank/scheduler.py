"""One queue of pairs before the device: requests share batches, formed the moment the device is free.

A batch is of one model, within a budget of tokens; of pairs of like length, unless the model packs them without padding.
There is no timed wait: a batch is what is there, shared out among the device's workers. Here is what runs, and how large;
what waits, and in which order, is in `tickets.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from indexer.device import Device, Priority
from indexer.errors import Busy, LimitError, TransientError
from searchd.metrics import RerankMetrics
from searchd.rerank.batches import Batch, Ticket, batch_of, by_request, halves
from searchd.rerank.cost import CostTable
from searchd.rerank.local import LocalModel, Pair
from searchd.rerank.memory import Memory, is_shortage, too_long
from searchd.rerank.tickets import Tickets
from searchd.rerank.types import BadScores, PartScores, ScoreRequest

BATCH_S = {"cpu": 0.08, "mps": 0.04, "cuda": 0.02}
"""What one batch should take: a query's embedding, and who cancels, waits for that long at most."""
FIRST_TOKENS = {"cpu": 512, "mps": 4096, "cuda": 16384}
LEAST_TOKENS, MOST_TOKENS = 128, 131072
MOST_WAITING = 1_000_000
"""Tokens in the queue; a request beyond that is refused."""
POLL_S = 0.1
"""How often a caller looks whether it is still wanted. Its pairs leave the queue before the next batch all the same; 32
callers that look every 20 ms take 3 % of a core."""
CROWDED = 2
"""A batch on a CPU takes its own time, or at most so many times as long where other processes take the cores."""
MARGIN = 0.85
"""Of the time left, to be on the safe side: a batch that comes too late is lost."""


class Scheduler:
    """Owns the reranking work of one device. Thread-safe."""

    def __init__(
        self,
        device: Device,
        *,
        metrics: RerankMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = device
        self.costs = CostTable()
        """By the clock on the wall: what fits into a time."""
        self.work = CostTable()
        """By the time that a worker had the processor: how large a batch is. By the wall's, a busy machine would get small
        batches, which cost it more."""
        self.metrics = metrics or RerankMetrics()
        self.memory = Memory(clock)
        self._clock = clock
        self._tickets = Tickets(clock)

    # -- asked by rerankers ---------------------------------------------------------------------------------------

    def fits(self, model: LocalModel, lengths: Sequence[int], seconds: float, request: ScoreRequest) -> int:
        """Return how many of the first sequences would be scored within so many seconds, behind what goes before them.

        At least one if the queue is empty: what was measured in a slow moment must not switch a stage off for good.
        Raises: Busy while the model is left alone.
        """
        self.memory.check(model.fingerprint)
        ahead, workers = self._seconds_ahead(request), self.device.workers
        fitting = self.costs.fitting(model.fingerprint, lengths, workers * seconds * MARGIN - ahead)
        if fitting is None:
            return len(lengths)
        return max(fitting, 1 if ahead == 0 and lengths else 0)

    def at_once(self, model: LocalModel, lengths: Sequence[int]) -> int:
        """Return how many of the first sequences make one batch for each worker; at least one each, if there are so many."""
        tokens = self._batch_tokens(model, max(lengths, default=0)) * self.device.workers
        fitting = int(np.searchsorted(np.cumsum(lengths), tokens, side="right"))
        return min(len(lengths), max(fitting, self.device.workers))

    def score(self, model: LocalModel, pairs: Sequence[Pair], request: ScoreRequest) -> NDArray[np.float32]:
        """Return float32[len(pairs)]; NaN where deadline or cancellation came first.

        Raises: TimeoutError if that is so of all; BadScores; Busy if the queue is full or the model is left alone, or if no
        pair fits into the device's memory; PartScores if some do not; what the model raises.
        """
        ticket = self._tickets.ticket(model, pairs, request)
        if sum(ticket.lengths) > MOST_WAITING:
            raise LimitError(f"{sum(ticket.lengths):,} tokens are to be reranked; at most {MOST_WAITING:,} are at once")
        self.memory.check(model.fingerprint)
        if request.whole:
            for error in self.memory.unfit(model.fingerprint, ticket.lengths).values():
                raise error
        for _ in range(self._tickets.add(ticket, self.device.workers, MOST_WAITING)):
            self._submit()
        scores = self._wait(ticket)
        if ticket.error is not None:
            raise ticket.error
        if ticket.unfit is not None:
            if np.isnan(scores).all():
                raise ticket.unfit
            raise PartScores(scores, str(ticket.unfit)) from ticket.unfit
        if np.isnan(scores).all():
            raise TimeoutError
        return scores

    def waiting(self) -> int:
        """Return how many pairs wait."""
        return self._tickets.waiting()

    def _seconds_ahead(self, request: ScoreRequest) -> float:
        """Return how many seconds of a worker the pairs take that wait already and go before this request's."""
        ahead = self._tickets.ahead(request)
        return sum(total * (self.costs.per_token(name, total // pairs) or 0.0) for name, total, pairs in ahead)

    def _wait(self, ticket: Ticket) -> NDArray[np.float32]:
        """Wait until all is scored, the deadline, or the caller goes away; return the scores there are by then."""
        request = ticket.request
        while not ticket.ended.is_set():
            left = math.inf if request.deadline is None else request.deadline - self._clock()
            if left <= 0 or request.cancelled():
                break
            ticket.ended.wait(min(POLL_S, left))
        return self._tickets.withdraw(ticket)

    # -- on the device's thread -----------------------------------------------------------------------------------

    def _submit(self) -> None:
        try:
            turn = self.device.submit(self._run_batch, priority=Priority.RERANK)
        except TransientError as error:
            self._tickets.turn_lost(error)
            return
        turn.add_done_callback(self._turn_ended)

    def _turn_ended(self, turn: Future[None]) -> None:
        """Let nobody wait for a device that is closed, nor for a mistake of ours."""
        if turn.cancelled():
            self._tickets.turn_lost(TransientError("the models are being shut down"))
        elif (error := turn.exception()) is not None:
            self._tickets.turn_lost(error)

    def _run_batch(self) -> None:
        """Form one batch, run it, and ask for the next turn if more waits: queries are embedded in between."""
        batch = self._tickets.take(self._budget)
        todo = [] if batch is None else [batch]
        while todo:
            todo += self._run(todo.pop())
        if self._tickets.goes_on():
            self._submit()

    def _run(self, batch: Batch) -> list[Batch]:
        """Run a batch; return its halves if it did not fit into memory."""
        # Of what is run in halves: that fails already, or nobody waits any more.
        if all(ticket.error is not None or ticket.ended.is_set() for ticket, _ in batch.places):
            self._tickets.scored(batch, np.full(len(batch.places), np.nan, dtype=np.float32))
            return []
        unfit = self.memory.unfit(batch.model.fingerprint, [ticket.lengths[place] for ticket, place in batch.places])
        if unfit:
            self._tickets.unfit([(batch.places[number][0], error) for number, error in unfit.items()])
            rest = [one for number, one in enumerate(batch.places) if number not in unfit]
            return [batch_of(batch.model, rest, batch.waited, halved=batch.halved)] if rest else []
        if len(batch.places) > 1 and batch.tokens > self.memory.most_tokens(batch.model.fingerprint):
            return halves(batch)  # formed before that was known, or part of what did not fit
        begun, started, ran = self._clock(), time.perf_counter(), time.thread_time()
        try:
            scores = self._forward(batch)
        except BaseException as error:
            if not is_shortage(error):
                alone = by_request(batch)
                if len(alone) > 1:
                    return alone  # one caller's pair must not fail another's
                self._tickets.failed(batch, error)
                return []
        else:
            self._learn(batch, time.perf_counter() - started, time.thread_time() - ran)
            self.memory.ran_well(batch.model.fingerprint, batch.tokens)
            self._note(batch)
            self._tickets.scored(batch, scores)
            return []
        return self._short(batch, begun)  # here the error is gone, and with its frames the tensors that they held

    def _short(self, batch: Batch, begun: float) -> list[Batch]:
        """Remember that a batch did not fit; return its halves, unless it is one pair or its model is left alone now."""
        name, places = batch.model.fingerprint, batch.places
        self.memory.ran_out(name, batch.tokens, len(places), begun=begun, halved=batch.halved)
        try:
            self.memory.check(name)
        except Busy as busy:
            self._tickets.failed(batch, busy)
            self._tickets.leave_alone(name, busy)
            return []
        if len(places) == 1:
            self._tickets.unfit([(places[0][0], Busy(too_long(batch.tokens)))])
            return []
        self.metrics.ran_out_of_memory(name)
        return halves(batch)

    def _learn(self, batch: Batch, seconds: float, ran_s: float) -> None:
        """Learn what a batch took, and how long its thread had the processor meanwhile: of a GPU that says nothing."""
        work_s = max(ran_s, seconds / CROWDED) if self.device.name == "cpu" else seconds
        for table, taken in ((self.costs, seconds), (self.work, work_s)):
            table.learn(batch.model.fingerprint, batch.longest, batch.tokens, taken)

    def _note(self, batch: Batch) -> None:
        name, pairs, real = batch.model.fingerprint, len(batch.places), batch.real
        self.metrics.ran(name, pairs=pairs, tokens=real, padding=batch.tokens - real, waited_s=batch.waited)

    def _forward(self, batch: Batch) -> NDArray[np.float32]:
        scores = batch.model.forward([ticket.pairs[place] for ticket, place in batch.places])
        if scores.shape != (len(batch.places),):
            raise BadScores(f"{scores.shape} scores came back for {len(batch.places)} passages")
        return scores

    def _budget(self, model: LocalModel, tickets: Sequence[Ticket]) -> int:
        """Return how many tokens make a batch: what takes its time, or a worker's share of the most urgent request."""
        full = self._batch_tokens(model, max(tickets[0].lengths[place] for place in tickets[0].waiting))
        share = sum(tickets[0].lengths) / self.device.workers if self.device.workers > 1 else math.inf
        return int(min(full, max(LEAST_TOKENS, share)))

    def _batch_tokens(self, model: LocalModel, longest: int) -> float:
        """Return how many tokens take a batch's time, as far as they fit into memory."""
        kind = self.device.name.partition(":")[0]
        rate = self.work.per_token(model.fingerprint, longest)
        budget = FIRST_TOKENS[kind] if rate is None else BATCH_S[kind] / rate
        wanted = min(MOST_TOKENS, max(LEAST_TOKENS, budget))
        return min(wanted, self.memory.most_tokens(model.fingerprint))
