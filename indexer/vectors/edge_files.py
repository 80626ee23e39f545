"""Files of an edge index: the CURRENT pointer, folders of parts, sparse copies, checksums.

`CURRENT` names every part in use and is replaced by write, fsync and rename: a crash leaves the old one or the new
one. A folder it does not name is a leftover of an unfinished step and is removed at the next start.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from indexer.crash import crash_point
from indexer.errors import StaleIndex

CURRENT = "CURRENT"
SHARD, CHECKSUMS = "shard", "checksums.json"
FORMAT = 1
COMMAND = "build it anew from the database: indexer rebuild"
_BLOCK = 1 << 20


class PartEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part as CURRENT names it: its folder, vectors ever appended to it, and whether it has its graph."""

    folder: str
    slots: int = 0
    built: bool = False


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of CURRENT; the last part is the one that takes new points."""

    dimension: int
    parts: tuple[PartEntry, ...]
    format: int = FORMAT


def new_folder() -> str:
    """Return a name no part ever had, so that a straggler's files are never taken for ours."""
    return f"part-{secrets.token_hex(8)}"


def read_manifest(root: Path) -> Manifest | None:
    """Return what CURRENT says; None where there is none. Raises: StaleIndex."""
    try:
        content = (root / CURRENT).read_bytes()
    except FileNotFoundError:
        return None
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise StaleIndex(f"vector index {root}: {CURRENT} is damaged ({error}); {COMMAND}") from error
    if manifest.format != FORMAT or not manifest.parts:
        raise StaleIndex(f"vector index {root}: {CURRENT} has format {manifest.format}, not {FORMAT}; {COMMAND}")
    return manifest


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Replace CURRENT; durable after `sync_folder`. After a crash it is wholly the old or wholly the new one."""
    draft = root / f"{CURRENT}.new"
    with draft.open("wb") as file:
        file.write(msgspec.json.encode(manifest))
        file.flush()
        os.fsync(file.fileno())
    crash_point("vectors-before-current")
    draft.replace(root / CURRENT)
    crash_point("vectors-after-current")


def remove_leftovers(root: Path, keep: frozenset[str]) -> None:
    """Remove the folders of parts that CURRENT does not name."""
    for path in root.glob("part-*"):
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Make all files and names below a folder durable."""
    for folder, _, names in os.walk(path):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(folder))


def copy_tree(source: Path, target: Path) -> int:
    """Copy a folder, holes left as holes (shards preallocate); return the bytes written.

    System calls let other Python threads run. Not hard links: even built segments keep deletion marks in place.
    """
    written = 0
    for folder, _, names in os.walk(source):
        there = target / Path(folder).relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        for name in names:
            written += _copy_file(os.path.join(folder, name), there / name)
    return written


def _copy_file(source: str, target: Path) -> int:
    written = 0
    with open(source, "rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        size = os.fstat(reader.fileno()).st_size
        for start, end in _extents(reader.fileno(), size):
            while start < end:
                data = os.pread(reader.fileno(), min(_BLOCK, end - start), start)
                if not data:
                    break
                written += os.pwrite(writer.fileno(), data, start)
                start += len(data)
        os.ftruncate(writer.fileno(), size)
    return written


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    if not hasattr(os, "SEEK_DATA"):
        yield 0, size
        return
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position


_FIXED = ("matrix.dat", "links_compressed.bin", "links.bin", "graph.bin", "point_to_values.bin", "values_to_points.bin")
"""Files of a built segment that nothing writes again: vectors, graph, and payload indexes."""


def write_checksums(part: Path) -> None:
    """Note the checksums of a part's files that never change again."""
    sums = {str(path.relative_to(part)): _checksum(path) for path in _fixed_files(part)}
    (part / CHECKSUMS).write_bytes(msgspec.json.encode(sums))


def damaged_files(part: Path) -> list[str]:
    """Return a sentence per file of a built part that is not what was written."""
    try:
        sums = msgspec.json.decode((part / CHECKSUMS).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        return [f"{part / CHECKSUMS} cannot be read: {error}"]
    found = []
    for name, expected in sums.items():
        try:
            if _checksum(part / name) != expected:
                found.append(f"{part / name} is not what was written (checksum)")
        except OSError as error:
            found.append(f"{part / name} cannot be read: {error.strerror}")
    return found


def _fixed_files(part: Path) -> list[Path]:
    return sorted(path for path in part.rglob("*") if path.name in _FIXED and path.is_file())


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
