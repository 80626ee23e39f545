"""The parser pool: untrusted files become ParsedText in child processes with memory, processor and time limits.

The worker calls `parse` from several threads. A child that crashes, hangs or grows ends as a ParseFailure with its
code and is replaced; the parent loads no parser and never runs a stranger's bytes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

import indexer
from indexer.errors import ParseFailure, TransientError
from indexer.formats.failures import FAILURE_CODES, failure
from indexer.parsing_wire import MAX_REPLY_BYTES, Reply, Request, TooLong, receive, send
from indexer.settings import Settings
from indexer.types import ParsedText

FILES_PER_CHILD: Final = 500
"""A child is replaced after so many files, so that what libraries leak stays small."""
GROWN_SHARE: Final = 0.6
"""A child that has needed this share of its memory limit is replaced: the next file should have all of it."""
START_S: Final = 60.0
END_S: Final = 2.0
_ROOT: Final = str(Path(indexer.__file__).resolve().parents[1])


class ParserPool:
    """At most `size` children, started when first needed, kept warm and reused. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.size = settings.parser_processes or min(4, os.cpu_count() or 1)
        self._settings = settings
        self._free = threading.BoundedSemaphore(self.size)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._closed = False

    def parse(self, name: str, content: bytes, declared_format: str | None = None) -> list[ParsedText]:
        """Return the documents of a file; `declared_format` (a name of FORMATS) goes before name and content.

        Waits for a free child. Raises: ParseFailure with a code of FAILURE_CODES; TransientError when no child can
        be started or the pool is closed meanwhile.
        """
        if len(content) > self._settings.max_document_mb * 1_000_000:
            limit = self._settings.max_document_mb
            raise failure("too_large", f"{len(content):,} bytes; at most {limit} MB are taken")
        with self._free:
            child = self._take()
            keep = False
            try:
                reply = child.ask(Request(name, content, declared_format), self._settings.parser_wall_s)
                keep = child.files < FILES_PER_CHILD and reply.rss_mb < self._settings.parser_memory_mb * GROWN_SHARE
            except ParseFailure:
                if self._closed:
                    raise TransientError("the parser pool was closed amid a file") from None
                raise
            finally:
                self._put_back(child, keep=keep)
        if reply.code:
            raise ParseFailure(reply.message, code=reply.code)
        return reply.documents

    def close(self) -> None:
        """End all children; files amid parsing raise TransientError in their threads."""
        with self._lock:
            self._closed = True
            children = [*self._idle, *self._busy]
            self._idle.clear()
        for child in children:
            child.end()

    def _take(self) -> _Child:
        with self._lock:
            if self._closed:
                raise TransientError("the parser pool is closed")
            while self._idle:
                child = self._idle.pop()
                if child.alive:
                    self._busy.add(child)
                    return child
                child.end()
        child = _Child(self._settings)
        with self._lock:
            if not self._closed:
                self._busy.add(child)
                return child
        child.end()
        raise TransientError("the parser pool is closed")

    def _put_back(self, child: _Child, *, keep: bool) -> None:
        with self._lock:
            self._busy.discard(child)
            keep = keep and not self._closed
            if keep:
                self._idle.append(child)
        if not keep:
            child.end()


class _Child:
    """One parser process and the connection to it. Used by one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self.files = 0
        ours, theirs = socket.socketpair()
        self._connection = ours
        # A fresh interpreter, not a fork: the parent holds models, threads and secrets; the child gets none of them.
        command = [
            sys.executable, "-P", "-s", "-m", "indexer.parsing_child",
            str(settings.parser_memory_mb), str(settings.parser_cpu_s),
        ]  # fmt: skip
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                )
        except OSError as error:
            ours.close()
            raise TransientError(f"no parser process can be started: {error}") from error
        try:
            ours.settimeout(START_S)
            started = receive(ours, 16) == b"ready"
        except (OSError, EOFError, TooLong):
            started = False
        if not started:
            self.end()
            raise TransientError("a parser process ended or hung while it started")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, request: Request, wall_s: float) -> Reply:
        """Have one file parsed. Raises: ParseFailure timeout, crashed, out_of_memory or too_large."""
        self.files += 1
        deadline = time.monotonic() + wall_s
        try:
            self._connection.settimeout(wall_s)
            send(self._connection, msgspec.msgpack.encode(request))
            self._connection.settimeout(max(0.01, deadline - time.monotonic()))
            frame = receive(self._connection, MAX_REPLY_BYTES)
        except TimeoutError:
            raise failure("timeout", f"not parsed within {wall_s:g} s") from None
        except TooLong as error:
            raise failure("too_large", f"the parser's answer has {error}") from None
        except (OSError, EOFError):
            frame = None
        if frame is None:
            raise self._death()
        try:
            return msgspec.msgpack.decode(frame, type=Reply)
        except msgspec.MsgspecError as error:
            raise failure("crashed", f"the parser process answered nonsense: {error}") from None

    def end(self) -> None:
        """End the process and reap it; closing the connection asks it to, a kill makes it."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._process.kill()
        self._process.wait(timeout=END_S * 10)
        self._connection.close()

    def _death(self) -> ParseFailure:
        """Say why the process died, as far as its exit tells."""
        try:
            code = self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            return failure("crashed", "the parser process closed its connection")
        if code == -signal.SIGPROF:
            return failure("timeout", "the parser process passed its limit of processor time")
        if code == -signal.SIGKILL:
            return failure("out_of_memory", "the parser process was killed by the system, most likely for memory")
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return failure("crashed", f"{FAILURE_CODES['crashed']} ({name})")


def _environment() -> dict[str, str]:
    """Return the child's whole environment: where our package is, and nothing that is secret."""
    kept = {name: value for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "HOME") if (value := os.environ.get(name))}
    return kept | {"PYTHONPATH": _ROOT, "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "2"}
