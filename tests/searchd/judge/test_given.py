"""What is said of a line that is wrong, and queries that have more than a query may have."""

from __future__ import annotations

import pytest

from indexer.errors import InputError
from searchd.judge.given import Draft, GivenJudgment, Problems, grade_of, query_id_of, text_lines


def test_twenty_mistakes_are_told_and_the_others_counted() -> None:
    problems = Problems()
    problems.check()
    for number in range(1, 24):
        problems.add(f"line {number}", "wrong")
    with pytest.raises(InputError) as refused:
        problems.check()
    told = str(refused.value).splitlines()
    assert told[0] == "nothing was imported: 23 mistakes"
    assert told[1:21] == [f"line {number}: wrong" for number in range(1, 21)]
    assert told[21:] == ["and 3 more"]


def test_a_query_with_more_words_or_characters_than_are_taken_is_cut_and_marked() -> None:
    draft = Draft(Problems())
    long = draft.add_query("line 1", "q1", " ".join(f"word{number}" for number in range(40)))
    wide = draft.add_query("line 2", "q2", "x" * 600)
    short = draft.add_query("line 3", "q3", "  how do   I pay?")
    assert long is not None and wide is not None and short is not None
    assert (len(long.text.split()), long.cut) == (32, True)
    assert (len(wide.text), wide.cut) == (512, True)
    assert (short.text, short.cut) == ("  how do   I pay?", False)
    assert draft.add_query("line 4", "q1", " ".join(f"word{number}" for number in range(40))) is long


@pytest.mark.parametrize(
    ("query_id", "text", "said"),
    [
        ("q", "  ", "the query has no text"),
        ("q" * 257, "pay", "the query's id has 257 characters; at most 256 are taken"),
        ("q", '"a"' * 33, "33 terms; at most 32 are taken, and cutting it at a space does not help"),
    ],
)
def test_a_query_that_cannot_be_asked_is_refused_with_its_line(query_id: str, text: str, said: str) -> None:
    problems = Problems()
    assert Draft(problems).add_query("line 7", query_id, text) is None
    with pytest.raises(InputError, match=f"line 7: .*{said}"):
        problems.check()


@pytest.mark.parametrize(
    ("judgment", "said"),
    [
        (GivenJudgment("line 2", "q", "", "d", 4), "grade 4: grades are 0 to 3"),
        (GivenJudgment("line 2", "q", "", "d", -1), "grade -1: grades are 0 to 3"),
        (GivenJudgment("line 2", "q", "", "", 1), "there is no document id"),
        (GivenJudgment("line 2", "q", "", "d" * 513, 1), "the document's id has 513 characters"),
        (GivenJudgment("line 2", "q", "", "d", 1, passage_id="p" * 37), "the passage's id has 37 characters"),
        (GivenJudgment("line 2", "q", "", "d", 1, judge="j" * 65), "the judge's name has 65 characters"),
    ],
)
def test_a_judgment_that_cannot_be_stored_is_refused_with_its_line(judgment: GivenJudgment, said: str) -> None:
    draft = Draft(Problems())
    draft.add_judgment(judgment)
    with pytest.raises(InputError, match=f"line 2: {said}"):
        draft.finished()


def test_a_negative_grade_of_qrels_is_not_relevant_and_what_is_no_whole_number_is_none() -> None:
    assert [grade_of(text) for text in ("3", "0", "-2", "2.0", "+1")] == [3, 0, 0, 2, 1]
    for text in ("", "x", "1.5", "nan", "inf", "1" * 400):
        with pytest.raises(ValueError):
            grade_of(text)


def test_bytes_that_are_no_utf8_are_named_and_a_mark_at_the_beginning_is_left_out() -> None:
    problems = Problems()
    lines = [b"\xef\xbb\xbfone\r\n", b"\n", b"caf\xe9\n", b"four"]
    assert list(text_lines(lines, problems)) == [("line 1", "one"), ("line 4", "four")]
    with pytest.raises(InputError, match="line 3: no UTF-8: byte 4 of the line is 0xe9"):
        problems.check()


def test_a_query_without_an_id_has_the_same_one_every_time() -> None:
    assert query_id_of("how do I pay") == query_id_of("how do I pay") != query_id_of("how do I pay?")
    assert len(query_id_of("\ud800")) == 16
