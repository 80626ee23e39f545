"""Gates that an evaluation has to pass, for the owner's CI: a least nDCG@10, and the most that it may have dropped."""

from __future__ import annotations

import msgspec

from searchd.evaluate.comparison import Comparison, name_of
from searchd.evaluate.evaluation import Evaluation
from searchd.evaluate.measures import MAIN
from searchd.evaluate.sentences import said_difference
from searchd.evaluate.systems import DEFAULT


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A gate, whether it was passed, and why."""

    name: str
    passed: bool
    why: str


def least_ndcg(evaluation: Evaluation, least: float) -> Gate:
    """Ask for a least mean nDCG@10 of what is served."""
    served = evaluation.system(DEFAULT)
    found = served.metrics[MAIN] if served else 0.0
    passed = found >= least
    why = f"{MAIN} of {name_of(evaluation)} is {found:.4f}, {'at least' if passed else 'less than'} {least:g}"
    return Gate(name="min-ndcg", passed=passed, why=why)


def most_drop(comparison: Comparison | None, most: float) -> Gate:
    """Ask that mean nDCG@10 has dropped by no more than this; passed where there is nothing to compare with."""
    if comparison is None:
        return Gate(
            name="max-drop", passed=True, why="there is no earlier evaluation of this set and profile to compare with"
        )
    found = comparison.measure(MAIN)
    drop = -found.difference.mean
    passed = drop <= most
    why = (
        f"{MAIN} changed by {said_difference(found.difference)} from {comparison.before} to {comparison.after} over "
        f"{comparison.queries} queries: a drop of {max(0.0, drop):.4f}, {'at most' if passed else 'more than'} {most:g}"
    )
    return Gate(name="max-drop", passed=passed, why=why)
