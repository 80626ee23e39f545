"""Nearest neighbours over passages: the VectorIndex protocol. Backends: `edge.py` (in-process), `server.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.filters import Filter
from indexer.scope import Scope
from indexer.types import IndexedDocument, IndexedPassage, RankedPassage


class VectorIndex(Protocol):
    """Vectors of one collection and generation, compared by cosine (all are of unit length). Thread-safe."""

    def replace(self, documents: Sequence[IndexedDocument]) -> None:
        """Delete by document id, then add one point a passage; durable after `flush`. Idempotent."""

    def delete(self, document_ids: Sequence[str]) -> None:
        """Delete all points of these documents; unknown ids are ignored."""

    def flush(self) -> None:
        """Make everything since the last flush durable (it is visible at once)."""

    def search(
        self, vector: NDArray[np.float32], scope: Scope, filter: Filter | None, depth: int
    ) -> tuple[RankedPassage, ...]:
        """Return the best `depth` passages for float32[dim], best first, within scope and filter before top-k."""

    def scan(self) -> Iterator[tuple[IndexedPassage, NDArray[np.float32]]]:
        """Yield every point held with its vector, for `indexer doctor`."""

    def verify(self) -> list[str]:
        """Return a sentence per damage found in files; empty when sound."""

    def optimize(self) -> bool:
        """Build the HNSW graph for what has grown past a threshold, without delaying searches; True if it did work."""

    def close(self) -> None:
        """Let go of files and connections."""
