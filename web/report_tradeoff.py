"""Quality against time: every system a point, its interval a whisker, and the front of those that nothing beats in both.

Takes systems' figures; the template draws what this places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from searchd.evaluate.evaluation import SystemFigures
from searchd.evaluate.measures import MAIN
from searchd.evaluate.systems import DEFAULT
from web import words
from web.report_axes import Axis, time_axis, value_axis
from web.report_labels import Box, place, width_of

LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 28.0, 44.0
"""Margins."""
NEAR = 14.0
"""Beyond this a label needs a line to its point."""
LONGEST = 0.55
"""Share of the width that a label may take."""
MAX_LABEL_CHARS = 34


@dataclass(frozen=True, slots=True)
class Label:
    """A system's name, where it stands, and a line to its point if it stands apart (`line` is four coordinates)."""

    text: str
    x: float
    y: float
    anchor: str
    line: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Systems at one point. `said` tells all of it in words."""

    x: float
    y: float
    low: float
    high: float
    kind: str
    """default, front, or plain."""
    said: str
    label: Label | None


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """The drawing; ticks are (place, words)."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    is_log: bool
    marks: tuple[Mark, ...]
    front: str
    """Points of a polyline."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """Systems that stand at the same place, by name."""

    names: tuple[str, ...]
    figures: SystemFigures

    @property
    def is_default(self) -> bool:
        return DEFAULT in self.names


def pareto_front(systems: Sequence[SystemFigures]) -> tuple[SystemFigures, ...]:
    """Return the systems that no other equals in nDCG@10 at less time or betters at the same, the fastest first."""
    front: list[SystemFigures] = []
    for one in sorted(systems, key=lambda one: (one.p50_ms, -one.metrics[MAIN])):
        if not front or one.metrics[MAIN] > front[-1].metrics[MAIN]:
            front.append(one)
    return tuple(front)


def better_in_less(systems: Sequence[SystemFigures]) -> SystemFigures | None:
    """Return the best system that the default profile stands below: as good in less time, or better in no more."""
    served = next((one for one in systems if one.name == DEFAULT), None)
    if served is None:
        return None
    mine = (served.p50_ms, served.metrics[MAIN])
    above = [
        one
        for one in pareto_front(systems)
        if one.p50_ms <= mine[0] and one.metrics[MAIN] >= mine[1] and (one.p50_ms, one.metrics[MAIN]) != mine
    ]
    return above[-1] if above else None


def tradeoff_of(systems: Sequence[SystemFigures], width: int, height: int) -> Tradeoff | None:
    """Return the drawing of these systems in that size; None without systems."""
    if not systems:
        return None
    spots = _spots(systems)
    across = time_axis([one.p50_ms for one in systems], LEFT, width - RIGHT)
    intervals = [end for one in systems for end in interval(one)]
    up = value_axis(intervals, height - BOTTOM, TOP)
    front = pareto_front(systems)
    return Tradeoff(
        width,
        height,
        LEFT,
        width - RIGHT,
        TOP,
        height - BOTTOM,
        _spaced(across),
        tuple((up.at(tick), f"{tick:.2f}" if len(f"{tick:g}") < 5 else f"{tick:g}") for tick in up.ticks),
        across.is_log,
        _marks(spots, front, across, up),
        _steps(front, across, up),
    )


def interval(system: SystemFigures) -> tuple[float, float]:
    """Return the interval of a system's nDCG@10, which is its mean where none was kept."""
    mean = system.metrics[MAIN]
    return system.ci.get(MAIN, (mean, mean))


def _spots(systems: Sequence[SystemFigures]) -> list[_Spot]:
    found: dict[tuple[float, float], list[SystemFigures]] = {}
    for one in systems:
        found.setdefault((round(one.p50_ms, 1), round(one.metrics[MAIN], 4)), []).append(one)
    spots = [
        _Spot(tuple(one.name for one in sorted(some, key=lambda one: one.name != DEFAULT)), some[0])
        for some in found.values()
    ]
    return sorted(spots, key=lambda spot: not spot.is_default)


def _marks(spots: Sequence[_Spot], front: Sequence[SystemFigures], across: Axis, up: Axis) -> tuple[Mark, ...]:
    on_front = {one.name for one in front}
    points = [(across.at(spot.figures.p50_ms), up.at(spot.figures.metrics[MAIN])) for spot in spots]
    ends = [tuple(up.at(end) for end in interval(spot.figures)) for spot in spots]
    ground = Box(across.start + 2, up.end - TOP / 2, across.end + RIGHT, up.start - 2)
    whiskers = [Box(x - 2, high, x + 2, low) for (x, _), (low, high) in zip(points, ends, strict=True)]
    texts = [_label(spot, across.end) for spot in spots]
    boxes = place(points, texts, ground, [*whiskers, *_treads(front, across, up)])
    return tuple(
        Mark(
            x,
            y,
            low,
            high,
            "default" if spot.is_default else "front" if on_front.intersection(spot.names) else "plain",
            _said(spot),
            None if box is None else _placed(text, box, x, y),
        )
        for spot, (x, y), (low, high), text, box in zip(spots, points, ends, texts, boxes, strict=True)
    )


def _label(spot: _Spot, width: float) -> str:
    """Return all names of a spot where there is room for them, else the first."""
    whole = spot.names[0] if len(spot.names) == 1 else f"{spot.names[0]} = {', '.join(spot.names[1:])}"
    fits = width_of(whole) <= LONGEST * width and len(whole) <= MAX_LABEL_CHARS
    return whole if fits else words.cut(spot.names[0], MAX_LABEL_CHARS)


def _placed(text: str, box: Box, x: float, y: float) -> Label:
    near_x, near_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
    apart = abs(near_x - x) > NEAR or abs(near_y - y) > NEAR
    line = (x, y, round(near_x, 1), round(near_y, 1)) if apart else None
    anchor = "start" if box.left >= x else "end" if box.right <= x else "middle"
    places = {"start": box.left, "end": box.right, "middle": (box.left + box.right) / 2}
    return Label(text, round(places[anchor], 1), round(box.bottom - 4, 1), anchor, line)


def _said(spot: _Spot) -> str:
    one = spot.figures
    low, high = (words.in_figure(end) for end in interval(one))
    mean, ms = words.in_figure(one.metrics[MAIN]), words.in_ms(one.p50_ms)
    return f"{' = '.join(spot.names)}: {MAIN} {mean} [{low}, {high}], {ms} at the median"


def _steps(front: Sequence[SystemFigures], across: Axis, up: Axis) -> str:
    """Return the front as steps: what can be had within each time."""
    points = []
    height = up.start
    for one in front:
        x = across.at(one.p50_ms)
        points += [(x, height), (x, up.at(one.metrics[MAIN]))]
        height = up.at(one.metrics[MAIN])
    return " ".join(f"{x:g},{y:g}" for x, y in [*points[1:], (across.end, height)])


def _treads(front: Sequence[SystemFigures], across: Axis, up: Axis) -> list[Box]:
    """Return the level parts of the front, which names should not stand upon."""
    xs = [*(across.at(one.p50_ms) for one in front), across.end]
    return [
        Box(left, up.at(one.metrics[MAIN]) - 2, right, up.at(one.metrics[MAIN]) + 2)
        for one, left, right in zip(front, xs, xs[1:], strict=False)
    ]


def _spaced(axis: Axis) -> tuple[tuple[float, str], ...]:
    """Return ticks whose words have room between them."""
    kept: list[tuple[float, str]] = []
    for tick in axis.ticks:
        said, x = f"{tick:,g}", axis.at(tick)
        if not kept or x - kept[-1][0] > (width_of(said) + width_of(kept[-1][1])) / 2 + 10:
            kept.append((x, said))
    return tuple(kept)
