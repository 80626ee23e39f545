"""The parser process: reads requests from its standard input, answers on it; started by `indexer/parsing.py` only.

It bounds itself before it reads a byte that a stranger wrote: memory, processor time per file, no core dumps, no
files written. It ends when its parent does.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import threading

import msgspec
import psutil

from indexer.errors import ParseFailure
from indexer.formats.failures import FAILURE_CODES
from indexer.formats.table import parse
from indexer.parsing_wire import MAX_REPLY_BYTES, Reply, Request, receive, send


def main(memory_mb: int, cpu_s: int) -> None:
    """Answer requests until the parent closes the connection."""
    connection = socket.socket(fileno=os.dup(0))
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(quiet, number)
    _bound(memory_mb)
    threading.Thread(target=_end_with_parent, args=(connection.fileno(),), daemon=True).start()
    send(connection, b"ready")
    while (frame := receive(connection, sys.maxsize)) is not None:
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        reply = _answer(msgspec.msgpack.decode(frame, type=Request))
        signal.setitimer(signal.ITIMER_PROF, 0)
        del frame
        encoded = _encoded(reply)
        reply = Reply()
        send(connection, encoded)


def _bound(memory_mb: int) -> None:
    """Set the limits that hold for the process's life; SIGPROF, unhandled, ends it when the timer runs out."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    # Linux counts private memory under RLIMIT_DATA; RLIMIT_AS would also count every library that is mapped.
    limits[resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS] = memory_mb * 1_000_000
    for limit, value in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some; wall clock and recycling remain there
            resource.setrlimit(limit, (value, value))


def _end_with_parent(descriptor: int) -> None:
    """Exit when the parent's end is gone, even amid a file."""
    poll = select.poll()
    poll.register(descriptor, select.POLLHUP | select.POLLERR)
    poll.poll()
    os._exit(0)


def _answer(request: Request) -> Reply:
    try:
        return Reply(documents=parse(request.name, request.content, request.declared_format), rss_mb=_rss_mb())
    except ParseFailure as failure:
        return Reply(code=failure.code, message=str(failure)[:2000], rss_mb=_rss_mb())
    except MemoryError:
        return Reply(code="out_of_memory", message=FAILURE_CODES["out_of_memory"], rss_mb=sys.maxsize)
    except RecursionError:
        return Reply(code="malformed", message="nested too deeply", rss_mb=_rss_mb())
    except Exception as error:  # whatever a library raises on a damaged file fails this file and no other
        return Reply(code="malformed", message=f"{type(error).__name__}: {error}"[:2000], rss_mb=_rss_mb())


def _encoded(reply: Reply) -> bytes:
    """Return the reply's bytes, or those of a failure if it is too large to hand over."""
    try:
        encoded = msgspec.msgpack.encode(reply)
    except MemoryError:
        return msgspec.msgpack.encode(
            Reply(code="out_of_memory", message=FAILURE_CODES["out_of_memory"], rss_mb=sys.maxsize)
        )
    except UnicodeEncodeError as error:
        return msgspec.msgpack.encode(Reply(code="malformed", message=str(error)[:300], rss_mb=reply.rss_mb))
    if len(encoded) > MAX_REPLY_BYTES:
        message = f"more than {MAX_REPLY_BYTES // 1_000_000} MB of text and structure"
        return msgspec.msgpack.encode(Reply(code="too_large", message=message, rss_mb=sys.maxsize))
    return encoded


def _rss_mb() -> int:
    """Return this process's resident memory, MB; `ru_maxrss` would tell what the parent had when it started us."""
    return int(psutil.Process().memory_info().rss) // 1_000_000


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
