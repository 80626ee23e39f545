"""Two evaluations side by side: what is said of them where they are not of the same judgments."""

from __future__ import annotations

import msgspec

from searchd.evaluate.comparison import compare
from searchd.evaluate.measures import MEASURES
from searchd.evaluate.tables import comparison_lines
from tests.web.evaluations import evaluation


def lines(judged_then: int, judged_now: int) -> str:
    """Return what is said of two evaluations alike but for how much was judged."""
    plain = evaluation(queries=8)
    answered = tuple(msgspec.structs.replace(one, default=dict.fromkeys(MEASURES, 0.5)) for one in plain.queries)
    before, after = (
        msgspec.structs.replace(plain, queries=answered, judged_pairs=pairs) for pairs in (judged_then, judged_now)
    )
    return " ".join(comparison_lines(compare(before, after)))


def test_judgments_that_came_in_between_are_told() -> None:
    assert "Not of the same judgments: 1,837 judged pairs before, 2,000 after" in lines(1837, 2000)
    assert "judgments" not in lines(1837, 1837)
