"""The composition root of the daemon: handlers of API and pages, errors, headers, start and stop. A roof.

`create_app` makes the ASGI application over opened Services; `serve` owns the data folder and runs it.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from indexer.errors import ConfigError
from indexer.owner import Owner
from searchd.api import openapi, problems
from searchd.api.running import work_queues
from searchd.services import Services
from searchd.settings import Settings
from web import judge, judge_forms, pages, playground, reference, sign_in
from web.contexts import ErrorPage
from web.render import SECURITY_HEADERS
from web.render import respond as respond_with_page
from web.state import SearchState
from web.visitor import visitor_of

PAGES = (pages, playground, reference, sign_in, judge, judge_forms)
HANDLERS: list[Any] = [*openapi.HANDLERS, *(handler for one in PAGES for handler in one.HANDLERS)]
GRACE_S = 20
FORM_OVER_DOCUMENT = 4
"""A form may be this many times as large as its largest file."""


class Application(Litestar):
    """Litestar that answers HEAD wherever it answers GET: load balancers ask so. The server leaves the body out."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one connection."""
        if scope.get("method") == "HEAD":
            scope = {**scope, "method": "GET"}
        await super().__call__(scope, receive, send)


def create_app(services: Services) -> Litestar:
    """Return the application over these services; they are the caller's to close."""

    async def provide_services() -> Services:
        return services

    return Application(
        HANDLERS,
        dependencies={"services": Provide(provide_services)},
        exception_handlers={Exception: on_error},
        middleware=[with_security_headers],
        state=State({"queues": work_queues(), "settings": services.settings}),
        openapi_config=None,
        request_max_body_size=FORM_OVER_DOCUMENT * services.settings.max_document_mb * 1_000_000,
        signature_types=[Services],
        logging_config=None,
    )


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer an error: a page to a browser that asked for one, problem+json to everything else."""
    if "text/html" not in request.headers.get("accept", "") or request.url.path.startswith("/api/"):
        answer: Response[Any] = problems.respond(request, error)
        for name, value in SECURITY_HEADERS.items():  # an unknown path is answered before any middleware
            answer.headers.setdefault(name, value)
        return answer
    found = problems.problem_of(request, error)
    settings: Settings = request.app.state["settings"]
    page = ErrorPage("error", SearchState(), found.status, found.title, found.detail, found.code)
    headers = problems.headers_of(found.status, error)
    return respond_with_page(page, status=found.status, headers=headers, visitor=visitor_of(request, settings))


def with_security_headers(app: ASGIApp) -> ASGIApp:
    """Add the security headers that an answer does not carry itself, errors and static files included."""
    added = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in present)]
            await send(message)

        await app(scope, receive, sending)

    return wrapped


class Server(uvicorn.Server):
    """uvicorn that calls `on_started` with its port once it listens."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[int], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say on which port."""
        await super().startup(sockets)
        if self.started:
            self._on_started(int(self.servers[0].sockets[0].getsockname()[1]))


def serve(settings: Settings, open_services: Callable[[], Services], say: Callable[[str], None]) -> None:
    """Own the data folder, open services, answer until SIGTERM or SIGINT; then finish what is in hand.

    Raises: Busy if another process owns the folder; ConfigError if the address cannot be bound; what opening raises.
    """
    with Owner.acquire(settings) as owner:
        listening = bind(settings)
        try:
            services = open_services()
            try:
                services.warm_up()

                def started(port: int) -> None:
                    url = address_of(settings.host, port)
                    owner.announce(url)
                    say(url)

                run(create_app(services), listening, started)
            finally:
                services.close()
        finally:
            listening.close()


def bind(settings: Settings) -> socket.socket:
    """Take the address before models are loaded. Raises: ConfigError naming host and port."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol by name: asyncio turns off Nagle's delay (40 ms an answer) only for sockets that say TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"host {settings.host!r}, port {settings.port} cannot be bound: {error.strerror}; --port takes another"
        ) from error
    return listening


def address_of(host: str, port: int) -> str:
    """Return the URL by which this machine reaches a daemon bound to `host`."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  # names, nothing is bound
    return f"http://{reached}:{port}"


def run(app: Litestar, listening: socket.socket, started: Callable[[int], None]) -> None:
    """Run uvicorn on a bound socket until a signal."""
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises a caught signal again once it has ended: SIGTERM must not kill what is still to be closed.
        signal.signal(signal.SIGTERM, lambda *_: None)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S, server_header=False, lifespan="on"
    )
    Server(config, started).run(sockets=[listening])
