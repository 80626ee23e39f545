"""Checksums of an index's files: written after each commit, compared by `indexer doctor` and, in size, at each opening.

Tantivy never changes a file once it is committed, but for its list `meta.json`, and does not notice all damage itself.
Only files that the list names now are looked at: others are leftovers, or belong to a commit that is under way.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec

MANIFEST = "searchd-checksums.json"
META = "meta.json"
COMMAND = "run: indexer rebuild"


class Entry(msgspec.Struct, frozen=True):
    """A file as it was when it was recorded."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The files of one commit; `opstamp` is tantivy's number of it."""

    opstamp: int
    files: dict[str, Entry]


def write_manifest(path: Path) -> None:
    """Record the checksum of every committed file, those already known by name unread. Atomic and durable."""
    known = _read_manifest(path)
    meta = _read_meta(path)
    files: dict[str, Entry] = {}
    for name in sorted(_committed(path, meta)):
        old = known.files.get(name) if known is not None and name != META else None
        size = (path / name).stat().st_size
        files[name] = old if old is not None and old.size == size else Entry(size, _digest(path / name))
    draft = path / f"{MANIFEST}.{os.getpid()}.tmp"
    with draft.open("wb") as opened:
        opened.write(msgspec.json.encode(Manifest(meta["opstamp"], files)))
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(path / MANIFEST)
    _sync_folder(path)


def damage(path: Path, *, read: bool) -> list[str]:
    """Return a sentence per committed file that is missing or differs from its record; with `read`, by checksum.

    An index without a commit is sound. A list of files that changes meanwhile (another process commits) is read again.
    """
    for _ in range(5):
        try:
            meta = _read_meta(path)
        except FileNotFoundError:
            return [f"{path / META} is missing"] if (path / MANIFEST).exists() else []
        except (OSError, ValueError) as error:
            return [f"{path / META} is damaged: {error}"]
        found = _compare(path, meta, read=read)
        if not found or _still(path, meta):
            return found
    return found


def _compare(path: Path, meta: dict[str, Any], *, read: bool) -> list[str]:
    manifest = _read_manifest(path)
    if manifest is None:
        if (path / MANIFEST).exists():
            return [f"{path / MANIFEST} is damaged"]
        return [f"{path / MANIFEST} is missing"] if meta.get("segments") else []
    found = []
    for name, entry in sorted(manifest.files.items()):
        if name == META and meta.get("opstamp") != manifest.opstamp:
            continue  # a commit died, or has not come, between the list and the record
        if not _is_named(name, meta):
            continue
        file = path / name
        try:
            size = file.stat().st_size
            if size != entry.size:
                found.append(f"{file} is damaged: it has {size:,} bytes, not {entry.size:,}")
            elif read and _digest(file) != entry.sha256:
                found.append(f"{file} is damaged: its checksum differs")
        except OSError as error:
            found.append(f"{file} cannot be read: {error.strerror}")
    return found


def _read_meta(path: Path) -> dict[str, Any]:
    """Read tantivy's list of files. Raises: ValueError if it is no such list."""
    meta = json.loads((path / META).read_text(encoding="utf-8"))
    if not isinstance(meta, dict) or not isinstance(meta.get("segments"), list) or "opstamp" not in meta:
        raise ValueError("it lists no segments")
    for segment in meta["segments"]:
        if not isinstance(segment, dict) or not isinstance(segment.get("segment_id"), str):
            raise ValueError("a segment has no id")
    return meta


def _still(path: Path, meta: dict[str, Any]) -> bool:
    try:
        return _read_meta(path) == meta
    except (OSError, ValueError):
        return False


def _is_named(name: str, meta: dict[str, Any]) -> bool:
    """Say whether the list names this file: segments are files `<id>.<kind>`, deletions `<id>.<opstamp>.del`."""
    if name == META:
        return True
    stem, _, kind = name.partition(".")
    for segment in meta["segments"]:
        if segment["segment_id"].replace("-", "") == stem:
            deletes = segment.get("deletes")
            current = f"{deletes['opstamp']}.del" if isinstance(deletes, dict) and "opstamp" in deletes else None
            return not kind.endswith(".del") or kind == current
    return False


def _committed(path: Path, meta: dict[str, Any]) -> list[str]:
    return [f.name for f in path.iterdir() if f.is_file() and _is_named(f.name, meta)]


def _read_manifest(path: Path) -> Manifest | None:
    try:
        return msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
