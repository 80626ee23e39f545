"""Qdrant's HTTP API, as far as `ServerIndex` uses it, over qdrant-client's own memory: a server for several processes.

The library's models read the requests and write the answers, so that a shape the real API does not have is refused.
What a real server does besides (durability, HNSW, payload indexes) is not shown by it.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pydantic
from qdrant_client import QdrantClient, models

VERSION = "1.20.0"


class QdrantServer(ThreadingHTTPServer):
    """The collections, one request at a time."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.memory = QdrantClient(":memory:")
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address for the setting `qdrant_url`."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def qdrant_server() -> Iterator[QdrantServer]:
    """Serve until the block ends."""
    server = QdrantServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.memory.close()


def create(memory: QdrantClient, name: str, body: Any) -> Any:
    asked = models.CreateCollection(**body)
    if memory.collection_exists(name):
        raise FileExistsError(name)
    return memory.create_collection(name, vectors_config=asked.vectors)


def exists(memory: QdrantClient, name: str, body: Any) -> Any:
    return {"exists": memory.collection_exists(name)}


def drop(memory: QdrantClient, name: str, body: Any) -> Any:
    return memory.delete_collection(name)


def get(memory: QdrantClient, name: str, body: Any) -> Any:
    return memory.get_collection(name)


def make_index(memory: QdrantClient, name: str, body: Any) -> Any:
    models.CreateFieldIndex(**body)  # its shape is looked at; memory has no indexes
    return _updated()


def upsert(memory: QdrantClient, name: str, body: Any) -> Any:
    memory.upsert(name, models.PointsList(**body).points)
    return _updated()


def delete(memory: QdrantClient, name: str, body: Any) -> Any:
    memory.delete(name, models.FilterSelector(**body))
    return _updated()


def query(memory: QdrantClient, name: str, body: Any) -> Any:
    asked = models.QueryRequest(**body)
    vector = asked.query.nearest if isinstance(asked.query, models.NearestQuery) else asked.query
    assert isinstance(vector, list)
    return memory.query_points(
        name, query=vector, query_filter=asked.filter, limit=asked.limit or 10, with_payload=asked.with_payload or False
    )


def scroll(memory: QdrantClient, name: str, body: Any) -> Any:
    asked = models.ScrollRequest(**body)
    points, offset = memory.scroll(
        name,
        limit=asked.limit or 10,
        offset=asked.offset,
        with_payload=asked.with_payload or False,
        with_vectors=bool(asked.with_vector),
    )
    return models.ScrollResult(points=points, next_page_offset=offset)


def _updated() -> models.UpdateResult:
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


ROUTES: dict[tuple[str, str], Callable[[QdrantClient, str, Any], Any]] = {
    ("PUT", ""): create,
    ("GET", ""): get,
    ("DELETE", ""): drop,
    ("GET", "/exists"): exists,
    ("PUT", "/index"): make_index,
    ("PUT", "/points"): upsert,
    ("POST", "/points/delete"): delete,
    ("POST", "/points/query"): query,
    ("POST", "/points/scroll"): scroll,
}
WITHOUT_A_COLLECTION = (create, exists, drop)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        if self.path == "/":
            return self._send(200, {"title": "qdrant", "version": VERSION})
        matched = re.fullmatch(r"/collections/([^/?]+)(/[a-z/]+)?(\?.*)?", self.path)
        route = ROUTES.get((self.command, (matched[2] or "") if matched else "?"))
        if matched is None or route is None:
            return self._refuse(405, f"{self.command} {self.path} is not built here")
        server = self.server
        assert isinstance(server, QdrantServer)
        name = matched[1]
        with server.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client in memory warns of what only a server has
            if route not in WITHOUT_A_COLLECTION and not server.memory.collection_exists(name):
                return self._refuse(404, f"Collection `{name}` doesn't exist!")
            try:
                found = route(server.memory, name, body)
            except FileExistsError:
                return self._refuse(409, f"Collection `{name}` already exists!")
            except pydantic.ValidationError as error:
                return self._refuse(400, str(error))
        if isinstance(found, pydantic.BaseModel):
            found = found.model_dump(mode="json")
        return self._send(200, {"result": found, "status": "ok", "time": 0.0})

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def _refuse(self, status: int, reason: str) -> None:
        self._send(status, {"status": {"error": reason}, "time": 0.0})

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""
