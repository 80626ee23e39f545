"""Errors -> HTTP: the one place that knows status codes. Every error answer is application/problem+json.

`problem_of` maps any exception; `respond` makes the answer. What is no error of our tree is a bug: 500 and a traceback.
"""

from __future__ import annotations

import html
import logging
import secrets
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from indexer.errors import (
    Busy,
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

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
STATUSES: tuple[tuple[type[SearchdError], int], ...] = (
    (TooLarge, 413),
    (NotFound, 404),
    (Forbidden, 403),
    (Conflict, 409),
    (InputError, 422),
    (ParseFailure, 422),
    (TransientError, 503),
    (StaleIndex, 503),
    (SearchdError, 500),
)
"""The first class that fits counts."""
OF_CODES = {"invalid_json": 400, "unsupported_media_type": 415, "invalid_key": 401, "not_signed_in": 401}
"""Codes that say more than their class."""
TOLD = ("retrieval_down", "degraded", "disk_full")
IN_GENERAL = "a part of the daemon is out of order; its log says which and why"
"""Of other failures within: their own words name folders, hosts and accounts, and anybody may be asking."""


class Problem(msgspec.Struct, frozen=True):
    """An error as RFC 9457 has it, with `code`, a stable snake_case word for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str


def problem_of(request: Request[Any, Any, Any], error: Exception) -> Problem:
    """Return what to say of an exception; bugs are logged with their traceback and told in general words."""
    if isinstance(error, SearchdError):
        status = OF_CODES.get(error.code) or next(code for kind, code in STATUSES if isinstance(error, kind))
        if status >= 500:
            log.warning("%s %s: %s", request.method, request.url.path, error)
        return problem(status, str(error) if status < 500 else public_words(error), error.code)
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _of_framework(request, error)
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "something went wrong inside; the daemon's log has the details", "internal_error")


def public_words(error: SearchdError) -> str:
    """Return what anybody may read of a failure within."""
    return str(error) if isinstance(error, Busy) or error.code in TOLD else IN_GENERAL


def problem(status: int, detail: str, code: str) -> Problem:
    """Return a problem with the usual words of its status."""
    return Problem("about:blank", HTTPStatus(status).phrase, status, detail, code)


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Return the answer for an exception."""
    found = problem_of(request, error)
    body = msgspec.json.encode(found)
    return Response(body, status_code=found.status, media_type=MEDIA_TYPE, headers=headers_of(found.status, error))


def headers_of(status: int, error: Exception) -> dict[str, str]:
    """Return the headers that belong to a status: when to come again, how to authenticate, which methods there are."""
    headers = {"Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = str(1 + secrets.randbelow(4))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 405:
        headers["Allow"] = (getattr(error, "headers", None) or {}).get("Allow", "")
    return headers


def _of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Problem:
    """Return what to say of an error that litestar found by itself."""
    status = HTTPStatus(error.status_code)
    detail = html.unescape(error.detail) or status.phrase
    if status == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.url.path}"
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not possible at {request.url.path}"
    elif status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        limit = request.app.request_max_body_size
        detail = f"the body has more than {limit:,} bytes, which is the limit" if isinstance(limit, int) else detail
        return problem(413, detail, TooLarge.code)
    return problem(status, detail, status.phrase.lower().replace(" ", "_"))
