"""Acceptance: source bytes and their job go into SQL in one transaction, and only then is the caller answered.

Takes SourceFile values from the folder walk or the API; gives a task to follow. The worker does the rest.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.crash import crash_point
from indexer.errors import InputError, LimitError, NotFound
from indexer.settings import Settings
from indexer.store import collections, documents, sources, tasks
from indexer.store.database import Database
from indexer.types import SourceFile

MAX_URI_CHARS = 2048
MAX_ID_CHARS = 512
MAX_PRINCIPALS = 1000
MAX_PRINCIPAL_CHARS = 128


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What was acknowledged: durable in SQL, findable once the task has succeeded."""

    task_id: str
    accepted: int
    unchanged: int


def accept(
    database: Database, settings: Settings, collection: str, files: Sequence[SourceFile], now: float
) -> Acceptance:
    """Take sources in; unchanged ones (equal content and overrides) cost nothing. A new collection is made.

    Raises: InputError or LimitError naming the source that is refused; then none is taken.
    """
    for file in files:
        check(file, settings)
    task_id = str(uuid.uuid4())
    with database.session() as session:
        collections.ensure(session, collection, settings.default_language, now)
        tasks.create(session, task_id, collection, "add", now)
        outcome = sources.accept(session, collection, files, task_id, now)
        tasks.set_totals(session, task_id, accepted=outcome.accepted, unchanged=outcome.unchanged)
    crash_point("after-sql-commit")
    return Acceptance(task_id, outcome.accepted, outcome.unchanged)


def remove(database: Database, collection: str, document_ids: Sequence[str], now: float) -> Acceptance:
    """Delete documents: gone from every answer when this returns, from both indexes soon after."""
    task_id = str(uuid.uuid4())
    with database.session() as session:
        require(collections.get(session, collection) is not None, collection)
        tasks.create(session, task_id, collection, "delete", now)
        removed = documents.delete(session, collection, document_ids, task_id, now)
        tasks.set_totals(session, task_id, accepted=len(removed), unchanged=len(set(document_ids)) - len(removed))
    crash_point("after-sql-commit")
    return Acceptance(task_id, len(removed), len(set(document_ids)) - len(removed))


def remove_sources(database: Database, collection: str, source_ids: Sequence[str], now: float) -> Acceptance:
    """Delete sources with all their documents, as `--prune` does for files that are gone."""
    task_id = str(uuid.uuid4())
    with database.session() as session:
        require(collections.get(session, collection) is not None, collection)
        tasks.create(session, task_id, collection, "delete", now)
        removed = sources.delete(session, collection, source_ids, task_id, now)
        tasks.set_totals(session, task_id, accepted=removed, unchanged=len(set(source_ids)) - removed)
    return Acceptance(task_id, removed, len(set(source_ids)) - removed)


def retry(database: Database, collection: str, source_ids: Sequence[str] | None, now: float) -> Acceptance:
    """Parse failed sources again: these, or all of the collection."""
    task_id = str(uuid.uuid4())
    with database.session() as session:
        require(collections.get(session, collection) is not None, collection)
        tasks.create(session, task_id, collection, "add", now)
        again = sources.retry(session, collection, source_ids, task_id, now)
        tasks.set_totals(session, task_id, accepted=again, unchanged=0)
    return Acceptance(task_id, again, 0)


def require(exists: bool, collection: str) -> None:
    """Raise NotFound for a collection that does not exist."""
    if not exists:
        raise NotFound(f"there is no collection {collection!r}")


def check(file: SourceFile, settings: Settings) -> None:
    """Refuse what no store may hold. Raises: InputError, LimitError, saying which source and the limit."""
    where = file.name or file.uri
    if not file.uri or len(file.uri) > MAX_URI_CHARS:
        raise LimitError(f"{where!r}: a uri has 1 to {MAX_URI_CHARS} characters")
    if len(file.content) > settings.max_document_mb * 1_000_000:
        raise LimitError(f"{where!r} has {len(file.content):,} bytes; at most {settings.max_document_mb} MB are taken")
    if file.document_id is not None:
        check_document_id(file.document_id)
    if file.access is not None:
        check_access(file.access)


def check_document_id(document_id: str) -> None:
    """Refuse ids that are empty, too long or hold control characters. Raises: InputError."""
    if not 0 < len(document_id) <= MAX_ID_CHARS or not document_id.isprintable():
        raise InputError(f"document id {document_id[:60]!r}: 1 to {MAX_ID_CHARS} printable characters are accepted")


def check_access(access: Sequence[str]) -> None:
    """Refuse access lists that are empty or out of bounds. Raises: InputError."""
    if not 0 < len(access) <= MAX_PRINCIPALS:
        raise InputError(f"access: 1 to {MAX_PRINCIPALS} principals are accepted; `public` lets everyone read")
    for principal in access:
        if principal[:1] in ("[", '"') or "," in principal:
            raise InputError(f"access: {principal[:60]!r} looks like a list; give each principal by itself, repeatedly")
        if not 0 < len(principal) <= MAX_PRINCIPAL_CHARS or not principal.isprintable():
            raise InputError(
                f"access: principal {principal[:60]!r}: 1 to {MAX_PRINCIPAL_CHARS} printable characters are accepted"
            )
