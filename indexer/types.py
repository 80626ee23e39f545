"""What flows through ingestion: a source file, its parsed text, documents, passages.

A source is parsed into documents, a document is split into passages, passages go to both indexes.
All of them are immutable values; rows of the store never leave `indexer/store`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_COLLECTION = "default"
PUBLIC = "public"
"""The principal every reader has; a document with it in `access` is readable by anyone."""

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar | tuple[Scalar, ...]]
"""Flat: a value is a scalar or a tuple of scalars; nested objects are flattened with dots at ingestion."""

BlockKind = Literal["heading", "paragraph", "list", "table", "code"]

_NAMESPACE = uuid.UUID("6f1f5d0e-6d0c-5a3e-9d57-0f1f6b7a2c11")


def document_id(collection: str, uri: str) -> str:
    """Return the id of a document that came without one: a UUIDv5 of collection and uri, stable across runs."""
    return str(uuid.uuid5(_NAMESPACE, f"document\0{collection}\0{uri}"))


def source_id(collection: str, uri: str) -> str:
    """Return the id of the source at `uri` in `collection`: a UUIDv5, stable across runs."""
    return str(uuid.uuid5(_NAMESPACE, f"source\0{collection}\0{uri}"))


def passage_id(collection: str, document: str, ordinal: int) -> str:
    """Return the id of the `ordinal`-th passage (from 0) of a document: a UUIDv5, the same in every generation."""
    return str(uuid.uuid5(_NAMESPACE, f"passage\0{collection}\0{document}\0{ordinal}"))


def content_hash(content: bytes) -> str:
    """Return the hex sha256 of `content`, by which changed sources are told from unchanged ones."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Bytes with a name, before parsing: a file of a folder, an upload, or one document posted as JSON.

    `uri` identifies it within its collection. What is not None among `document_id`, `title`, `metadata` and
    `access` overrides what the parser finds (it applies to every document of a source with several).
    """

    uri: str
    name: str
    content: bytes
    document_id: str | None = None
    title: str | None = None
    link: str | None = None
    """Where the reader is sent; defaults to `uri`."""
    metadata: Metadata = field(default_factory=dict)
    access: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a document's text, `text[start:end]` in characters; blocks are in order and do not overlap."""

    kind: BlockKind
    start: int
    end: int
    heading_path: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedText:
    """One document as a parser yields it. `blocks` cover all of `text` that is worth indexing."""

    title: str
    text: str
    blocks: tuple[Block, ...]
    metadata: Metadata = field(default_factory=dict)
    document_id: str | None = None
    """Only formats that carry several documents (jsonl, csv) set the following three."""
    link: str | None = None
    access: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """What a user added and finds again. `version` grows by one with every change of content or access."""

    collection: str
    document_id: str
    title: str
    uri: str
    text: str
    blocks: tuple[Block, ...]
    metadata: Metadata
    access: tuple[str, ...]
    version: int
    source_id: str


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit that is retrieved and reranked: `text == document.text[start:end]`, offsets in characters."""

    passage_id: str
    document_id: str
    ordinal: int
    text: str
    start: int
    end: int
    heading_path: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """All that both indexes need of one document; `vectors` is float32[len(passages), dim], rows of unit length."""

    document_id: str
    version: int
    title: str
    metadata: Metadata
    access: tuple[str, ...]
    passages: tuple[Passage, ...]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RankedPassage:
    """One line of a ranking by one system; `score` is comparable only within that system."""

    passage_id: str
    document_id: str
    score: float


@dataclass(frozen=True, slots=True)
class IndexedPassage:
    """What an index holds of a passage, as `indexer doctor` reads it back."""

    passage_id: str
    document_id: str
    version: int
