"""Two evaluations of one set side by side: paired differences of what each serves, and the queries that one answers better.

Takes Evaluations, measured now or stored; compares system `default` of both over the queries they share.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from indexer.errors import InputError
from searchd.evaluate.bootstrap import difference
from searchd.evaluate.evaluation import DifferenceFigures, Evaluation, QueryFigures
from searchd.evaluate.measures import MAIN, MEASURES

LEAST_MOVE = 1e-9


class MeasureComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A measure's means of both, and the paired difference."""

    measure: str
    before: float
    after: float
    difference: DifferenceFigures


class QueryComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A query's nDCG@10 of both."""

    query_id: str
    text: str
    before: float
    after: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from `before` to `after`, named as reports name them."""

    before: str
    after: str
    collection: str
    set_name: str
    kind: str
    queries: int
    """Those that both answered."""
    left_out: int
    """Those that only one did."""
    judged_pairs: tuple[int, int]
    """How much was judged then: where that differs, so do figures of the same answers."""
    principals: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Whose documents were read besides public ones."""
    first_queries: tuple[int, int] = (0, 0)
    """How many of the set's queries were asked, its first; 0: all."""
    measures: tuple[MeasureComparison, ...]
    wins: tuple[QueryComparison, ...]
    """The queries that `after` answers better, the greatest gain first."""
    losses: tuple[QueryComparison, ...]
    """Those that it answers worse, the greatest loss first."""

    def measure(self, name: str) -> MeasureComparison:
        """Return a measure's comparison."""
        return next(one for one in self.measures if one.measure == name)


def compare(before: Evaluation, after: Evaluation) -> Comparison:
    """Compare two evaluations. Raises: InputError if they are of different sets, or share no query."""
    ours, theirs = of_what(before), of_what(after)
    if ours != theirs:
        raise InputError(f"one evaluation is of set {ours}, the other of set {theirs}: their queries are not the same")
    old = {one.query_id: one for one in before.queries if one.default}
    both = [(old[one.query_id], one) for one in after.queries if one.default and one.query_id in old]
    if not both:
        raise InputError(f"the two evaluations of set {ours} share no query")
    named = name_of(before), name_of(after)
    if named[0] == named[1]:
        named = f"{named[0]} {before.evaluation_id[:8]}", f"{named[1]} {after.evaluation_id[:8]}"
    moved = [(was, now) for was, now in both if abs(now.default[MAIN] - was.default[MAIN]) > LEAST_MOVE]
    moved.sort(key=lambda pair: -abs(pair[1].default[MAIN] - pair[0].default[MAIN]))
    return Comparison(
        before=named[0],
        after=named[1],
        collection=after.collection,
        set_name=after.set_name,
        kind=after.kind,
        queries=len(both),
        left_out=len({one.query_id for one in (*before.queries, *after.queries)}) - len(both),
        judged_pairs=(before.judged_pairs, after.judged_pairs),
        principals=(before.principals, after.principals),
        first_queries=(before.first_queries, after.first_queries),
        measures=tuple(_compare_measure(name, both) for name in MEASURES),
        wins=tuple(_query(was, now) for was, now in moved if now.default[MAIN] > was.default[MAIN]),
        losses=tuple(_query(was, now) for was, now in moved if now.default[MAIN] < was.default[MAIN]),
    )


def _compare_measure(name: str, both: list[tuple[QueryFigures, QueryFigures]]) -> MeasureComparison:
    was = [one.default.get(name, 0.0) for one, _ in both]
    now = [one.default.get(name, 0.0) for _, one in both]
    found = difference(was, now)
    return MeasureComparison(
        measure=name,
        before=sum(was) / len(was),
        after=sum(now) / len(now),
        difference=DifferenceFigures(mean=found.mean, low=found.low, high=found.high, real=found.is_real),
    )


def _query(was: QueryFigures, now: QueryFigures) -> QueryComparison:
    return QueryComparison(query_id=now.query_id, text=now.text, before=was.default[MAIN], after=now.default[MAIN])


def of_what(evaluation: Evaluation) -> str:
    """Return the set that an evaluation is of, with its collection."""
    return f"{evaluation.collection}/{evaluation.set_name}"


def name_of(evaluation: Evaluation) -> str:
    """Return how reports call an evaluation: its profile and when it was measured."""
    version = "" if evaluation.profile_version is None else f" version {evaluation.profile_version}"
    return f"{evaluation.profile}{version}, {when(evaluation.evaluated_at)}"


def when(seconds: float) -> str:
    """Return a moment as reports write it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
