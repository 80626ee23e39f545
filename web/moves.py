"""A ranking of bare texts as the playground shows it: a row for each passage, and a line for each through the stages.

Takes what `searchd/rerank/texts.py` gives; text stays text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from searchd.rerank.scales import WORDS, Scale
from searchd.rerank.texts import RankedText, TextRanking
from searchd.types import StageReport
from web import words
from web.rating import Rating

MAX_DRAWN = 30
ROW, HEAD = 26, 30
LEFT, RIGHT, WIDTH = 330, 570, 900
LABEL_CHARS = 40


@dataclass(frozen=True, slots=True)
class StageColumn:
    """A stage that was asked for: how it ended in words."""

    name: str
    status: str
    words: str
    reason: str
    ordered: bool
    """Whether it scored anything, and so has a column."""
    scale: str
    """What its scores are, in words."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A passage after one stage. `moved` is places gained (+) or lost (-); without a score the stage did not read it."""

    stage: str
    rank: int
    moved: int
    score: float | None


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage in its last order; `given` is its number as pasted."""

    rank: int
    given: int
    text: str
    cells: tuple[Cell, ...]
    right: bool
    relevance: str
    """Its calibrated probability and what that is called; empty if no calibration fits."""


@dataclass(frozen=True, slots=True)
class Line:
    """A passage's way through the drawing: `points` of a polyline, and where its two labels stand."""

    points: str
    label: str
    given: int
    start: int
    rank: int
    end: int
    kind: str
    """right, first, or plain."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """All lines; `columns` are (x, name)."""

    width: int
    height: int
    columns: tuple[tuple[int, str], ...]
    lines: tuple[Line, ...]
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Moves:
    """What a run of the playground gave."""

    took: str
    stages: tuple[StageColumn, ...]
    rows: tuple[PassageRow, ...]
    drawing: Drawing | None
    verdict: str
    warnings: tuple[str, ...]
    rated_by: str
    """What percentages rest on, in words; empty if there are none."""

    @property
    def columns(self) -> tuple[StageColumn, ...]:
        """The stages that have a column."""
        return tuple(stage for stage in self.stages if stage.ordered)


def moves_of(
    ranking: TextRanking,
    scales: Mapping[str, Scale],
    passages: Sequence[str],
    took_ms: float,
    warnings: Sequence[str],
    right: int | None,
    rating: Rating | None = None,
) -> Moves:
    """Return a ranking ready to be shown; `right` is the place of the passage that answers, if that is known."""
    stages = tuple(_column(report, scales[report.name]) for report in ranking.stages)
    names = [stage.name for stage in stages if stage.ordered]
    rows = tuple(_row(text, rank, passages, names, right, rating) for rank, text in enumerate(ranking.texts, start=1))
    return Moves(
        took=words.in_ms(took_ms),
        stages=stages,
        rows=rows,
        drawing=_drawing(rows, names) if len(rows) <= MAX_DRAWN else None,
        verdict=_verdict(rows),
        warnings=tuple(warnings),
        rated_by=rating.said if rating else "",
    )


def _column(report: StageReport, scale: Scale) -> StageColumn:
    done = f"{report.scored} of {report.of} in {words.in_ms(report.ms)}"
    said = done if report.scored else report.status
    return StageColumn(report.name, report.status, said, report.reason or "", report.scored > 0, WORDS[scale.name])


def _row(
    text: RankedText, rank: int, passages: Sequence[str], names: Sequence[str], right: int | None, rating: Rating | None
) -> PassageRow:
    cells = []
    before = text.index + 1
    for name in names:
        now = text.ranks[name]
        cells.append(Cell(name, now, before - now, text.scores.get(name)))
        before = now
    relevance = rating.of(text) if rating else ""
    return PassageRow(rank, text.index + 1, passages[text.index], tuple(cells), text.index == right, relevance)


def _drawing(rows: Sequence[PassageRow], names: Sequence[str]) -> Drawing:
    step = (RIGHT - LEFT) // max(1, len(names))
    columns = ((LEFT, "as pasted"), *((LEFT + step * place, name) for place, name in enumerate(names, start=1)))
    lines = []
    for row in rows:
        places = [row.given, *(cell.rank for cell in row.cells)]
        heights = [HEAD + ROW * place - ROW // 2 for place in places]
        points = " ".join(f"{x},{y}" for (x, _), y in zip(columns, heights, strict=True))
        kind = "right" if row.right else "first" if row.rank == 1 else "plain"
        label = row.text if len(row.text) <= LABEL_CHARS else f"{row.text[:LABEL_CHARS].rstrip()}…"
        lines.append(Line(points, label, row.given, heights[0] + 5, row.rank, heights[-1] + 5, kind))
    return Drawing(WIDTH, HEAD + ROW * len(rows) + 4, columns, tuple(lines), LEFT - 12, columns[-1][0] + 12)


def _verdict(rows: Sequence[PassageRow]) -> str:
    """Say where the passage went that answers; empty if it is not known."""
    found = next((row for row in rows if row.right), None)
    if found is None:
        return ""
    way = "".join(f", {cell.rank} after {cell.stage}" for cell in found.cells)
    return f"The passage that answers this stood at {found.given}{way}."
