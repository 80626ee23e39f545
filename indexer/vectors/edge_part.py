"""One part of an edge index: a Qdrant shard in its own folder, with a count of who is using it.

Every call into the shard holds the interpreter's lock until it returns, so that parts and batches are kept small:
what other threads wait for is bounded by them, not by the size of the collection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from indexer.errors import Busy, InputError, SearchdError, StaleIndex, TransientError
from indexer.vectors.edge_files import COMMAND, SHARD, PartEntry, sync_tree
from indexer.vectors.filters import Dialect, of_documents
from indexer.vectors.payload import DOCUMENT_ID, KEYWORDS, METADATA, TERMS, VERSION
from indexer.vectors.ranking import Scored

POINTS_AT_ONCE = 250
"""Points per upsert: about 6 ms at 384 dimensions."""
DOCUMENTS_AT_ONCE = 128
CHECKPOINT_EVERY = 5_000
"""Points in the log before the engine flushes: replaying them takes less than a second."""
LOG = "wal"
EXACT_FROM = 1_000
"""From this limit on a scan is as fast as the graph, and complete."""
BUILD_KB = 1
"""Smallest segment that gets a graph: the index, not the engine, decides what is worth building."""

DIALECT = cast(
    Dialect,
    SimpleNamespace(
        Filter=edge.Filter,
        FieldCondition=edge.FieldCondition,
        MatchAny=edge.MatchAny,
        MatchPrefix=edge.MatchPrefix,
        MatchSubstring=edge.MatchSubstring,
        Range=edge.RangeFloat,
        HasId=lambda ids: edge.HasIdCondition(set(ids)),
    ),
)


class Retired(Exception):
    """The part was replaced or closed meanwhile: look again at which parts there are."""


@contextmanager
def edge_errors(what: str, *, opening: bool = False) -> Iterator[None]:
    """Turn the engine's errors into ours; a panic is a BaseException there, and says that files are damaged."""
    try:
        yield
    except (SearchdError, Retired, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if "WouldBlock" in str(error):
            raise Busy(f"{what}: another process has it open") from error
        if opening or type(error).__name__ == "PanicException":
            raise StaleIndex(f"{what}: {error}; {COMMAND}") from error
        if not isinstance(error, Exception) or isinstance(error, TypeError | ValueError | AttributeError | KeyError):
            raise
        raise TransientError(f"{what}: {error}") from error


class Part:
    """A shard, opened. Writers are serialised by the index; readers come and go through `use`."""

    def __init__(self, root: Path, entry: PartEntry, shard: edge.EdgeShard) -> None:
        self.path = root / entry.folder
        self.folder = entry.folder
        self.slots = entry.slots
        self.built = entry.built
        self._logged = 0
        """Points and documents in the log that the shard's own files may not hold yet."""
        self._synced = True
        self.journal: list[str] | None = None
        """Document ids deleted since the part was copied for building; None while it is not being built."""
        self._shard = shard
        self._state = threading.Lock()
        self._users = 0
        self._then: Callable[[], None] | None = None

    @classmethod
    def create(cls, root: Path, folder: str, dimension: int) -> Part:
        """Make an empty part; durable when this returns."""
        path = root / folder / SHARD
        path.mkdir(parents=True)
        with edge_errors(f"vector index {root}"):
            shard = edge.EdgeShard.create(str(path), shard_config(dimension))
            for field in KEYWORDS:
                create_index(shard, field, keyword_index(prefix=field == TERMS))
        sync_tree(root / folder)
        return cls(root, PartEntry(folder), shard)

    @classmethod
    def load(cls, root: Path, entry: PartEntry) -> Part:
        """Open a part. Raises: Busy, StaleIndex."""
        path = root / entry.folder / SHARD
        if not path.is_dir():
            raise StaleIndex(f"vector index {root}: folder {entry.folder} is gone; {COMMAND}")
        with edge_errors(f"vector index {root}", opening=True):
            part = cls(root, entry, edge.EdgeShard.load(str(path)))
            part.slots = max(part.slots, part.count())
        return part

    @property
    def entry(self) -> PartEntry:
        """What CURRENT says of this part."""
        return PartEntry(self.folder, self.slots, self.built)

    @contextmanager
    def use(self) -> Iterator[edge.EdgeShard]:
        """Keep the shard open for the block. Raises: Retired."""
        with self._state:
            if self._then is not None:
                raise Retired(self.folder)
            self._users += 1
        try:
            with edge_errors(f"vector index {self.path}"):
                yield self._shard
        finally:
            with self._state:
                self._users -= 1
                last = self._users == 0 and self._then is not None
            if last:
                self._finish()

    def retire(self, then: Callable[[], None] = lambda: None) -> None:
        """Close the shard once nobody uses it any more, and then call `then`; no new user gets in."""
        with self._state:
            if self._then is not None:
                return
            self._then = then
            idle = self._users == 0
        if idle:
            self._finish()

    def _finish(self) -> None:
        with edge_errors(f"vector index {self.path}"):
            self._shard.close()
        if self._then is not None:
            self._then()

    def count(self) -> int:
        """Return how many points there are."""
        with self.use() as shard:
            return shard.info().points_count

    def upsert(self, points: Sequence[edge.Point]) -> None:
        """Add points, overwriting those of the same id, in small batches."""
        for start in range(0, len(points), POINTS_AT_ONCE):
            batch = list(points[start : start + POINTS_AT_ONCE])
            with self.use() as shard:
                self._synced = False
                self._logged += len(batch)
                self.slots += len(batch)
                shard.update(edge.UpdateOperation.upsert_points(batch))

    def delete(self, document_ids: Sequence[str], keep: Sequence[str] = ()) -> None:
        """Delete the points of these documents, but those with the ids in `keep`; write nothing where there are none."""
        for start in range(0, len(document_ids), DOCUMENTS_AT_ONCE):
            names = document_ids[start : start + DOCUMENTS_AT_ONCE]
            chosen = of_documents(names, keep, DIALECT)
            with self.use() as shard:
                if shard.count(edge.CountRequest(filter=chosen, exact=True)) == 0:
                    continue
                if self.journal is not None:
                    self.journal.extend(names)
                self._synced = False
                self._logged += len(names)
                shard.update(edge.UpdateOperation.delete_points_by_filter(chosen))

    def flush(self) -> None:
        """Make what was written durable: the log reaches the disk, and now and then the shard's files too.

        Writing the log out ourselves lets other threads run; the engine's flush holds the interpreter's lock while the
        disk works (170 ms beside a busy writer), and opening the part replays what is only in the log.
        """
        if self._synced:
            return
        if self._logged >= CHECKPOINT_EVERY:
            self.checkpoint()
        else:
            sync_tree(self.path / SHARD / LOG)
            self._synced = True

    def checkpoint(self) -> None:
        """Bring the shard's files up to its log. Written out beforehand, they leave the engine little to wait for."""
        if not self._logged:
            return
        sync_tree(self.path / SHARD)
        with self.use() as shard:
            shard.flush()
        self._logged, self._synced = 0, True

    def nearest(self, vector: list[float], chosen: Any, limit: int, *, with_metadata: bool) -> list[Scored]:
        """Return the best `limit` points the filter lets pass, best first."""
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(vector),
            filter=chosen,
            with_payload=[DOCUMENT_ID, METADATA] if with_metadata else [DOCUMENT_ID],
            params=edge.SearchParams(hnsw_ef=max(256, 2 * limit), exact=limit >= EXACT_FROM),
        )
        with self.use() as shard:
            return [Scored(str(found.id), found.score, found.payload or {}) for found in shard.query(request)]

    def pages(self, size: int = 500) -> Generator[list[edge.Record]]:
        """Yield all points with vector and payload, by id, holding the part open meanwhile."""
        offset: edge.PointId | None = None
        with self.use() as shard:
            while True:
                records, offset = shard.scroll(
                    edge.ScrollRequest(offset=offset, limit=size, with_payload=True, with_vector=True)
                )
                yield records
                if offset is None:
                    return


def shard_config(dimension: int) -> edge.EdgeConfig:
    """Return the configuration of a part.

    Dot over unit vectors ranks as cosine does and, unlike it, keeps the stored bits. One search thread: a part is
    small, and the cores belong to the models. The log stays on: without it a kill leaves points that a filter on
    document_id no longer finds (measured: 15 after 42 kills; with it 0 after 300).
    """
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Dot),
        hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=10_000, max_indexing_threads=1),
        optimizers=edge.EdgeOptimizersConfig(
            indexing_threshold=BUILD_KB, default_segment_number=1, max_segment_size=1_000_000_000
        ),
        max_search_threads=1,
        wal_enabled=True,
    )


def keyword_index(*, prefix: bool) -> edge.KeywordIndexParams:
    """Return the parameters of a keyword index; filters that match few points are answered by a scan, not the graph."""
    return edge.KeywordIndexParams(prefix=prefix, enable_hnsw=False)


def create_index(shard: edge.EdgeShard, field: str, kind: Any) -> None:
    """Give a payload field an index."""
    shard.update(edge.UpdateOperation.create_field_index(field, kind))


def vector_of(record: edge.Record) -> NDArray[np.float32]:
    """Return a record's vector as it is stored, float32[dimension]."""
    return np.asarray(record.vector, dtype=np.float32)


def version_of(record: edge.Record) -> int:
    """Return the document version a record was made from."""
    return int((record.payload or {}).get(VERSION, 0))


def require_shape(dimension: int, wanted: int, root: Path) -> None:
    """Compare the index's dimension with the embedder's. Raises: StaleIndex, InputError."""
    if wanted < 1:
        raise InputError(f"a vector index needs a dimension of at least 1, not {wanted}")
    if dimension != wanted:
        raise StaleIndex(f"vector index {root} holds {dimension} dimensions, the embedder gives {wanted}; {COMMAND}")
