"""What makes a batch: of the pairs that wait, those that run together. Pure functions; `scheduler.py` calls them.

A batch is within a budget of tokens; its pairs are of like length, or, for models that pack, in the order they came.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from indexer.errors import Busy
from searchd.rerank.local import LocalModel, Pair
from searchd.rerank.types import ScoreRequest

WASTE_SHARE = 0.06
"""Of a batch's tokens, which may be padding. A batch of its own costs a CPU as much as a hundred tokens."""
LOOKAHEAD = 4
"""Batches' worth of the most urgent pairs, from which those of like length are taken."""


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's pairs of one model."""

    model: LocalModel
    pairs: Sequence[Pair]
    lengths: list[int]
    request: ScoreRequest
    urgency: tuple[bool, int, float, int]
    scores: NDArray[np.float32]
    waiting: set[int]
    since: float
    running: int = 0
    error: BaseException | None = None
    unfit: Busy | None = None
    """Why some pairs have no score, if they did not fit into memory."""
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs that run together."""

    model: LocalModel
    places: list[tuple[Ticket, int]]
    longest: int
    tokens: int
    """Padding included."""
    waited: float
    """Seconds, of the pair that waited longest."""
    halved: bool = False
    """Whether it is part of one that did not fit into memory."""

    @property
    def real(self) -> int:
        """Tokens without padding."""
        return sum(ticket.lengths[place] for ticket, place in self.places)


def batch_of(model: LocalModel, places: list[tuple[Ticket, int]], waited: float, *, halved: bool = False) -> Batch:
    """Return these places as a batch."""
    lengths = [ticket.lengths[place] for ticket, place in places]
    longest = max(lengths)
    tokens = longest * len(places) if model.packs is None else model.packs(sum(lengths))
    return Batch(model, places, longest, tokens, waited, halved)


def halves(batch: Batch) -> list[Batch]:
    """Return both halves of a batch, the one to run first last."""
    half = (len(batch.places) + 1) // 2
    parts = (batch.places[half:], batch.places[:half])
    return [batch_of(batch.model, part, batch.waited, halved=True) for part in parts]


def by_request(batch: Batch) -> list[Batch]:
    """Return a batch for each request that has pairs in it."""
    places: dict[int, list[tuple[Ticket, int]]] = {}
    for ticket, place in batch.places:
        places.setdefault(id(ticket), []).append((ticket, place))
    return [batch_of(batch.model, own, batch.waited, halved=batch.halved) for own in places.values()]


def in_order(tickets: Sequence[Ticket], budget: int) -> list[tuple[Ticket, int]]:
    """Return the pairs of one batch, the most urgent first, each request's in its own order."""
    places: list[tuple[Ticket, int]] = []
    for ticket in tickets:
        for place in sorted(ticket.waiting):
            budget -= ticket.lengths[place]
            if places and budget < 0:
                return places
            places.append((ticket, place))
    return places


def like_length(tickets: Sequence[Ticket], budget: int) -> list[tuple[Ticket, int]]:
    """Return the pairs of one batch, longest first.

    From the most urgent few batches' worth it takes the longest pair of the most urgent request, and round it those of
    like length, shorter and longer, for as long as tokens and padding stay within their bounds.
    """
    urgent: list[tuple[int, Ticket, int]] = []
    tokens = 0
    for ticket in tickets:
        for place in ticket.waiting:
            urgent.append((ticket.lengths[place], ticket, place))
            tokens += ticket.lengths[place]
        if tokens >= budget * LOOKAHEAD:
            break
    urgent.sort(key=lambda one: (-one[0], one[2]))
    start = next(number for number, one in enumerate(urgent) if one[1] is tickets[0])
    start, end = window([length for length, _, _ in urgent], start, budget)
    return [(ticket, place) for _, ticket, place in urgent[start:end]]


def window(lengths: Sequence[int], place: int, budget: int) -> tuple[int, int]:
    """Return the widest [start, end) round `place` of falling lengths with `budget` tokens, of which few are padding."""
    start, end, real = place, place + 1, lengths[place]
    while True:
        for first, last in ((start, end + 1), (start - 1, end)):
            if first < 0 or last > len(lengths):
                continue
            added = lengths[last - 1] if last > end else lengths[first]
            padded = lengths[first] * (last - first)
            if padded <= budget and padded - real - added <= WASTE_SHARE * budget:
                start, end, real = first, last, real + added
                break
        else:
            return start, end
