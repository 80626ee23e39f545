"""Headings as people would ask for them."""

from __future__ import annotations

from random import Random

import pytest

from searchd.train.phrasing import asked, defined, is_question, plain, verb_of


@pytest.mark.parametrize(
    ("gerund", "verb"),
    [
        ("Installing", "install"),
        ("Creating", "create"),
        ("Running", "run"),
        ("Editing", "edit"),
        ("Using", "use"),
        ("Things", None),
    ],
)
def test_the_verb_of_a_gerund_is_found(gerund: str, verb: str | None) -> None:
    assert verb_of(gerund) == verb


@pytest.mark.parametrize(
    ("heading", "without"),
    [
        ("2.3. How to stop", "How to stop"),
        ("Chapter 4. Valves", "Valves"),
        ("I.4 Why not?", "Why not?"),
        ("A valve", "A valve"),
    ],
)
def test_numbering_is_no_part_of_a_query(heading: str, without: str) -> None:
    assert plain(heading) == without


def test_a_gerund_becomes_a_wish_to_do_it() -> None:
    assert {asked("Creating tables", Random(seed)) for seed in range(40)} >= {
        "How do I create tables?",
        "how to create tables",
    }


def test_a_question_stays() -> None:
    assert asked("Why is the sky blue?", Random(1)) == "Why is the sky blue?"
    assert is_question("how it can be done at all")


def test_a_definition_is_asked_for_and_other_sentences_are_not() -> None:
    assert "pump" in (defined("A pump is a machine that moves water.", Random(1)) or "")
    assert defined("This is a test of words.", Random(1)) is None
    assert defined("Open the box slowly.", Random(1)) is None
