"""Documents with made-up vectors, for the tests of vector indexes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.types import PUBLIC, IndexedDocument, Metadata, Passage, passage_id

COLLECTION = "c"
DIMENSION = 16


def unit_vectors(count: int, seed: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Return float32[count, dimension], rows of unit length."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def passages(document_id: str, count: int) -> tuple[Passage, ...]:
    """Return `count` passages of a document."""
    return tuple(Passage(passage_id(COLLECTION, document_id, n), document_id, n, "text", 0, 4) for n in range(count))


def document(
    number: int,
    *,
    count: int = 1,
    version: int = 1,
    metadata: Metadata | None = None,
    access: Sequence[str] = (PUBLIC,),
    vectors: NDArray[np.float32] | None = None,
    dimension: int = DIMENSION,
) -> IndexedDocument:
    """Return document `d<number>`, its vectors drawn from number and version."""
    name = f"d{number}"
    drawn = unit_vectors(count, 1_000_003 * version + number, dimension) if vectors is None else vectors
    return IndexedDocument(name, version, name, metadata or {}, tuple(access), passages(name, len(drawn)), drawn)
