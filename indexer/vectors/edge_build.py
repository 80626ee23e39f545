"""Building a part's HNSW graph in a process of its own: Qdrant's optimize() holds the interpreter's lock throughout.

`build_aside(folder, ...)` is the daemon's side; `python -m indexer.vectors.edge_build FOLDER` is the child, which works
on a copy of a part that nobody else has open. It imports no model library, and takes the lowest priority.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import qdrant_edge as edge

from indexer.crash import crash_point
from indexer.errors import TransientError
from indexer.vectors.edge_files import SHARD, sync_tree, write_checksums
from indexer.vectors.edge_part import create_index, keyword_index

ROOT = Path(__file__).resolve().parents[2]
FIELDS_INDEXED = 8
"""Most payload fields of a part that get an index of their own, the commonest first; the others work unindexed.
Each costs 1 ms when the part is opened."""
_POLL_S = 0.2
_PR_SET_PDEATHSIG = 1
_NUMBERS, _STRINGS = ("n_", "t_"), "s_"


def build_aside(folder: Path, stopped: Callable[[], bool]) -> None:
    """Build the graph of the part in `folder`, waiting for the child; other threads run meanwhile.

    Raises: TransientError if the child fails, or is stopped because `stopped()` became true.
    """
    command = [sys.executable, "-P", "-m", "indexer.vectors.edge_build", str(folder)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.Popen(  # noqa: S603 # our own interpreter and module, a path of ours, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    complaint = b""
    try:
        while child.returncode is None:
            try:
                _, complaint = child.communicate(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                if stopped():
                    raise TransientError(f"building {folder} was stopped") from None
    finally:
        if child.returncode is None:
            child.kill()
            child.communicate()
    if child.returncode != 0:
        last = complaint.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise TransientError(f"building {folder} failed with exit status {child.returncode}: {last[0]}")


def build(folder: Path) -> None:
    """Index the payload fields found, build the graph, and make everything durable, checksums last."""
    shard = edge.EdgeShard.load(str(folder / SHARD))
    for key in _common_fields(shard):
        if key.startswith(_STRINGS):
            create_index(shard, key, keyword_index(prefix=True))
        else:
            create_index(shard, key, edge.FloatIndexParams(enable_hnsw=False))
    shard.optimize()
    shard.flush()
    # One operation more, flushed: only then is the log cut off before the graph, and not replayed at every opening.
    shard.update(edge.UpdateOperation.delete_points([0]))
    shard.flush()
    shard.close()
    crash_point("vectors-child")
    write_checksums(folder)
    sync_tree(folder)


def _common_fields(shard: edge.EdgeShard) -> list[str]:
    """Return the keys of per-field payload entries, the commonest first, FIELDS_INDEXED at most."""
    seen: Counter[str] = Counter()
    offset: edge.PointId | None = None
    while True:
        records, offset = shard.scroll(edge.ScrollRequest(offset=offset, limit=500, with_payload=True))
        for record in records:
            seen.update(key for key in record.payload or {} if key.startswith((*_NUMBERS, _STRINGS)))
        if offset is None:
            return [key for key, _ in sorted(seen.items(), key=lambda pair: (-pair[1], pair[0]))[:FIELDS_INDEXED]]


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    _die_with_parent()
    os.nice(19)
    build(Path(sys.argv[1]))
