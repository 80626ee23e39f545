"""The real product on a small shelf of documents, served on a free port in this process for the browser."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvicorn

from indexer import ingest
from indexer.settings import load_settings
from indexer.status import status_of
from indexer.types import SourceFile
from searchd.app import create_app
from searchd.services import Services, build_services
from searchd.settings import Settings

READY_S = 120.0

ARGPARSE = """# argparse

The argparse module makes it easy to parse command line options and arguments.

## Positional arguments

A positional argument is required, and is told by its place on the command line.

## Option flags

An option flag such as --verbose begins with two dashes and may be left out.

    parser.add_argument("--verbose", action="store_true")

- store_true keeps a switch
- append collects values
"""
SHELF = {
    "library/argparse.md": ARGPARSE,
    "library/getopt.md": "# getopt\n\nAn older, C-style parser for command line options.\n",
    "library/logging.md": "# logging\n\nWrite log records to a file, rotate it every day, and choose a level.\n",
    "library/threading.md": "# threading\n\nRun a function in another thread; an exception ends only that thread.\n",
    "ops/backup.md": "# Backups\n\nA nightly backup copies the database to another machine; test restoring it.\n",
    "ops/errors.md": "# Error codes\n\nThe code ERR_CONN_0x80 means that the connection was reset by the peer.\n",
    "ops/disk.md": "# Disk full\n\nFree space by rotating logs and deleting old snapshots of the database.\n",
}
PLANTED = (
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "</title><svg onload=alert(1)>",
    '" onfocus="alert(1)" autofocus x="',
)


def shelf() -> list[SourceFile]:
    """Return the documents: ordinary ones, planted ones, one that is not public, and one file that cannot be read."""
    files = [SourceFile(f"file:///srv/docs/{name}", name, text.encode()) for name, text in SHELF.items()]
    for number, text in enumerate(PLANTED):
        body = f"# Planted {number} {text}\n\nA planted command line option: {text} and more words.\n"
        title = f"Planted {number} {text}"
        uri = f"javascript:alert({number})//planted"
        files.append(SourceFile(uri, f"planted{number}.md", body.encode(), title=title, metadata={"note": text}))
    secret = b"# Salaries\n\nThe secret salary list of the command line department.\n"
    files.append(SourceFile("file:///srv/docs/hr/salaries.md", "salaries.md", secret, access=("hr",)))
    files.append(SourceFile("file:///srv/docs/broken.pdf", "broken.pdf", b"%PDF-1.7 and then nothing that makes sense"))
    return files


def index(services: Services, files: list[SourceFile], collection: str = "default") -> None:
    """Take files in and wait until all of it can be found."""
    assert services.worker is not None
    ingest.accept(services.engine.database, services.settings, collection, files, services.engine.clock())
    services.worker.wake()
    deadline = time.monotonic() + READY_S
    while any(status_of(services.engine.database).jobs.get(state) for state in ("queued", "running")):
        assert time.monotonic() < deadline, status_of(services.engine.database)
        time.sleep(0.05)


@contextmanager
def running(services: Services) -> Iterator[str]:
    """Serve the real application over these services; give its address."""
    config = uvicorn.Config(create_app(services), log_config=None, log_level=logging.WARNING)
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + READY_S
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)


@contextmanager
def opened(data_dir: Path) -> Iterator[Services]:
    """Open the product on a fresh data folder holding the shelf, with time enough for every stage on a slow machine."""
    stages = [
        {"name": name, "max_length": 64, "depth": 8, "keep": 8, "budget_ms": 20_000} for name in ("small", "large")
    ]
    overrides = {
        "data_dir": str(data_dir),
        "timeout_ms": 30_000,
        "threads": 1,
        "profiles": {"default": {"stages": stages}},
    }
    settings = load_settings(Settings, environ={}, overrides=overrides)
    services = build_services(settings)
    try:
        services.warm_up()
        index(services, shelf())
        yield services
    finally:
        services.close()
