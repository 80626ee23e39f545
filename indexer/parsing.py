"""Untrusted files are parsed in child processes with bounded memory, processor and wall-clock time.

`ParserPool.parse` gives ParsedText or raises a named ParseFailure; a child that dies, hangs or bombs is replaced, and
neither the pool nor this process is harmed.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from indexer.errors import ParseFailure, TransientError
from indexer.parsing_child import HEADER, Answer, Request
from indexer.settings import Settings
from indexer.types import ParsedText

FILES_PER_CHILD = 500
MAX_ANSWER_BYTES = 500_000_000


class _Child:
    """One parser process."""

    def __init__(self, settings: Settings) -> None:
        self.files = 0
        self.process = subprocess.Popen(  # noqa: S603  # our own module under our own interpreter
            [sys.executable, "-m", "indexer.parsing_child", str(settings.parser_memory_mb), str(settings.parser_cpu_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
            env={k: v for k, v in os.environ.items() if not k.startswith("SEARCHD_")} | {"PYTHONSAFEPATH": ""},
        )

    def ask(self, body: bytes) -> bytes:
        """Send one request and return the answer's bytes. Raises: EOFError if the child dies."""
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: S101  # both are pipes
        try:
            self.process.stdin.write(HEADER.pack(len(body)) + body)
            self.process.stdin.flush()
        except (BrokenPipeError, ConnectionResetError, ValueError) as error:
            raise EOFError from error
        head = self.process.stdout.read(HEADER.size)
        if len(head) < HEADER.size:
            raise EOFError
        (size,) = HEADER.unpack(head)
        if size > MAX_ANSWER_BYTES:
            raise ParseFailure("the file has more text than the parser may hand over", code="too_large")
        found = self.process.stdout.read(size)
        if len(found) < size:
            raise EOFError
        self.files += 1
        return found

    def end(self) -> int:
        """Kill the process and return its exit status."""
        self.process.kill()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except (BrokenPipeError, OSError):
                    continue
        return status


class ParserPool:
    """So many parser processes, each used by one caller at a time. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.size = settings.parser_processes or min(4, os.cpu_count() or 1)
        self._decoder: Any = msgspec.msgpack.Decoder(Answer)
        self._closed = False
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(self.size):
            self._idle.put(None)

    def parse(self, name: str, content: bytes) -> list[ParsedText]:
        """Return the documents of a file; waits for a free child.

        Raises: ParseFailure with a code of FAILURE_CODES; TransientError if the pool is closed.
        """
        child = self._idle.get()
        if self._closed:
            self._idle.put(child)
            raise TransientError("the parser pool is closed")
        fresh: _Child | None = None
        try:
            child = child or _Child(self._settings)
            found = self._ask(child, msgspec.msgpack.encode(Request(name, content)))
            fresh = child if child.files < FILES_PER_CHILD else None
        finally:
            if fresh is None and child is not None:
                child.end()
            self._idle.put(fresh)
        if found.code is not None:
            raise ParseFailure(found.message, code=found.code)
        return found.documents

    def _ask(self, child: _Child, body: bytes) -> Answer:
        """Ask within the wall-clock limit; name the way a child dies."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.process.kill()

        timer = threading.Timer(self._settings.parser_wall_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            answer: Answer = self._decoder.decode(child.ask(body))
            return answer
        except EOFError:
            status = child.end()
            if late.is_set():
                message = f"not parsed within {self._settings.parser_wall_s} s"
                raise ParseFailure(message, code="timeout") from None
            if status in (-signal.SIGPROF, -signal.SIGXCPU):
                message = f"not parsed within {self._settings.parser_cpu_s} s of processor time"
                raise ParseFailure(message, code="timeout") from None
            raise ParseFailure(f"the parser process died (status {status})", code="crashed") from None
        finally:
            timer.cancel()

    def close(self) -> None:
        """End all children; callers that wait get TransientError."""
        self._closed = True
        for _ in range(self.size):
            try:
                child = self._idle.get(timeout=self._settings.parser_wall_s)
            except queue.Empty:
                break
            if child is not None:
                child.end()
        for _ in range(self.size):
            self._idle.put(None)
