"""What parent and parser process say to each other: msgpack in frames with their length before them; no pickle."""

from __future__ import annotations

import socket
import struct
from typing import Final

import msgspec

from indexer.types import ParsedText

MAX_REPLY_BYTES: Final = 100_000_000
_LENGTH: Final = struct.Struct(">Q")
_STEP: Final = 1 << 20


class Request(msgspec.Struct, frozen=True):
    """One file to parse."""

    name: str
    content: bytes
    declared_format: str | None = None


class Reply(msgspec.Struct, frozen=True):
    """Its documents, or a failure's code and message; and how large the process has grown."""

    documents: list[ParsedText] = []
    code: str = ""
    message: str = ""
    rss_mb: int = 0


class TooLong(Exception):
    """A frame states more bytes than its reader takes."""


def send(connection: socket.socket, body: bytes) -> None:
    """Send one frame. Raises: OSError (TimeoutError, BrokenPipeError)."""
    connection.sendall(_LENGTH.pack(len(body)))
    connection.sendall(body)


def receive(connection: socket.socket, limit: int) -> bytes | None:
    """Return the next frame, None at the end. Raises: OSError; TooLong over `limit` bytes; EOFError amid a frame."""
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > limit:
        raise TooLong(f"{length} bytes")
    body = _exactly(connection, length)
    if body is None:
        raise EOFError
    return body


def _exactly(connection: socket.socket, length: int) -> bytes | None:
    """Read so many bytes; memory grows with what arrives, not with what was promised."""
    received = bytearray()
    while len(received) < length:
        step = connection.recv(min(_STEP, length - len(received)))
        if not step:
            if received:
                raise EOFError
            return None
        received += step
    return bytes(received)
