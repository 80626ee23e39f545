"""Cursors: opaque, short, and good only for the list they came from."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

import msgspec

from indexer.errors import InputError

MAX_CURSOR_CHARS = 16_384


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a list goes on, and the fingerprint of what was listed."""

    after: int | str
    of: str


def fingerprint(*parts: object) -> str:
    """Return a short name of what is listed; a cursor of another list has another one."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]


def cursor_of(after: int | str, of: str) -> str:
    """Return the cursor that goes on after this place."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Place(after, of))).decode().rstrip("=")


def read_cursor(text: str, of: str, kinds: Sequence[type]) -> int | str:
    """Return the place a cursor names. Raises: InputError for one that was made up, or is of another list."""
    if len(text) > MAX_CURSOR_CHARS:
        raise InputError(f"cursor: at most {MAX_CURSOR_CHARS} characters are taken", code="invalid_cursor")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        place = msgspec.json.decode(raw, type=_Place)
    except (binascii.Error, ValueError, msgspec.DecodeError, UnicodeError):
        raise InputError("cursor: it is not one that an answer gave", code="invalid_cursor") from None
    if place.of != of or type(place.after) not in kinds:
        raise InputError("cursor: it belongs to another list; ask for the first page anew", code="invalid_cursor")
    return place.after
