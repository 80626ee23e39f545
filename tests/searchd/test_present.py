"""Presentation: folding, the score that decided, matched terms, fields."""

from __future__ import annotations

from indexer.engine import LiveIndexes
from searchd.present import by_document, chosen_fields, deciding_score, present
from searchd.services import Services
from searchd.types import Candidate, StageReport
from tests.searchd.library import ask

STAGES = (StageReport("small", "full", 2, 2, 1.0), StageReport("large", "partial", 1, 2, 1.0, "late"))


def candidate(name: str, document: str, **scores: float) -> Candidate:
    return Candidate(
        name, document, scores, {}, title="Pumps", text=f"The valve of {name}.", metadata={"a": 1, "b": "x"}
    )


def test_documents_come_in_the_order_of_their_best_passage() -> None:
    folded = by_document([candidate("p1", "b"), candidate("p2", "a"), candidate("p3", "b")])
    assert [(name, [one.passage_id for one in passages]) for name, passages in folded.items()] == [
        ("b", ["p1", "p3"]),
        ("a", ["p2"]),
    ]


def test_the_deciding_score_is_the_last_stages_else_the_fused_one() -> None:
    both = candidate(
        "p", "d", bm25=3.0, rrf=0.03, **{"small": 1.0, "small.blend": 0.5, "large": 2.0, "large.blend": 0.7}
    )
    assert deciding_score(both, STAGES) == (0.7, "large.blend")
    early = candidate("p", "d", bm25=3.0, rrf=0.03, **{"small": 1.0, "small.blend": 0.5})
    assert deciding_score(early, STAGES) == (0.5, "small.blend")
    assert deciding_score(candidate("p", "d", bm25=3.0, rrf=0.03), STAGES) == (0.03, "rrf")
    assert deciding_score(candidate("p", "d", bm25=3.0), STAGES) == (3.0, "bm25")
    assert deciding_score(candidate("p", "d"), STAGES) == (0.0, "none")


def test_a_page_keeps_its_ranks_when_a_document_of_it_is_gone(services: Services) -> None:
    live: LiveIndexes = services.engine.live("default")
    documents = by_document([candidate("p1", "a"), candidate("p3", "c")])
    query = ask(services, "valve", offset=10)
    hits = present(documents, ["a", "b", "c"], query, "default", live.lexical, STAGES)
    assert [(hit.rank, hit.candidate.document_id) for hit in hits] == [(11, "a"), (13, "c")]


def test_a_hit_shows_which_words_of_the_query_matched_and_where(services: Services) -> None:
    live = services.engine.live("default")
    query = ask(services, "valves pumps zebra")
    (hit,) = present(by_document([candidate("p1", "a")]), ["a"], query, "default", live.lexical, ())
    assert set(hit.matched_terms) == {"valves", "pumps"}
    (highlight,) = hit.highlights
    assert [highlight.text[a:b] for a, b in highlight.ranges] == ["valve"]


def test_fields_are_those_asked_for_in_that_order() -> None:
    one = candidate("p", "d")
    assert chosen_fields(one, None) == {"a": 1, "b": "x"}
    assert list(chosen_fields(one, ("b", "missing", "a"))) == ["b", "a"]
    assert chosen_fields(one, ()) == {}
