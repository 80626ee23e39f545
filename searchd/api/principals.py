"""Who is asking: the principals of a request, and whether it may write.

Anonymous callers read `public`. Anonymous writing is for the user of this machine alone: only without configured keys,
only on a loopback address, and never for another site's page in that user's browser (CSRF, DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection

from indexer.errors import Forbidden
from indexer.types import PUBLIC
from searchd.settings import Key, Settings

PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers by which a proxy tells that the caller is somebody else than it seems."""
Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose documents may be read, and whether anything may be changed; `refusal` says why not."""

    principals: frozenset[str]
    may_write: bool
    refusal: str = ""

    @property
    def sees_only(self) -> frozenset[str] | None:
        """Whose documents counts and lists may show; None shows everything, to who may write."""
        return None if self.may_write else self.principals


def principal_of(connection: Connection, settings: Settings) -> Caller:
    """Return who sends this request. Raises: Forbidden (`invalid_key`) for a key that is not configured."""
    header = connection.headers.get("authorization", "")
    if header:
        key = _key_of(header, settings)
        refusal = "" if key.write else f"the key {key.name!r} may not write; its setting `write` allows it"
        return Caller(frozenset(key.principals) | {PUBLIC}, key.write, refusal)
    refusal = _why_not_anonymous(connection, settings)
    return Caller(frozenset({PUBLIC}), not refusal, refusal)


def require_write(connection: Connection, settings: Settings) -> Caller:
    """Return who sends this request. Raises: Forbidden, saying what would allow it, unless it may write."""
    caller = principal_of(connection, settings)
    if not caller.may_write:
        raise Forbidden(caller.refusal)
    return caller


def _key_of(header: str, settings: Settings) -> Key:
    scheme, _, secret = header.partition(" ")
    if scheme.lower() == "bearer":
        given = secret.strip().encode("utf-8", "surrogateescape")
        matching = [key for key in settings.keys if hmac.compare_digest(key.secret.encode(), given)]
        if matching:
            return matching[0]
    raise Forbidden(
        "the key is not one of the setting `keys`; send `Authorization: Bearer <secret>`", code="invalid_key"
    )


def _why_not_anonymous(connection: Connection, settings: Settings) -> str:
    if settings.keys:
        return "writing needs a key: send `Authorization: Bearer <secret>` of one whose setting `write` is true"
    if not is_loopback(settings.host):
        return f"the daemon listens on {settings.host}: to write, configure `keys` and send one of them"
    if any(name in connection.headers for name in PASSED_ON):
        return "this came through a proxy: to write, configure `keys` and send one of them"
    if not is_loopback(host_name(connection.headers.get("host", ""))):
        return "writing without a key works only under a loopback name (127.0.0.1, localhost)"
    if not is_same_site(connection):
        return "this came from another site's page; writing without a key is for the user of this machine"
    return ""


def is_same_site(connection: Connection) -> bool:
    """Say whether a request comes from one of our own pages, from its user directly, or from no browser."""
    site, origin = connection.headers.get("sec-fetch-site", ""), connection.headers.get("origin", "")
    # Browsers that send Sec-Fetch-Site are believed: under our own Referrer-Policy they send `Origin: null` with forms.
    if site:
        return site in ("same-origin", "none")
    return not origin or _netloc(origin) == connection.headers.get("host")


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def host_name(host: str) -> str:
    """Return the name or address of a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(name: str) -> bool:
    """Say whether a name or address means this machine only."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
