"""The command line's side without a daemon: the same verbs as `client.py`, done on the data folder by this process.

It owns the folder while it lives. The engine (models, indexes) and the worker are opened when first needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any

import msgspec

from indexer import doctor, ingest, rebuild
from indexer.engine import Engine
from indexer.errors import NotFound
from indexer.owner import Owner
from indexer.settings import Settings
from indexer.status import status_of, task_of
from indexer.store import sources
from indexer.store.database import Database, open_database
from indexer.types import SourceFile
from indexer.worker import Worker


class LocalIndexer:
    """Verbs on the data folder itself; a context manager that gives the folder back."""

    def __init__(
        self, settings: Settings, *, check: bool = True, prepare: Callable[[Engine], None] | None = None
    ) -> None:
        """Own the folder; `prepare` completes the engine once it is open. Raises: Busy."""
        self.settings = settings
        self._prepare = prepare
        self.check = check
        self._owner = Owner.acquire(settings)
        self._engine: Engine | None = None
        self._worker: Worker | None = None

    @cached_property
    def database(self) -> Database:
        """The database alone: enough to accept, list and count, without loading a model."""
        return self._engine.database if self._engine else open_database(self.settings.resolved_database_url)

    @property
    def engine(self) -> Engine:
        """The opened engine. Raises: StaleIndex when settings and indexes disagree (unless `check` is off)."""
        if self._engine is None:
            self._engine = Engine.open(self.settings, check=self.check)
            if self._prepare is not None:
                self._prepare(self._engine)
        return self._engine

    def work(self) -> None:
        """Start the worker, so that what was accepted gets done while the caller waits."""
        if self._worker is None:
            self._worker = Worker(self.engine)
            self._worker.start()
        self._worker.wake()

    def add(self, collection: str, files: Sequence[SourceFile]) -> dict[str, Any]:
        """Take files in; they are durable when this returns."""
        taken = ingest.accept(self.database, self.settings, collection, files, self._now())
        if self._worker:
            self._worker.wake()
        return _plain(taken)

    def task(self, task_id: str) -> dict[str, Any]:
        """Return a task's state, counts and errors."""
        found = task_of(self.database, task_id)
        if found is None:
            raise NotFound(f"there is no task {task_id}")
        return _plain(found)

    def sources(self, collection: str, uri_prefix: str) -> dict[str, str]:
        """Return source id by uri for every source under `uri_prefix`."""
        found: dict[str, str] = {}
        cursor: str | None = None
        while True:
            with self.database.read() as session:
                page = sources.under(session, collection, uri_prefix, cursor, 1000)
            found |= {source.uri: source.source_id for source in page}
            if len(page) < 1000:
                return found
            cursor = page[-1].uri

    def remove_sources(self, collection: str, source_ids: Sequence[str]) -> dict[str, Any]:
        """Delete sources and their documents."""
        return _plain(ingest.remove_sources(self.database, collection, source_ids, self._now()))

    def retry(self, collection: str) -> dict[str, Any]:
        """Parse every failed source of the collection again."""
        return _plain(ingest.retry(self.database, collection, None, self._now()))

    def rebuild(self, collection: str, recipe: dict[str, Any]) -> dict[str, Any]:
        """Start a rebuild under the settings in `recipe`."""
        chosen = msgspec.structs.replace(self.settings, **recipe)
        return {"task_id": rebuild.start_rebuild(self.engine, collection, chosen, self._now())}

    def status(self) -> dict[str, Any]:
        """Return counts, failures and recent tasks."""
        return _plain(status_of(self.database))

    def doctor(self, repair: bool, recipe: dict[str, Any]) -> dict[str, Any]:
        """Examine (and repair) all three stores, held against the settings in `recipe`."""
        chosen = msgspec.structs.replace(self.settings, **recipe)
        found = doctor.examine(self.engine, chosen)
        task_ids = doctor.repair(self.engine, found, chosen) if repair else []
        return {"findings": [_plain(finding) for finding in found], "task_ids": task_ids}

    def _now(self) -> float:
        return time.time()

    def close(self) -> None:
        """Stop the worker after its batch, close everything, give the folder back."""
        if self._worker is not None:
            self._worker.stop()
        if self._engine is not None:
            self._engine.close()
        elif "database" in self.__dict__:
            self.database.close()
        self._owner.release()

    def __enter__(self) -> LocalIndexer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain
