"""Places labels beside the points of a drawing so that none covers another label or a point. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CHAR, HEIGHT = 7.2, 16.0
"""Of a letter and a line at 13 px; wide enough for the bold ones."""
REACH = (9.0, 16.0, 26.0, 38.0, 52.0, 70.0, 90.0, 115.0, 145.0, 180.0)
SIDES = ((1, 0), (-1, 0), (1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1))
"""In order of preference."""
POINT = 7.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Say whether both cover a place."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )  # fmt: skip

    def within(self, other: Box) -> bool:
        """Say whether this lies wholly inside."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )  # fmt: skip


def width_of(label: str) -> float:
    """Return how wide a label may become."""
    return round(len(label) * CHAR, 1)


def around(x: float, y: float) -> Box:
    """Return the box that a point covers."""
    return Box(x - POINT, y - POINT, x + POINT, y + POINT)


def place(
    points: Sequence[tuple[float, float]], labels: Sequence[str], ground: Box, lines: Sequence[Box] = ()
) -> tuple[Box | None, ...]:
    """Return a box for each label, near its point; None where no room is left.

    `lines` are spared where there is room beside them. Those named first have the first choice.
    """
    taken = [around(x, y) for x, y in points]
    placed: list[Box | None] = []
    for (x, y), label in zip(points, labels, strict=True):
        free = [box for box in candidates(x, y, width_of(label)) if box.within(ground) and _clear(box, taken)]
        box = next((box for box in free if _clear(box, lines)), free[0] if free else None)
        placed.append(box)
        if box is not None:
            taken.append(box)
    return tuple(placed)


def candidates(x: float, y: float, width: float) -> Iterator[Box]:
    """Yield the places of a label around a point, the nearest first."""
    for reach in REACH:
        for right, down in SIDES:
            left = x + reach if right > 0 else x - reach - width if right < 0 else x - width / 2
            middle = y + down * (reach if right == 0 else 0.8 * reach)
            yield Box(left, middle - HEIGHT / 2, left + width, middle + HEIGHT / 2)


def _clear(box: Box, others: Sequence[Box]) -> bool:
    return not any(box.overlaps(other) for other in others)
