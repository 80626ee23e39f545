"""The last step of a vector search, for every backend: enough points, the filter's second look, ties by passage id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from indexer.types import RankedPassage
from indexer.vectors.payload import DOCUMENT_ID

SPARE = 8
"""Points fetched beyond the depth, so that a tie at the cut is seen."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A point as an engine returns it."""

    passage_id: str
    score: float
    payload: dict[str, Any]


def best(fetch: Callable[[int], Sequence[Scored]], depth: int, passes: Callable[[Scored], bool] | None) -> list[Scored]:
    """Return the best `depth` points that pass, ties by passage id.

    `fetch(limit)` gives the best `limit` points, best first; fewer mean that there are no more. The limit grows
    until the cut at `depth` is settled: no point beyond it can tie with the last one inside, nor be the one missing.
    """
    limit = depth + SPARE
    while True:
        found = fetch(limit)
        kept = [point for point in found if passes is None or passes(point)]
        settled = len(kept) >= depth and (kept[depth - 1].score > found[-1].score)
        if settled or len(found) < limit:
            return ordered(kept)[:depth]
        limit *= 4


def ordered(points: Iterable[Scored]) -> list[Scored]:
    """Sort by score, best first, ties by passage id."""
    return sorted(points, key=lambda point: (-point.score, point.passage_id))


def as_ranking(points: Iterable[Scored]) -> tuple[RankedPassage, ...]:
    """Return the points as passages of a ranking."""
    return tuple(RankedPassage(p.passage_id, p.payload[DOCUMENT_ID], p.score) for p in points)
