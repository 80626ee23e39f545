"""Sentences and words of any script."""

from __future__ import annotations

import pytest

from searchd.train.words import asks, count, sentences_of, telling, tells


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One pump. Two valves! Is it so? (Yes.) \"No.\" End", 4),
        ("Use e.g. a valve of 3.5 mm. 7 of them do. It is by A. B. Smith.", 2),
        ("a heading\n\nsome text. and more", 2),
        ("Użyj pompy, np. żeliwnej, tzn. źródłowej. Łatwo ją otworzyć.", 2),
        ("Вручную, т. е. открывают клапан. Затем ждут.", 2),  # noqa: RUF001
        ("Abra la bomba. ¿Qué pasa? ¡Pare!", 3),
        ("水泵很重。请小心。", 3),
        ("", 1),
    ],
)  # fmt: skip
def test_a_full_stop_ends_a_sentence_before_what_begins_another(text: str, sentences: int) -> None:
    found = sentences_of(text)
    assert len(found) == sentences
    assert "".join("".join(found).split()) == "".join(text.split()), "nothing is lost"


def test_words_are_counted_in_scripts_without_spaces_too() -> None:
    assert count("three short words") == 3
    assert count("水泵是一种机器") == 3
    assert telling("it is a pump of iron") == 2
    assert (tells("a 1 b2"), tells("pump"), tells("安装"), tells("வழி")) == (False, True, True, True)
    assert asks("Was ist das? ") and asks("これは何\uff1f") and not asks("How it is done")
