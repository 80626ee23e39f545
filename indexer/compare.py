"""Compare one generation's two indexes with SQL, passage by passage: ids, versions, and every vector.

Used by `doctor` to find damage and by `rebuild` to verify a new generation before it is flipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from indexer.engine import Engine, LiveIndexes
from indexer.store import passages, vectors

VECTOR_TOLERANCE = 1e-4
VECTORS_AT_ONCE = 2000


@dataclass(slots=True)
class _Held:
    """What one index holds, by passage: (document, version)."""

    passages: dict[str, tuple[str, int]] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)

    def add(self, passage_id: str, document_id: str, version: int) -> None:
        if passage_id in self.passages:
            self.twice.add(document_id)
        self.passages[passage_id] = (document_id, version)


def compare_generation(engine: Engine, indexes: LiveIndexes) -> dict[str, str]:
    """Return, by document id, what differs between SQL and the two indexes of a generation; empty when they agree."""
    with engine.database.read() as session:
        expected = {p.passage_id: p for p in passages.scan(session, indexes.generation_id)}
        versions = passages.document_versions(session, indexes.collection)
    wrong: dict[str, str] = {}
    in_sql = {p.document_id: p.document_version for p in expected.values()}
    for document_id, (version, has_text) in versions.items():
        if in_sql.get(document_id) != version and (has_text or document_id in in_sql):
            wrong[document_id] = "passages are missing or of an older version"
    for document_id in in_sql.keys() - versions.keys():
        wrong[document_id] = "passages of a document that is gone"
    truth = {pid: (p.document_id, p.document_version) for pid, p in expected.items()}
    lexical = _Held()
    for held in indexes.lexical.scan():
        lexical.add(held.passage_id, held.document_id, held.version)
    wrong |= _against(truth, lexical, "Tantivy")
    wrong |= _compare_vectors(engine, indexes, truth, {pid: p.text_hash for pid, p in expected.items()})
    return wrong


def _against(truth: Mapping[str, tuple[str, int]], held: _Held, name: str) -> dict[str, str]:
    wrong = dict.fromkeys(held.twice, f"held twice in {name}")
    for passage_id, (document_id, version) in truth.items():
        if held.passages.get(passage_id) != (document_id, version):
            wrong[document_id] = f"missing from {name} or of another version there"
    for passage_id, (document_id, _) in held.passages.items():
        if passage_id not in truth:
            wrong[document_id] = f"{name} holds passages that SQL does not"
    return wrong


def _compare_vectors(
    engine: Engine, indexes: LiveIndexes, truth: Mapping[str, tuple[str, int]], hashes: Mapping[str, str]
) -> dict[str, str]:
    """Compare ids, versions and every vector; vectors are read from SQL in portions."""
    held, wrong = _Held(), {}
    portion: list[tuple[str, str, NDArray[np.float32]]] = []

    def check() -> None:
        with engine.database.read() as session:
            cached = vectors.cached(session, indexes.recipe.embedder_fingerprint, [h for _, h, _ in portion])
        for document_id, hashed, vector in portion:
            kept = cached.get(hashed)
            if kept is not None and not np.allclose(kept, vector, atol=VECTOR_TOLERANCE):
                wrong[document_id] = "a vector in Qdrant differs from SQL's"
        portion.clear()

    for point, vector in indexes.vectors.scan():
        held.add(point.passage_id, point.document_id, point.version)
        if point.passage_id in hashes:
            portion.append((point.document_id, hashes[point.passage_id], vector))
        if len(portion) >= VECTORS_AT_ONCE:
            check()
    check()
    return wrong | _against(truth, held, "Qdrant")
