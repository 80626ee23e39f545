from __future__ import annotations

from indexer.store import generations, jobs, sources, tasks
from indexer.store.database import Database
from indexer.types import source_id
from tests.indexer.store.steps import DOCS, accept, add, claim, do_all, file, finish, live, new_task, parsed


def enqueue(database: Database, kind: jobs.Kind, *subjects: str, now: float = 1.0) -> str:
    """Enqueue jobs under one task; return its id."""
    with database.session() as session:
        task_id = new_task(session, now=now)
        jobs.enqueue(session, task_id, DOCS, kind, subjects, now)
    return task_id


def task(database: Database, task_id: str) -> tasks.Task:
    """Read a task."""
    with database.read() as session:
        found = tasks.get(session, task_id)
    assert found is not None
    return found


def fail(database: Database, job: jobs.Job, retry_at: float | None, now: float = 10.0) -> None:
    """Fail a claimed job."""
    with database.session() as session:
        jobs.fail(session, "w", job.job_id, "away", "Qdrant is away", now, retry_at)


def test_jobs_are_claimed_oldest_first_up_to_the_limit(database: Database) -> None:
    enqueue(database, "index", "document:a", "document:b")
    enqueue(database, "delete", "document:c")
    enqueue(database, "index", "document:d")
    enqueue(database, "parse", "source:x")
    assert [job.subject for job in claim(database, "index", "delete", limit=3)] == [
        "document:a",
        "document:b",
        "document:c",
    ]
    assert [job.subject for job in claim(database, "index", "delete")] == ["document:d"]
    assert claim(database, "index", "delete") == []
    assert [job.kind for job in claim(database, "parse")] == ["parse"]


def test_jobs_of_one_document_come_in_one_claim_and_later_ones_wait(database: Database) -> None:
    enqueue(database, "index", "document:a", "document:b")
    enqueue(database, "delete", "document:a")
    claimed = claim(database, "index", "delete", limit=1)
    assert [(job.kind, job.subject) for job in claimed] == [("index", "document:a"), ("delete", "document:a")]
    enqueue(database, "index", "document:a")
    assert [job.subject for job in claim(database, "index", "delete")] == ["document:b"]
    finish(database, claimed)
    assert [job.subject for job in claim(database, "index", "delete")] == ["document:a"]


def test_parse_jobs_of_one_source_come_one_at_a_time(database: Database) -> None:
    enqueue(database, "parse", "source:a", "source:a", "source:b")
    claimed = claim(database, "parse")
    assert [job.subject for job in claimed] == ["source:a", "source:b"]
    assert claim(database, "parse") == []
    finish(database, claimed)
    assert [job.subject for job in claim(database, "parse")] == ["source:a"]


def test_documents_of_two_collections_with_one_id_are_two_subjects(database: Database) -> None:
    task_id = enqueue(database, "index", "document:a")
    with database.session() as session:
        jobs.enqueue(session, task_id, "other", "index", ["document:a"], 1.0)
    assert len(claim(database, "index", limit=1)) == 1
    assert [job.collection for job in claim(database, "index", limit=1)] == ["other"]


def test_a_failed_job_waits_until_its_time_and_counts_its_attempts(database: Database) -> None:
    task_id = enqueue(database, "index", "document:a")
    (job,) = claim(database, "index")
    assert job.attempts == 1
    fail(database, job, retry_at=20.0)
    assert task(database, task_id).state == "processing"
    assert claim(database, "index", now=19.0) == []
    (again,) = claim(database, "index", now=20.0)
    assert again.attempts == 2
    fail(database, again, retry_at=None)
    assert claim(database, "index", now=99.0) == []
    ended = task(database, task_id)
    assert (ended.state, ended.failed) == ("failed", 1)
    assert ended.errors == (tasks.TaskError("a", "away", "Qdrant is away"),)


def test_a_job_whose_worker_died_is_claimed_again_after_its_lease(database: Database) -> None:
    enqueue(database, "index", "document:a", "document:b")
    first, second = claim(database, "index", now=10.0)
    with database.session() as session:
        jobs.extend(session, "w", [second.job_id], 200.0)
        assert jobs.requeue_expired(session, 70.0) == 0
        assert jobs.requeue_expired(session, 71.0) == 1
    (again,) = claim(database, "index", now=71.0)
    assert (again.job_id, again.attempts) == (first.job_id, 2)


def test_finishing_what_was_given_back_leaves_it_to_be_done_again(database: Database) -> None:
    enqueue(database, "index", "document:a")
    claimed = claim(database, "index", now=10.0)
    with database.session() as session:
        jobs.requeue_expired(session, 100.0)
    finish(database, claimed)
    assert len(claim(database, "index", now=100.0)) == 1


def test_a_worker_whose_lease_ran_out_cannot_end_what_another_has_now(database: Database) -> None:
    enqueue(database, "index", "document:a")
    late = claim(database, "index", now=10.0)
    with database.session() as session:
        jobs.requeue_expired(session, 100.0)
        (held,) = jobs.claim(session, "other", ["index"], 10, 100.0, 60.0)
    finish(database, late)
    fail(database, late[0], retry_at=None)
    with database.session() as session:
        jobs.extend(session, "w", [held.job_id], 999.0)
        assert jobs.counts(session) == {"running": 1}
        assert jobs.requeue_expired(session, 161.0) == 1


def test_counts_tell_what_waits_runs_and_failed(database: Database) -> None:
    enqueue(database, "index", "document:a", "document:b", "document:c", "document:d")
    one, two, _ = claim(database, "index", limit=3)
    fail(database, one, retry_at=None)
    finish(database, [two])
    with database.read() as session:
        assert jobs.counts(session) == {"queued": 1, "running": 1, "failed": 1}


def test_a_task_goes_from_enqueued_over_processing_to_succeeded(database: Database) -> None:
    task_id, _ = accept(database, file("f:/a"), file("f:/b"))
    assert (task(database, task_id).state, task(database, task_id).total) == ("enqueued", 2)
    claimed = claim(database, "parse")
    assert task(database, task_id).state == "processing"
    finish(database, claimed, now=12.0)
    ended = task(database, task_id)
    assert (ended.state, ended.succeeded, ended.accepted, ended.finished_at) == ("succeeded", 2, 2, 12.0)


def test_a_task_with_nothing_to_do_has_succeeded(database: Database) -> None:
    add(database, "f:/a", parsed("x"))
    task_id, outcome = accept(database, file("f:/a", repr((parsed("x"),))))
    assert (outcome.unchanged, task(database, task_id).state) == (1, "succeeded")


def test_a_task_names_the_uris_of_its_failures_and_counts_them_all(database: Database) -> None:
    task_id, _ = accept(database, *(file(f"f:/{n:03}") for n in range(120)))
    for job in claim(database, "parse", limit=110):
        with database.session() as session:
            jobs.fail(session, "w", job.job_id, "empty", "0 characters of text", 5.0, None)
    do_all(database)
    ended = task(database, task_id)
    assert (ended.state, ended.failed, ended.succeeded) == ("failed", 110, 10)
    assert len(ended.errors) == tasks.MAX_ERRORS
    assert ended.errors[0] == tasks.TaskError("f:/000", "empty", "0 characters of text")


def test_recent_tasks_come_newest_first(database: Database) -> None:
    ids = [enqueue(database, "index", f"document:{n}", now=float(n)) for n in range(5)]
    with database.read() as session:
        assert [one.task_id for one in tasks.recent(session, 3)] == ids[:1:-1]
        assert tasks.recent(session, 3, "other") == []
        assert tasks.get(session, "missing") is None


def test_canceling_an_addition_stops_its_parsing_and_lists_its_sources(database: Database) -> None:
    task_id, _ = accept(database, file("f:/a"), file("f:/b"))
    running = claim(database, "parse", limit=1)
    with database.session() as session:
        assert tasks.cancel(session, task_id, 5.0)
        assert not tasks.cancel(session, "missing", 5.0)
    assert task(database, task_id).state == "processing"
    finish(database, running)
    ended = task(database, task_id)
    assert (ended.state, ended.succeeded, ended.canceled) == ("canceled", 1, 1)
    with database.session() as session:
        assert [(one.uri, one.error_code) for one in sources.failures(session)] == [("f:/b", "canceled")]
        assert sources.retry(session, DOCS, [source_id(DOCS, "f:/b")], new_task(session), 6.0) == 1


def test_canceling_a_rebuild_gives_up_its_generation(database: Database) -> None:
    add(database, "f:/a")
    live(database)
    do_all(database)
    with database.session() as session:
        generations.create(session, "g2", DOCS, fingerprint="f", parts={}, dimension=2, now=2.0)
        task_id = new_task(session, "rebuild")
        jobs.enqueue_all_documents(session, DOCS, "g2", task_id, 2.0)
        assert tasks.cancel(session, task_id, 5.0)
        assert generations.building(session, DOCS) == []
    assert claim(database, "index") == []
    assert task(database, task_id).state == "canceled"


def test_a_deletion_cannot_be_canceled(database: Database) -> None:
    with database.session() as session:
        task_id = new_task(session, "delete")
        jobs.enqueue(session, task_id, DOCS, "delete", ["document:a"], 1.0)
        tasks.cancel(session, task_id, 2.0)
    assert len(claim(database, "delete")) == 1


def test_ended_tasks_are_forgotten_and_unfinished_ones_kept(database: Database) -> None:
    ended = enqueue(database, "index", "document:a", now=1.0)
    do_all(database)
    waiting = enqueue(database, "index", "document:b", now=1.0)
    late = enqueue(database, "index", now=50.0)
    with database.session() as session:
        assert tasks.forget(session, 50.0) == 1
        assert tasks.get(session, ended) is None
        assert [one.task_id for one in tasks.recent(session)] == [late, waiting]
