"""Why a query's best document is not among the first ten: each cause on orders made for it; and which queries moved."""

from __future__ import annotations

import pytest

from indexer.types import RankedPassage
from searchd.evaluate.evaluation import QueryFigures
from searchd.evaluate.failures import best_document, failure_of, failures_of
from searchd.evaluate.flows import moved_most
from searchd.evaluate.trace import Step, Trace
from searchd.evaluate.types import Question, Topic
from searchd.types import Candidate, Ranking

OTHERS = [f"d{number}" for number in range(40)]


def order(rank: int | None) -> tuple[str, ...]:
    """Return an order in which `best` has this rank."""
    return tuple(OTHERS if rank is None else [*OTHERS[: rank - 1], "best", *OTHERS[rank - 1 :]])


def trace(fused: int | None, small: int | None, large: int | None, seen: tuple[str, ...] = ()) -> Trace:
    """Return a query's trace with the ranks of `best`, and the stages that saw it."""
    found = {name: Candidate(name, name, {}, {}, title=name.title()) for name in order(fused)}
    ranking = Ranking("bm25", tuple(RankedPassage(name, name, 1.0) for name in order(fused)))
    steps = (
        Step("rrf", order(fused), 1.0),
        Step("small", order(small), 1.0, 30, frozenset({"best"} if "small" in seen else ())),
        Step("large", order(large), 1.0, 15, frozenset({"best"} if "large" in seen else ())),
    )
    return Trace(Question(Topic("q", "words"), "words", (ranking,), found, {}), steps, {})


@pytest.mark.parametrize(
    ("ranks", "seen", "cause"),
    [
        ((None, None, None), (), "not_retrieved"),
        ((35, 35, 35), (), "fused_low"),
        ((12, 14, 13), ("small",), "left_low"),
        ((4, 12, 12), ("small",), "hurt_by:small"),
        ((4, 6, 11), ("small", "large"), "hurt_by:large"),
        ((14, 9, 12), ("small", "large"), "hurt_by:large"),
        ((4, 11, 11), ("small", "large"), "hurt_by:small"),
    ],
)
def test_each_cause_is_named(ranks: tuple[int | None, ...], seen: tuple[str, ...], cause: str) -> None:
    found = failure_of(trace(*ranks, seen), {"best": 3, "d0": 1}, "rrf")
    assert found is not None
    assert (found.cause, found.document_id, found.grade) == (cause, "best", 3)
    assert found.ranks == {"bm25": ranks[0], "rrf": ranks[0], "small": ranks[1], "large": ranks[2]}
    assert found.title == ("" if ranks[0] is None else "Best")


@pytest.mark.parametrize("ranks", [(1, 1, 1), (14, 12, 10), (None, None, 3)])
def test_a_query_whose_best_document_is_among_the_first_ten_has_not_failed(ranks: tuple[int | None, ...]) -> None:
    assert failure_of(trace(*ranks), {"best": 3}, "rrf") is None


def test_of_several_best_documents_one_among_the_first_will_do_and_else_the_nearest_is_named() -> None:
    late = trace(35, 35, 35)
    assert failure_of(late, {"best": 2, "d5": 2}, "rrf") is None
    assert best_document(late, {"best": 2, "d38": 2, "d1": 1}) == "best"
    assert best_document(late, {"gone": 2, "best": 2}) == "best"


def test_a_query_for_which_nothing_is_relevant_cannot_fail() -> None:
    assert failures_of([trace(None, None, None)], {"q": {"best": 0}}, "rrf") == ()


def figures(name: str, before: float, after: float) -> QueryFigures:
    return QueryFigures(query_id=name, text="", relevant=1, ndcg={"rrf": before, "default": after}, first={})


def test_half_of_those_that_moved_most_are_wins_and_half_losses_unless_one_side_has_fewer() -> None:
    wins = [figures(f"w{number}", 0.0, number / 10) for number in range(1, 8)]
    losses = [figures(f"l{number}", 0.9, 0.9 - number / 20) for number in range(1, 3)]
    same = figures("s", 0.4, 0.4)
    assert [one.query_id for one in moved_most([*wins, same, *losses], "rrf")] == ["w7", "w6", "w5", "w4", "l2", "l1"]
    assert [one.query_id for one in moved_most([same, *losses], "rrf")] == ["l2", "l1"]
    many = [figures(f"m{number}", 1.0, 1 - number / 10) for number in range(1, 8)]
    assert [one.query_id for one in moved_most([*wins, *many], "rrf")] == ["w7", "m7", "w6", "m6", "w5", "m5"]
