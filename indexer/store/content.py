"""A source's bytes with what its caller said of them, and the hash by which an unchanged one is known.

`sources.accept` writes them, the worker reads them back for the parser, `saving.py` applies the overrides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexer.store.values import metadata_from_json, metadata_to_json, storable
from indexer.types import Metadata, SourceFile, content_hash


@dataclass(frozen=True, slots=True)
class Overrides:
    """What goes before anything the parser finds; None (or no metadata) leaves it to the parser."""

    document_id: str | None
    title: str | None
    link: str | None
    metadata: Metadata
    access: tuple[str, ...] | None
    deleted: frozenset[str] = frozenset()
    """Ids that were deleted after this content was accepted: its documents of these ids do not come back."""


@dataclass(frozen=True, slots=True)
class SourceContent:
    """A source that waits to be parsed. `content_hash` tells whether it was replaced meanwhile."""

    source_id: str
    collection: str
    uri: str
    name: str
    content: bytes
    content_hash: str
    overrides: Overrides


def source_hash(file: SourceFile) -> str:
    """Return the hex sha256 of all that a source's documents depend on: its bytes, its name, its overrides."""
    return hash_of(file.content, storable(file.name), overrides_to_json(file))


def hash_of(content: bytes, name: str, overrides: Mapping[str, Any]) -> str:
    """Return what `source_hash` does, of overrides as JSON holds them."""
    parts = [content_hash(content), name, overrides]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is known of a source's content when it is kept no more."""

    size_bytes: int
    name: str
    overrides: dict[str, Any]
    """As JSON holds them."""
    hash: str

    def was(self, content: bytes) -> bool:
        """Say whether these bytes are what was accepted."""
        return hash_of(content, self.name, self.overrides) == self.hash


def overrides_to_json(file: SourceFile) -> dict[str, Any]:
    """Return a file's overrides as JSON holds them; what is not given is left out."""
    given = {
        "document_id": file.document_id,
        "title": None if file.title is None else storable(file.title),
        "link": None if file.link is None else storable(file.link),
        "metadata": metadata_to_json(file.metadata) or None,
        "access": None if file.access is None else access_list(file.access),
    }
    return {name: value for name, value in given.items() if value is not None}


def overrides_from_json(stored: Mapping[str, Any]) -> Overrides:
    """Return overrides from their JSON."""
    access = stored.get("access")
    return Overrides(
        document_id=stored.get("document_id"),
        title=stored.get("title"),
        link=stored.get("link"),
        metadata=metadata_from_json(stored.get("metadata", {})),
        access=None if access is None else tuple(access),
        deleted=frozenset(stored.get("deleted", ())),
    )


def access_list(access: tuple[str, ...]) -> list[str]:
    """Return an access list in the one form that is stored: sorted, each principal once."""
    return sorted(set(access))
