"""Wins and losses: each query's nDCG@10 by plain RRF against the default profile, as bars and as rows.

Takes queries' figures; every query is named once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from searchd.evaluate.evaluation import QueryFigures
from searchd.evaluate.systems import DEFAULT, RRF
from web import words

NAMED = 10
LEAST = 1e-9
TALL, WIDEST = 100.0, 2.5
"""Height of the drawing, and how much of the page's width a bar takes at most, in percent."""
TITLE_CHARS = 90


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A query with its figures before (plain RRF) and after (default); ranks of the first relevant document, None for none."""

    query_id: str
    text: str
    relevant: int
    before: float
    after: float
    first_before: int | None
    first_after: int | None

    @property
    def change(self) -> float:
        """What the default profile adds."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class ChangeBar:
    """A query's bar, from the zero line up or down."""

    x: float
    y: float
    height: float
    kind: str
    said: str


@dataclass(frozen=True, slots=True)
class Changes:
    """All queries, sorted from the greatest gain to the greatest loss."""

    wins: tuple[QueryRow, ...]
    losses: tuple[QueryRow, ...]
    """The greatest loss first."""
    rest: tuple[QueryRow, ...]
    won: int
    lost: int
    same: int
    bars: tuple[ChangeBar, ...]
    width: int
    share: float
    """Of the page's width that the drawing takes, in percent."""
    height: float
    zero: float
    most: float
    least: float


def changes_of(queries: Sequence[QueryFigures]) -> Changes | None:
    """Return the wins and losses; None where plain RRF or the default profile was not measured."""
    rows = [_row(one) for one in queries if RRF in one.ndcg and DEFAULT in one.ndcg]
    if not rows:
        return None
    rows.sort(key=lambda row: -row.change)
    won = [row for row in rows if row.change > LEAST]
    lost = [row for row in rows if row.change < -LEAST]
    named = [*won[:NAMED], *lost[::-1][:NAMED]]
    most, least = max(0.0, rows[0].change), min(0.0, rows[-1].change)
    zero = round(TALL * (most / (most - least)), 1) if most > least else TALL / 2
    return Changes(
        tuple(won[:NAMED]),
        tuple(lost[::-1][:NAMED]),
        tuple(row for row in rows if row not in named),
        len(won),
        len(lost),
        len(rows) - len(won) - len(lost),
        tuple(_bar(place, row, zero, most - least) for place, row in enumerate(rows)),
        len(rows),
        min(100.0, WIDEST * len(rows)),
        TALL,
        zero,
        most,
        least,
    )


def _row(one: QueryFigures) -> QueryRow:
    return QueryRow(
        one.query_id,
        one.text,
        one.relevant,
        one.ndcg[RRF],
        one.ndcg[DEFAULT],
        one.first.get(RRF),
        one.first.get(DEFAULT),
    )


def _bar(place: int, row: QueryRow, zero: float, span: float) -> ChangeBar:
    height = round(abs(row.change) / span * TALL, 2) if span else 0.0
    kind = "better" if row.change > LEAST else "worse" if row.change < -LEAST else "same"
    top = round(zero - height, 2) if row.change > 0 else zero
    said = f"{words.cut(row.text, TITLE_CHARS)}: {words.signed(row.change)}"
    return ChangeBar(place + 0.1, top, height, kind, said)
