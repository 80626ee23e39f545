"""CSV of clicks: impressions are read, weak grades come of them, and wrong lines are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import Conflict, InputError
from indexer.store import judged
from indexer.store.database import Database
from searchd.judge.click_lines import impression_of, rows_of
from searchd.judge.content import SetContent
from searchd.judge.formats import read_set, write_set
from searchd.judge.given import Problems
from searchd.judge.intake import Intake, take_in

HEADER = "query,document_id,position,clicked"


def csv(folder: Path, *lines: str) -> Path:
    path = folder / "clicks.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig", newline="")
    return path


def test_what_was_opened_nearly_always_is_relevant_and_what_never_was_is_not(tmp_path: Path, store: Database) -> None:
    shown = ['"refunds, when?",d1,1,yes', '"refunds, when?",d2,2,no']
    found = read_set(csv(tmp_path, HEADER, *(shown * 60), "rare,d3,1,1"))
    assert {(one.query, one.document_id, one.judge) for one in found.judgments} == {
        ("refunds, when?", "d1", "clicks"), ("refunds, when?", "d2", "clicks"),
    }  # fmt: skip
    assert {one.document_id: one.grade for one in found.judgments} == {"d1": 3, "d2": 0}
    with store.session() as session:
        taken = take_in(session, "default", "from-clicks", found, Intake(), 5.0)
        assert (taken.of.kind, taken.queries, taken.judgments) == ("clicks", 2, 2)
        assert {one.judge for one in judged.judgments(session, taken.of.set_id)} == {"clicks"}


def test_a_text_that_comes_with_the_ids_of_several_searches_has_the_first(tmp_path: Path) -> None:
    rows = (f"s{number},refunds,d1,1,true,15000" for number in range(40))
    found = read_set(csv(tmp_path, "query_id,query,document_id,position,clicked,dwell_ms", *rows))
    assert [(one.query_id, one.text) for one in found.queries] == [("s0", "refunds")]
    assert [(one.query_id, one.grade) for one in found.judgments] == [("s0", 3)]


def test_clicks_that_say_nothing_yet_still_make_a_set_of_clicks(tmp_path: Path, store: Database) -> None:
    found = read_set(csv(tmp_path, HEADER, "refunds,d1,1,1"))
    assert (len(found.queries), found.judgments) == (1, ())
    with store.session() as session:
        assert take_in(session, "default", "few-clicks", found, Intake(), 5.0).of.kind == "clicks"
        judged.create(session, "default", "by-people", 1.0)
    with pytest.raises(Conflict, match="they are not mixed"), store.session() as session:
        take_in(session, "default", "by-people", found, Intake(), 5.0)


def test_lines_that_are_wrong_are_named(tmp_path: Path) -> None:
    path = csv(
        tmp_path, f"{HEADER},dwell_ms", "a,d,0,1,", "a,d,1,maybe,", '"a\nb",d,1,1,5s', "a,d,1", ",d,1,1,", "a,,1,1,",
        'a,d,1,1,"x"y', "a,d,99999,1,", "a,d,2,1,900",
    )  # fmt: skip
    with pytest.raises(InputError) as refused:
        read_set(path)
    assert [line[:28] for line in str(refused.value).splitlines()[1:]] == [
        "line 2: position '0': it is ",
        "line 3: clicked 'maybe': it ",
        "line 4: dwell_ms '5s' is no ",
        "line 6: 3 fields; the first ",
        "line 7: the query has no tex",
        "line 8: there is no document",
        "line 9: no CSV: ',' expected",
        "line 10: position '99999': i",
    ]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("query,document_id,position", "clicked missing"),
        (f"{HEADER},colour", "colour not known"),
        (f"{HEADER},query", "a name twice not known"),
        ("", "query, document_id, position, clicked missing"),
    ],
)
def test_the_first_line_has_to_name_the_columns(header: str, said: str) -> None:
    problems = Problems()
    assert list(rows_of([f"{header}\n".encode(), b"a,b,1,1\n"], problems)) == []
    with pytest.raises(InputError, match=f"line 1: .*{said}"):
        problems.check()


def test_clicks_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sets are written as beir, trec, jsonl; clicks are only read"):
        write_set(SetContent((), ()), tmp_path / "set.csv")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([b'"', b",", b"\n", b"a", b"1", b"\xff", b"\x00", b"\r", b"a,d,1,1\n"]), max_size=30))
def test_whatever_comes_below_the_first_line_is_read_or_named(pieces: list[bytes]) -> None:
    problems = Problems()
    lines = [HEADER.encode() + b"\n", *b"".join(pieces).splitlines(keepends=True)]
    for where, row in rows_of(lines, problems):
        assert where.startswith("line ")
        impression_of(where, row, problems)
