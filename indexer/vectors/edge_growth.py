"""How an edge index grows: which part is worth work, its graph built aside and swapped in, half-dead parts emptied.

Thresholds are geometric, which caps how often a vector is written. A vector is appended once; when its part is full
it is copied once and laid out once more with the graph; it is appended again only when at least half of all that was
ever appended to its part has been deleted. So with A vectors added by callers, at most 2A are appended, and at most
4A more are written for graphs (A and 2A where nothing is deleted), however large the index becomes.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import qdrant_edge as edge

from indexer.crash import crash_point
from indexer.errors import SearchdError
from indexer.vectors.edge_files import PartEntry, copy_tree, new_folder, sync_tree
from indexer.vectors.edge_part import DOCUMENTS_AT_ONCE, POINTS_AT_ONCE, Part

log = logging.getLogger(__name__)

Builder = Callable[[Path, Callable[[], bool]], None]
"""Builds the graph of the part in a folder; gives up once the function says that the index is closed."""

FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 3600.0


@dataclass(slots=True)
class Written:
    """Vectors written since the index was opened, by cause; `copied_bytes` went into the copies to build on."""

    appended: int = 0
    moved: int = 0
    built: int = 0
    copied_bytes: int = 0


class PartHolder(Protocol):
    """What growth needs of the index: its parts, replaced as a whole and durably, and its writers' lock."""

    path: Path
    writing: threading.RLock
    written: Written

    @property
    def parts(self) -> tuple[Part, ...]: ...

    @property
    def closed(self) -> bool: ...

    def put(self, parts: tuple[Part, ...]) -> None: ...

    def append(self, points: list[edge.Point]) -> None: ...


class Growth:
    """Does one piece of work at a time; called again and again by the worker."""

    def __init__(self, index: PartHolder, build: Builder, clock: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._aside = build
        self._clock = clock
        self._one = threading.Lock()
        self._not_before = 0.0
        self._failures = 0

    def step(self) -> bool:
        """Empty one half-dead part, or build one full part's graph; False if nothing is due (or it failed)."""
        with self._one:
            if self._index.closed or self._clock() < self._not_before:
                return False
            try:
                return self._work()
            except (SearchdError, OSError) as error:
                if self._index.closed:
                    return False
                wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**self._failures)
                self._failures += 1
                self._not_before = self._clock() + wait_s
                log.warning("%s; searching goes on without it, next try in %.0f s", error, wait_s)
                return False

    def wait(self) -> None:
        """Return once a step under way has noticed that the index is closed (its child is killed)."""
        with self._one:
            pass

    def _work(self) -> bool:
        for part in self._index.parts[:-1]:
            if part.count() * 2 < part.slots:
                return self._empty(part)
        for part in self._index.parts[:-1]:
            if not part.built:
                return self._build(part)
        return False

    # -- a full part gets its graph -------------------------------------------------------------------------------

    def _build(self, part: Part) -> bool:
        """Copy, build aside, catch up with deletions, swap. Only the copy and the last step keep writers waiting."""
        folder = new_folder()
        target = self._index.path / folder
        try:
            with self._index.writing:
                part.checkpoint()
                part.journal = []
                self._index.written.copied_bytes += copy_tree(part.path, target)
            sync_tree(target)  # here, lest the disk is still busy with it when the engine flushes
            crash_point("vectors-copied")
            self._aside(target, lambda: self._index.closed)
            crash_point("vectors-built")
            fresh = Part.load(self._index.path, PartEntry(folder, built=True))
            self._index.written.built += fresh.slots
            self._swap(part, fresh)
        except BaseException:
            part.journal = None
            if part in self._index.parts:
                shutil.rmtree(target, ignore_errors=True)
            raise
        self._failures = 0
        self._remove(part)
        return True

    def _swap(self, part: Part, fresh: Part) -> None:
        """Repeat on `fresh` what was deleted from `part` meanwhile, the last of it with writers waiting, and swap."""
        try:
            while True:
                with self._index.writing:
                    names, part.journal = list(dict.fromkeys(part.journal or ())), []
                    if len(names) <= DOCUMENTS_AT_ONCE:
                        fresh.delete(names)
                        fresh.flush()
                        crash_point("vectors-replayed")
                        self._index.put(tuple(fresh if one is part else one for one in self._index.parts))
                        return
                fresh.delete(names)
        finally:
            if fresh not in self._index.parts:
                fresh.retire()

    # -- a half-dead part is emptied ------------------------------------------------------------------------------

    def _empty(self, part: Part) -> bool:
        """Append what still lives in `part` to the newest part, then drop it; until then it keeps its copy."""
        with closing(part.pages(POINTS_AT_ONCE)) as pages:
            while True:
                with self._index.writing:
                    if self._index.closed:
                        return False
                    records = next(pages, None)
                    if records is None:
                        break
                    self._index.append([edge.Point(one.id, one.vector or [], one.payload) for one in records])
                    self._index.written.moved += len(records)
                crash_point("vectors-mid-move")
        with self._index.writing:
            for one in self._index.parts:
                one.flush()
            crash_point("vectors-moved")
            self._index.put(tuple(one for one in self._index.parts if one is not part))
        self._remove(part)
        return True

    def _remove(self, part: Part) -> None:
        crash_point("vectors-swapped")
        part.retire(lambda: shutil.rmtree(part.path, ignore_errors=True))
