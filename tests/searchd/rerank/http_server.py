"""Reranking and chat services for tests: they check what they are sent as documented, and misbehave on command.

A `Service` answers each request with the next of its `plan` (a fault), or properly once the plan is at its end.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One way to misbehave: answer another status, wait before, or spoil the proper answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    drip: bool = False
    """Send byte after byte, each in time, the whole never."""
    hang_up: bool = False
    spoil: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float


class Service(ThreadingHTTPServer):
    """A service at `url`; `proper` gives the JSON of a proper answer, or raises AssertionError, which is a 400."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proper: Callable[[Asked], Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proper = proper
        self.plan: list[Fault] = []
        self.asked: list[Asked] = []
        self.wrong: list[str] = []
        """What was not as documented."""
        self.hung_up = threading.Event()
        """The caller closed the connection before it had the answer."""
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers go away: that is what some tests are about."""


@contextmanager
def service(proper: Callable[[Asked], Any]) -> Iterator[Service]:
    """Serve until the block ends; what was asked must have been as documented."""
    server = Service(proper)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert server.wrong == []


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        assert self.headers["content-type"] == "application/json"
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.path, headers, body, time.monotonic())
        with self.server.lock:
            self.server.asked.append(asked)
            fault = self.server.plan.pop(0) if self.server.plan else Fault()
        self._misbehave(fault, asked)

    def _misbehave(self, fault: Fault, asked: Asked) -> None:
        if fault.wait_s and self._left(fault.wait_s):
            return
        if fault.hang_up:
            self.close_connection = True
            return
        if fault.status != 200:
            # providers like to repeat what they were sent
            said = {"error": f"not so: {asked.headers.get('authorization')} {asked.body}"}
            self._send(fault.status, json.dumps(said).encode(), fault)
            return
        try:
            answer = json.dumps(self.server.proper(asked)).encode()
        except AssertionError as error:
            self.server.wrong.append(f"{asked.path} {asked.body}: {error}")
            self._send(400, b"{}", fault)
            return
        self._send(200, fault.spoil(answer) if fault.spoil else answer, fault)

    def _left(self, seconds: float) -> bool:
        """Wait; return whether the caller closed the connection meanwhile."""
        self.connection.settimeout(seconds)
        try:
            if self.connection.recv(1) == b"":
                self.server.hung_up.set()
                self.close_connection = True
                return True
        except TimeoutError:
            pass
        self.connection.settimeout(None)
        return False

    def _send(self, status: int, content: bytes, fault: Fault) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not fault.drip:
            self.wfile.write(content)
            return
        for byte in content:
            if self._left(0.05):
                return
            self.wfile.write(bytes([byte]))

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""


def spoilt(change: Callable[[Any], Any]) -> Fault:
    """Return a fault that changes the proper answer's JSON."""
    return Fault(spoil=lambda answer: json.dumps(change(json.loads(answer))).encode())


TRUNCATED = Fault(spoil=lambda answer: answer[: len(answer) // 2])
"""JSON that ends in its middle, sent whole."""
