"""What a run keeps in its folder as JSON lines: groups and held-out queries, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

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


def read_lines(path: Path, kind: type[T]) -> Iterator[T]:
    """Yield what `write_lines` wrote. Raises: msgspec.ValidationError naming what does not fit."""
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield decoder.decode(line)
