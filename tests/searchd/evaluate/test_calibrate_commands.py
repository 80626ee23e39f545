"""`searchd calibrate` over a data folder: fitted, kept, shown, stale, removed; a folder's figures are told and not kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from indexer.errors import ConfigError, InputError, NotFound
from indexer.store import judged
from indexer.store.judged import CLICKS, JudgedQuery, Judgment
from searchd.__main__ import cli
from searchd.calibration import Calibration
from searchd.rerank.table import RERANKERS
from searchd.services import Services
from searchd.settings import Settings
from searchd.train import registry
from tests.searchd.library import CountingReranker, opened_library
from tests.searchd.train.test_registry import card

ASKED = 40
"""Queries, each with one manual that answers it; of others no word more is theirs than of any."""
SMALL = {"name": "small", "depth": 12, "keep": 6, "budget_ms": 5000}
LARGE = {"name": "large", "depth": 6, "keep": 6, "budget_ms": 5000}


def fill(services: Services) -> None:
    """Put three judged sets in: whole, too small, and one of clicks."""
    with services.engine.database.session() as session:
        for name, count, kind in (("valves", ASKED, "judged"), ("few", 12, "judged"), ("opened", ASKED, CLICKS)):
            one = judged.create(session, "default", name, 1.0, kind=kind, complete=name == "few")
            queries = [JudgedQuery(f"q{n}", f"valve of pump number {n}", "file") for n in range(count)]
            judged.add_queries(session, one.set_id, queries)
            grades = [Judgment(f"q{n}", f"manual-{n:02}", 3, "file", 2.0) for n in range(count)]
            judged.put_judgments(session, one.set_id, grades)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("calibrated")
    with opened_library(data_dir) as services:
        fill(services)
    return data_dir


@pytest.fixture(autouse=True)
def counting_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let stages count words: what is tested is what is made of scores."""
    monkeypatch.setitem(RERANKERS, "cross_encoder", lambda stage, settings, scheduler: CountingReranker())
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(folder))
    profiles(monkeypatch, LARGE)
    yield


def profiles(monkeypatch: pytest.MonkeyPatch, large: dict[str, object]) -> None:
    monkeypatch.setenv(
        "SEARCHD_PROFILES", json.dumps({"default": {"depth": 20, "stages": [SMALL, large]}, "bare": {"stages": []}})
    )


def run(*arguments: str) -> str:
    """Return what a command printed, wherever its lines were broken."""
    done = CliRunner().invoke(cli, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def refused(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(cli, ["calibrate", *arguments]).exception


def test_what_is_fitted_is_kept_and_answers_have_relevance_until_a_tie_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run("calibrate", "valves", "--complete", "--json", str(tmp_path / "fit.json"))
    assert "large: 240 pairs of 40 queries, 16.7% relevant" in told
    assert "stage small cannot be calibrated: there are too few: 0 relevant pairs" in told
    assert "unlikely below 50%, likely from 50%, very likely from 75%" in told
    fit = msgspec.json.decode((tmp_path / "fit.json").read_bytes(), type=Calibration)
    assert (fit.unjudged_as_irrelevant, [*fit.stages], [*fit.refused]) == (True, ["large"], ["small"])
    assert fit.stages["large"].ece < 0.05 < fit.stages["large"].raw_ece

    answer = json.loads(run("query", "valve of pump number 7", "--json", "--min-relevance", "0.75"))
    assert [hit["document_id"] for hit in answer["hits"]] == ["manual-07"]
    assert (answer["hits"][0]["relevance_label"], answer["cut"]["below"]) == ("very likely", 5)
    shown = run("query", "valve of pump number 7", "--min-relevance", "0.75")
    assert "% very likely" in shown and "left out: 5 below 75%, the best of them 1%" in shown
    assert "It is calibrated, fitted" in run("calibrate", "--show")

    profiles(monkeypatch, LARGE | {"budget_ms": 900})
    assert "It is calibrated, fitted" in run("calibrate", "--show")
    profiles(monkeypatch, LARGE | {"max_length": 64})
    stale = run("calibrate", "--show")
    assert "on valves: the profile changed: large.max_length." in stale
    assert "fitted anew: searchd calibrate valves --collection default --profile default" in stale
    answer = json.loads(run("query", "valve of pump number 7", "--json"))
    assert {hit["relevance"] for hit in answer["hits"]} == {None}

    assert "is not calibrated any more" in run("calibrate", "--remove")
    assert isinstance(refused("--remove"), NotFound)
    assert isinstance(refused("--show"), NotFound)


def test_removing_fills_no_empty_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(tmp_path))
    found = refused("--remove")
    assert isinstance(found, ConfigError) and str(found).endswith("is empty; `indexer add` fills it")


def test_a_model_that_learned_from_the_set_is_named(folder: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=str(folder))
    made = msgspec.structs.replace(card(0.5, 0.6), learned_from=(("default", "valves"),))
    registry.promote(settings, made.name, registry.store(settings, tmp_path, made).version)
    told = run("calibrate", "valves", "--complete")
    registry.rollback(settings, made.name)
    assert "large's model rerank-base v1 learned from judged set 'valves'" in told
    run("calibrate", "--remove")


def test_without_complete_judgments_what_is_not_judged_is_no_pair() -> None:
    said = str(refused("valves"))
    assert said.endswith("there are too few: 0 pairs that are judged and not relevant, at least 30 are needed")


def test_what_cannot_be_calibrated_is_refused_with_the_reason_and_nothing_is_kept() -> None:
    for arguments, said in (
        (("few",), "12 relevant pairs, at least 30 are needed; 12 queries, at least 20 are needed"),
        (("valves", "--complete", "--relevant-from", "3", "--profile", "bare"), "runs no stage"),
        (("opened", "--complete"), "is made of clicks"),
        (("nothing",), "there are: few, opened, valves"),
        (("valves", "--profile", "fast"), "there is no profile 'fast'"),
    ):
        error = refused(*arguments)
        assert isinstance(error, InputError | NotFound) and said in str(error), error
    assert isinstance(refused("--show"), NotFound)


def test_a_folder_is_told_of_and_not_kept(tmp_path: Path) -> None:
    dataset = tmp_path / "valves"
    (dataset / "qrels").mkdir(parents=True)
    rows = [
        {"_id": f"d{n}", "title": f"Manual {n}", "text": f"The valve of pump number {n} is closed."} for n in range(40)
    ]
    (dataset / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [{"_id": f"q{n}", "text": f"valve of pump number {n}"} for n in range(40)]
    (dataset / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in range(40))]
    (dataset / "qrels" / "test.tsv").write_text("\n".join(lines))
    told = run("calibrate", str(dataset), "--complete")
    assert "large: 240 pairs of 40 queries" in told and "Nothing is kept of a folder" in told
    assert isinstance(refused("--show"), NotFound)


def test_one_thing_at_a_time() -> None:
    for arguments in ((), ("valves", "--show"), ("--show", "--remove")):
        done = CliRunner().invoke(cli, ["calibrate", *arguments])
        assert done.exit_code == 2 and "give either SET, --show or --remove" in done.output
