"""Request bodies, read within limits: bytes are counted while they stream, JSON depth before it is decoded."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Request

from indexer.errors import InputError, LimitError

MAX_JSON_DEPTH = 32
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


class TooLarge(LimitError):
    """A body over its limit: 413."""

    code = "body_too_large"


async def read_body(request: Request[Any, Any, Any], limit_bytes: int) -> bytes:
    """Return the body. Raises: TooLarge, as soon as it passes `limit_bytes`."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise TooLarge(f"the body has {int(declared):,} bytes; at most {limit_bytes:,} are taken")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise TooLarge(f"the body has more than {limit_bytes:,} bytes, which is the limit")
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request[Any, Any, Any], limit_bytes: int) -> Any:
    """Return the decoded body; an empty one is an empty object. Raises: TooLarge, InputError."""
    return decode_json(await read_body(request, limit_bytes))


def decode_json(body: bytes) -> Any:
    """Decode JSON of bounded depth. Raises: InputError saying what is wrong."""
    if not body.strip():
        return {}
    depth = 0
    for found in _BRACKETS.finditer(body):
        if found[0] in b"[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise LimitError(f"the JSON is nested deeper than {MAX_JSON_DEPTH} levels", code="json_too_deep")
        elif found[0] in b"]}":
            depth -= 1
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the body is no valid JSON: {error}", code="invalid_json") from error
