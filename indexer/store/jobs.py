"""The outbox: jobs are enqueued in the transaction that causes them, claimed under a lease, and finished or failed.

`parse` jobs have the subject `source:<id>`, `index` and `delete` jobs `document:<id>`. Jobs of one subject never run in
two claims at a time, however many workers claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import exists, func, insert, literal, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from indexer.store.database import batches, is_postgresql
from indexer.store.tables import DocumentRow, GenerationRow, JobRow
from indexer.store.values import storable

Kind = Literal["parse", "index", "delete"]
DOCUMENT, SOURCE = "document:", "source:"
OPEN = ("queued", "running")
CLAIM_KEY = 0x5EA2C4D1
"""Of the PostgreSQL advisory lock under which workers claim one after the other."""


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job. `attempts` counts this one: 1 the first time."""

    job_id: int
    task_id: str
    collection: str
    kind: str
    subject: str
    generation_id: str | None
    attempts: int


def enqueue(
    session: Session,
    task_id: str,
    collection: str,
    kind: Kind,
    subjects: Iterable[str],
    now: float,
    *,
    generation_id: str | None = None,
    available_at: float | None = None,
) -> int:
    """Enqueue one job a subject, in their order; return how many. They wait until `available_at`, if given."""
    row = _new_row(task_id, collection, kind, generation_id, now, now if available_at is None else available_at)
    rows = [row | {"subject": subject} for subject in subjects]
    if rows:
        session.execute(insert(JobRow), rows)
    return len(rows)


def enqueue_documents(
    session: Session,
    collection: str,
    document_ids: Iterable[str],
    task_id: str,
    now: float,
    generation_id: str | None = None,
) -> int:
    """Enqueue an `index` job for each document; one that is gone by then is taken out of the indexes."""
    subjects = [DOCUMENT + document_id for document_id in document_ids]
    return enqueue(session, task_id, collection, "index", subjects, now, generation_id=generation_id)


def enqueue_all_documents(session: Session, collection: str, generation_id: str, task_id: str, now: float) -> int:
    """Enqueue an `index` job of this generation for every document of the collection; return how many."""
    row = _new_row(task_id, collection, "index", generation_id, now, now)
    columns = [DocumentRow.__table__.c.document_id.label("subject")]
    subject = literal(DOCUMENT).concat(columns[0])
    chosen = select(subject, *(literal(value, JobRow.__table__.c[name].type) for name, value in row.items()))
    chosen = chosen.where(DocumentRow.collection == collection).order_by(DocumentRow.document_id)
    session.execute(insert(JobRow).from_select(["subject", *row], chosen))
    query = (
        select(func.count()).select_from(JobRow).where(JobRow.task_id == task_id, JobRow.generation_id == generation_id)
    )
    return session.scalar(query) or 0


def _new_row(
    task_id: str, collection: str, kind: Kind, generation_id: str | None, now: float, available_at: float
) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "collection": collection,
        "kind": kind,
        "generation_id": generation_id,
        "state": "queued",
        "attempts": 0,
        "available_at": available_at,
        "created_at": now,
    }


def claim(session: Session, worker: str, kinds: Sequence[str], limit: int, now: float, lease_s: float) -> list[Job]:
    """Take the oldest jobs of these kinds for `worker` until now + lease_s; return them, oldest first.

    `limit` counts subjects. All waiting index and delete jobs of a document come together (one application of the
    document's present state does them all); parse jobs of a source come one at a time. A subject that is being worked
    on by anybody is passed over.
    """
    if is_postgresql(session):
        # Without it, two claims that do not see each other's rows could take two jobs of one subject.
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CLAIM_KEY})
    oldest = sorted(
        (job_id, collection, subject, kind)
        for kind in kinds
        for job_id, collection, subject in session.execute(_claimable(kind, now, limit))
    )
    first: dict[tuple[str, str], int] = {}
    for job_id, collection, subject, _kind in oldest:
        if len(first) < limit:
            first.setdefault((collection, subject), job_id)
    chosen = sorted({*first.values(), *_siblings(session, first, kinds, now)})
    if not chosen:
        return []
    session.execute(
        update(JobRow)
        .where(JobRow.job_id.in_(chosen))
        .values(state="running", attempts=JobRow.attempts + 1, claimed_by=worker, lease_until=now + lease_s)
    )
    query = select(
        JobRow.job_id,
        JobRow.task_id,
        JobRow.collection,
        JobRow.kind,
        JobRow.subject,
        JobRow.generation_id,
        JobRow.attempts,
    )
    return [Job(*row) for row in session.execute(query.where(JobRow.job_id.in_(chosen)).order_by(JobRow.job_id))]


def _claimable(kind: str, now: float, limit: int) -> Any:
    """Select the oldest queued jobs of one kind whose subject nobody works on, in the order of the index."""
    other = aliased(JobRow)
    running = exists().where(
        other.collection == JobRow.collection, other.subject == JobRow.subject, other.state == "running"
    )
    return (
        select(JobRow.job_id, JobRow.collection, JobRow.subject)
        .where(JobRow.state == "queued", JobRow.kind == kind, JobRow.available_at <= now, ~running)
        .order_by(JobRow.job_id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=JobRow)
    )


def _siblings(session: Session, first: dict[tuple[str, str], int], kinds: Sequence[str], now: float) -> list[int]:
    """Return the other waiting index and delete jobs of these subjects."""
    together = [kind for kind in kinds if kind != "parse"]
    subjects = sorted({subject for _, subject in first if subject.startswith(DOCUMENT)})
    if not together or not subjects:
        return []
    query = select(JobRow.job_id, JobRow.collection, JobRow.subject).where(
        JobRow.collection.in_(sorted({collection for collection, _ in first})),
        JobRow.subject.in_(subjects),
        JobRow.state == "queued",
        JobRow.kind.in_(together),
        JobRow.available_at <= now,
    )
    rows = session.execute(query.with_for_update(skip_locked=True, of=JobRow))
    return [job_id for job_id, collection, subject in rows if (collection, subject) in first]


def extend(session: Session, worker: str, job_ids: Sequence[int], until: float) -> None:
    """Keep the jobs that `worker` holds claimed until this time."""
    for some in batches(sorted(job_ids)):
        session.execute(update(JobRow).where(JobRow.job_id.in_(some), _held_by(worker)).values(lease_until=until))


def finish(session: Session, worker: str, job_ids: Sequence[int], now: float) -> None:
    """Mark jobs as succeeded that `worker` holds; one whose lease ran out is left to whoever has it now."""
    for some in batches(sorted(job_ids)):
        session.execute(
            update(JobRow)
            .where(JobRow.job_id.in_(some), _held_by(worker))
            .values(state="succeeded", finished_at=now, lease_until=None, error_code=None, error=None)
        )


def fail(
    session: Session, worker: str, job_id: int, code: str, message: str, now: float, retry_at: float | None
) -> None:
    """Record a failure of `worker`'s: the job waits until `retry_at`, or has failed for good if that is None."""
    values: dict[str, Any] = {
        "error_code": code[:64],
        "error": storable(message),
        "lease_until": None,
        "claimed_by": None,
    }
    if retry_at is None:
        values |= {"state": "failed", "finished_at": now}
    else:
        values |= {"state": "queued", "available_at": retry_at}
    session.execute(update(JobRow).where(JobRow.job_id == job_id, _held_by(worker)).values(values))


def _held_by(worker: str) -> Any:
    return (JobRow.state == "running") & (JobRow.claimed_by == worker)


def requeue_expired(session: Session, now: float) -> int:
    """Let jobs whose worker has gone (their lease ran out) be claimed again; return how many."""
    expired = list(session.scalars(select(JobRow.job_id).where(JobRow.state == "running", JobRow.lease_until < now)))
    for some in batches(sorted(expired)):
        session.execute(
            update(JobRow)
            .where(JobRow.job_id.in_(some), JobRow.state == "running", JobRow.lease_until < now)
            .values(state="queued", available_at=now, lease_until=None, claimed_by=None)
        )
    return len(expired)


def requeue_running(session: Session, now: float) -> None:
    """Let every running job be claimed again: for the one owner of a data folder, whose predecessor must be dead."""
    session.execute(
        update(JobRow)
        .where(JobRow.state == "running")
        .values(state="queued", available_at=now, lease_until=None, claimed_by=None)
    )


def counts(session: Session) -> dict[str, int]:
    """Return how many jobs are queued, running and failed; states without a job are left out."""
    query = select(JobRow.state, func.count()).where(JobRow.state.in_((*OPEN, "failed"))).group_by(JobRow.state)
    return {state: count for state, count in session.execute(query)}


def open_for(session: Session, generation_id: str) -> int:
    """Return how many unfinished jobs will still write to this generation: its own, and its collection's changes."""
    collection = select(GenerationRow.collection).where(GenerationRow.generation_id == generation_id).scalar_subquery()
    query = (
        select(func.count())
        .select_from(JobRow)
        .where(
            JobRow.state.in_(OPEN),
            JobRow.kind.in_(("index", "delete")),
            JobRow.collection == collection,
            or_(JobRow.generation_id == generation_id, JobRow.generation_id.is_(None)),
        )
    )
    return session.scalar(query) or 0


def failed_documents(session: Session, generation_id: str) -> set[str]:
    """Return the documents that could not be written to this generation and will not be tried again unasked."""
    query = select(JobRow.subject).where(
        JobRow.state == "failed", JobRow.kind == "index", JobRow.generation_id == generation_id
    )
    return {subject.removeprefix(DOCUMENT) for subject in session.scalars(query)}


def cancel_queued(session: Session, collection: str, subjects: Sequence[str], now: float) -> None:
    """Cancel the waiting jobs of subjects that are gone."""
    for some in batches(sorted(subjects)):
        session.execute(
            update(JobRow)
            .where(JobRow.collection == collection, JobRow.subject.in_(some), JobRow.state == "queued")
            .values(state="canceled", finished_at=now)
        )
