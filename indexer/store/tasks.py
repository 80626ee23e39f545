"""Tasks: one acknowledged request for work each. State and counts are read off its jobs, never stored twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import case, func, insert, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from indexer.store.database import batches
from indexer.store.jobs import DOCUMENT, OPEN, SOURCE
from indexer.store.tables import DocumentRow, GenerationRow, JobRow, SourceRow, TaskRow

Kind = Literal["add", "delete", "rebuild"]
State = Literal["enqueued", "processing", "succeeded", "failed", "canceled"]
MAX_ERRORS = 100
CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why one source or document failed."""

    uri: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands. `total` grows while sources turn out to hold documents: it counts steps, not files.

    `failed` counts all failures, `errors` names the first 100. The state is `failed` if anything failed, whatever
    else succeeded, and `canceled` if it was canceled and nothing of it runs any more.
    """

    task_id: str
    collection: str
    kind: str
    state: State
    accepted: int
    unchanged: int
    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int
    errors: tuple[TaskError, ...]
    created_at: float
    finished_at: float | None


def create(
    session: Session, task_id: str, collection: str, kind: Kind, now: float, generation_id: str | None = None
) -> None:
    """Make a task; its jobs come in the same transaction. A rebuild's ends when `generation_id` is no longer building."""
    row = {
        "task_id": task_id,
        "collection": collection,
        "kind": kind,
        "created_at": now,
        "generation_id": generation_id,
    }
    session.execute(insert(TaskRow).values(**row, accepted=0, unchanged=0, canceled=False))


def set_totals(session: Session, task_id: str, *, accepted: int, unchanged: int) -> None:
    """Record what the caller was told."""
    session.execute(update(TaskRow).where(TaskRow.task_id == task_id).values(accepted=accepted, unchanged=unchanged))


def get(session: Session, task_id: str) -> Task | None:
    """Return a task with its errors, None if there is none."""
    row: Any = session.execute(_tasks().where(TaskRow.task_id == task_id)).first()
    return None if row is None else _task(row, _errors(session, task_id) if row.failed else ())


def recent(session: Session, limit: int = 20, collection: str | None = None) -> list[Task]:
    """Return the latest tasks, newest first, with counts but without their errors."""
    latest = select(TaskRow.task_id).order_by(TaskRow.created_at.desc(), TaskRow.task_id).limit(limit)
    if collection is not None:
        latest = latest.where(TaskRow.collection == collection)
    ids = list(session.scalars(latest))
    rows = {row.task_id: row for row in session.execute(_tasks().where(TaskRow.task_id.in_(ids)))}
    return [_task(rows[task_id], ()) for task_id in ids]


def cancel(session: Session, task_id: str, now: float) -> bool:
    """Cancel what waits of an addition (its parsing) or a rebuild; False if there is no such task.

    What runs is finished, and what is parsed is indexed: SQL and the indexes never disagree for a cancellation. A
    deletion cannot be canceled. Sources that are not parsed are listed as failed, with the code `canceled`.
    """
    task = session.execute(select(TaskRow.kind).where(TaskRow.task_id == task_id).with_for_update()).first()
    if task is None:
        return False
    waiting = (JobRow.task_id == task_id, JobRow.state == "queued")
    if task.kind == "add":
        _cancel_parsing(
            session, list(session.scalars(select(JobRow.subject).where(*waiting, JobRow.kind == "parse"))), now
        )
        stopped = update(JobRow).where(*waiting, JobRow.kind == "parse")
    else:
        ids = list(
            session.scalars(select(JobRow.generation_id).where(*waiting, JobRow.generation_id.is_not(None)).distinct())
        )
        session.execute(
            update(GenerationRow)
            .where(GenerationRow.generation_id.in_(ids), GenerationRow.state == "building")
            .values(state="retired", retired_at=now)
        )
        stopped = update(JobRow).where(*waiting, JobRow.generation_id.is_not(None))
    session.execute(stopped.values(state="canceled", finished_at=now))
    session.execute(update(TaskRow).where(TaskRow.task_id == task_id).values(canceled=True))
    return True


def forget(session: Session, before: float) -> int:
    """Delete tasks made before this time that have ended, with their jobs; return how many."""
    unfinished = select(JobRow.task_id).where(JobRow.state.in_(OPEN))
    query = select(TaskRow.task_id).where(TaskRow.created_at < before, TaskRow.task_id.not_in(unfinished))
    ids = list(session.scalars(query))
    for some in batches(ids):
        session.execute(sql_delete(JobRow).where(JobRow.task_id.in_(some)))
        session.execute(sql_delete(TaskRow).where(TaskRow.task_id.in_(some)))
    return len(ids)


def _cancel_parsing(session: Session, subjects: Sequence[str], now: float) -> None:
    ids = [subject.removeprefix(SOURCE) for subject in subjects]
    for some in batches(ids):
        session.execute(
            update(SourceRow)
            .where(SourceRow.source_id.in_(some), SourceRow.state == "queued")
            .values(state="failed", error_code=CANCELED, error="canceled before it was parsed", updated_at=now)
        )


def _tasks() -> Any:
    def count(state: str) -> Any:
        return func.coalesce(func.sum(case((JobRow.state == state, 1), else_=0)), 0).label(state)

    building = (
        select(func.count())
        .where(GenerationRow.generation_id == TaskRow.generation_id, GenerationRow.state == "building")
        .scalar_subquery()
    )
    begun = func.coalesce(func.sum(case((JobRow.attempts > 0, 1), else_=0)), 0).label("begun")
    return (
        select(
            TaskRow.task_id,
            TaskRow.collection,
            TaskRow.kind,
            TaskRow.accepted,
            TaskRow.unchanged,
            TaskRow.created_at,
            TaskRow.canceled.label("was_canceled"),
            *(count(state) for state in ("queued", "running", "succeeded", "failed", "canceled")),
            begun,
            func.max(JobRow.finished_at).label("finished_at"),
            building.label("building"),
        )
        .outerjoin(JobRow, JobRow.task_id == TaskRow.task_id)
        .group_by(TaskRow.task_id)
    )


def _task(row: Any, errors: tuple[TaskError, ...]) -> Task:
    state = _state(row)
    return Task(
        task_id=row.task_id,
        collection=row.collection,
        kind=row.kind,
        state=state,
        accepted=row.accepted,
        unchanged=row.unchanged,
        total=row.queued + row.running + row.succeeded + row.failed + row.canceled,
        queued=row.queued,
        running=row.running,
        succeeded=row.succeeded,
        failed=row.failed,
        canceled=row.canceled,
        errors=errors,
        created_at=row.created_at,
        finished_at=None if state in ("enqueued", "processing") else row.finished_at or row.created_at,
    )


def _state(row: Any) -> State:
    if row.queued or row.running or row.building:
        return "processing" if row.begun or not row.queued else "enqueued"
    if row.was_canceled:
        return "canceled"
    return "failed" if row.failed else "succeeded"


def _errors(session: Session, task_id: str) -> tuple[TaskError, ...]:
    query = select(JobRow.collection, JobRow.subject, JobRow.error_code, JobRow.error)
    query = query.where(JobRow.task_id == task_id, JobRow.state == "failed").order_by(JobRow.job_id).limit(MAX_ERRORS)
    rows = session.execute(query).all()
    sources = [row.subject.removeprefix(SOURCE) for row in rows if row.subject.startswith(SOURCE)]
    named = select(SourceRow.source_id, SourceRow.uri).where(SourceRow.source_id.in_(sources))
    uris = {SOURCE + name: uri for name, uri in session.execute(named)}
    ids = [row.subject.removeprefix(DOCUMENT) for row in rows if row.subject.startswith(DOCUMENT)]
    of_documents = select(DocumentRow.document_id, DocumentRow.uri).where(
        DocumentRow.collection.in_({row.collection for row in rows}), DocumentRow.document_id.in_(ids)
    )
    uris |= {DOCUMENT + name: uri for name, uri in session.execute(of_documents)}
    return tuple(
        TaskError(uris.get(row.subject, row.subject.partition(":")[2]), row.error_code or "", row.error or "")
        for row in rows
    )
