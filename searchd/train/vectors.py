"""Passages -> their vectors: from SQL's cache, from what this run has encoded before, else encoded now.

What is encoded is kept in the run's folder, in parts named by the embedder and the very texts, so that a stopped run goes
on where it was and a changed document is never taken for what it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexer.apply import text_hash
from indexer.embedder import Embedder
from indexer.store import vectors as store_vectors
from indexer.store.database import Database
from searchd.train.material import Progress, Vectors
from searchd.train.types import Material, text_of

ENCODED_AT_ONCE = 500
FOLDER = "vectors"


def vectors_of(
    material: Material, database: Database | None, embedder: Embedder, folder: Path, progress: Progress
) -> Vectors:
    """Return float32[passages, dim] in the material's order; `folder` is the run's."""
    texts = [text_of(*found) for found in material.passages.values()]
    hashes = [text_hash(text) for text in texts]
    known: dict[str, Vectors] = {}
    if database is not None:
        with database.read() as session:
            known = store_vectors.cached(session, embedder.fingerprint, hashes)
    missing = {hashed: text for hashed, text in zip(hashes, texts, strict=True) if hashed not in known}
    names = list(missing)
    (folder / FOLDER).mkdir(exist_ok=True)
    for start in range(0, len(names), ENCODED_AT_ONCE):
        some = names[start : start + ENCODED_AT_ONCE]
        known |= dict(zip(some, part(folder / FOLDER, embedder, some, [missing[name] for name in some]), strict=True))
        progress("encoding passages", start + len(some), len(names))
    return np.stack([known[hashed] for hashed in hashes]) if hashes else np.zeros((0, embedder.dimension), np.float32)


def part(folder: Path, embedder: Embedder, hashes: Sequence[str], texts: Sequence[str]) -> Vectors:
    """Return the vectors of these texts: those that were kept for exactly them and this embedder, else made and kept."""
    key = hashlib.sha256("\n".join((embedder.fingerprint, *hashes)).encode()).hexdigest()[:32]
    path = folder / f"{key}.npy"
    if path.is_file():
        kept: Vectors = np.load(path, allow_pickle=False)
        return kept
    made = embedder.encode_passages(texts)
    draft = folder / f"{key}.draft.npy"
    np.save(draft, made, allow_pickle=False)
    draft.replace(path)
    return made
