"""How far a set has come: which queries still wait for judgments, and which one is next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from indexer.store.judged import JudgedQuery

ENOUGH = 10
"""Judgments after which a query waits no longer: as many as one order puts into the pool."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The queries of a set in their order, how many judgments each has, and how many are enough."""

    queries: tuple[JudgedQuery, ...]
    judgments: Mapping[str, int]
    enough: int

    @classmethod
    def of(cls, queries: Sequence[JudgedQuery], judgments: Mapping[str, int], documents: int) -> Progress:
        """Return the progress of a set over a collection of so many documents: more than all cannot be judged."""
        return cls(tuple(queries), judgments, max(1, min(ENOUGH, documents)))

    @property
    def judged(self) -> int:
        """How many queries have a judgment."""
        return sum(self.judgments.get(one.query_id, 0) > 0 for one in self.queries)

    @property
    def waiting(self) -> tuple[JudgedQuery, ...]:
        """The queries that want judgments: neither with enough of them nor put aside."""
        return tuple(one for one in self.queries if self.waits(one))

    def waits(self, query: JudgedQuery) -> bool:
        """Say whether a query wants judgments."""
        return query.skipped_at is None and self.judgments.get(query.query_id, 0) < self.enough

    def place_of(self, query_id: str) -> int:
        """Return the place of a query in the set, from 1; 0 for one that is not there."""
        return next((place for place, one in enumerate(self.queries, start=1) if one.query_id == query_id), 0)

    def after(self, query_id: str = "") -> JudgedQuery | None:
        """Return the query that waits next after this one, beginning anew at the end; None if no other does."""
        return next(self._others(query_id), None)

    def _others(self, query_id: str) -> Iterator[JudgedQuery]:
        place = self.place_of(query_id)
        around = (*self.queries[place:], *self.queries[:place])
        return (one for one in around if one.query_id != query_id and self.waits(one))
