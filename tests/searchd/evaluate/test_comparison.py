"""Two evaluations side by side: what is said of them where they are not of the same judgments."""

from __future__ import annotations

from typing import Any

import msgspec

from searchd.evaluate.comparison import compare
from searchd.evaluate.measures import MEASURES
from searchd.evaluate.tables import comparison_lines, heading
from tests.web.evaluations import evaluation


def said_of(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return what is said of two evaluations alike but for these fields."""
    plain = evaluation(queries=8)
    answered = tuple(msgspec.structs.replace(one, default=dict.fromkeys(MEASURES, 0.5)) for one in plain.queries)
    both = (msgspec.structs.replace(plain, queries=answered, **changes) for changes in (before, after))
    return " ".join(comparison_lines(compare(*both)))


def lines(judged_then: int, judged_now: int) -> str:
    """Return what is said of two evaluations alike but for how much was judged."""
    return said_of({"judged_pairs": judged_then}, {"judged_pairs": judged_now})


def test_judgments_that_came_in_between_are_told() -> None:
    assert "Not of the same judgments: 1,837 judged pairs before, 2,000 after" in lines(1837, 2000)
    assert "judgments" not in lines(1837, 1837)


def test_readers_and_first_queries_that_differ_are_told() -> None:
    said = said_of({"principals": ("hr", "it")}, {"first_queries": 5})
    assert "Not of the same documents: read as hr, it before, as anyone after" in said
    assert "Not of the same queries: all of the set before, the first 5 after" in said
    same: dict[str, Any] = {"principals": ("hr",), "first_queries": 5}
    assert "Not of the same" not in said_of(same, same)


def test_a_heading_tells_readers_and_first_queries_that_are_not_the_usual() -> None:
    told = heading(evaluation(queries=8, principals=("hr",), first_queries=8))
    assert "; the first queries of the set alone; read as hr; profile default" in told
    plain = heading(evaluation(queries=8))
    assert "read as" not in plain and "alone" not in plain
