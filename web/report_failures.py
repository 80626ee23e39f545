"""Queries that miss their best document, by cause: how many, and each with its document's rank at every step.

Takes failures and the queries' texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from searchd.evaluate.evaluation import Evaluation, FailureFigures
from searchd.evaluate.failures import FUSED_LOW, HURT_BY, LEFT_LOW, NOT_RETRIEVED
from searchd.evaluate.sentences import cause_words
from web.report_systems import WIDE

MEANING = {
    NOT_RETRIEVED: "Neither system found it within its depth. A stage cannot help; depth, wording or another embedder may.",
    FUSED_LOW: "Found, but fused it stood below what any stage reads. Weights of the fusion or deeper stages may help.",
    LEFT_LOW: "Stages read it and did not bring it among the first ten. A better reranker may.",
    HURT_BY: "It was among the first ten before this stage, and is not after it.",
}
ORDER = (NOT_RETRIEVED, FUSED_LOW, HURT_BY, LEFT_LOW)
"""The way of a document."""


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A query and the document that it misses; `ranks` by column of its cause, None for not ranked."""

    query_id: str
    query: str
    document_id: str
    title: str
    grade: int
    ranks: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """All failures of one cause; `columns` are steps that ranked any of them, `width` of its bar is from 0 to 100."""

    words: str
    meaning: str
    columns: tuple[str, ...]
    rows: tuple[FailureRow, ...]
    width: float


def causes_of(evaluation: Evaluation) -> tuple[Cause, ...]:
    """Return the causes in the order of a document's way; none where nothing failed."""
    counts = Counter(one.cause for one in evaluation.failures)
    texts = {one.query_id: one.text for one in evaluation.queries}
    most = max(counts.values(), default=1)
    return tuple(
        _cause(name, [one for one in evaluation.failures if one.cause == name], texts, round(WIDE * count / most, 2))
        for name, count in sorted(counts.items(), key=lambda one: ORDER.index(one[0].partition(":")[0]))
    )


def _cause(name: str, failures: Sequence[FailureFigures], texts: Mapping[str, str], width: float) -> Cause:
    columns = tuple(dict.fromkeys(step for one in failures for step in one.ranks if one.ranks[step] is not None))
    rows = tuple(
        FailureRow(
            one.query_id,
            texts.get(one.query_id, one.query_id),
            one.document_id,
            one.title or one.document_id,
            one.grade,
            tuple(one.ranks.get(step) for step in columns),
        )
        for one in failures
    )
    return Cause(cause_words(name), MEANING[name.partition(":")[0]], columns, rows, width)
