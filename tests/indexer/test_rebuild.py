"""Rebuilding: search never stops, the ranking is the same afterwards, stale settings are noticed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from indexer import ingest, rebuild
from indexer.apply import apply_documents
from indexer.doctor import examine, repair
from indexer.engine import Engine, LiveIndexes
from indexer.errors import StaleIndex
from indexer.lexical.query import parse_query
from indexer.scope import Scope
from indexer.status import task_of
from indexer.store import collections, generations
from indexer.store.tasks import Task
from indexer.types import Document, SourceFile
from indexer.worker import Worker
from searchd.settings import Settings

WORDS = ("pump", "valve", "turbine", "gear", "boiler", "gasket", "rotor", "piston")
SCOPE = Scope.of("default")


def fill(engine: Engine, worker: Worker, count: int = 40) -> None:
    files = [
        SourceFile(
            uri=f"file:///{i}.txt",
            name=f"{i}.txt",
            content=(f"The {WORDS[i % 8]} and the {WORDS[(i * 3 + 1) % 8]}. " * (1 + i % 4) + f"Part {i}.").encode(),
        )
        for i in range(count)
    ]
    ingest.accept(engine.database, engine.settings, "default", files, engine.clock())
    worker.run_until_idle()
    engine.refresh()


def rankings(engine: Engine) -> list[list[str]]:
    live = engine.live("default")
    found = []
    for word in WORDS:
        found.append([p.passage_id for p in live.lexical.search(parse_query(word), SCOPE, None, 30).passages])
        vector = live.embedder.encode_query(word)
        found.append([p.passage_id for p in live.vectors.search(vector, SCOPE, None, 30)])
    return found


def test_a_rebuild_gives_identical_rankings_in_a_new_generation(engine: Engine) -> None:
    worker = Worker(engine)
    try:
        fill(engine, worker)
        before, old = rankings(engine), engine.live("default").generation_id
        rebuild.start_rebuild(engine, "default", engine.settings, engine.clock())
        assert engine.live("default").generation_id == old
        worker.run_until_idle()
        assert engine.live("default").generation_id != old
        assert rankings(engine) == before
        rebuild.drop_retired(engine, grace_s=-1)
        with engine.database.read() as session:
            assert generations.retired(session, engine.clock() + 1) == []
        assert not engine.lexical_path(old).exists()
    finally:
        worker.stop()


def test_documents_added_while_a_rebuild_runs_are_in_both_generations(engine: Engine) -> None:
    worker = Worker(engine)
    try:
        fill(engine, worker, 10)
        rebuild.start_rebuild(engine, "default", engine.settings, engine.clock())
        fill(engine, worker, 20)
        assert len(list(engine.live("default").lexical.scan())) == 20
    finally:
        worker.stop()


def rebuilt_without(engine: Engine, worker: Worker, monkeypatch: pytest.MonkeyPatch, prefix: str) -> Task:
    """Rebuild while no document whose uri begins so can be indexed; return the task."""

    def refusing(to: Engine, indexes: LiveIndexes, documents: Sequence[Document]) -> None:
        if any(document.uri.startswith(prefix) for document in documents):
            raise RuntimeError("it cannot be written")
        apply_documents(to, indexes, documents)

    monkeypatch.setattr("indexer.worker.apply_documents", refusing)
    monkeypatch.setattr("indexer.worker.MAX_ATTEMPTS", 1)
    task_id = rebuild.start_rebuild(engine, "default", engine.settings, engine.clock())
    worker.run_until_idle()
    task = task_of(engine.database, task_id)
    assert task is not None
    return task


def test_a_document_that_cannot_be_indexed_does_not_keep_the_others_from_going_live(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(engine)
    try:
        fill(engine, worker, 10)
        old = engine.live("default").generation_id
        task = rebuilt_without(engine, worker, monkeypatch, "file:///3.txt")
        assert engine.live("default").generation_id != old
        assert len(list(engine.live("default").lexical.scan())) == 9
        assert (task.state, task.succeeded, task.failed) == ("failed", 9, 1)
        (finding,) = examine(engine)
        assert len(finding.document_ids) == 1
        monkeypatch.undo()
        assert repair(engine, [finding])
        worker.run_until_idle()
        assert examine(engine) == []
    finally:
        worker.stop()


def test_a_rebuild_in_which_many_fail_is_given_up_and_the_old_indexes_stay(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(engine)
    try:
        fill(engine, worker, 10)
        before, old = rankings(engine), engine.live("default").generation_id
        task = rebuilt_without(engine, worker, monkeypatch, "file:///")
        assert engine.live("default").generation_id == old
        assert rankings(engine) == before
        assert (task.state, task.failed) == ("failed", 10)
        monkeypatch.undo()
        rebuild.start_rebuild(engine, "default", engine.settings, engine.clock())
        worker.run_until_idle()
        assert engine.live("default").generation_id != old
        assert rankings(engine) == before
    finally:
        worker.stop()


def test_changed_sizes_are_noticed_at_start_and_a_rebuild_takes_them_up(settings: Settings, tmp_path: Path) -> None:
    engine = Engine.open(settings)
    worker = Worker(engine)
    fill(engine, worker, 10)
    worker.stop()
    engine.close()

    changed = msgspec.structs.replace(settings, passage_tokens=64)
    with pytest.raises(StaleIndex, match=r"passage_tokens 200 -> 64.*indexer rebuild"):
        Engine.open(changed)
    engine = Engine.open(changed, check=False)
    worker = Worker(engine)
    try:
        rebuild.start_rebuild(engine, "default", changed, engine.clock())
        worker.run_until_idle()
        assert engine.live("default").recipe.passage_tokens == 64
        engine.check_fresh()
    finally:
        worker.stop()
        engine.close()


def test_every_collection_under_other_settings_is_named_with_its_command(settings: Settings) -> None:
    engine = Engine.open(settings)
    with engine.database.session() as session:
        collections.ensure(session, "handbook", "en", 1.0)
    engine.refresh()
    engine.close()
    with pytest.raises(StaleIndex, match=r"--collection default && indexer rebuild --collection handbook$"):
        Engine.open(msgspec.structs.replace(settings, passage_tokens=64))


def open_again(settings: Settings) -> Engine:
    """Open the folder as the commands that mend do."""
    with pytest.raises(StaleIndex, match="indexer rebuild"):
        Engine.open(settings)
    return Engine.open(settings, check=False)


@pytest.mark.parametrize("harm", ["damaged words", "damaged vectors", "lost words", "lost vectors"])
def test_a_damaged_or_lost_index_is_named_and_rebuilt_and_no_other_suffers(settings: Settings, harm: str) -> None:
    engine = Engine.open(settings)
    worker = Worker(engine)
    fill(engine, worker)
    other = SourceFile(uri="file:///o.txt", name="o.txt", content=b"The pump of the other collection.")
    ingest.accept(engine.database, engine.settings, "other", [other], engine.clock())
    worker.run_until_idle()
    worker.stop()
    engine.refresh()
    before, generation = rankings(engine), engine.live("default").generation_id
    engine.close()
    how, what = harm.split()
    folder = settings.data_path / ("lexical" if what == "words" else "vectors") / generation
    if how == "lost":
        shutil.rmtree(folder)
    else:
        next(iter(folder.glob("*.store" if what == "words" else "CURRENT"))).write_bytes(b"{")

    engine = open_again(settings)
    worker = Worker(engine)
    try:
        with pytest.raises(StaleIndex, match="indexer rebuild"):
            engine.live("default")
        assert engine.live("other").lexical.search(parse_query("pump"), Scope.of("other"), None, 5).passages
        findings = examine(engine)
        assert [one.collection for one in findings] == ["default"]
        repair(engine, findings)
        worker.run_until_idle()
        assert examine(engine) == []
        assert rankings(engine) == before
    finally:
        worker.stop()
        engine.close()
