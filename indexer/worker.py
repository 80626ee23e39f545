"""The worker: claims jobs, parses sources, applies documents to both indexes, flushes, and only then finishes.

Two loops run side by side, so that files are parsed while passages are encoded; a third builds HNSW graphs, flips
finished rebuilds and sweeps. Several processes may run workers on one PostgreSQL; no job is done twice.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from indexer import housekeeping, rebuild
from indexer.apply import apply_documents
from indexer.crash import crash_point
from indexer.engine import Engine, LiveIndexes
from indexer.errors import ParseFailure, SearchdError, StaleIndex, TransientError
from indexer.owner import needs_owner
from indexer.parsing import ParserPool
from indexer.store import documents, generations, jobs, sources
from indexer.store.jobs import Job

log = logging.getLogger(__name__)

PARSE_BATCH = 16
INDEX_BATCH = 48
LEASE_S = 20.0
HEARTBEAT_S = 5.0
POLL_S = 0.5
SWEEP_S = 2.0
MAX_ATTEMPTS = 4
"""Of a job whose failure is a bug or a dead worker; transient failures are retried without end, ever more slowly."""
MAX_CRASHES = 2
"""A file may crash its parser this often before it is quarantined."""


def backoff_s(attempts: int) -> float:
    """Return how long to wait before a retry: 1, 2, 4, ... at most 60 seconds."""
    return float(min(60, 2 ** min(attempts, 6)))


class Worker:
    """Runs until stopped. `wake()` after an acceptance saves it half a second of sleep."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = f"{socket.gethostname()}:{os.getpid()}:{id(self):x}"
        self.parsers = ParserPool(engine.settings)
        self._stop = threading.Event()
        self._wake = threading.Condition()
        self._held: set[int] = set()
        self._threads: list[threading.Thread] = []
        self._house_kept_until = time.monotonic() + housekeeping.EVERY_S

    def start(self) -> None:
        """Start all loops as threads; what a dead predecessor left running in an owned folder is taken up at once."""
        if needs_owner(self.engine.settings):
            with self.engine.database.session() as session:
                jobs.requeue_running(session, self.engine.clock())
        loops = (self._parse_loop, self._index_loop, self._sweep_loop, self._heartbeat_loop, self._optimize_loop)
        for loop in loops:
            thread = threading.Thread(target=loop, name=loop.__name__.strip("_"), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let the batches in hand end, then end the loops and the parser processes."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout=60)
        self.parsers.close()

    def wake(self) -> None:
        """Look for jobs now."""
        with self._wake:
            self._wake.notify_all()

    @property
    def alive(self) -> bool:
        """Whether every loop still runs."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    # -- loops ----------------------------------------------------------------------------------------------------

    def _forever(self, step: Callable[[], bool], idle_s: float) -> None:
        """Call `step` until stopped; when it had nothing to do, or failed, wait to be woken or `idle_s`."""
        failures = 0
        while not self._stop.is_set():
            try:
                busy = step()
                failures = 0
            except BaseException as error:  # a panic of tantivy's is no Exception, and must not end the loop
                failures += 1
                level = logging.WARNING if isinstance(error, TransientError) else logging.ERROR
                log.log(level, "%s: %s", step.__name__, error, exc_info=level == logging.ERROR)
                self._stop.wait(backoff_s(failures))
                continue
            if not busy:
                with self._wake:
                    self._wake.wait(idle_s)

    def _parse_loop(self) -> None:
        size = max(1, self.parsers.size)
        with ThreadPoolExecutor(size, thread_name_prefix="parse") as pool:
            self._forever(lambda: self._parse_step(pool), POLL_S)

    def _index_loop(self) -> None:
        self._forever(self._index_step, POLL_S)

    def _sweep_loop(self) -> None:
        self._forever(self._sweep_step, SWEEP_S)

    def _heartbeat_loop(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            held = list(self._held)
            if held:
                try:
                    with self.engine.database.session() as session:
                        jobs.extend(session, self.name, held, self.engine.clock() + LEASE_S)
                except TransientError as error:
                    log.warning("heartbeat: %s", error)

    def _optimize_loop(self) -> None:
        def step() -> bool:
            return any([indexes.vectors.optimize() for indexes in self.engine.all_opened()])

        self._forever(step, 5.0)

    # -- parsing --------------------------------------------------------------------------------------------------

    def _claim(self, kinds: Sequence[str], limit: int) -> list[Job]:
        with self.engine.database.session() as session:
            claimed = jobs.claim(session, self.name, kinds, limit, self.engine.clock(), LEASE_S)
        self._held.update(job.job_id for job in claimed)
        crash_point("after-claim")
        return claimed

    def _release(self, held: Sequence[Job]) -> None:
        self._held.difference_update(job.job_id for job in held)

    def _parse_step(self, pool: ThreadPoolExecutor) -> bool:
        claimed = self._claim(["parse"], PARSE_BATCH)
        try:
            list(pool.map(self._parse, claimed))
        finally:
            self._release(claimed)
        if claimed:
            self.wake()
        return bool(claimed)

    def _parse(self, job: Job) -> None:
        """Parse one source and save its documents with their index jobs, in one transaction."""
        now = self.engine.clock
        source_id = job.subject.removeprefix("source:")
        with self.engine.database.read() as session:
            source = sources.load_content(session, source_id)
        if source is None:
            return self._finish([job])
        try:
            parsed = self.parsers.parse(source.name, source.content)
            with self.engine.database.session() as session:
                documents.save_parsed(session, source, parsed, job.task_id, now())
                jobs.finish(session, self.name, [job.job_id], now())
        except ParseFailure as failure:
            if failure.code == "crashed" and job.attempts < MAX_CRASHES:
                return self._retry(job, failure, now())
            self._quarantine(job, source_id, failure)
        except SearchdError as error:
            if isinstance(error, TransientError):
                return self._retry(job, error, now() + backoff_s(job.attempts))
            self._quarantine(job, source_id, error)
        except Exception as error:
            log.exception("parsing %s failed", source_id)
            if job.attempts < MAX_ATTEMPTS:
                return self._retry(job, TransientError(str(error)), now() + backoff_s(job.attempts))
            self._quarantine(job, source_id, SearchdError(f"{type(error).__name__}: {error}", code="internal"))
        return None

    def _quarantine(self, job: Job, source_id: str, error: SearchdError) -> None:
        now = self.engine.clock()
        with self.engine.database.session() as session:
            sources.fail(session, source_id, error.code, str(error), now)
            jobs.fail(session, self.name, job.job_id, error.code, str(error), now, None)

    def _retry(self, job: Job, error: SearchdError, at: float) -> None:
        with self.engine.database.session() as session:
            jobs.fail(session, self.name, job.job_id, error.code, str(error), self.engine.clock(), at)

    def _finish(self, done: Sequence[Job]) -> None:
        with self.engine.database.session() as session:
            jobs.finish(session, self.name, [job.job_id for job in done], self.engine.clock())

    # -- indexing -------------------------------------------------------------------------------------------------

    def _index_step(self) -> bool:
        claimed = self._claim(["index", "delete"], INDEX_BATCH)
        try:
            self._index(claimed)
        finally:
            self._release(claimed)
        return bool(claimed)

    def _index(self, claimed: Sequence[Job]) -> None:
        """Index a batch; if it fails for more than a moment, each job alone, so that one bad document fails alone."""
        if not claimed:
            return
        try:
            self._index_batch(claimed)
        except TransientError as error:
            for job in claimed:
                self._retry(job, error, self.engine.clock() + backoff_s(job.attempts))
        except BaseException as error:
            if len(claimed) > 1:
                for job in claimed:
                    self._index([job])
                return
            (job,) = claimed
            log.exception("indexing %s of %s failed", job.subject, job.collection)
            again = self.engine.clock() + backoff_s(job.attempts) if job.attempts < MAX_ATTEMPTS else None
            code = error.code if isinstance(error, SearchdError) else "internal"
            with self.engine.database.session() as session:
                jobs.fail(
                    session, self.name, job.job_id, code, f"{type(error).__name__}: {error}", self.engine.clock(), again
                )

    def _index_batch(self, claimed: Sequence[Job]) -> None:
        self.engine.ensure_live()
        by_collection: dict[str, list[Job]] = defaultdict(list)
        for job in claimed:
            by_collection[job.collection].append(job)
        touched: dict[str, LiveIndexes] = {}
        for collection, batch in by_collection.items():
            with self.engine.database.read() as session:
                current = generations.to_write(session, collection)
            for generation in current:
                mine = [job for job in batch if job.generation_id in (None, generation.generation_id)]
                if mine:
                    try:
                        indexes = self.engine.opened(generation)
                    except StaleIndex:
                        if len(current) == 1:
                            raise
                        continue  # damaged, and about to be replaced by the other one
                    self._index_generation(indexes, mine)
                    touched[generation.generation_id] = indexes
        for indexes in touched.values():
            indexes.lexical.flush()
            crash_point("after-tantivy-commit")
        for indexes in touched.values():
            crash_point("before-vector-flush")
            indexes.vectors.flush()
            crash_point("after-vector-flush")
        crash_point("before-finish")
        self._finish(claimed)

    def _index_generation(self, indexes: LiveIndexes, batch: Sequence[Job]) -> None:
        """Bring this generation to what SQL now says of the batch's documents, whatever the jobs were called."""
        ids = list(dict.fromkeys(job.subject.removeprefix("document:") for job in batch))
        with self.engine.database.read() as session:
            present = documents.load_for_index(session, indexes.collection, ids)
        gone = sorted(set(ids) - {document.document_id for document in present})
        if gone:
            with self.engine.database.session() as session:
                documents.forget_passages(session, indexes.generation_id, gone)
            indexes.lexical.delete(gone)
            indexes.vectors.delete(gone)
        if present:
            apply_documents(self.engine, indexes, present)

    # -- sweeping -------------------------------------------------------------------------------------------------

    def _sweep_step(self) -> bool:
        now = self.engine.clock()
        with self.engine.database.session() as session:
            jobs.requeue_expired(session, now)
        rebuild.finish_ready(self.engine)
        rebuild.drop_retired(self.engine)
        if time.monotonic() >= self._house_kept_until:
            self._house_kept_until = time.monotonic() + housekeeping.EVERY_S
            housekeeping.keep_house(self.engine)
        return False

    # -- waiting --------------------------------------------------------------------------------------------------

    def run_until_idle(self, progress: Callable[[dict[str, int]], None] | None = None) -> None:
        """Work (starting the loops if they do not run) until no job is queued or running; then the indexes are flushed."""
        if not self._threads:
            self.start()
        while not self._stop.is_set():
            with self.engine.database.read() as session:
                counts = jobs.counts(session)
            if progress is not None:
                progress(counts)
            if not counts.get("queued", 0) + counts.get("running", 0):
                rebuild.finish_ready(self.engine)
                return
            time.sleep(0.1)
