"""Files and folders as sources, in a fixed order; hidden entries and links out of the folder are left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.settings import Settings
from indexer.types import SourceFile


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that was met and cannot be taken, with its code of FAILURE_CODES and the reason."""

    uri: str
    code: str
    reason: str


def walk(
    paths: Sequence[Path], settings: Settings, *, access: tuple[str, ...] | None = None
) -> Iterator[SourceFile | UnreadableFile]:
    """Yield every file under `paths` once, sorted by name within each; its uri is the file's address."""
    seen: set[Path] = set()
    for path in paths:
        root = path.absolute()
        for file in files_under(root):
            if file not in seen:
                seen.add(file)
                yield read(file, root if root.is_dir() else root.parent, settings, access)


def files_under(root: Path) -> Iterator[Path]:
    """Yield the files of a folder and its folders, without hidden ones and without following linked folders."""
    if not root.is_dir():
        yield root
        return
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder) / name


def read(file: Path, root: Path, settings: Settings, access: tuple[str, ...] | None) -> SourceFile | UnreadableFile:
    """Read one file within the limits."""
    uri = file.as_uri()
    try:
        if file.is_symlink() and not file.resolve().is_relative_to(root.resolve()):
            return UnreadableFile(uri, "unreadable", "a link that leads out of the folder")
        if not file.is_file():
            return UnreadableFile(uri, "unreadable", "no regular file")
        limit = settings.max_document_mb * 1_000_000
        if file.stat().st_size > limit:
            return UnreadableFile(uri, "too_large", f"{file.stat().st_size:,} bytes; at most {limit:,} are taken")
        content = file.read_bytes()
    except OSError as error:
        return UnreadableFile(uri, "unreadable", error.strerror or str(error))
    relative = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    return SourceFile(uri=uri, name=file.name, content=content, metadata={"path": relative}, access=access)
