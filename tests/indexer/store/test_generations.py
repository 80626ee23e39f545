from __future__ import annotations

import threading

import pytest

from indexer.errors import InputError, NotFound
from indexer.store import collections, documents, generations, jobs, passages, tasks
from indexer.store.database import Database
from tests.indexer.store.steps import DOCS, PUBLIC_READER, accept, add, claim, file, index, live, new_task


def create(database: Database, name: str, now: float = 2.0) -> generations.Generation:
    """Make a building generation of `docs`."""
    with database.session() as session:
        return generations.create(session, name, DOCS, fingerprint="f2", parts={"n": [1, 2]}, dimension=3, now=now)


def test_a_collection_is_made_once_and_keeps_its_language(database: Database) -> None:
    with database.session() as session:
        collections.ensure(session, "b", "de", 1.0)
        assert collections.ensure(session, "b", "en", 2.0) == collections.Collection("b", "de", 1.0)
        collections.ensure(session, "a", "en", 3.0)
    with database.read() as session:
        assert [one.name for one in collections.list_all(session)] == ["a", "b"]
        assert collections.get(session, "c") is None


@pytest.mark.parametrize("name", ["", "a b", "../a", "-a", "x" * 65, "a/b", "ä", "a\n"])
def test_a_collection_name_that_would_not_fit_a_path_is_refused(database: Database, name: str) -> None:
    with pytest.raises(InputError, match="1 to 64"), database.session() as session:
        collections.ensure(session, name, "en", 1.0)


def test_a_generation_is_built_beside_the_live_one_and_flipped(database: Database) -> None:
    old = live(database)
    new = create(database, "g2")
    with database.read() as session:
        assert generations.live(session, DOCS) == old
        assert generations.building(session, DOCS) == generations.all_building(session) == [new]
        assert generations.to_write(session, DOCS) == [old, new]
    with database.session() as session:
        assert generations.flip(session, "g2", 5.0)
    with database.read() as session:
        current = generations.live(session, DOCS)
        assert current is not None
        assert (current.generation_id, current.live_at, current.parts) == ("g2", 5.0, {"n": [1, 2]})
        assert [g.generation_id for g in generations.retired(session, 5.0)] == [old.generation_id]
        assert generations.retired(session, 4.9) == []


def test_a_generation_that_was_given_up_or_is_live_cannot_be_flipped(database: Database) -> None:
    old = live(database)
    create(database, "g2")
    with database.session() as session:
        generations.retire(session, "g2", 3.0)
        assert not generations.flip(session, "g2", 4.0)
        assert not generations.flip(session, old.generation_id, 4.0)
        assert not generations.flip(session, "missing", 4.0)
        assert generations.live(session, DOCS) == old


def test_callers_at_once_get_the_same_first_generation(database: Database) -> None:
    with database.session() as session:
        collections.ensure(session, DOCS, "en", 1.0)
    found: list[generations.Generation] = []
    threads = [threading.Thread(target=lambda: found.append(live(database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.generation_id for one in found}) == 1
    assert len(found) == 4


def test_a_generation_of_no_collection_is_refused(database: Database) -> None:
    with pytest.raises(NotFound, match="docs"):
        create(database, "g")


def test_a_dropped_generation_takes_its_passages_along(database: Database) -> None:
    (name,) = add(database, "f:/a").changed
    generation = live(database)
    index(database, generation, [name])
    with database.session() as session:
        generations.drop(session, generation.generation_id)
    with database.read() as session:
        assert list(passages.scan(session, generation.generation_id)) == []
        assert generations.live(session, DOCS) is None


def test_a_deleted_collection_leaves_only_its_generations_to_be_dropped(database: Database) -> None:
    (name,) = add(database, "f:/a").changed
    generation = live(database)
    index(database, generation, [name])
    create(database, "g2")
    accept(database, file("f:/b", "waits"))
    with database.session() as session:
        retired = collections.delete(session, DOCS, 7.0)
        assert sorted(retired) == sorted([generation.generation_id, "g2"])
        assert collections.delete(session, DOCS, 8.0) == retired
    with database.read() as session:
        assert collections.get(session, DOCS) is None
        assert documents.get(session, PUBLIC_READER, name) is None
        assert documents.counts(session, DOCS) == documents.Counts(0, 0)
        assert sorted(g.generation_id for g in generations.retired(session, 7.0)) == sorted(retired)
        assert passages.load(session, PUBLIC_READER, generation.generation_id, ["x"]) == {}
    assert claim(database, "parse", "index", "delete") == []
    with database.session() as session:
        for generation_id in retired:
            generations.drop(session, generation_id)
        assert generations.retired(session, 9.0) == []


def test_a_rebuild_has_one_job_a_document_and_is_open_until_all_writes_are_done(database: Database) -> None:
    for number in range(3):
        add(database, f"f:/{number}")
    while claimed := claim(database, "parse", "index"):
        with database.session() as session:
            jobs.finish(session, "w", [job.job_id for job in claimed], 3.0)
    create(database, "g2")
    with database.session() as session:
        task_id = new_task(session, "rebuild")
        assert jobs.enqueue_all_documents(session, DOCS, "g2", task_id, 4.0) == 3
        assert jobs.open_for(session, "g2") == 3
    claimed = claim(database, "index")
    assert {job.generation_id for job in claimed} == {"g2"}
    with database.session() as session:
        jobs.finish(session, "w", [job.job_id for job in claimed], 5.0)
        assert jobs.open_for(session, "g2") == 0
        jobs.enqueue_documents(session, DOCS, ["x"], task_id, 6.0)
        assert jobs.open_for(session, "g2") == 1, "a change of the collection reaches every generation"
        task = tasks.get(session, task_id)
    assert task is not None
    assert (task.total, task.succeeded, task.state) == (4, 3, "processing")
