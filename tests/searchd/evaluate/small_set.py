"""A judged set over the library of `tests/searchd/library.py`, and what turns it into an evaluation without a model."""

from __future__ import annotations

from indexer.store.judged import JudgedQuery, Judgment
from searchd.evaluate.types import JudgedData, Topic

QUERIES = {
    "q1": "valve of pump number 7",
    "q2": "when is the refund paid",
    "q3": "parcels in the evening",
    "q4": "connection was reset",
    "q5": "who closes the factory",
    "q6": "pump number 31 closed slowly",
}
GRADES = {
    "q1": {"manual-07": 3, "manual-17": 1, "refunds": 0},
    "q2": {"refunds": 2, "returns": 1},
    "q3": {"shipping": 2},
    "q4": {"errors": 3},
    "q5": {"board": 2},  # which only some may read
    "q6": {"manual-31": 3},
}


def small_set(*, complete: bool = False, kind: str = "judged") -> JudgedData:
    """Return the set as evaluations take it."""
    topics = tuple(Topic(name, text) for name, text in QUERIES.items())
    return JudgedData("small", "default", kind, complete, topics, GRADES)


def queries() -> list[JudgedQuery]:
    """Return the queries as they are stored."""
    return [JudgedQuery(name, text, "file") for name, text in QUERIES.items()]


def judgments() -> list[Judgment]:
    """Return the grades as they are stored."""
    return [Judgment(q, d, grade, "ann", 1.0) for q, of in GRADES.items() for d, grade in of.items()]
