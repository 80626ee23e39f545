"""Between values and columns: blocks, metadata and overrides as JSON, and text that both databases can hold.

Rows come in and go out here; neither leaves `indexer/store`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

from indexer.types import Block, BlockKind, Metadata, Scalar

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Replace NUL and lone surrogates, which PostgreSQL or UTF-8 refuse, by U+FFFD; the length stays, so offsets do."""
    return _UNSTORABLE.sub("\ufffd", text)


def metadata_to_json(metadata: Metadata) -> dict[str, Any]:
    """Return metadata as JSON holds it: tuples as lists, numbers that JSON lacks (NaN, infinity) left out."""
    found = {storable(name): _value_to_json(value) for name, value in metadata.items()}
    return {name: value for name, value in found.items() if value is not None}


def _value_to_json(value: Scalar | tuple[Scalar, ...]) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (tuple, list)):
        return [kept for one in value if (kept := _value_to_json(one)) is not None]
    return value


def metadata_from_json(stored: Mapping[str, Any]) -> Metadata:
    """Return metadata as it was given: lists become tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}


def blocks_to_json(blocks: tuple[Block, ...]) -> list[Any]:
    """Return blocks as JSON arrays: kind, start, end, heading path, page."""
    return [
        [block.kind, block.start, block.end, [storable(heading) for heading in block.heading_path], block.page]
        for block in blocks
    ]


def blocks_from_json(stored: list[Any]) -> tuple[Block, ...]:
    """Return blocks from their JSON arrays."""
    return tuple(
        Block(cast(BlockKind, kind), start, end, tuple(heading_path), page)
        for kind, start, end, heading_path, page in stored
    )
