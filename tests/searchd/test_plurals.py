"""How a count is written with its noun."""

from __future__ import annotations

from searchd.plurals import plural


def test_one_has_its_own_word_and_an_s_does_for_more_unless_another_word_is_given() -> None:
    assert [plural(n, "passage") for n in (0, 1, 2, 1234)] == [
        "0 passages",
        "1 passage",
        "2 passages",
        "1,234 passages",
    ]
    assert [plural(n, "query was", "queries were") for n in (1, 2)] == ["1 query was", "2 queries were"]
