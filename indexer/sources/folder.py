"""Files and folders as sources: walks them in a fixed order and reads each file once.

Gives SourceFile values for ingestion, and UnreadableFile for what cannot or may not be read. Time stamps are no part
of a source: touching a file changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from indexer.settings import Settings
from indexer.types import SourceFile

_SKIPPED: Final = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that was met but not read; `code` is one of FAILURE_CODES."""

    uri: str
    code: str
    reason: str


def walk(
    paths: Sequence[Path], settings: Settings, *, access: tuple[str, ...] | None = None, hidden: bool = False
) -> Iterator[SourceFile | UnreadableFile]:
    """Yield every file under `paths` once, by name within each folder; files given by name are always taken.

    Hidden files and folders are left out unless `hidden`. Links are followed only within the folder given.
    """
    seen: set[str] = set()
    for path in paths:
        root = Path(os.path.abspath(path.expanduser()))
        found = _files(root, root.resolve(), hidden) if root.is_dir() else iter([root])
        for file in found:
            if isinstance(file, UnreadableFile):
                yield file
            elif (uri := _uri(file)) not in seen:
                seen.add(uri)
                yield _read(file, uri, settings, access)


def _files(folder: Path, root: Path, hidden: bool) -> Iterator[Path | UnreadableFile]:
    stack: list[Path] = [folder]
    while stack:
        current = stack.pop()
        try:
            entries = sorted(os.scandir(current), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield UnreadableFile(_uri(current), "unreadable", f"{error.strerror}")
            continue
        folders: list[Path] = []
        for entry in entries:
            if (entry.name.startswith(".") and not hidden) or entry.name in _SKIPPED:
                continue
            path = Path(entry.path)
            if entry.is_symlink() and not _inside(path, root):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif not entry.is_dir():
                yield path
        stack.extend(reversed(folders))


def _inside(link: Path, root: Path) -> bool:
    """Say whether a link leads to a file within the folder that was given; links to folders are never followed."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return target.is_file() and target.is_relative_to(root)


def _read(path: Path, uri: str, settings: Settings, access: tuple[str, ...] | None) -> SourceFile | UnreadableFile:
    limit = settings.max_document_mb * 1_000_000
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device would block or never end
            return UnreadableFile(uri, "unreadable", "not a regular file")
        if status.st_size > limit:
            return UnreadableFile(
                uri, "too_large", f"{status.st_size:,} bytes; at most {settings.max_document_mb} MB are taken"
            )
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        return UnreadableFile(uri, "unreadable", error.strerror or str(error))
    if len(content) > limit:
        return UnreadableFile(uri, "too_large", f"grew past {settings.max_document_mb} MB while it was read")
    name = os.fsencode(path.name).decode("utf-8", "replace")
    shown = os.fsencode(path).decode("utf-8", "replace")
    metadata = {"path": shown, "extension": path.suffix.lower().lstrip(".").encode("utf-8", "replace").decode()}
    kept = {key: value for key, value in metadata.items() if value}
    return SourceFile(uri=uri, name=name, content=content, metadata=kept, access=access)


def _uri(path: Path) -> str:
    """Return the file:// address of an absolute path, percent-encoded from its bytes."""
    return path.as_uri()
