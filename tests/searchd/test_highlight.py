"""Highlights: cut at words, densest first, ranges exact, nothing but the text itself."""

from __future__ import annotations

import random
import re

import pytest

from searchd.highlight import Place, highlights_of
from searchd.types import Highlighting


def places_of(text: str, *words: str) -> list[Place]:
    found = [(m.start(), m.end(), word) for word in words for m in re.finditer(re.escape(word), text)]
    return sorted(found)


def test_ranges_are_characters_of_the_fragment() -> None:
    text = "Die Größe der Pumpe: die Pumpe ist groß."
    (only,) = highlights_of(text, places_of(text, "Pumpe"), Highlighting(max_chars=200))
    assert only.text == text
    assert [only.text[a:b] for a, b in only.ranges] == ["Pumpe", "Pumpe"]


def test_the_fragment_is_where_most_different_words_stand() -> None:
    text = "valve valve valve. " + "filler words go here. " * 20 + "the pump and the valve stop." + " more filler." * 20
    best = highlights_of(text, places_of(text, "valve", "pump"), Highlighting(max_chars=60, fragments=1))
    assert "pump and the valve" in best[0].text


def test_fragments_come_in_the_order_of_the_text_and_do_not_overlap() -> None:
    text = " ".join(f"word{i}" + (" needle" if i % 40 == 0 else "") for i in range(200))
    found = highlights_of(text, places_of(text, "needle"), Highlighting(max_chars=50, fragments=3))
    assert len(found) == 3
    starts = [text.index(one.text) for one in found]
    assert starts == sorted(starts)
    assert all(len(one.text) <= 50 for one in found)
    assert sum(len(one.ranges) for one in found) >= 3


def test_without_a_match_it_is_the_beginning_of_the_text() -> None:
    (only,) = highlights_of("one two three four five", [], Highlighting(max_chars=20))
    assert (only.text, only.ranges) == ("one two three four", ())


def test_white_space_alone_or_no_fragments_give_nothing() -> None:
    assert highlights_of("  \n ", [], Highlighting()) == ()
    assert highlights_of("text", [], Highlighting(fragments=0)) == ()


def test_a_word_longer_than_a_fragment_is_cut_and_marked_within_it() -> None:
    text = "x" * 500
    (only,) = highlights_of(text, [(0, 500, "x")], Highlighting(max_chars=40, fragments=1))
    assert only.ranges == ((0, len(only.text)),)
    assert len(only.text) <= 40


@pytest.mark.parametrize("seed", range(30))
def test_whatever_matches_fragments_are_parts_of_the_text_and_ranges_lie_inside(seed: int) -> None:
    chance = random.Random(seed)
    words = [chance.choice(["a", "needle", "äöü", "x" * chance.randint(1, 60), "\n", "<b>"]) for _ in range(150)]
    text = " ".join(words)
    places = [place for place in places_of(text, "needle", "äöü") if chance.random() < 0.7]
    wanted = Highlighting(max_chars=chance.randint(20, 300), fragments=chance.randint(1, 5))
    found = highlights_of(text, places, wanted)
    assert 1 <= len(found) <= wanted.fragments
    for one in found:
        assert one.text in text
        assert len(one.text) <= wanted.max_chars
        assert one.text == one.text.strip()
        for start, end in one.ranges:
            assert 0 <= start < end <= len(one.text)
        assert list(one.ranges) == sorted(one.ranges)
    if places:
        assert any(one.ranges for one in found)
