"""`searchd judged`: sets in and out of files from the command line, beside whoever owns the data folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from indexer.owner import Owner
from indexer.store import judged
from indexer.store.database import Database
from searchd.__main__ import cli
from searchd.program import run_command
from searchd.settings import Settings


@pytest.fixture(autouse=True)
def _data_dir(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(data_dir))
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str | Path) -> str:
    """Return what a command that ends well prints, runs of spaces as one."""
    done = CliRunner().invoke(cli, ["judged", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return "\n".join(" ".join(line.split()) for line in done.output.splitlines())


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return what a command says that ends with status 2."""
    assert run_command(lambda: cli(["judged", *map(str, arguments)], standalone_mode=False), "searchd") == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BEIR folder of two queries, one of which is too long."""
    made = tmp_path_factory.mktemp("beir") / "faq"
    (made / "qrels").mkdir(parents=True)
    texts = {"q1": "refunds", "q2": " ".join(["word"] * 40)}
    rows = (json.dumps({"_id": query_id, "text": text}) for query_id, text in texts.items())
    (made / "queries.jsonl").write_text("\n".join(rows))
    (made / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t3\nq1\td2\t0\nq2\td1\t1\n")
    return made


def test_a_set_goes_in_is_listed_shown_exported_in_every_format_and_deleted(
    folder: Path, tmp_path: Path, data_dir: Path, store: Database
) -> None:
    with Owner.acquire(Settings(data_dir=str(data_dir))):  # as a daemon does that serves meanwhile
        assert run("import", "faq", folder, "--complete", "--judge", "ann").splitlines() == [
            "faq is made: 2 queries, 3 judgments",
            "1 query was cut to 512 characters and 32 words, which is what a query may have",
            "2 judged documents are not in collection default now; --strict refuses that",
        ]
    with store.read() as session:
        one = judged.get(session, "default", "faq")
        before = judged.judgments(session, one.set_id)
    assert one.complete
    assert {(row.query_id, row.document_id, row.grade, row.judge) for row in before} == {
        ("q1", "d1", 3, "ann"), ("q1", "d2", 0, "ann"), ("q2", "d1", 1, "ann"),
    }  # fmt: skip
    assert "default faq judged, complete 2 2 3 2" in run("list")
    shown = run("show", "faq")
    assert "grades 3: 1, 1: 1, 0: 1" in shown
    assert "judges ann 3" in shown
    assert "not in the collection 2 documents" in shown
    for name in ("faq.jsonl", "faq.qrels", "beir"):
        assert f"{tmp_path / name}" in run("export", "faq", tmp_path / name)
        run("import", "copy", tmp_path / name, "--replace", "--judge", "ann")
        with store.read() as session:
            copied = judged.judgments(session, judged.get(session, "default", "copy").set_id)
        assert [(row.query_id, row.document_id, row.grade, row.judge) for row in copied] == [
            (row.query_id, row.document_id, row.grade, row.judge) for row in before
        ]
    assert run("import", "copy", tmp_path / "faq.jsonl").startswith("copy: 2 queries (0 new), 3 judgments")
    assert run("delete", "copy") == "copy is deleted: 2 queries, 3 judgments"
    assert "copy" not in run("list")


def test_a_wrong_line_is_named_and_nothing_is_imported(
    tmp_path: Path, store: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"query": "a", "document_id": "d"}\n{"query": "a", "document_id": "e", "grade": 7}\n')
    said = refused(capsys, "import", "wrong", path)
    assert said.splitlines() == [
        "searchd: nothing was imported: 1 mistake",
        "line 2: Expected `int` <= 3 - at `$.grade`",
    ]
    with store.read() as session:
        assert judged.find(session, "default", "wrong") is None


def test_what_cannot_be_done_says_what_can(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("import", "here", folder, "--format", "beir")
    assert "has no judged set 'gone'; there are: " in refused(capsys, "show", "gone")
    assert "there are: " in refused(capsys, "delete", "gone")
    assert "there is no collection 'other'; there are: default" in refused(
        capsys, "import", "a", folder, "--collection", "other"
    )
    assert "no judgments of split 'dev' (qrels/dev.tsv); there are: test" in refused(
        capsys, "import", "a", folder, "--split", "dev"
    )
    assert "no format 'csv'; there are: beir, trec, jsonl, clicks" in refused(
        capsys, "import", "a", folder, "--format", "csv"
    )
    (tmp_path / "set.xlsx").touch()
    assert "--format says it" in refused(capsys, "import", "a", tmp_path / "set.xlsx")
    (tmp_path / "here.jsonl").touch()
    assert "--overwrite does that" in refused(capsys, "export", "here", tmp_path / "here.jsonl")
    assert "is written" in run("export", "here", tmp_path / "here.jsonl", "--overwrite")
    (tmp_path / "q.qrels").write_text("q1 0 d1 2\n")
    assert run("import", "here", tmp_path / "q.qrels").startswith("here: 0 queries (0 new), 1 judgment\n")
    (tmp_path / "t.tsv").write_text("q5\tlogin\n")
    (tmp_path / "q.qrels").write_text("q5 0 d1 2\n")
    assert "has a query 'q5'" in refused(capsys, "import", "here", tmp_path / "q.qrels")
    assert "here: 1 query (1 new)" in run("import", "here", tmp_path / "q.qrels", "--topics", tmp_path / "t.tsv")


def test_clicks_make_a_set_that_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("query,document_id,position,clicked\n" + "refunds,d1,1,1\n" * 30)
    assert (
        "weak is made: 1 query, 1 weak grade of clicks\nDocuments that were looked at too seldom have no grade."
        in run("import", "weak", tmp_path / "clicks.csv")
    )
    assert "weak grades of clicks" in run("show", "weak")
    assert "default weak weak grades of clicks 1 1 1 1" in run("list")


def test_grades_of_passages_are_said_to_count_for_their_documents(tmp_path: Path) -> None:
    path = tmp_path / "passages.jsonl"
    path.write_text('{"query": "a", "query_id": "q", "document_id": "d", "passage_id": "p", "grade": 2}\n')
    run("import", "passages", path)
    assert "of passages: 1 grade, counted there" in run("export", "passages", tmp_path / "out.qrels")
    assert (tmp_path / "out.qrels").read_text() == "q 0 d 2\n"
    assert "passages:" not in run("export", "passages", tmp_path / "out.jsonl")


def test_without_a_database_or_a_set_it_is_said_how_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "--collection", "none") == "There is no judged set; `searchd judged import SET PATH` makes one."
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(tmp_path))
    assert "is empty; `indexer add` fills it" in refused(capsys, "list")
