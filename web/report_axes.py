"""Axes of the report's drawings: from values to places, and where the ticks stand. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = (1, 2, 5, 10)
LOG_SPREAD = 8.0
"""From this ratio of the greatest to the least on, times are drawn by their logarithm."""
MIDDLE = 4
"""Ticks that an axis has at least, where values allow it."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high` on places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the place of a value."""
        low, high, value = (math.log(one) if self.is_log else one for one in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def value_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return a linear axis around these values that begins and ends at a tick."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.01, high + 0.01
    step = next_step((high - low) / MIDDLE)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(count * step, 10) for count in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], start, end, False, ticks)


def time_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis of milliseconds: from zero, or logarithmic where the values lie far apart and none is zero."""
    low, high = min(values), max(values)
    if low <= 0 or high / low < LOG_SPREAD:
        return value_axis((0.0, high * 1.08 or 1.0), start, end)
    low, high = low / 1.4, high * 1.4
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [step * 10.0**decade for decade in decades for step in STEPS[:-1]]
    return Axis(low, high, start, end, True, tuple(one for one in marks if low <= one <= high))


def next_step(wanted: float) -> float:
    """Return the least round step (1, 2 or 5 times a power of ten) that is no smaller than `wanted`."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in STEPS if step * power >= wanted - 1e-12)
