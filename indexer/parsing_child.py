"""The child of a ParserPool: reads (name, content) from standard input, answers with parsed documents or a failure.

Run as `python -m indexer.parsing_child MEMORY_MB CPU_S`. It imports no torch, has no network business, and ends when
its parent does.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

import msgspec

from indexer.errors import InputError, ParseFailure
from indexer.formats.table import FORMATS, format_of
from indexer.types import ParsedText

HEADER = struct.Struct(">Q")


class Request(msgspec.Struct, array_like=True):
    """A file to parse."""

    name: str
    content: bytes


class Answer(msgspec.Struct, array_like=True):
    """Its documents, or why there are none."""

    documents: list[ParsedText]
    code: str | None = None
    message: str = ""


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """Read `size` bytes. Raises: EOFError if the stream ends before."""
    parts = []
    while size:
        part = stream.read(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def answer(request: Request) -> Answer:
    """Parse one file."""
    try:
        found = FORMATS[format_of(request.name, request.content)].parse(request.name, request.content)
        kept = [document for document in found if document.text.strip()]
        if not kept:
            return Answer([], "empty", "the file has 0 characters of text")
        return Answer(kept)
    except ParseFailure as error:
        return Answer([], error.code, str(error))
    except InputError as error:
        return Answer([], "malformed", str(error))
    except MemoryError:
        return Answer([], "out_of_memory", "the parser passed its memory limit")
    except RecursionError:
        return Answer([], "malformed", "nested too deeply")
    except Exception as error:
        return Answer([], "malformed", f"{type(error).__name__}: {error}"[:500])


def limit(memory_mb: int) -> None:
    """Bound this process's memory and forbid core dumps."""
    size = memory_mb * 1024 * 1024
    for name in ("RLIMIT_DATA", "RLIMIT_AS"):
        kind = getattr(resource, name, None)
        if kind is not None:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (size + (256 << 20 if name == "RLIMIT_AS" else 0),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Answer until standard input ends."""
    memory_mb, cpu_s = int(sys.argv[1]), int(sys.argv[2])
    incoming: BinaryIO = sys.stdin.buffer
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up between two answers
    limit(memory_mb)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoder: Any = msgspec.msgpack.Decoder(Request)
    while True:
        try:
            (size,) = HEADER.unpack(read_exactly(incoming, HEADER.size))
            request = decoder.decode(read_exactly(incoming, size))
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, cpu_s)  # its default action ends the process
        found = answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        try:
            body = msgspec.msgpack.encode(found)
        except MemoryError:
            body = msgspec.msgpack.encode(Answer([], "out_of_memory", "the parser passed its memory limit"))
        outgoing.write(HEADER.pack(len(body)) + body)
        outgoing.flush()


if __name__ == "__main__":
    main()
