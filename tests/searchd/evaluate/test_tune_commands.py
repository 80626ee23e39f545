"""`searchd tune` on the library, with rerankers that are wrong: what it prints, writes and applies, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from indexer.errors import InputError, NotFound
from indexer.store import judged
from indexer.store import profiles as store
from indexer.store.database import open_database
from indexer.store.judged import JudgedQuery, Judgment
from searchd.__main__ import cli
from searchd.evaluate.tune_commands import show
from searchd.evaluate.tuned import Tuning
from searchd.profiles import profile_of, toml_of
from searchd.rerank.table import RERANKERS
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.settings import Profile, Settings, Stage
from searchd.terminal import output
from searchd.train import registry
from tests.searchd.library import CountingReranker, opened_library
from tests.searchd.train.test_registry import card


class Contrary(CountingReranker):
    """Puts last what has the words of the query."""

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        return -super().score(request, passages)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the library and two judged sets: 24 queries, and 3 of them."""
    made = tmp_path_factory.mktemp("tuned")
    with opened_library(made) as services, services.engine.database.session() as session:
        for name, count in (("valves", 24), ("few", 3)):
            kept = judged.create(session, "default", name, 1.0)
            asked = [JudgedQuery(f"q{i}", f"what about pump number {i}", "file") for i in range(count)]
            judged.add_queries(session, kept.set_id, asked)
            grades = [Judgment(f"q{i}", f"manual-{i:02}", 2, "ann", 1.0) for i in range(count)]
            judged.put_judgments(session, kept.set_id, grades)
    return made


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """Give every stage a reranker that is wrong, and the commands this folder."""
    monkeypatch.setitem(RERANKERS, "cross_encoder", lambda stage, settings, scheduler: Contrary())
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(folder))
    monkeypatch.setattr(output, "width", 200)
    yield


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["tune", *arguments, "--configurations", "24"])


def assert_toml_is_whole(found: Tuning) -> None:
    """Check that a profile whose lines are wider than the terminal can be pasted into searchd.toml."""
    profile = Profile(stages=(Stage(name="large", model="/models of the support team/fitted in spring"),))
    best = msgspec.structs.replace(found.recommended, profile=profile)
    with pytest.MonkeyPatch.context() as patched, output.capture() as captured:
        patched.setattr(output, "width", 40)
        show(msgspec.structs.replace(found, recommended=best))
    assert toml_of("default", profile) in captured.get()


def versions(folder: Path) -> list[store.ProfileVersion]:
    database = open_database(Settings(data_dir=str(folder)).resolved_database_url)
    try:
        with database.read() as session:
            return store.versions(session)
    finally:
        database.close()


def test_it_says_what_to_run_and_applies_it_on_demand_alone(folder: Path, tmp_path: Path) -> None:
    written = tmp_path / "tuned.json"
    asked = run("valves", "--json", str(written))
    assert asked.exit_code == 0, asked.output
    found = msgspec.json.decode(written.read_bytes(), type=Tuning)
    assert (found.queries, found.collection, found.set_name) == (24, "default", "valves")
    assert found.sentence[1:] in asked.output.replace("\n", " ").replace("  ", " ")
    assert "rerank off" in asked.output and "rerank-small" in asked.output
    assert (found.verdict, found.recommended.profile.stages) == ("off", ())
    assert_toml_is_whole(found)
    assert versions(folder) == []
    applied = run("valves", "--apply")
    assert applied.exit_code == 0, applied.output
    (one,) = versions(folder)
    assert (one.collection, one.name, one.version, one.active, one.author) == ("default", "default", 1, True, "tune")
    assert profile_of(one) == found.recommended.profile
    assert "rerank off is best here" in one.why and "version 1 is in force" in applied.output
    again = run("valves", "--json", str(written))
    assert again.exit_code == 0, again.output
    now = msgspec.json.decode(written.read_bytes(), type=Tuning)
    assert now.present.profile == found.recommended.profile  # what was applied is what is to be beaten
    assert "Nothing was applied" in run("valves", "--apply").output


def test_a_model_that_learned_from_the_set_is_named(folder: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=str(folder))
    made = msgspec.structs.replace(card(0.5, 0.6), learned_from=(("default", "few"),))
    registry.promote(settings, made.name, registry.store(settings, tmp_path, made).version)
    said = "model rerank-base v1 learned from judged set 'few': its figures here are better than on new queries"
    asked = run("few")
    registry.rollback(settings, made.name)
    assert said in " ".join(asked.output.split())
    assert "learned from" not in run("few").output


def test_too_few_judgments_apply_nothing(folder: Path) -> None:
    before = versions(folder)
    asked = run("few", "--apply")
    assert asked.exit_code == 0, asked.output
    assert "Too few judgments to tell" in asked.output or "too few judgments to tell" in asked.output
    assert "Nothing was applied" in asked.output
    assert versions(folder) == before


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text("")
    assert isinstance(run(str(tmp_path), "--apply").exception, InputError)
    assert isinstance(run("unknown").exception, NotFound)
    assert isinstance(run("valves", "--profile", "unknown").exception, InputError)


@pytest.mark.parametrize("command", ["eval", "tune", "calibrate"])
def test_a_folder_without_queries_is_said_to_have_none(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cranfield").mkdir()
    for name, kind, said in (
        ("./cranfeild", InputError, "there is no cranfeild/queries.jsonl"),
        ("./cranfield", InputError, "there is no cranfield/queries.jsonl"),
        ("cranfield", NotFound, "there are: few, valves; the folder cranfield is none to measure"),
        ("cranfeild", NotFound, "there are: few, valves"),
    ):
        error = CliRunner().invoke(cli, [command, name]).exception
        assert type(error) is kind and said in str(error), error


def test_a_folder_is_tuned_in_an_index_of_its_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    rows = [{"_id": str(i), "title": "", "text": f"The valve of pump number {i} is closed."} for i in range(4)]
    (tmp_path / "corpus.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    (tmp_path / "queries.jsonl").write_bytes(msgspec.json.encode({"_id": "a", "text": "pump number 2"}))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\t2\t1\n")
    before = versions(folder)
    asked = run(str(tmp_path))
    assert asked.exit_code == 0, asked.output
    assert "1 query with a relevant document, 20 are the least" in asked.output
    assert versions(folder) == before
