"""What is there and what goes on: counts per collection, queued work, failures, recent tasks. Read by CLI, API and page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from indexer.scope import Scope
from indexer.store import collections, documents, generations, jobs, sources, tasks
from indexer.store.collections import Collection
from indexer.store.database import Database
from indexer.store.tasks import Task
from indexer.types import DEFAULT_COLLECTION

FAILURES_SHOWN = 200
TASKS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """One collection: how much is in it, which generation serves, whether one is being built."""

    name: str
    language: str
    documents: int
    passages: int
    failed: int
    generation: str | None
    building: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A source that could not become text; it stays until it is retried, replaced or removed."""

    source_id: str
    collection: str
    uri: str
    name: str
    code: str
    message: str
    at: float


@dataclass(frozen=True, slots=True)
class Status:
    """The whole picture; `jobs` counts by state."""

    collections: tuple[CollectionStatus, ...]
    jobs: Mapping[str, int]
    failures: tuple[Failure, ...]
    tasks: tuple[Task, ...]


def visible(session: Session, readers: Iterable[str] | None) -> Iterator[tuple[Collection, Scope | None]]:
    """Yield by name the collections that `readers` (principals; None: whoever may see all) may know of.

    That is `default`, and those that hold a document for them; with the scope in which they may count, None for all.
    """
    principals = None if readers is None else frozenset(readers)
    for collection in collections.list_all(session):
        scope = None if principals is None else Scope.of(collection.name, principals)
        if scope is None or collection.name == DEFAULT_COLLECTION or documents.any_readable(session, scope):
            yield collection, scope


def status_of(database: Database, readers: Iterable[str] | None = None) -> Status:
    """Read the status of all collections; for `readers` (principals), of what they may know of."""
    with database.read() as session:
        found = []
        for collection, scope in visible(session, readers):
            counts = documents.counts(session, collection.name, scope)
            live = generations.live(session, collection.name)
            found.append(
                CollectionStatus(
                    name=collection.name,
                    language=collection.language,
                    documents=counts.documents,
                    passages=counts.passages,
                    failed=sources.count_failed(session, collection.name),
                    generation=live.generation_id if live else None,
                    building=len(generations.building(session, collection.name)),
                )
            )
        failures = tuple(
            Failure(s.source_id, s.collection, s.uri, s.name, s.error_code or "", s.error or "", s.updated_at)
            for s in sources.failures(session, None, FAILURES_SHOWN)
        )
        return Status(tuple(found), jobs.counts(session), failures, tuple(tasks.recent(session, TASKS_SHOWN)))


def task_of(database: Database, task_id: str) -> Task | None:
    """Read one task, None if there is none of this id."""
    with database.read() as session:
        return tasks.get(session, task_id)
