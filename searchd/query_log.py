"""What was shown for which query id, for a while in memory; searches with their texts in SQL, where the owner opted in.

    answer -> answered() -> memory, and (log_queries) a bounded queue -> a thread of its own -> SQL, in batches
    event  -> clicked()  -> the same queue, with or without log_queries: a click carries no text

A search never waits for the log and never fails with it: what finds the queue full is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from indexer.errors import Busy, TransientError
from indexer.store import searches
from indexer.store.database import Database
from indexer.store.searches import Click, Search
from searchd.metrics import LogMetrics
from searchd.settings import Settings
from searchd.types import SearchResponse

log = logging.getLogger(__name__)

REMEMBERED: Final = 20_000
"""Answers whose documents are known in memory: those a click may refer to without `log_queries`."""
REMEMBERED_CHARS: Final = 32_000_000
"""And their ids together at most: an id may have 512 characters, an answer 100 documents."""
QUEUED: Final = 10_000
WRITTEN_AT_ONCE: Final = 1_000
GATHERED_S: Final = 1.0
"""How long entries gather before they are written: a commit costs milliseconds of the one writer that SQLite has."""
FORGOTTEN_EVERY_S: Final = 3600.0
FIRST_FORGOTTEN_S: Final = 60.0
RETRIED_AFTER_S: Final = 5.0
DAY_S: Final = 86_400.0
CLOSING_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer showed: ids of documents by place, empty where one was lost while the answer was made."""

    collection: str
    first_rank: int
    documents: tuple[str, ...]

    def has(self, document_id: str, position: int) -> bool:
        """Say whether this document stood at this rank."""
        place = position - self.first_rank
        return bool(document_id) and 0 <= place < len(self.documents) and self.documents[place] == document_id

    @property
    def chars(self) -> int:
        """Characters of all ids."""
        return sum(map(len, self.documents))


class QueryLog:
    """Remembers answers and writes what is kept of them. Thread-safe; one for each opened data folder."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Callable[[], float],
        metrics: LogMetrics | None = None,
        *,
        remembered: int = REMEMBERED,
        queued: int = QUEUED,
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._metrics = metrics or LogMetrics()
        self._remembered = remembered
        self._queued = queued
        self._shown: OrderedDict[str, Shown] = OrderedDict()
        self._chars = 0
        self._waiting: deque[Search | Click] = deque()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._arrived = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Write and forget in the background from now on."""
        self._thread = threading.Thread(target=self._run, name="query-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, and write what waits. What cannot be written is counted as dropped."""
        self._closing.set()
        self._arrived.set()
        if self._thread is not None:
            self._thread.join(CLOSING_S)
        try:
            self.flush()
        except TransientError as error:
            log.warning("the query log cannot be written: %s", error)
            with self._lock:
                self._drop(self._waiting)
                self._waiting.clear()

    def answered(self, text: str, collection: str, offset: int, response: SearchResponse) -> None:
        """Remember an answer; with `log_queries`, keep its text and what it showed."""
        shown = _shown(collection, offset, response)
        with self._lock:
            self._remember(response.query_id, shown)
            if self._settings.log_queries:
                self._offer(
                    Search(
                        response.query_id,
                        collection,
                        response.profile,
                        shown.first_rank,
                        shown.documents,
                        self._clock(),
                        text.strip(),
                    )
                )

    def shown(self, query_id: str) -> Shown | None:
        """Return what an answer showed, None if nobody knows it any more; reads SQL. Raises: TransientError."""
        with self._lock:
            found = self._shown.get(query_id)
        if found is not None:
            return found
        with self._database.read() as session:
            kept = searches.get(session, query_id)
        return None if kept is None else Shown(kept.collection, kept.first_rank, kept.documents)

    def clicked(self, clicks: Sequence[Click]) -> None:
        """Take clicks to be written soon, all or none. Raises: Busy if there is no room for them."""
        with self._lock:
            if len(self._waiting) + len(clicks) > self._queued:
                self._drop(clicks)
                raise Busy("events come faster than they can be written; try again in a moment")
            self._waiting.extend(clicks)
            self._metrics.clicked(len(clicks))
        self._arrived.set()

    def flush(self) -> None:
        """Write all that waits now. Raises: TransientError; what could not be written waits on."""
        while self._write():
            pass

    def forget(self) -> int:
        """Delete what is older than `log_days`; return how many searches and clicks. Raises: TransientError."""
        with self._database.session() as session:
            return searches.forget(session, self._clock() - self._settings.log_days * DAY_S)

    def _remember(self, query_id: str, shown: Shown) -> None:
        self._shown[query_id] = shown
        self._chars += shown.chars
        while len(self._shown) > self._remembered or (self._chars > REMEMBERED_CHARS and len(self._shown) > 1):
            _, oldest = self._shown.popitem(last=False)
            self._chars -= oldest.chars

    def _offer(self, search: Search) -> None:
        if len(self._waiting) < self._queued:
            self._waiting.append(search)
            self._arrived.set()
        else:
            self._drop([search])

    def _drop(self, entries: Sequence[Search | Click]) -> None:
        for entry in entries:
            self._metrics.dropped("search" if isinstance(entry, Search) else "click")

    def _write(self) -> int:
        """Write one batch; return how many entries. They leave the queue once they are written, or cannot ever be."""
        with self._writing:
            with self._lock:
                some = [self._waiting[place] for place in range(min(WRITTEN_AT_ONCE, len(self._waiting)))]
            if not some:
                return 0
            try:
                with self._database.session() as session:
                    searches.add(session, (one for one in some if isinstance(one, Search)))
                    searches.add_clicks(session, (one for one in some if isinstance(one, Click)))
            except TransientError:
                raise
            except Exception:
                log.exception("%d entries of the query log cannot be written; they are dropped", len(some))
                self._drop(some)
            with self._lock:
                for _ in range(min(len(some), len(self._waiting))):
                    self._waiting.popleft()
            return len(some)

    def _run(self) -> None:
        forget_at = time.monotonic() + FIRST_FORGOTTEN_S
        while not self._closing.is_set():
            self._arrived.wait(max(0.0, forget_at - time.monotonic()))
            self._closing.wait(GATHERED_S)
            self._arrived.clear()
            try:
                self.flush()
                if time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + FORGOTTEN_EVERY_S
                    self.forget()
            except TransientError as error:
                log.warning("the query log waits: %s", error)
                self._closing.wait(RETRIED_AFTER_S)
                self._arrived.set()
            except Exception:  # or nothing would be written any more
                log.exception("what is old in the query log cannot be forgotten; it is tried again in an hour")


def _shown(collection: str, offset: int, response: SearchResponse) -> Shown:
    """Return the documents of an answer by place; ranks of hits go on past one that was lost."""
    first = offset + 1
    at = {hit.rank: hit.candidate.document_id for hit in response.hits}
    return Shown(collection, first, tuple(at.get(rank, "") for rank in range(first, max(at, default=offset) + 1)))
