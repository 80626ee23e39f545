"""The pool: every order has its say, the judge does not see whose, and the same query gives the same pool."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

from searchd.judge.pool import DEPTH, Pooled, documents_by_order, interleaved, names_of, pool_of, start_of
from searchd.types import Candidate, SearchResponse, StageReport


def passage(document: str, part: int = 0, **ranks: int) -> Candidate:
    """Return a passage of a document with these ranks."""
    scores = {name: 1 / rank for name, rank in ranks.items()}
    return Candidate(f"{document}-{part}", document, scores, ranks, title=document.upper(), text=f"{document} {part}")


def answer(*candidates: Candidate, stages: tuple[str, ...] = ("small",)) -> SearchResponse:
    """Return the answer of a search with these candidates, in their last order."""
    systems = tuple(StageReport(name, "full", 9, 9, 1.0) for name in ("bm25", "dense"))
    reports = tuple(StageReport(name, "full", 9, 9, 1.0) for name in stages)
    return SearchResponse("id", (), 0, True, {}, systems, reports, (), {}, 1.0, "default", candidates)


def orders(response: SearchResponse) -> dict[str, tuple[str, ...]]:
    return dict(documents_by_order(response.candidates, names_of(response)))


def test_each_system_and_each_stage_orders_documents_by_their_best_passage() -> None:
    found = answer(
        passage("c", bm25=3, rrf=3, small=1),
        passage("a", 0, bm25=1, dense=2, rrf=1, small=2),
        passage("a", 1, dense=1, rrf=2),
        passage("b", bm25=2, rrf=4),
    )
    assert orders(found) == {
        "bm25": ("a", "b", "c"),
        "dense": ("a",),
        "rrf": ("a", "c", "b"),
        "small": ("c", "a", "b"),
    }


def test_what_a_stage_did_not_score_follows_in_the_order_before_it() -> None:
    found = answer(*(passage(name, rrf=place) for place, name in enumerate("abcd", start=1)), stages=("small", "large"))
    first = {"c": 1, "a": 2}
    found = replace(
        found,
        candidates=tuple(
            replace(one, ranks={**one.ranks, **({"small": first[one.document_id]} if one.document_id in first else {})})
            for one in found.candidates
        ),
    )
    assert orders(found) == {"rrf": ("a", "b", "c", "d"), "small": ("c", "a", "b", "d")}


def test_an_order_puts_no_more_than_its_top_into_the_pool() -> None:
    by_words = [passage(f"w{place:02}", bm25=place, rrf=2 * place) for place in range(1, 31)]
    by_meaning = [passage(f"m{place:02}", dense=place, rrf=2 * place - 1) for place in range(1, 31)]
    pool = pool_of(answer(*by_words, *by_meaning, stages=()), "q")
    assert {one.document_id for one in pool} == {f"{kind}{place:02}" for kind in "wm" for place in range(1, DEPTH + 1)}


def test_orders_take_turns_by_depth() -> None:
    assert list(interleaved([["a", "b"], ["c"], ["d", "e"]], 1)) == ["c", "d", "a", "e", "b"]
    assert list(interleaved([], 0)) == []


def test_over_queries_each_order_begins_as_often_as_the_others_and_always_the_same_for_one() -> None:
    begun = Counter(start_of(f"q-{number}", 5) for number in range(2000))
    assert sorted(begun) == [0, 1, 2, 3, 4]
    assert min(begun.values()) > 320
    assert {start_of("q-1", 5) for _ in range(3)} == {start_of("q-1", 5)}


def test_the_pool_is_the_same_every_time_and_does_not_say_who_found_what() -> None:
    found = answer(passage("a", bm25=1, rrf=1, small=2), passage("b", dense=1, rrf=2, small=1))
    assert pool_of(found, "q") == pool_of(found, "q")
    assert {field.name for field in fields(Pooled)} & {"scores", "ranks", "score", "rank", "scored_by"} == set()


def test_a_document_is_shown_by_the_passage_that_the_whole_search_put_first() -> None:
    found = answer(passage("a", 1, dense=3, rrf=2), passage("a", 0, bm25=1, rrf=1))
    (one,) = pool_of(found, "q")
    assert (one.passage_id, one.text, one.title) == ("a-1", "a 1", "A")


def test_what_is_judged_comes_last_and_the_rest_keeps_its_order() -> None:
    found = answer(*(passage(name, bm25=place, rrf=place) for place, name in enumerate("abcd", start=1)), stages=())
    names = [one.document_id for one in pool_of(found, "q", {"a": 3, "c": 0})]
    assert names == ["b", "d", "a", "c"]


def test_a_query_that_found_nothing_has_an_empty_pool() -> None:
    assert pool_of(answer(), "q") == ()
