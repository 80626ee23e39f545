"""Fusions, by hand."""

from __future__ import annotations

import math

import pytest

from indexer.types import RankedPassage
from searchd.fuse import FUSIONS, fusion_of, linear_fusion, reciprocal_rank_fusion
from searchd.types import Ranking


def ranking(system: str, *names: str) -> Ranking:
    return Ranking(system, tuple(RankedPassage(name, f"d-{name}", 10.0 - i) for i, name in enumerate(names)))


def test_scores_are_the_sum_of_one_over_k_plus_rank_worked_by_hand() -> None:
    fused = reciprocal_rank_fusion([ranking("bm25", "a", "b", "c"), ranking("dense", "c", "a", "d")], k=60)
    assert [one.passage_id for one in fused] == ["a", "c", "b", "d"]
    by_id = {one.passage_id: one for one in fused}
    assert math.isclose(by_id["a"].scores["rrf"], 1 / 61 + 1 / 62)
    assert math.isclose(by_id["c"].scores["rrf"], 1 / 63 + 1 / 61)
    assert math.isclose(by_id["b"].scores["rrf"], 1 / 62)
    assert math.isclose(by_id["d"].scores["rrf"], 1 / 63)


def test_scores_and_ranks_keep_their_names_and_are_those_of_the_systems() -> None:
    fused = reciprocal_rank_fusion([ranking("bm25", "a", "b"), ranking("dense", "b")], k=60)
    first = fused[0]
    assert (first.passage_id, first.document_id) == ("b", "d-b")
    assert first.ranks == {"bm25": 2, "dense": 1, "rrf": 1}
    assert {name: first.scores[name] for name in ("bm25", "dense")} == {"bm25": 9.0, "dense": 10.0}
    assert "dense" not in fused[1].ranks


def test_ties_are_broken_by_passage_id() -> None:
    fused = reciprocal_rank_fusion([ranking("bm25", "b", "a"), ranking("dense", "a", "b")], k=60)
    assert [one.passage_id for one in fused] == ["a", "b"]


def test_a_weight_multiplies_what_its_system_adds() -> None:
    rankings = [ranking("bm25", "a"), ranking("dense", "b")]
    assert reciprocal_rank_fusion(rankings, k=60, weights={"dense": 2.0})[0].passage_id == "b"
    unheard = reciprocal_rank_fusion(rankings, k=60, weights={"bm25": 0.0})
    assert [one.scores["rrf"] for one in unheard] == [1 / 61, 0.0]


def test_a_smaller_k_makes_the_first_places_count_more() -> None:
    rankings = [ranking("bm25", "a", "x", "y", "w", "b"), ranking("dense", "z", "q", "b")]
    scores = {k: {one.passage_id: one.scores["rrf"] for one in reciprocal_rank_fusion(rankings, k=k)} for k in (1, 60)}
    assert math.isclose(scores[1]["a"], 1 / 2)
    assert math.isclose(scores[1]["b"], 1 / 6 + 1 / 4)
    assert scores[1]["a"] > scores[1]["b"]
    assert scores[60]["a"] < scores[60]["b"]


def test_nothing_retrieved_fuses_to_nothing() -> None:
    assert reciprocal_rank_fusion([]) == ()
    assert reciprocal_rank_fusion([Ranking("bm25", ()), Ranking("dense", ())]) == ()


def test_a_passage_repeated_in_a_ranking_counts_at_its_first_place() -> None:
    (only,) = reciprocal_rank_fusion([ranking("bm25", "a", "a")], k=60)
    assert math.isclose(only.scores["rrf"], 1 / 61)
    assert only.ranks["bm25"] == 1


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_every_fusion_keeps_every_passage_once_and_is_deterministic(name: str) -> None:
    rankings = [ranking("bm25", *"abcdef"), ranking("dense", *"fghia")]
    fused = FUSIONS[name](rankings, k=60, weights={})
    assert sorted(one.passage_id for one in fused) == sorted("abcdefghi")
    assert fused == FUSIONS[name](rankings, k=60, weights={})
    assert [one.ranks[name] for one in fused] == list(range(1, 10))


def scored(system: str, **scores: float) -> Ranking:
    return Ranking(system, tuple(RankedPassage(name, f"d-{name}", score) for name, score in scores.items()))


def test_linear_fusion_adds_scores_between_each_systems_lowest_and_highest() -> None:
    rankings = [scored("bm25", a=12.0, b=6.0, c=2.0), scored("dense", b=0.9, d=0.6, c=0.5)]
    fused = linear_fusion(rankings, weights={"bm25": 0.3, "dense": 0.7})
    by_id = {one.passage_id: one for one in fused}
    assert [one.passage_id for one in fused] == ["b", "a", "d", "c"]
    assert math.isclose(by_id["b"].scores["linear"], 0.3 * 4 / 10 + 0.7)
    assert math.isclose(by_id["a"].scores["linear"], 0.3)
    assert math.isclose(by_id["d"].scores["linear"], 0.7 * 0.1 / 0.4)
    assert by_id["c"].scores["linear"] == 0.0
    assert math.isclose(by_id["b"].scores["linear.bm25"], 0.12) and by_id["b"].scores["bm25"] == 6.0
    assert "linear.dense" not in by_id["a"].scores
    assert by_id["b"].ranks == {"bm25": 2, "dense": 1, "linear": 1}
    assert fusion_of(by_id["b"].scores) == "linear"


def test_scores_that_do_not_differ_add_the_whole_weight() -> None:
    fused = linear_fusion([scored("bm25", a=3.0), scored("dense", b=0.5, c=0.5)], weights={"dense": 2.0})
    assert [(one.passage_id, one.scores["linear"]) for one in fused] == [("b", 2.0), ("c", 2.0), ("a", 1.0)]


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_a_passage_that_a_ranking_repeats_counts_at_its_first_place(name: str) -> None:
    fused = FUSIONS[name]([ranking("bm25", "a", "b", "a"), ranking("dense", "b", "c")], k=60, weights={})
    assert sorted(one.passage_id for one in fused) == ["a", "b", "c"]
    assert next(one for one in fused if one.passage_id == "a").ranks["bm25"] == 1
    assert FUSIONS[name]([], k=60, weights={}) == ()
