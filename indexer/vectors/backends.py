"""The table of vector backends: how a generation's vectors are opened and dropped, by the setting `vector_backend`.

The server backend is imported when a setting asks for it: qdrant-client takes 0.6 s, every start of every command.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from indexer.settings import Settings
from indexer.vectors import VectorIndex
from indexer.vectors.edge import EdgeIndex


@dataclass(frozen=True, slots=True)
class VectorBackend:
    """`open(settings, data_path, generation_id, dimension)` makes what is missing; `drop(...)` ignores what is gone."""

    open: Callable[[Settings, Path, str, int], VectorIndex]
    drop: Callable[[Settings, Path, str], None]


def edge_path(data_path: Path, generation_id: str) -> Path:
    """Return the folder of a generation's in-process vectors."""
    return data_path / "vectors" / generation_id


def server_name(generation_id: str) -> str:
    """Return the name of a generation's collection on the server."""
    return f"searchd_{generation_id}"


def _open_edge(settings: Settings, data_path: Path, generation_id: str, dimension: int) -> VectorIndex:
    return EdgeIndex(edge_path(data_path, generation_id), dimension)


def _drop_edge(settings: Settings, data_path: Path, generation_id: str) -> None:
    shutil.rmtree(edge_path(data_path, generation_id), ignore_errors=True)


def _open_server(settings: Settings, data_path: Path, generation_id: str, dimension: int) -> VectorIndex:
    from indexer.vectors.server import ServerIndex, open_client

    client = open_client(settings.qdrant_url, settings.qdrant_api_key)
    try:
        return ServerIndex(client, server_name(generation_id), dimension)
    except BaseException:
        client.close()
        raise


def _drop_server(settings: Settings, data_path: Path, generation_id: str) -> None:
    from indexer.vectors.server import open_client, server_errors

    client = open_client(settings.qdrant_url, settings.qdrant_api_key)
    try:
        name = server_name(generation_id)
        with server_errors(f"Qdrant collection {name}"):
            client.delete_collection(name)
    finally:
        client.close()


VECTOR_BACKENDS: Mapping[str, VectorBackend] = {
    "edge": VectorBackend(_open_edge, _drop_edge),
    "server": VectorBackend(_open_server, _drop_server),
}
