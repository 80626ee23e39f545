"""The server backend when the server is away, slow, wrong or too old; and its table entry."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from indexer.errors import ConfigError, StaleIndex, TransientError
from indexer.scope import Scope
from indexer.settings import Settings
from indexer.vectors.backends import VECTOR_BACKENDS, edge_path, server_name
from indexer.vectors.edge import EdgeIndex
from indexer.vectors.server import POINTS_AT_ONCE, ServerIndex, open_client
from tests.vector_documents import COLLECTION, DIMENSION, document, unit_vectors

EVERYONE = Scope.of(COLLECTION)


class Answers(ThreadingHTTPServer):
    """Stands for a Qdrant server: gives every request the same status, after the version has been asked for."""

    daemon_threads = True
    version = "1.20.0"
    status = 500
    asked: list[tuple[str, str, str | None]]


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        server = self.server
        assert isinstance(server, Answers)
        server.asked.append((self.command, self.path, self.headers.get("api-key")))
        status = 200 if self.path == "/" else server.status
        body = json.dumps({"title": "qdrant", "version": server.version, "status": {"error": "no"}}).encode()
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@contextmanager
def serving(version: str = "1.20.0", status: int = 500) -> Iterator[tuple[Answers, str]]:
    server = Answers(("127.0.0.1", 0), Handler)
    server.version, server.status, server.asked = version, status, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def memory() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def test_a_server_that_is_away_is_a_transient_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TransientError, match=r"127\.0\.0\.1"):
        open_client(f"http://127.0.0.1:{port}", "")
    with pytest.raises(TransientError) as caught:
        open_client(f"http://me:word@127.0.0.1:{port}", "")
    assert "word" not in str(caught.value)


def test_a_server_that_does_not_answer_in_time_is_a_transient_error() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(TransientError):
            open_client(f"http://127.0.0.1:{silent.getsockname()[1]}", "", timeout_s=1)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, TransientError),
        (503, TransientError),
        (429, TransientError),
        (404, StaleIndex),
        (401, ConfigError),
        (403, ConfigError),
    ],
)
def test_every_status_becomes_an_error_of_ours(status: int, error: type[Exception]) -> None:
    with serving(status=status) as (_, url):
        client = open_client(url, "")
        with pytest.raises(error):
            ServerIndex(client, "x", DIMENSION)
        client.close()


def test_a_lost_collection_names_the_command(memory: QdrantClient) -> None:
    with serving(status=404) as (_, url):
        index = ServerIndex(memory, "x", DIMENSION)
        index.client = open_client(url, "")
        with pytest.raises(StaleIndex, match=r"indexer rebuild$"):
            index.search(unit_vectors(1, 1)[0], EVERYONE, None, 5)
        assert len(index.verify()) == 1
        index.close()


def test_a_server_too_old_for_our_filters_is_refused_before_serving() -> None:
    with serving(version="1.18.2") as (_, url), pytest.raises(ConfigError, match=r"1\.18\.2.*1\.20 or newer"):
        open_client(url, "")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="qdrant_url"):
        open_client("http://[", "")


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_the_key_is_sent() -> None:
    with serving() as (server, url):
        open_client(url, "secret").close()
        assert server.asked == [("GET", "/", "secret")]


def test_writes_go_in_bounded_batches(memory: QdrantClient) -> None:
    index = ServerIndex(memory, "x", DIMENSION)
    index.replace([document(n, count=5) for n in range(POINTS_AT_ONCE // 2)])
    assert memory.count("x").count == 5 * (POINTS_AT_ONCE // 2)


def test_two_processes_may_make_the_same_collection(memory: QdrantClient) -> None:
    first, second = ServerIndex(memory, "x", DIMENSION), ServerIndex(memory, "x", DIMENSION)
    first.replace([document(1)])
    assert [point.document_id for point, _ in second.scan()] == ["d1"]


def test_a_dropped_collection_is_gone_and_dropping_again_is_fine(memory: QdrantClient) -> None:
    index = ServerIndex(memory, "x", DIMENSION)
    index.drop()
    assert not memory.collection_exists("x")
    index.drop()


def test_a_collection_of_somebody_else_is_stale(memory: QdrantClient) -> None:
    memory.create_collection("x", vectors_config={"named": models.VectorParams(size=4, distance=models.Distance.DOT)})
    with pytest.raises(StaleIndex, match=r"indexer rebuild$"):
        ServerIndex(memory, "x", DIMENSION)


def test_the_edge_entry_opens_and_drops_a_generation(tmp_path: Path) -> None:
    backend, settings = VECTOR_BACKENDS["edge"], Settings(data_dir=str(tmp_path))
    index = backend.open(settings, tmp_path, "g1", DIMENSION)
    assert isinstance(index, EdgeIndex)
    index.replace([document(1)])
    index.close()
    assert edge_path(tmp_path, "g1").is_dir()
    backend.drop(settings, tmp_path, "g1")
    backend.drop(settings, tmp_path, "g1")
    assert not edge_path(tmp_path, "g1").exists()


def test_the_server_entry_asks_the_configured_server(tmp_path: Path) -> None:
    with serving(status=500) as (server, url):
        settings = Settings(data_dir=str(tmp_path), vector_backend="server", qdrant_url=url)
        with pytest.raises(TransientError):
            VECTOR_BACKENDS["server"].open(settings, tmp_path, "g1", DIMENSION)
        with pytest.raises(TransientError):
            VECTOR_BACKENDS["server"].drop(settings, tmp_path, "g1")
        assert ("DELETE", f"/collections/{server_name('g1')}") in [
            (method, path.split("?")[0]) for method, path, _ in server.asked
        ]


def test_a_server_keeps_the_bits_of_vectors_through_json(memory: QdrantClient) -> None:
    vector = unit_vectors(1, 3, 384)[0]
    assert np.array_equal(np.asarray(json.loads(json.dumps(vector.tolist())), dtype=np.float32), vector)
