"""Errors -> problem+json. The one place that knows HTTP status codes of the error tree."""

from __future__ import annotations

import html
import logging
import random
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from indexer.errors import (
    Conflict,
    Forbidden,
    InputError,
    NotFound,
    ParseFailure,
    SearchdError,
    StaleIndex,
    TransientError,
)
from searchd.api.bodies import TooLarge
from searchd.api.principals import Unauthorized

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (TooLarge, 413),
    (Unauthorized, 401),
    (NotFound, 404),
    (Forbidden, 403),
    (Conflict, 409),
    (InputError, 422),
    (ParseFailure, 422),
    (TransientError, 503),
    (StaleIndex, 503),
)
"""First match wins: subclasses before their parents."""


def problem(status: int, detail: str, code: str) -> Response[bytes]:
    """Return the answer for an error."""
    body = {
        "type": f"https://searchd.invalid/problems/{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    headers = {"Retry-After": str(random.randint(1, 4))} if status == 503 else {}  # noqa: S311  # jitter, not a secret
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), media_type=MEDIA_TYPE, status_code=status, headers=headers)


def wants_html(request: Request[Any, Any, Any]) -> bool:
    """Say whether a browser asks for a page rather than a program for JSON."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Turn any exception into its answer; what was not raised on purpose is a bug and goes to the log."""
    status, detail, code = describe(error)
    if status == 500:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(status, detail, code)


def describe(error: Exception) -> tuple[int, str, str]:
    """Return status, sentence and code of an error."""
    if isinstance(error, SearchdError):
        status = next((number for kind, number in STATUS if isinstance(error, kind)), 500)
        return status, str(error), error.code
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        return error.status_code, html.unescape(error.detail or phrase), phrase.lower().replace(" ", "_")
    return 500, "something went wrong inside; the daemon's log has the details", "internal_error"
