"""Qdrant in this process: vectors of one collection and generation, as a few parts (shards) of bounded size.

Points go to the last part; a full one gets its HNSW graph from a child process on a copy of it (`edge_build.py`), and
CURRENT is moved over to the copy. All calls into Qdrant hold the interpreter's lock: part size bounds every pause.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from indexer.crash import crash_point
from indexer.errors import SearchdError, StaleIndex, TransientError
from indexer.filters import Filter
from indexer.scope import Scope
from indexer.types import IndexedDocument, IndexedPassage, RankedPassage
from indexer.vectors.edge_build import build_aside
from indexer.vectors.edge_files import (
    COMMAND,
    Manifest,
    PartEntry,
    damaged_files,
    new_folder,
    read_manifest,
    remove_leftovers,
    sync_folder,
    write_manifest,
)
from indexer.vectors.edge_growth import Builder, Growth, Written
from indexer.vectors.edge_part import DIALECT, Part, Retired, require_shape, vector_of, version_of
from indexer.vectors.filters import question
from indexer.vectors.payload import DOCUMENT_ID, checked, points_of
from indexer.vectors.ranking import Scored, as_ranking, best, ordered

PART_POINTS = 20_000
"""Vectors appended to a part before the next is begun: searched exactly in 3 ms, opened in 50 ms, built in 12 s.

Larger parts would be searched faster, but to open one takes longer, with the interpreter's lock held (150 ms at
100,000): past some 500,000 vectors a Qdrant server is the better place for them.
"""
SLOTS_NOTED = 2_000
"""CURRENT is written again after so many appended vectors, so that a crash forgets no more of the count."""


class EdgeIndex:
    """VectorIndex over qdrant_edge. Thread-safe; one process at a time."""

    def __init__(
        self, path: Path, dimension: int, *, part_points: int = PART_POINTS, build: Builder = build_aside
    ) -> None:
        """Open the index at `path`, or make it. Raises: Busy, StaleIndex."""
        self.path = path
        self.dimension = dimension
        self.part_points = part_points
        self.writing = threading.RLock()
        self.closed = False
        self.written = Written()
        self._noted = 0
        self.parts = self._open()
        self._growth = Growth(self, build)

    # -- opening --------------------------------------------------------------------------------------------------

    def _open(self) -> tuple[Part, ...]:
        self.path.mkdir(parents=True, exist_ok=True)
        manifest = read_manifest(self.path)
        if manifest is None:
            return self._create()
        require_shape(manifest.dimension, self.dimension, self.path)
        parts: list[Part] = []
        try:
            for entry in manifest.parts:
                parts.append(Part.load(self.path, entry))
        except BaseException:
            for part in parts:
                part.retire()
            raise
        remove_leftovers(self.path, frozenset(part.folder for part in parts))
        self._noted = parts[-1].slots
        return tuple(parts)

    def _create(self) -> tuple[Part, ...]:
        """Make an empty index; folders without CURRENT are an unfinished creation, or else somebody's vectors."""
        require_shape(self.dimension, self.dimension, self.path)
        for folder in sorted(self.path.glob("part-*")):
            try:
                part = Part.load(self.path, PartEntry(folder.name))
            except StaleIndex:
                continue
            held = part.count()
            part.retire()
            if held:
                raise StaleIndex(f"vector index {self.path}: CURRENT is gone; {COMMAND}")
        remove_leftovers(self.path, frozenset())
        first = Part.create(self.path, new_folder(), self.dimension)
        crash_point("vectors-created")
        write_manifest(self.path, Manifest(self.dimension, (first.entry,)))
        sync_folder(self.path)
        return (first,)

    def put(self, parts: tuple[Part, ...]) -> None:
        """Make these the parts, durably; the caller holds `writing`, and has flushed what is new in them."""
        write_manifest(self.path, Manifest(self.dimension, tuple(part.entry for part in parts)))
        self._noted = parts[-1].slots
        self.parts = parts  # before anything else can fail: what is in use is what CURRENT names
        sync_folder(self.path)

    # -- writing --------------------------------------------------------------------------------------------------

    def replace(self, documents: Sequence[IndexedDocument]) -> None:
        """Add one point a passage, then delete what else there is of these documents. Idempotent.

        In this order no search in between misses a document that was there before and is there after.
        """
        names, data = points_of(documents, self.dimension)
        points = [edge.Point(one.passage_id, one.vector, one.payload) for one in data]
        with self.writing:
            self._require_open()
            self.append(points)
            self.written.appended += len(points)
            crash_point("vectors-mid-replace")
            self._delete(names, [one.passage_id for one in data])

    def delete(self, document_ids: Sequence[str]) -> None:
        """Delete all points of these documents; unknown ids are ignored."""
        with self.writing:
            self._require_open()
            self._delete(list(document_ids), [])

    def _delete(self, document_ids: list[str], keep: list[str]) -> None:
        for part in self.parts[:-1]:
            part.delete(document_ids)
        self.parts[-1].delete(document_ids, keep)

    def append(self, points: list[edge.Point]) -> None:
        """Write points to the last part, or to a new one if that is full; the caller holds `writing`."""
        if self.parts[-1].slots >= self.part_points:
            self.put((*self.parts, Part.create(self.path, new_folder(), self.dimension)))
        self.parts[-1].upsert(points)

    def flush(self) -> None:
        """Make everything since the last flush durable."""
        with self.writing:
            self._require_open()
            for part in self.parts:
                part.flush()
            if self.parts[-1].slots - self._noted >= SLOTS_NOTED:
                self.put(self.parts)

    # -- reading --------------------------------------------------------------------------------------------------

    def search(
        self, vector: NDArray[np.float32], scope: Scope, filter: Filter | None, depth: int
    ) -> tuple[RankedPassage, ...]:
        """Return the best `depth` passages for float32[dim], best first, ties by passage id."""
        query = checked(np.asarray(vector)[None, :], 1, self.dimension, "a query")[0].tolist()
        if depth < 1 or not scope.principals:
            return ()
        chosen, passes = question(scope, filter, DIALECT)
        while True:
            self._require_open()
            parts = self.parts
            try:
                found = _merged(parts, query, chosen, depth, passes)
            except Retired:
                continue
            if parts is self.parts:
                return as_ranking(found)

    def scan(self) -> Iterator[tuple[IndexedPassage, NDArray[np.float32]]]:
        """Yield every point held with its vector, newest part first; a passage comes once."""
        self._require_open()
        parts = self.parts
        seen: set[str] = set()
        for part in reversed(parts):
            for records in part.pages():
                for record in records:
                    passage_id = str(record.id)
                    if passage_id not in seen:
                        seen.add(passage_id)
                        document_id = str((record.payload or {}).get(DOCUMENT_ID, ""))
                        yield IndexedPassage(passage_id, document_id, version_of(record)), vector_of(record)

    def verify(self) -> list[str]:
        """Return a sentence per damage: checksums of built parts, and whether every point can be read."""
        found: list[str] = []
        for part in self.parts:
            if part.built:
                found.extend(damaged_files(part.path))
            try:
                read = sum(len(records) for records in part.pages())
                if read != part.count():
                    found.append(f"{part.path} says it holds {part.count()} points, {read} can be read")
            except SearchdError as error:
                found.append(str(error))
        return found

    # -- life -----------------------------------------------------------------------------------------------------

    def optimize(self) -> bool:
        """Do one piece of what has become due (see `edge_growth.py`): seconds, in which searches and writes go on.

        True if there may be more to do; a failure is logged and tried again later.
        """
        return self._growth.step()

    def close(self) -> None:
        """Flush, and close once searches in flight have ended."""
        with self.writing:
            if self.closed:
                return
            self.closed = True
            try:
                for part in self.parts:
                    part.checkpoint()
            finally:
                for part in self.parts:
                    part.retire()
        self._growth.wait()

    def _require_open(self) -> None:
        if self.closed:
            raise TransientError(f"vector index {self.path} is closed")


def _merged(
    parts: Sequence[Part], query: list[float], chosen: Any, depth: int, passes: Callable[[Scored], bool] | None
) -> list[Scored]:
    """Search each part, oldest first, so that what a replace moves meanwhile is met before or after its move.

    A passage met in two parts counts as the newer one has it.
    """
    found: dict[str, Scored] = {}
    for part in parts:

        def fetch(limit: int, part: Part = part) -> list[Scored]:
            return part.nearest(query, chosen, limit, with_metadata=passes is not None)

        for point in best(fetch, depth, passes):
            found[point.passage_id] = point
    return ordered(found.values())[:depth]
