"""One batch of documents into one generation: split, encode, write passages and both indexes. Idempotent.

Takes Documents from SQL; the worker flushes both indexes afterwards and only then finishes the jobs. Passages,
cached vectors and token ids are written here and nowhere else.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.crash import crash_point
from indexer.engine import Engine, LiveIndexes
from indexer.store import passages, tokens, vectors
from indexer.token_vectors import remember
from indexer.tokens import TokenIds
from indexer.types import Document, IndexedDocument, Passage

log = logging.getLogger(__name__)


def apply_documents(engine: Engine, indexes: LiveIndexes, documents: Sequence[Document]) -> int:
    """Index these documents in this generation, replacing what it held of them; return how many passages they have.

    Nothing is durable in the indexes until they are flushed. Running it twice gives the same.
    """
    splitter = engine.splitter(indexes.recipe)
    split = [splitter.split(document.collection, document) for document in documents]
    texts = [
        [embedded_text(document.title, passage) for passage in parts]
        for document, parts in zip(documents, split, strict=True)
    ]
    hashes = [[text_hash(text) for text in row] for row in texts]
    by_hash = {h: t for hs, ts in zip(hashes, texts, strict=True) for h, t in zip(hs, ts, strict=True)}
    found = encode(engine, indexes, by_hash)
    indexed = [
        IndexedDocument(
            document_id=document.document_id,
            version=document.version,
            title=document.title,
            metadata=document.metadata,
            access=document.access,
            passages=tuple(parts),
            vectors=stack([found[h] for h in row], indexes.recipe.dimension),
        )
        for document, parts, row in zip(documents, split, hashes, strict=True)
    ]
    if engine.token_encoder is not None:
        remember(engine.database, engine.token_encoder, by_hash)
    fresh = tokenise(engine, indexes, by_hash)
    with engine.database.session() as session:
        passages.replace(session, indexes.generation_id, indexed, hashes)
        for tokenizer in sorted(fresh):  # one order for all writers: see `tokens.put`
            tokens.put(session, tokenizer, fresh[tokenizer])
    indexes.lexical.replace(indexed)
    crash_point("mid-tantivy-add")
    indexes.vectors.replace(indexed)
    return sum(len(document.passages) for document in indexed)


def encode(engine: Engine, indexes: LiveIndexes, texts: dict[str, str]) -> dict[str, NDArray[np.float32]]:
    """Return the vector of every text by its hash: from SQL's cache, or encoded now and cached."""
    key = indexes.embedder.fingerprint
    with engine.database.read() as session:
        found = vectors.cached(session, key, list(texts))
    missing = [hashed for hashed in texts if hashed not in found]
    if missing:
        encoded = indexes.embedder.encode_passages([texts[hashed] for hashed in missing])
        fresh = dict(zip(missing, encoded, strict=True))
        with engine.database.session() as session:
            vectors.put(session, key, fresh)
        found |= fresh
    return found


def tokenise(engine: Engine, indexes: LiveIndexes, texts: dict[str, str]) -> dict[str, dict[str, TokenIds]]:
    """Return by tokenizer and hash the ids that are not stored yet: of the embedder's tokenizer and the rerankers'.

    Ids that do not add up to a pair's, or a whole prompt's, are left out: the reranker reads these passages as the whole
    has them (`PassageTokenizer.within`), which the ids of a passage alone cannot say.
    """
    tokenizers = {one.fingerprint: one for one in (indexes.embedder.passages, *engine.reranking())}
    with engine.database.read() as session:
        known = {name: tokens.stored(session, name, list(texts)) for name in tokenizers}
    fresh: dict[str, dict[str, TokenIds]] = {}
    for name, tokenizer in tokenizers.items():
        missing = {hashed: text for hashed, text in texts.items() if hashed not in known[name]}
        if not missing:
            continue
        encoded = tokenizer.encode(list(missing.values()))
        sound = tokenizer.adding_up(list(missing.values()), encoded)
        fresh[name] = {hashed: ids for hashed, ids, adds_up in zip(missing, encoded, sound, strict=True) if adds_up}
        if not all(sound) and name not in engine.doubtful_tokenizers:
            engine.doubtful_tokenizers.add(name)
            log.warning(
                "tokenizer %s: ids of some passages differ within a pair or prompt, and are not stored", name[:12]
            )
    return fresh


def stack(rows: Sequence[NDArray[np.float32]], dimension: int) -> NDArray[np.float32]:
    """Return float32[len(rows), dimension]; a document without passages gives an empty matrix of that width."""
    return np.stack(rows) if rows else np.zeros((0, dimension), dtype=np.float32)


def embedded_text(title: str, passage: Passage) -> str:
    """Return what the embedder sees of a passage: where it stands (title, headings), then its text."""
    place = [title, *(heading for heading in passage.heading_path if heading != title)]
    return "\n".join([" > ".join(part for part in place if part), passage.text]).strip()


def text_hash(text: str) -> str:
    """Return the hex sha256 of exactly what the embedder sees: the key of the vector cache."""
    return hashlib.sha256(text.encode()).hexdigest()
