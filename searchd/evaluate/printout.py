"""What `searchd eval` prints: an evaluation, a comparison, a list of those that were kept.

Tables are `tables.py`, sentences `sentences.py`; this is their order.
"""

from __future__ import annotations

from collections.abc import Sequence

from searchd.evaluate import sentences, tables
from searchd.evaluate.bootstrap import LEAST_DIFFERING
from searchd.evaluate.comparison import Comparison
from searchd.evaluate.evaluation import Evaluation
from searchd.evaluate.stored import Listed
from searchd.terminal import line, output


def show(evaluation: Evaluation) -> None:
    """Print an evaluation: tables, then what they say."""
    line(tables.heading(evaluation))
    output.print(tables.quality_table(evaluation))
    line(
        "* a real difference: its 95 % interval, by paired bootstrap over queries, leaves out zero, and "
        f"{LEAST_DIFFERING} queries or more differ"
    )
    output.print(tables.cost_table(evaluation))
    for said in (
        *sentences.stage_sentences(evaluation),
        *sentences.failure_sentences(evaluation),
        *sentences.reliability_sentences(evaluation),
        *sentences.caveats(evaluation),
    ):
        line(said)


def show_comparison(comparison: Comparison) -> None:
    """Print a comparison."""
    first, *others = tables.comparison_lines(comparison)
    line(first)
    output.print(tables.comparison_table(comparison))
    for said in others:
        line(said)


def show_list(found: Sequence[Listed], collection: str) -> None:
    """Print the evaluations of a collection that were kept."""
    if not found:
        line(f"No evaluation of collection {collection!r} was kept yet; `searchd eval SET` makes one.")
        return
    output.print(tables.list_table(found))
