"""`searchd eval` on a data folder: measures, keeps, lists, compares, gates; and on a BEIR folder that is indexed apart."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from indexer.engine import Engine
from indexer.errors import NotFound
from indexer.store import judged
from searchd.__main__ import cli
from searchd.evaluate.evaluation import Evaluation
from searchd.settings import Profile, Settings, Stage
from tests.daemon import environment
from tests.forks import Forked
from tests.searchd.evaluate.small_set import judgments, queries
from tests.searchd.library import COUNT_WORDS, index, library

WORDS = Stage(name="words", model=COUNT_WORDS, depth=20, keep=20, blend=1.0)
PROFILES = {
    "default": Profile(depth=20, stages=(WORDS,)),
    "lexical": Profile(depth=20, weights={"dense": 0.0}, stages=()),  # answers one query better
}


@pytest.fixture(scope="module")
def patched(counting_rerankers: None) -> Iterator[pytest.MonkeyPatch]:
    """Settings of a machine that counts words, and a log that stays as it is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SEARCHD_PROFILES", msgspec.json.encode(PROFILES).decode())
        patched.setenv("SEARCHD_PARSER_PROCESSES", "1")
        patched.setattr("logging.disable", lambda _level: None)
        yield patched


@pytest.fixture(scope="module")
def data_dir(patched: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the library and one judged set, that nobody owns."""
    folder = tmp_path_factory.mktemp("judged")
    patched.setenv("SEARCHD_DATA_DIR", str(folder))
    engine = Engine.open(Settings(data_dir=str(folder), parser_processes=1))
    try:
        index(engine, library())
        with engine.database.session() as session:
            one = judged.create(session, "default", "small", 1.0)
            judged.add_queries(session, one.set_id, queries())
            judged.put_judgments(session, one.set_id, judgments())
    finally:
        engine.close()
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["eval", *arguments])


@pytest.fixture(scope="module")
def first(data_dir: Path) -> tuple[Result, Evaluation, dict[str, object]]:
    """The first evaluation of the set: what was printed and written."""
    written = data_dir / "first.json"
    drawn = ("--html", str(data_dir / "first.html"))
    done = run("--json", str(written), *drawn, "--min-ndcg", "1", "--max-drop", "0", "--runs", str(data_dir / "runs"))
    raw = written.read_bytes()
    return done, msgspec.json.decode(raw, type=Evaluation), json.loads(raw)


@pytest.fixture(scope="module")
def compared(first: object) -> Result:
    """Two profiles, measured at once, with a gate that fails: the second answers worse."""
    return run("small", "--compare", "lexical", "default", "--max-drop", "0.01")


def test_it_prints_tables_and_sentences_and_fails_by_its_gate(
    first: tuple[Result, Evaluation, dict[str, object]],
) -> None:
    done, evaluation, raw = first
    assert done.exit_code == 1, done.output
    assert "default/small: 6 queries, 9 judged pairs, 64 documents" in " ".join(done.output.split())
    assert "words adds nothing that 6 queries can show" in done.output
    assert "1 of 6 queries miss their best document: 1 not retrieved" in done.output
    assert "gate --min-ndcg: FAILED: nDCG@10 of default" in done.output
    assert "gate --max-drop: passed: there is no earlier evaluation" in " ".join(done.output.split())
    assert [gate["passed"] for gate in raw["gates"]] == [False, True]  # type: ignore[attr-defined, index]
    names = [one.name for one in evaluation.systems]
    assert names == ["bm25", "dense", "rrf", "rrf_tuned", "linear", "rrf + words", "default"]


def test_runs_and_judgments_are_written_for_trec_tools(
    data_dir: Path, first: tuple[Result, Evaluation, dict[str, object]]
) -> None:
    files = {path.name for path in (data_dir / "runs").iterdir()}
    assert files == {f"{one.name.replace(' ', '')}.run" for one in first[1].systems} | {"qrels.txt"}


def test_the_second_profile_is_compared_with_the_first_and_a_drop_fails(compared: Result) -> None:
    assert compared.exit_code == 1, compared.output
    said = " ".join(compared.output.split())
    assert "default/small: before is lexical," in said and "after is default," in said
    assert "gate --max-drop: FAILED: nDCG@10 changed by -" in said
    assert "worse" in said


def test_what_was_measured_is_kept_listed_and_compared_without_measuring(
    data_dir: Path, first: tuple[Result, Evaluation, dict[str, object]], compared: Result
) -> None:
    listed = run("--list")
    rows = [line.split() for line in listed.output.splitlines()[1:]]
    assert sorted(row[4] for row in rows) == ["default", "default", "lexical"]
    assert rows[-1][0] == first[1].evaluation_id[:8]
    lexical = next(row[0] for row in rows if row[4] == "lexical")
    better = run("--compare", first[1].evaluation_id, lexical, "--max-drop", "0", "--min-ndcg", "0.1")
    assert better.exit_code == 0, better.output
    written = data_dir / "compared.json"
    worse = run("--compare", lexical, str(data_dir / "first.json"), "--max-drop", "0", "--json", str(written))
    assert worse.exit_code == 1
    found = json.loads(written.read_text())
    assert [one["query_id"] for one in found["losses"]] == ["q2"] and found["wins"] == []
    assert found["gates"][0]["passed"] is False
    day = datetime.fromtimestamp(first[1].evaluated_at, UTC).strftime("%Y-%m-%d")
    assert run("--compare", day, str(data_dir / "first.json"), "--min-ndcg", "0.1").exit_code == 0
    assert len(run("--list").output.splitlines()) == len(listed.output.splitlines())


def test_its_report_is_of_the_same_evaluation_and_names_every_query(
    first: tuple[Result, Evaluation, dict[str, object]], data_dir: Path
) -> None:
    html = (data_dir / "first.html").read_text(encoding="utf-8")
    assert first[1].evaluation_id in html
    assert all(f">{one.text}</th>" in html for one in first[1].queries)


def test_what_cannot_work_is_refused_before_anything_is_measured(data_dir: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (("small", "--complete"), "a stored set says it itself"),
        (("--list", "--queries", "3"), "--list shows what was kept"),
        (("--compare", "default", "lexical", "--runs", str(tmp_path)), "--compare names what is measured"),
        (("--compare", "default", "lexical", "--html", "a.html"), "--compare names what is measured"),
        (("--compare", "default", "lexical", "--profile", "lexical"), "--compare names what is measured"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2 and said in done.output, arguments
    assert isinstance(run("--profile", "none").exception, NotFound)
    assert "there are: default, lexical" in str(run("--profile", "none").exception)
    assert "`searchd eval --list` names them" in str(run("--compare", "abcdef", "fedcba").exception)
    assert "no evaluation of 1999-01-01" in str(run("--compare", "1999-01-01", "1999-01-02").exception)
    assert "has no judged set" in str(run("a" * 300).exception)
    kept = len(run("--list").output.splitlines())
    assert "no evaluation of 1999-01-01" in str(run("small", "--compare", "default", "1999-01-01").exception)
    assert len(run("--list").output.splitlines()) == kept
    (tmp_path / "a.json").write_text("{}")
    assert "is no evaluation as" in str(run("--compare", str(tmp_path / "a.json"), "fedcba").exception)


def test_a_file_that_is_no_evaluation_is_refused_whatever_is_in_it(
    data_dir: Path, first: tuple[Result, Evaluation, dict[str, object]], tmp_path: Path
) -> None:
    sound = (data_dir / "first.json").read_bytes()
    without = msgspec.structs.replace(first[1], systems=(msgspec.structs.replace(first[1].systems[0], metrics={}),))
    for content in (
        sound.replace(b'"small"', b'"\xff"'),
        b'{"other": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        msgspec.json.encode(msgspec.structs.replace(first[1], evaluated_at=1e300)),
        msgspec.json.encode(msgspec.structs.replace(first[1], evaluated_at=-1e14)),
        msgspec.json.encode(without),
        sound.replace(b'"nDCG@10"', b'"nDCG"'),
    ):
        (tmp_path / "a.json").write_bytes(content)
        assert "is no evaluation as" in str(run("--compare", str(tmp_path / "a.json"), "fedcba").exception)


def test_a_set_is_named_where_the_collection_has_several_or_none(data_dir: Path) -> None:
    assert "has no judged set" in str(run("--collection", "default", "none").exception)
    done = run("--collection", "nowhere", "--compare", "2026-01-01", "2026-01-02")
    assert isinstance(done.exception, NotFound) and "'nowhere' has no judged set" in str(done.exception)


def write_dataset(folder: Path) -> None:
    """Write a BEIR folder of ten documents."""
    things = ("pump", "valve", "motor", "lamp", "wheel", "chain", "pipe", "button", "bolt", "ladder")
    rows = [
        {"_id": name, "title": f"The {name}", "text": f"How the {name} is cleaned and replaced."} for name in things
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [{"_id": f"q{n}", "text": f"replacing the {name}"} for n, name in enumerate(things[:4])]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (folder / "qrels").mkdir()
    lines = [f"q{n}\t{name}\t1" for n, name in enumerate(things[:3])]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))


def test_a_beir_folder_is_measured_in_an_index_of_its_own_and_nothing_of_it_is_kept(
    data_dir: Path, tmp_path: Path
) -> None:
    write_dataset(tmp_path)
    kept = len(run("--list").output.splitlines())
    done = run(str(tmp_path), "--complete", "--queries", "2", "--json", str(tmp_path / "out.json"), "--min-ndcg", "0.5")
    assert done.exit_code == 0, done.output
    found = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=Evaluation)
    assert (found.set_name, found.documents, len(found.queries)) == (tmp_path.name, 10, 2)
    assert found.complete and found.reliability[0].unjudged_as_irrelevant
    default = found.system("default")
    assert default is not None and default.metrics["MRR@10"] == 1.0
    assert len(run("--list").output.splitlines()) == kept
    spaced = tmp_path / "qrels" / "spaced.tsv"
    spaced.write_text("query-id\tcorpus-id\tscore\nq0\tthe pump\t1\n")
    written = [tmp_path / name for name in ("spaced.json", "spaced.html", "runs")]
    files = [part for pair in zip(("--json", "--html", "--runs"), map(str, written), strict=True) for part in pair]
    assert "'the pump' has white space" in str(run(str(tmp_path), "--split", "spaced", *files).exception)
    assert [path.exists() for path in written] == [True, True, False]
    refused = run(str(tmp_path), "--max-drop", "0.1")
    assert refused.exit_code == 2 and "evaluations of folders are not kept" in refused.output
    assert "there are: spaced, test" in str(run(str(tmp_path), "--split", "dev").exception)
    corpus = (tmp_path / "corpus.jsonl").read_text()
    for wrong, said in (
        ({"_id": "pump", "text": "Again."}, "line 11: document 'pump' stands on line 1 too"),
        ({"_id": None, "text": "x"}, "line 11: _id is a string or a whole number"),
        ({"_id": "", "text": "x"}, "line 11: id has 1 to 512 printable characters"),
        ({"_id": "x", "text": 5}, "line 11: _id is"),
        ({"_id": "x", "text": "x", "title": ["x"]}, "line 11: _id is"),
    ):
        (tmp_path / "corpus.jsonl").write_text(f"\ufeff{corpus}\n{json.dumps(wrong)}")
        assert said in str(run(str(tmp_path)).exception)
    (tmp_path / "corpus.jsonl").write_text(f'{{"_id": "x", "text": "x", "more": {"[" * 10_000}{"]" * 10_000}}}')
    assert "line 1: " in str(run(str(tmp_path)).exception)
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0 pump 1\n")
    assert "nothing was measured: 1 mistake\nqrels/test.tsv line 2: 1 fields" in str(run(str(tmp_path)).exception)


def test_sigterm_takes_the_folder_of_a_dataset_away_as_ctrl_c_does(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    rows = ({"_id": f"more{n}", "text": f"A pump of kind {n} and a lamp."} for n in range(4000))
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    away, told = tmp_path / "away", tmp_path / "told"
    away.mkdir()
    environ = environment(tmp_path / "data", TMPDIR=str(away), SEARCHD_PARSER_PROCESSES="1")
    process = Forked("searchd", ["eval", str(tmp_path)], environ, tmp_path / "shown", told)
    while process.poll() is None and not any(away.glob("searchd-eval-*/*")):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM, told.read_text()
    assert told.read_text() == "searchd: ended by SIGTERM\n"
    assert list(away.glob("searchd-eval-*")) == []
