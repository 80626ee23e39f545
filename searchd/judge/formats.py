"""FORMATS: what judged sets look like in files, by name; and which one a path has, unless it is told.

    a folder, or a name without an ending       beir
    .jsonl                                      jsonl
    .csv                                        clicks (read only)
    .qrels .txt .tsv                            trec

Nothing is guessed from what is in a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import Conflict, InputError
from searchd.judge import beir, click_lines, jsonl, trec
from searchd.judge.content import SetContent
from searchd.judge.given import Given, Problems, open_lines
from searchd.train.files import write_whole


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reader may be told beside the path."""

    topics: Path | None = None
    """For trec: the file with the queries' texts."""
    split: str = beir.SPLIT
    """For beir."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a set is read from a path, and what files it is written as (None: it is not)."""

    endings: tuple[str, ...]
    read: Callable[[Path, ReadOptions], Given]
    files_of: Callable[[SetContent, Path], dict[Path, bytes]] | None = None


FORMATS = {
    "beir": Format((), lambda path, asked: beir.read_folder(path, asked.split, Problems()), beir.files_of),
    "trec": Format(
        (".qrels", ".txt", ".tsv"), lambda path, asked: trec.read_file(path, asked.topics, Problems()), trec.files_of
    ),
    "jsonl": Format(
        (".jsonl",),
        lambda path, _: jsonl.read(jsonl.numbered(open_lines(path)), Problems()),
        lambda content, path: {path: b"".join(jsonl.write(content.queries, content.judgments))},
    ),
    "clicks": Format((".csv",), lambda path, _: click_lines.read_file(path, Problems())),
}
WRITTEN = tuple(name for name, one in FORMATS.items() if one.files_of is not None)


def format_of(path: Path) -> str:
    """Return the name of the format that a path has by its shape. Raises: InputError if it has none."""
    ending = path.suffix.lower()
    if os.path.isdir(path) or (not ending and not os.path.exists(path)):  # which a name that is too long does not break
        return "beir"
    for name, one in FORMATS.items():
        if ending in one.endings:
            return name
    known = "; ".join(f"{name}: {', '.join(one.endings) or 'a folder'}" for name, one in FORMATS.items())
    raise InputError(f"{path}: its name does not say what it is ({known}); --format says it")


def read_set(path: Path, name: str | None = None, asked: ReadOptions | None = None) -> Given:
    """Return what a file or folder says, in the format of this name or else of its shape.

    Raises: InputError naming the lines that are wrong.
    """
    return _format(name or format_of(path)).read(path, asked or ReadOptions())


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise InputError(f"there is no format {name[:80]!r}; there are: {', '.join(FORMATS)}")
    return FORMATS[name]


def write_set(content: SetContent, path: Path, name: str | None = None, *, overwrite: bool = False) -> list[Path]:
    """Write a set and return the files. Raises: InputError if the format cannot hold it; Conflict for a file that is there."""
    files_of = _format(name or format_of(path)).files_of
    if files_of is None:
        raise InputError(f"sets are written as {', '.join(WRITTEN)}; clicks are only read")
    files = files_of(content, path)
    there = [str(one) for one in files if os.path.exists(one)]
    if there and not overwrite:
        raise Conflict(f"{', '.join(there)} would be overwritten; --overwrite does that")
    try:
        for one, text in files.items():
            one.parent.mkdir(parents=True, exist_ok=True)
            write_whole(one, text)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    return list(files)
