"""Every format: what is written is read again as it was, and what is wrong is named by its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.errors import Conflict, InputError
from indexer.store.judged import JudgedQuery, Judgment
from searchd.judge import jsonl, topics, trec
from searchd.judge.content import SetContent
from searchd.judge.formats import WRITTEN, ReadOptions, format_of, read_set, write_set
from searchd.judge.given import Given, Problems, text_lines

CONTENT = SetContent(
    (JudgedQuery("q2", 'gr\u00fc\u00dfe "two  words"', "file", 1), JudgedQuery("q1", "reset, the <router>", "file", 2)),
    (
        Judgment("q1", "a/b.md", 0, "ann", 5.5),
        Judgment("q1", "d\u00fc", 3, "bob", 6.0),
        Judgment("q2", "d1", 1, "ann", 7.0),
    ),
)
ENDINGS = {"beir": "", "trec": ".qrels", "jsonl": ".jsonl"}


def told(one: Given) -> tuple[dict[str, str], set[tuple[str, str, int]]]:
    """Return what every format holds."""
    queries = {query.query_id: query.text for query in one.queries}
    return queries, {(judgment.query_id, judgment.document_id, judgment.grade) for judgment in one.judgments}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_set_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"set{ENDINGS[name]}"
    written = write_set(CONTENT, path)
    assert format_of(path) == name
    queries, grades = told(read_set(path))
    space = {"trec": " "}.get(name, "  ")
    assert queries == {"q2": f'gr\u00fc\u00dfe "two{space}words"', "q1": "reset, the <router>"}
    assert grades == {("q1", "a/b.md", 0), ("q1", "d\u00fc", 3), ("q2", "d1", 1)}
    with pytest.raises(Conflict, match="would be overwritten; --overwrite does that"):
        write_set(CONTENT, path)
    assert write_set(CONTENT, path, overwrite=True) == written


def test_json_lines_keep_judges_times_passages_and_queries_that_nobody_judged(tmp_path: Path) -> None:
    one = Judgment("q1", "d", 2, "ann", 5.5, "p1")
    content = SetContent((JudgedQuery("q1", "refunds", "file"), JudgedQuery("q2", "login", "log")), (one,))
    path = tmp_path / "set.jsonl"
    write_set(content, path)
    found = read_set(path)
    assert [(query.query_id, query.text) for query in found.queries] == [("q1", "refunds"), ("q2", "login")]
    (judgment,) = found.judgments
    assert (judgment.passage_id, judgment.judge, judgment.judged_at) == ("p1", "ann", 5.5)


def test_where_only_passages_were_judged_qrels_have_the_best_of_them_and_else_the_documents_own_grade() -> None:
    content = SetContent(
        (JudgedQuery("q", "refunds", "file"),),
        (
            Judgment("q", "d1", 1, "a", 1.0, "p1"),
            Judgment("q", "d1", 3, "a", 1.0, "p2"),
            Judgment("q", "d2", 3, "a", 1.0, "p3"),
            Judgment("q", "d2", 0, "a", 1.0),
        ),
    )
    assert [(one.document_id, one.grade) for one in content.qrels()] == [("d1", 3), ("d2", 0)]
    assert content.of_passages == 3


@pytest.mark.parametrize(("name", "wrong"), [("trec", "a b"), ("beir", "a\tb"), ("beir", "a\nb")])
def test_an_id_that_a_format_cannot_hold_is_refused_before_anything_is_written(
    name: str, wrong: str, tmp_path: Path
) -> None:
    content = SetContent((JudgedQuery("q", "refunds", "file"),), (Judgment("q", wrong, 1, "a", 1.0),))
    with pytest.raises(InputError, match=r"jsonl can$"):
        write_set(content, tmp_path / "set", name)
    assert list(tmp_path.iterdir()) == []


def test_a_format_is_told_by_the_shape_of_the_path_or_asked_for(tmp_path: Path) -> None:
    assert [format_of(tmp_path / name) for name in ("new", "a.jsonl", "a.CSV", "a.qrels", "a.txt", "a.tsv")] == [
        "beir", "jsonl", "clicks", "trec", "trec", "trec",
    ]  # fmt: skip
    (tmp_path / "v1.2").mkdir()
    assert format_of(tmp_path / "v1.2") == "beir"
    (tmp_path / "qrels").touch()
    for name in ("qrels", "a.xlsx"):
        with pytest.raises(InputError, match=r"does not say what it is .* --format says it"):
            format_of(tmp_path / name)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jsonl cannot be read: No such file"):
        read_set(tmp_path / "gone.jsonl")


# -- BEIR -----------------------------------------------------------------------------------------------------------


def beir(folder: Path, queries: str, qrels: str) -> Path:
    (folder / "qrels").mkdir()
    (folder / "queries.jsonl").write_text(queries, encoding="utf-8")
    (folder / "qrels" / "dev.tsv").write_text(qrels, encoding="utf-8")
    return folder


def test_of_a_beir_folder_the_queries_of_the_split_are_read_and_other_fields_left_alone(tmp_path: Path) -> None:
    queries = '{"_id": 7, "text": "refunds", "metadata": {"a": []}}\n{"_id": "8", "text": "of another split"}\n'
    folder = beir(tmp_path, queries, "query-id\tcorpus-id\tscore\r\n7\td 1\t2\r\n7\td2\t-1\r\n")
    assert told(read_set(folder, asked=ReadOptions(split="dev"))) == (
        {"7": "refunds"},
        {("7", "d 1", 2), ("7", "d2", 0)},
    )
    with pytest.raises(InputError, match=r"no judgments of split 'test' \(qrels/test\.tsv\); there are: dev"):
        read_set(folder)


def test_mistakes_of_both_files_of_a_beir_folder_are_named_with_file_and_line(tmp_path: Path) -> None:
    queries = '{"_id": "1", "text": "a"}\n\n{"text": "b"}\n{"_id": "1", "text": "c"}\n{"_id": "", "text": "c"}\n{'
    folder = beir(tmp_path, queries, "1\td\t1\n1\td\n1\td\thigh\n9\td\t1\n1\td\t4\n")
    with pytest.raises(InputError) as refused:
        read_set(folder, asked=ReadOptions(split="dev"))
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()[1:]] == [
        "queries.jsonl line 3", "queries.jsonl line 4", "queries.jsonl line 5", "queries.jsonl line 6",
        "qrels/dev.tsv line 1", "qrels/dev.tsv line 2", "qrels/dev.tsv line 3", "qrels/dev.tsv line 4",
        "qrels/dev.tsv line 5",
    ]  # fmt: skip
    assert "queries.jsonl line 4: query '1' stands on line 1 too" in str(refused.value)
    assert "the first line has to be query-id, corpus-id, score" in str(refused.value)


# -- TREC -----------------------------------------------------------------------------------------------------------

BLOCKS = """<topics>
<top>
<num> Number: 301
<title> International
Organized Crime &amp; a < b <x>

<desc> Description:
Identify organizations.
</top>
<top><num>302</num><title> Topic: Polio</title></top>
</topics>
"""


def test_topics_are_read_from_blocks_tables_and_json_lines(tmp_path: Path) -> None:
    (tmp_path / "t.topics").write_text(BLOCKS)
    (tmp_path / "t.tsv").write_text("301\tInternational Organized Crime & a < b <x>\n302\tPolio\n")
    rows = ({"_id": "301", "text": "International Organized Crime & a < b <x>"}, {"_id": "302", "text": "Polio"})
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "qrels.txt").write_text("301 0 FT-1 1\n302\t0  FT-2\t-1\n")
    for name in ("t.topics", "t.tsv", "t.jsonl"):
        assert told(read_set(tmp_path / "qrels.txt", asked=ReadOptions(topics=tmp_path / name))) == (
            {"301": "International Organized Crime & a < b <x>", "302": "Polio"},
            {("301", "FT-1", 1), ("302", "FT-2", 0)},
        )
    with pytest.raises(InputError, match=r"the name has to end in one of \.jsonl, \.tsv"):
        read_set(tmp_path / "qrels.txt", asked=ReadOptions(topics=tmp_path / "t.doc"))


def test_mistakes_of_qrels_and_topics_are_named_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "t.top").write_text("<top>\n<num> 1\n</top>\n<top>\n<top>\n<title> b\n</top>\n</top>\n<top>\n<num> 3")
    (tmp_path / "q.qrels").write_text("1 0 d\n1 0 d x\n1 0 d 9\n")
    with pytest.raises(InputError) as refused:
        read_set(tmp_path / "q.qrels", asked=ReadOptions(topics=tmp_path / "t.top"))
    assert str(refused.value).splitlines()[1:] == [
        "t.top line 1: the block has no <title>",
        "t.top line 5: <top> where a block has not ended",
        "t.top line 5: the block has no <num>",
        "t.top line 8: </top> where a block has not begun",
        "t.top line 9: the <top> block has no end",
        "q.qrels line 1: 3 fields; query-id, 0, document-id, grade are 4",
        "q.qrels line 2: grade 'x' is no whole number",
        "q.qrels line 3: grade 9: grades are 0 to 3",
    ]
    (tmp_path / "q.topics.tsv").write_text("<top>\n")
    with pytest.raises(InputError, match=r"a file of <top> blocks has to be called \.topics"):
        read_set(tmp_path / "q.qrels")


# -- JSON lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"query": "a", "document_id": "d", "grade": 4}', "Expected `int` <= 3 - at `$.grade`"),
        (b'{"query": "a", "document": "d"}', "unknown field `document`"),
        (b'{"document_id": "d"}', "missing required field `query`"),
        (b'{"query": "", "document_id": "d"}', "the query has no text"),
        (b'{"query": "a", "document_id": "d", "judged_at": 1e400}', "line 2: "),
        (b"query,document_id", "malformed"),
        ('{"query": "caf\u00e9"}'.encode("latin-1"), "line 2: "),
        (b'{"query": ' + b"[" * 100_000, "line 2: "),
    ],
)
def test_a_json_line_that_is_no_judgment_is_named(line: bytes, said: str) -> None:
    with pytest.raises(InputError) as refused:
        jsonl.read(jsonl.numbered([b'\xef\xbb\xbf{"query": "b"}\n', line]), Problems())
    assert said in str(refused.value)
    assert "line 2: " in str(refused.value)


# -- anything at all ------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [b'{"query": "a"', b'"document_id": "d"', b'"grade": 2', b"}", b",", b"\n", b"\t", b" ", b"q1 0 d 1", b"<top>",
     b"</top>", b"<num> 1", b"<title> x", b"\xff", b"\x00", b"[[[", b'"', b"\\ud800"]
)  # fmt: skip
JUNK = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=25).map(b"".join))


@settings(max_examples=150, deadline=None)
@given(JUNK)
def test_whatever_a_file_holds_it_is_read_or_refused_with_words(junk: bytes) -> None:
    lines = junk.split(b"\n")
    for read in (
        lambda: jsonl.read(jsonl.numbered(lines), Problems()),
        lambda: checked(lambda problems: trec.read_qrels(text_lines(lines, problems), problems)),
        lambda: checked(lambda problems: topics.read_blocks(text_lines(lines, problems), problems)),
        lambda: checked(lambda problems: topics.read_table(text_lines(lines, problems), problems)),
    ):
        try:
            read()
        except InputError as error:
            assert "line " in str(error)


def checked(read: object) -> None:
    problems = Problems()
    list(read(problems))  # type: ignore[operator]
    problems.check()


ID = st.text(st.characters(exclude_categories=("Z", "C"), exclude_characters="\x00"), min_size=1, max_size=20)
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=40).filter(str.strip)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(ID, TEXT, min_size=1, max_size=4), st.data())
def test_any_set_comes_back_from_json_lines_and_qrels(texts: dict[str, str], data: st.DataObject) -> None:
    pairs = st.tuples(st.sampled_from(sorted(texts)), ID)
    grades = data.draw(st.dictionaries(pairs, st.integers(0, 3), max_size=6))
    content = SetContent(
        tuple(JudgedQuery(query_id, text, "file") for query_id, text in texts.items()),
        tuple(Judgment(query_id, document, grade, "j", 1.0) for (query_id, document), grade in grades.items()),
    )
    expected = {(query_id, document, grade) for (query_id, document), grade in grades.items()}
    lines = list(jsonl.write(content.queries, content.judgments))
    assert told(jsonl.read(jsonl.numbered(lines), Problems())) == (texts, expected)
    problems = Problems()
    rows = [line.encode() for line in trec.qrels_lines(content.qrels())]
    found = {
        (one.query_id, one.document_id, one.grade) for one in trec.read_qrels(text_lines(rows, problems), problems)
    }
    assert found == expected
    problems.check()


def test_a_name_that_is_too_long_for_any_file_is_told(tmp_path: Path) -> None:
    for name in ("a" * 300, "a" * 300 + ".jsonl"):
        with pytest.raises(InputError, match="cannot be written: File name too long"):
            write_set(CONTENT, tmp_path / name)
    write_set(CONTENT, tmp_path / "set")
    with pytest.raises(InputError, match="there are: test"):
        read_set(tmp_path / "set", asked=ReadOptions(split="a" * 300))
