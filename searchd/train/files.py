"""What a run keeps in its folder. Notes, groups and held-out queries are written whole or not at all; figures and mined
questions are added as JSON lines, of which a crash may cut the last one short."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import msgspec

from indexer.errors import InputError

T = TypeVar("T")


def write_lines(path: Path, rows: Iterable[Any]) -> int:
    """Write dataclasses, one a line, and return how many; the file appears when it is complete."""
    draft = path.with_name(f"{path.name}.draft")
    count = 0
    with draft.open("wb") as out:
        for row in rows:
            out.write(msgspec.json.encode(row) + b"\n")
            count += 1
    draft.replace(path)
    return count


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file by one rename: what a full disk or a kill stops is not there, or as it was.

    Several processes of one fit may write the same one at once, each its own draft.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}-{token_hex(4)}.draft")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_lines(path: Path, kind: type[T]) -> Iterator[T]:
    """Yield what `write_lines` wrote, or an owner did. Raises: InputError naming the line that does not fit, and why."""
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InputError(f"line {number} of {path.name}: {error}") from error
            yield row


def add_lines(path: Path, rows: Iterable[Any]) -> None:
    """Add rows to a file, a line each, in one write."""
    with path.open("ab") as out:
        out.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def whole_lines(path: Path, kind: Any) -> list[Any]:
    """Return what `add_lines` wrote, up to a line that was cut short, which is taken off; nothing if there is no file."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as opened:
            opened.truncate(len(whole))
    decoder = msgspec.json.Decoder(kind)
    return [decoder.decode(line) for line in whole.splitlines()]
