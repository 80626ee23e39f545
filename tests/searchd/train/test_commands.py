"""`searchd train` and `searchd models`, from a collection to a promoted version and back."""

from __future__ import annotations

import errno
import importlib.util
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest
from click.testing import CliRunner, Result

from indexer.engine import Engine
from indexer.errors import TransientError
from indexer.owner import Owner
from indexer.store import judged
from indexer.store.database import open_database
from indexer.store.judged import JudgedQuery, Judgment
from searchd.__main__ import cli
from searchd.settings import Settings
from searchd.train import fit as fitting
from searchd.train import registry
from tests.daemon import environment
from tests.searchd.library import index, source
from tests.searchd.rerank.models import write_tiny
from tests.searchd.train.test_registry import card

THINGS = ("pump", "valve", "motor", "lamp", "wheel", "chain", "pipe", "button", "bolt", "floor", "ladder", "filter")
DEEDS = ("Cleaning", "Installing", "Replacing")
QUICK = ("--negatives", "3", "--max-steps", "4", "--save-steps", "2", "--max-length", "48")


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with manuals in it that nobody owns."""
    folder = tmp_path / "data"
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(folder))
    monkeypatch.setenv("SEARCHD_DTYPE", "float32")  # or each model that is measured is tried in every precision first
    monkeypatch.setattr("os.nice", lambda _by: 10)
    monkeypatch.setattr("searchd.train.beside.AUTOGROUP", tmp_path / "autogroup")
    monkeypatch.setattr("logging.disable", lambda _level: None)
    engine = Engine.open(Settings(data_dir=str(folder), parser_processes=1))
    try:
        index(engine, [source(thing, manual(thing)) for thing in THINGS])
    finally:
        engine.close()
    return folder


def manual(thing: str) -> str:
    parts = [f"# The {thing}\n\nThe {thing} is a part of the machine that every owner has to look after each year.\n"]
    for deed in DEEDS:
        text = f"Stop the machine first. Then begin {deed.lower()} it with a soft cloth, and write the date in the book of it."
        parts.append(f"## {deed} the {thing}\n\n{text} Nobody but the owner of the {thing} may do this.\n")
    return "\n".join(parts)


def opened_from_answers(folder: Path) -> None:
    """Keep weak grades, made of clicks, in the set `weak`."""
    database = open_database(f"sqlite:///{folder / 'searchd.db'}")
    with database.session() as session:
        made = judged.create(session, "default", "weak", 1.0, kind="clicks")
        judged.add_queries(
            session, made.set_id, [JudgedQuery(thing, f"how to clean a {thing}", "log") for thing in THINGS]
        )
        judged.put_judgments(session, made.set_id, [Judgment(thing, thing, 3, "clicks", 1.0) for thing in THINGS])
    database.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_a_collection_makes_a_base_and_a_small_model_that_can_be_promoted_and_taken_back(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_tiny(tmp_path / "tiny")
    settings = Settings(data_dir=str(data_dir))
    with Owner.acquire(settings):  # as a daemon does that serves meanwhile
        done = run("train", "--base", str(base), *QUICK)
    assert done.exit_code == 0, done.output
    cards = registry.cards(settings)
    assert [(card.name, card.version) for card in cards] == [("rerank-base", "v1"), ("rerank-small", "v1")]
    assert cards[0].groups >= 20
    assert cards[0].after.queries > 0
    assert set(cards[0].kinds) & {"asked", "heading", "title"}
    opened_from_answers(data_dir)
    again = run("train", "--base", str(base), "--set", "weak", *QUICK)
    assert again.exit_code == 0, again.output
    card_now = registry.card_of(settings, "rerank-base")
    assert (card_now.version, card_now.kinds["clicks"] > 0) == ("v2", True)
    assert (cards[0].learned_from, card_now.learned_from) == ((), (("default", "weak"),))
    shown = json.loads(run("models", "show", "rerank-base", "v1", "--json").output)
    assert shown["settings"]["max_steps"] == 4
    assert "nDCG@10" in run("models", "show", "rerank-base").output
    forced = run("models", "promote", "rerank-base", "v1", "--force")
    assert "rerank-base v1: promoted by force" in forced.output
    assert "It serves from the next start on, in default.large." in forced.output
    refused = run("models", "promote", "rerank-base", "v2")
    assert refused.exit_code == 1
    assert "rerank-base v2 is not better than rerank-base v1" in str(refused.exception), "they are the same"
    assert registry.promoted(settings, "rerank-base") == registry.folder_of(settings, "rerank-base", "v1")
    forced = run("models", "promote", "rerank-small", "v1", "--force")
    assert "It serves from the next start on, in default.small." in forced.output
    assert "rerank-small packaged is in use." in run("models", "rollback", "rerank-small").output
    listed = run("models", "list").output
    assert max(map(len, listed.splitlines())) <= 80
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [
        ["rerank-base", "packaged", "sha256"],
        ["*", "rerank-small", "packaged"],
        ["*", "rerank-base", "v1"],
        ["rerank-base", "v2", listed.splitlines()[4].split()[2]],
        ["rerank-small", "v1", listed.splitlines()[5].split()[2]],
        ["rerank-small", "v2", listed.splitlines()[6].split()[2]],
    ]
    monkeypatch.setenv("SEARCHD_PROFILES", '{"default": {"stages": [{"name": "large", "model": "rerank-base"}]}}')
    assert "No stage runs rerank-small yet" in run("models", "promote", "rerank-small", "v1", "--force").output
    assert "rerank-base packaged is in use." in run("models", "rollback", "rerank-base").output
    assert registry.promoted(settings, "rerank-base") is None
    left = {path.name for path in (data_dir / "training" / "default-1").iterdir()}
    assert {"groups.jsonl", "held-out.jsonl", "measured.jsonl", "run.json", "finished"} <= left
    assert not left & {"base", "small", "small-start", "vectors"}


def test_documents_that_are_not_public_are_not_trained_on_unless_named(data_dir: Path, tmp_path: Path) -> None:
    engine = Engine.open(Settings(data_dir=str(data_dir), parser_processes=1))
    try:
        index(engine, [source("salaries", manual("salary"), None, "hr")])
    finally:
        engine.close()
    base = str(write_tiny(tmp_path / "tiny"))
    for number, options in enumerate(((), ("--as", "hr")), start=1):
        done = run("train", "--base", base, "--small", "", "--max-steps", "1", "--new", *QUICK[:2], *options)
        assert done.exit_code == 0, done.output
        folder = data_dir / "training" / f"default-{number}"
        texts = (folder / "groups.jsonl").read_text() + (folder / "held-out.jsonl").read_text()
        assert ("salary" in texts) is bool(options)


def test_a_missing_extra_is_one_clear_line(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else found(name, *rest))
    done = run("train")
    assert done.exit_code != 0
    assert "training needs peft; install the extra: pip install 'searchd[train]'" in str(done.exception)


def test_too_few_documents_are_a_clear_refusal(data_dir: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps({"document_id": "a", "title": "A", "passages": [{"text": "One passage alone."}]}))
    done = run("train", "--corpus", str(corpus))
    assert "the documents give 0 questions with an answer" in str(done.exception)


def test_documents_that_are_added_after_a_refusal_are_read_by_the_same_command(data_dir: Path, tmp_path: Path) -> None:
    arguments = ("train", "--collection", "late", "--base", str(write_tiny(tmp_path / "tiny")), "--small", "", *QUICK)
    for things, said in ((THINGS[:1], "add more documents"), (THINGS, "")):
        engine = Engine.open(Settings(data_dir=str(data_dir), parser_processes=1))
        try:
            index(engine, [source(thing, manual(thing)) for thing in things], "late")
        finally:
            engine.close()
        done = run(*arguments)
        assert said in str(done.exception) if said else done.exit_code == 0, done.output


def test_a_run_that_was_begun_with_other_options_is_not_gone_on_with(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "training" / "default-1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"base": "another"}')
    done = run("train", *QUICK)
    assert "was begun with base 'another', not ''" in str(done.exception)
    assert "--new begins another run" in str(done.exception)


def test_judgments_are_read_and_a_damaged_file_is_named(data_dir: Path, tmp_path: Path) -> None:
    judged = tmp_path / "judged.jsonl"
    judged.write_text('{"query": "how do I get a clean pump", "document_id": "pump", "grade": 2}\n')
    base = str(write_tiny(tmp_path / "tiny"))
    options = ("--name", "base", "--small", "run")  # as files of the run's own are called
    done = run("train", "--base", base, *options, "--judged", str(judged), "--max-steps", "1", *QUICK[:2])
    assert done.exit_code == 0, done.output
    folder = data_dir / "training" / "default-1"
    assert (
        "how do I get a clean pump" in (folder / "groups.jsonl").read_text() + (folder / "held-out.jsonl").read_text()
    )
    judged.write_text('{"question": 1}\n')
    failed = run("train", "--new", "--judged", str(judged), *QUICK)
    assert "judgments" in str(failed.exception) and "cannot be read" in str(failed.exception)


def test_a_run_that_finds_no_room_or_is_killed_says_so_and_goes_on_with_the_same_command(
    data_dir: Path, tmp_path: Path
) -> None:
    stage = {"name": "large", "model": str(write_tiny(tmp_path / "tiny")), "max_length": 48}
    environ = environment(data_dir, SEARCHD_PROFILES=json.dumps({"default": {"stages": [stage]}}))
    arguments = "train --small= --negatives 3 --max-steps 16 --save-steps 2 --max-length 48".split()
    least = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (2_000_000, r.RLIM_INFINITY)); "
    alone = "import pathlib; from searchd.train import beside; beside.AUTOGROUP = pathlib.Path('none'); "
    program = alone + "from searchd.__main__ import main; main()"
    full = subprocess.run(
        [sys.executable, "-c", least + program, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 1
    assert "the run stopped:" in full.stderr and "File too large" in full.stderr
    assert "the same command goes on where it was" in " ".join(full.stderr.split())
    assert "Traceback" not in full.stderr
    folder = data_dir / "training" / "default-1"
    groups = (folder / "groups.jsonl").stat().st_mtime_ns
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env=environ, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and fitting.last_checkpoint(folder / "base") is None:
            time.sleep(0.05)
        process.kill()
    steps = int(str(fitting.last_checkpoint(folder / "base")).rpartition("-")[2])
    gone_on = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert gone_on.returncode == 0, gone_on.stderr
    first = next(line for line in gone_on.stderr.splitlines() if line.startswith("fitting"))
    assert f": {steps + 1} of 16" in first
    assert (folder / "groups.jsonl").stat().st_mtime_ns == groups
    assert registry.card_of(Settings(data_dir=str(data_dir)), "rerank-base").version == "v1"


def test_a_run_that_is_stopped_once_its_model_is_kept_does_not_keep_it_twice(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("train", "--base", str(write_tiny(tmp_path / "tiny")), "--small", "", *QUICK)
    rename = Path.rename

    def full(path: Path, target: Path) -> Path:
        renamed = rename(path, target)
        if target.name == "v1":
            raise OSError(errno.ENOSPC, "No space left on device")
        return renamed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        assert "No space left on device" in str(run(*arguments).exception)
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert [card.version for card in registry.cards(Settings(data_dir=str(data_dir)))] == ["v1"]
    assert "To use it" in done.output or "is not better" in done.output


def test_a_full_disk_changes_nothing_that_is_in_use_and_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCHD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("os.nice", lambda _by: 10)
    settings = Settings(data_dir=str(tmp_path / "data"))
    model = write_tiny(tmp_path / "tiny")
    for version in ("v1", "v2"):
        registry.store(settings, model, card(0.5, 0.6))
        registry.promote(settings, "rerank-base", version)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for command in (("promote", "rerank-base", "v1", "--force"), ("rollback", "rerank-base")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
        try:
            failed = run("models", *command)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert isinstance(failed.exception, TransientError)
        assert "what is in use stays as it was: File too large" in str(failed.exception)
        assert registry.promoted(settings, "rerank-base") == registry.folder_of(settings, "rerank-base", "v2")


def test_two_processes_are_not_at_one_run(data_dir: Path, tmp_path: Path) -> None:
    base = str(write_tiny(tmp_path / "tiny"))
    folder = data_dir / "training" / "default-1"
    folder.mkdir(parents=True)
    with filelock.FileLock(folder / "lock"):
        assert "another process is at the run in" in str(run("train", "--base", base, *QUICK).exception)
