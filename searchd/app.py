"""The composition root of the daemon: handlers of API and pages, errors, headers, start and stop. A roof.

`create_app` makes the ASGI application over opened Services; `serve` owns the data folder and runs it.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import uvicorn
from litestar import Litestar, Request, Response
from litestar.di import Provide

from indexer.errors import ConfigError
from indexer.owner import Owner
from searchd.api import collections, documents, maintenance, openapi, search, status, tasks
from searchd.api.problems import answer_error, describe, wants_html
from searchd.services import Services
from searchd.settings import Settings
from web import pages
from web.contexts import ErrorPage
from web.render import SECURITY_HEADERS, respond
from web.state import SearchState

log = logging.getLogger(__name__)

HANDLERS: list[Any] = [
    *search.HANDLERS,
    *documents.HANDLERS,
    *tasks.HANDLERS,
    *collections.HANDLERS,
    *maintenance.HANDLERS,
    *status.HANDLERS,
    *openapi.HANDLERS,
    *pages.HANDLERS,
]
GRACE_S = 20


def create_app(services: Services) -> Litestar:
    """Return the application over these services; they are the caller's to close."""

    async def provide_services() -> Services:
        return services

    return Litestar(
        HANDLERS,
        dependencies={"services": Provide(provide_services)},
        exception_handlers={Exception: on_error},
        after_request=add_headers,
        openapi_config=None,
        request_max_body_size=None,  # bodies are counted against their own limits as they stream
        signature_types=[Services],
    )


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer an error as a page to a browser, as problem+json to a program."""
    if not wants_html(request):
        return with_headers(answer_error(request, error))
    status_code, detail, code = describe(error)
    if status_code == 500:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    title = HTTPStatus(status_code).phrase
    return respond(ErrorPage("error", SearchState(), status_code, title, detail, code), status=status_code)


def with_headers(response: Response[Any]) -> Response[Any]:
    """Add the security headers that an answer does not have yet."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def add_headers(response: Response[Any]) -> Response[Any]:
    """Add security headers to every answer."""
    return with_headers(response)


class Server(uvicorn.Server):
    """uvicorn that calls `on_started` with its port once it listens, and leaves signals to `serve`."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[int], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say on which port."""
        await super().startup(sockets)
        if self.started:
            for server in self.servers:
                for listening in server.sockets:
                    self._on_started(int(listening.getsockname()[1]))
                    return


def serve(settings: Settings, open_services: Callable[[], Services], say: Callable[[str], None]) -> None:
    """Own the data folder, open services, answer until SIGTERM or SIGINT; then finish what is in hand.

    Raises: Busy if another process owns the folder; ConfigError if the address cannot be bound; what opening raises.
    """
    with Owner.acquire(settings) as owner:
        listening = bind(settings)
        services = open_services()
        try:
            if services.worker is None:
                services.engine.start_refresher()

            def started(port: int) -> None:
                shown = f"[{settings.host}]" if ":" in settings.host else settings.host
                url = f"http://{'127.0.0.1' if shown in ('0.0.0.0', '[::]') else shown}:{port}"  # noqa: S104  # compared, not bound
                owner.announce(url)
                say(url)

            run(create_app(services), listening, started)
        finally:
            services.close()
            listening.close()


def bind(settings: Settings) -> socket.socket:
    """Take the address before models are loaded. Raises: ConfigError naming host and port."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"host {settings.host!r}, port {settings.port} cannot be bound: {error.strerror}; choose another with --port"
        ) from error
    return listening


def run(app: Litestar, listening: socket.socket, started: Callable[[int], None]) -> None:
    """Run uvicorn on a bound socket until a signal."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S, server_header=False)
    server = Server(config, started)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[listening])

