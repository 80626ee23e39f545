"""How far a score can be read as a probability: the reliability diagram, with the number of pairs in each bin.

Takes a Reliability; the template draws what this places.
"""

from __future__ import annotations

from dataclasses import dataclass

from searchd.evaluate.evaluation import Reliability, ReliabilityBin

SIDE, LEFT, TOP, COUNTS, FOOT = 260.0, 40.0, 10.0, 46.0, 40.0
"""Of the square, its margins, and the bars of counts below it."""
SPACE = 10.0
LEAST_RADIUS, MORE_RADIUS = 3.5, 5.0


@dataclass(frozen=True, slots=True)
class BinMark:
    """A bin: its point, a line to where it should be, and its bar of pairs below."""

    x: float
    y: float
    due: float
    radius: float
    bar_x: float
    bar_y: float
    bar_width: float
    bar_height: float
    said: str


@dataclass(frozen=True, slots=True)
class ReliabilityDrawing:
    """The diagram of one score, and its bins for the table beside it."""

    name: str
    pairs: int
    ece: float
    unjudged_as_irrelevant: bool
    bins: tuple[ReliabilityBin, ...]
    marks: tuple[BinMark, ...]
    ticks: tuple[tuple[float, float, str], ...]
    """(x, y, words) of the same value across and up."""
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    ground: float
    """Where the bars of counts stand."""


def reliability_drawing(found: Reliability) -> ReliabilityDrawing:
    """Return the diagram of a score; empty bins are left out."""
    bins = tuple(one for one in found.bins if one.pairs > 0)
    most = max((one.pairs for one in bins), default=1)
    bottom = TOP + SIDE
    ground = bottom + FOOT + COUNTS
    return ReliabilityDrawing(
        name=found.name,
        pairs=found.pairs,
        ece=found.ece,
        unjudged_as_irrelevant=found.unjudged_as_irrelevant,
        bins=bins,
        marks=tuple(_mark(one, most, ground) for one in bins),
        ticks=tuple((across(tick), up(tick), f"{tick:g}") for tick in (0, 0.25, 0.5, 0.75, 1)),
        width=LEFT + SIDE + SPACE,
        height=ground + 20,
        left=LEFT,
        right=LEFT + SIDE,
        top=TOP,
        bottom=bottom,
        ground=ground,
    )


def across(probability: float) -> float:
    """Return the place of a probability from left to right."""
    return round(LEFT + SIDE * probability, 1)


def up(share: float) -> float:
    """Return the place of a share from bottom to top."""
    return round(TOP + SIDE * (1 - share), 1)


def _mark(one: ReliabilityBin, most: int, ground: float) -> BinMark:
    share = one.pairs / most
    height = round(max(1.0, COUNTS * share), 1)
    said = f"{one.pairs:,} pairs said to be {one.said:.2f} on average: {one.so:.2f} are relevant"
    return BinMark(
        across(one.said),
        up(one.so),
        up(one.said),
        round(LEAST_RADIUS + MORE_RADIUS * share**0.5, 1),
        round(across(one.low) + 1, 1),
        round(ground - height, 1),
        max(1.0, round(across(min(1.0, one.high)) - across(one.low) - 2, 1)),
        height,
        said,
    )
