"""Operators reach what vectors find: forbidden words, required ones, phrases and titles."""

from __future__ import annotations

import pytest

from indexer.scope import Scope
from searchd.operators import meaning_of
from searchd.services import Services
from tests.searchd.library import ask


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("how do refunds work?", "how do refunds work?"),
        ("pump -valve", "pump"),
        ('+pump "closed slowly"', "pump closed slowly"),
        ("title:refunds money", "refunds money"),
        ("-valve", ""),
    ],
)
def test_models_read_the_text_without_operators(services: Services, text: str, meaning: str) -> None:
    assert meaning_of(ask(services, text)) == meaning


@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
@pytest.mark.parametrize(
    ("text", "word", "present"),
    [("send money -refund", "refund", False), ("send +money", "money", True), ('"money again"', "money again", True)],
)
def test_no_hit_breaks_an_operator(services: Services, mode: str, text: str, word: str, present: bool) -> None:
    response = services.pipeline.search(ask(services, text, mode=mode, limit=50), Scope.of("default"))
    assert response.hits
    for hit in response.hits:
        whole = f"{hit.candidate.title} {hit.candidate.text}".lower()
        assert (word in whole) is present, (text, hit.candidate.document_id)


def test_a_title_operator_holds_for_what_vectors_find(services: Services) -> None:
    response = services.pipeline.search(ask(services, "title:returns", limit=50), Scope.of("default"))
    assert [hit.candidate.document_id for hit in response.hits] == ["returns"]
    assert response.total == 1
