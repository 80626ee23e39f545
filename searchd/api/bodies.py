"""Request bodies within limits: bytes are counted while they stream, JSON's nesting before it is decoded."""

from __future__ import annotations

import re
from typing import Any

from litestar import Request

from indexer.errors import LimitError

MAX_JSON_DEPTH = 32
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class TooLarge(LimitError):
    """A body over its limit: 413."""

    code = "too_large"


async def read_body(request: Request[Any, Any, Any], limit_bytes: int) -> bytes:
    """Return the body. Raises: TooLarge, as soon as it passes `limit_bytes`."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:18]) > limit_bytes:
        raise TooLarge(f"the body has {int(declared[:18]):,} bytes; at most {limit_bytes:,} are taken")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise TooLarge(f"the body has more than {limit_bytes:,} bytes, which is the limit")
        parts.append(part)
    return b"".join(parts)


def check_depth(body: bytes) -> None:
    """Refuse JSON that nests too deeply to be decoded safely. Raises: LimitError."""
    depth = 0
    for found in _STRUCTURE.finditer(body):
        mark = found[0]
        if mark in b"[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise LimitError(f"the JSON is nested deeper than {MAX_JSON_DEPTH} levels", code="json_too_deep")
        elif mark in b"]}":
            depth -= 1
