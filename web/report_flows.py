"""A query's documents on their way through the stages, as a bump chart: a column for each step, a node for each rank.

Takes a Flow. The first ten ranks are rows of their own; what stands lower is set below them in order, with its rank written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from searchd.evaluate.evaluation import Flow, FlowPlace

TOP = 10
ROW, GAP, HEAD = 26, 14, 30
"""Heights: of a row, between the first ten and the rest, and of the heading."""
MOST_RELEVANT = 12


@dataclass(frozen=True, slots=True)
class Node:
    """A document at one step: `x` in percent of the width, which the page chooses. `rank` is None where it was not ranked."""

    x: float
    y: int
    rank: int | None


@dataclass(frozen=True, slots=True)
class Way:
    """A document's way."""

    nodes: tuple[Node, ...]
    title: str
    document_id: str
    grade: int | None
    is_relevant: bool
    y: int
    """Where its title stands."""


@dataclass(frozen=True, slots=True)
class FlowDrawing:
    """The chart of one query; titles stand beside it in the order of `ways`."""

    query_id: str
    text: str
    columns: tuple[tuple[float, str], ...]
    ways: tuple[Way, ...]
    height: int
    border: int | None
    """Where the first ten end, if anything stands below."""
    left_out: int
    """Documents that are not drawn."""


def flow_drawing(flow: Flow) -> FlowDrawing | None:
    """Return a flow's chart: all that is among the first ten at the end, and relevant documents; None without any."""
    places = shown(flow)
    if not places or not flow.columns:
        return None
    xs = [round(100 * number / max(1, len(flow.columns) - 1), 1) for number in range(len(flow.columns))]
    heights = [heights_of([place.ranks[number] for place in places]) for number in range(len(xs))]
    lowest = max(y for column in heights for y in column)
    ways = [_way(place, xs, [column[number] for column in heights]) for number, place in enumerate(places)]
    below = lowest > HEAD + ROW * TOP
    return FlowDrawing(
        query_id=flow.query_id,
        text=flow.text,
        columns=tuple(zip(xs, flow.columns, strict=True)),
        ways=tuple(sorted(ways, key=lambda way: way.y)),
        height=lowest + ROW // 2,
        border=HEAD + ROW * TOP + GAP // 2 if below else None,
        left_out=len(flow.places) - len(places),
    )


def shown(flow: Flow) -> list[FlowPlace]:
    """Return the places that are drawn: the last step's first ten, and of the relevant those that stood highest."""
    relevant = sorted((one for one in flow.places if is_relevant(one)), key=_highest)
    kept = {one.document_id for one in relevant[:MOST_RELEVANT]}
    return [one for one in flow.places if one.document_id in kept or (one.ranks and within(one.ranks[-1]))]


def heights_of(ranks: Sequence[int | None]) -> list[int]:
    """Return where one column's nodes stand: the first ten by rank, the rest below them in order, the unranked last."""
    lower = sorted((number for number, rank in enumerate(ranks) if not within(rank)), key=lambda n: ranks[n] or 10**9)
    slots: Mapping[int, int] = {number: slot for slot, number in enumerate(lower)}
    return [
        HEAD + ROW * TOP + GAP + ROW * slots[number] + ROW // 2
        if number in slots
        else HEAD + ROW * ((rank or 1) - 1) + ROW // 2
        for number, rank in enumerate(ranks)
    ]


def within(rank: int | None) -> bool:
    """Say whether a rank is among the first ten."""
    return rank is not None and rank <= TOP


def is_relevant(place: FlowPlace) -> bool:
    """Say whether a document was judged relevant."""
    return (place.grade or 0) > 0


def _highest(place: FlowPlace) -> int:
    return min((rank for rank in place.ranks if rank is not None), default=10**9)


def _way(place: FlowPlace, xs: Sequence[float], ys: Sequence[int]) -> Way:
    return Way(
        tuple(Node(x, y, rank) for x, y, rank in zip(xs, ys, place.ranks, strict=True)),
        place.title or place.document_id,
        place.document_id,
        place.grade,
        is_relevant(place),
        ys[-1],
    )
