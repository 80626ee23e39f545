"""Who is asking: the principals of the API key that came along, and whether the caller may write.

Without configured keys, a loopback daemon lets its own machine write, but no other web site through a browser.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any

from litestar import Request

from indexer.errors import Forbidden, InputError
from searchd.settings import Settings


@dataclass(frozen=True, slots=True)
class Caller:
    """What the asker may read (`public` comes on top) and whether they may write; `why_not` says what would allow it."""

    principals: tuple[str, ...] = ()
    may_write: bool = False
    why_not: str = ""


class Unauthorized(InputError):
    """A key came along that is not configured."""

    code = "unknown_key"


def principal_of(request: Request[Any, Any, Any], settings: Settings) -> Caller:
    """Read the caller off the request's headers. Raises: Unauthorized for a key that is not known."""
    offered = request.headers.get("authorization", "")
    if offered:
        scheme, _, secret = offered.partition(" ")
        for key in settings.keys if scheme.lower() == "bearer" else ():
            if hmac.compare_digest(key.secret.encode(), secret.strip().encode()):
                return Caller(key.principals, key.write, "" if key.write else f"key {key.name!r} may only read")
        raise Unauthorized("the Authorization header holds no known key; send `Authorization: Bearer <secret>`")
    why_not = anonymous_write_refusal(request, settings)
    return Caller((), why_not == "", why_not)


def anonymous_write_refusal(request: Request[Any, Any, Any], settings: Settings) -> str:
    """Say why a caller without a key may not write; empty if they may."""
    if settings.keys:
        return "writing needs a key with `write`; send `Authorization: Bearer <secret>`"
    if not is_loopback(settings.host):
        return f"the daemon is bound to {settings.host}: configure `keys` to allow writing"
    host = request.headers.get("host", "")
    if not is_loopback(host_name(host)):
        return f"the Host header names {host!r}, not this machine"
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        return f"the request comes from another web site ({origin})"
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "the request comes from another web site"
    return ""


def host_name(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and ":" in host else host


def is_loopback(host: str) -> bool:
    """Say whether a name or address is this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_write(request: Request[Any, Any, Any], settings: Settings) -> Caller:
    """Return the caller if they may write. Raises: Forbidden saying what would allow it."""
    caller = principal_of(request, settings)
    if not caller.may_write:
        raise Forbidden(caller.why_not)
    return caller
