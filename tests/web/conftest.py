"""A headless Chromium, and a server of sample pages with the headers that the product sends.

Without Chromium these tests are skipped, except where CI is set: there it has to be installed.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, expect, sync_playwright

from searchd.services import Services
from tests.web.product import opened, running
from web.render import SECURITY_HEADERS, STATIC

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip
TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "html": "text/html; charset=utf-8"}


@dataclass
class Watch:
    """What must not happen on any page: dialogs, policy violations, errors, requests to elsewhere."""

    dialogs: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def over(self, page: Page, origin: str) -> None:
        """Watch a page that should talk to `origin` only."""

        def on_dialog(dialog: Dialog) -> None:
            self.dialogs.append(dialog.message)
            dialog.dismiss()

        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error" and "Failed to load resource" not in message.text:
                self.complaints.append(message.text)

        page.on("dialog", on_dialog)
        page.on("console", on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(origin) else self.foreign.append(request.url))

    def assert_calm(self) -> None:
        """Fail if anything of it happened."""
        assert (self.dialogs, self.complaints, self.foreign) == ([], [], [])


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Return a headless Chromium for the whole session."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed, and CI is set")
        pytest.skip("chromium is not installed")
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., tuple[Page, Watch]]]:
    """Return a function that opens an address in a context of its own and watches it; all are checked at the end."""
    contexts: list[BrowserContext] = []
    watches: list[Watch] = []

    def open_page(address: str, **options: Any) -> tuple[Page, Watch]:
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(15_000)
        contexts.append(context)
        watch = Watch()
        watches.append(watch)
        page = context.new_page()
        watch.over(page, "/".join(address.split("/")[:3]))
        page.goto(address)
        return page, watch

    yield open_page
    for context in contexts:
        context.close()
    for watch in watches:
        watch.assert_calm()


@pytest.fixture
def serve_pages() -> Iterator[Callable[[Mapping[str, str]], str]]:
    """Return a function that serves rendered pages (path -> HTML) and the static files, and returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def serve(pages: Mapping[str, str]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(pages))
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def _handler(pages: Mapping[str, str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/static/"):
                body, kind = (STATIC / os.path.basename(path)).read_bytes(), path.rsplit(".", 1)[-1]
            else:
                body, kind = pages.get(path, "").encode(), "html"
            self.send_response(200)
            for name, value in SECURITY_HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", TYPES[kind])
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Return the opened product over a small shelf of documents."""
    with opened(tmp_path_factory.mktemp("web")) as services:
        yield services


@pytest.fixture(scope="session")
def address(services: Services) -> Iterator[str]:
    """Return where the real application answers."""
    with running(services) as address:
        yield address
