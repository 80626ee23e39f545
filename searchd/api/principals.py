"""Who is asking: the principals of a request, and whether it may write and judge.

A key comes in the Authorization header, or in the cookie of who signed in on a page. Anonymous callers read `public`.
Anonymous writing is for the user of this machine alone: only without configured keys and only on a loopback address.
What a browser sends by itself, with a cookie or without, writes for our own pages only (CSRF, DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection

from indexer.errors import Forbidden
from indexer.types import PUBLIC
from searchd.api.sign_in import COOKIE, key_of_cookie, key_of_secret
from searchd.settings import Key, Settings

PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers by which a proxy tells that the caller is somebody else than it seems."""
NOT_SIGNED_IN = "not_signed_in"
LOCAL = "local"
"""What the user of this machine is called as a judge, where no keys are configured."""
FOREIGN = "this came from another site's page"
Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose documents may be read, and whether anything may be changed or judged; `refusal` says why not."""

    principals: frozenset[str]
    may_write: bool
    refusal: str = ""
    name: str = ""
    """A key's name, `local` for the user of this machine; empty: nobody that is known."""
    may_judge: bool = False
    signed_in: bool = False
    """Whether a page's cookie said so."""

    @property
    def sees_only(self) -> frozenset[str] | None:
        """Whose documents counts and lists may show; None shows everything, to who may write."""
        return None if self.may_write else self.principals


def principal_of(connection: Connection, settings: Settings) -> Caller:
    """Return who sends this request; an expired or unknown cookie is nobody's.

    Raises: Forbidden (`invalid_key`) for a key in the header that is not configured.
    """
    header = connection.headers.get("authorization", "")
    if header:
        return _caller_of(_key_of(header, settings), "")
    cookie = connection.cookies.get(COOKIE, "") if settings.keys else ""
    key = key_of_cookie(cookie, settings.keys, time.time()) if cookie else None
    if key is not None:
        foreign = "" if is_same_site(connection) else f"{FOREIGN}; who signed in may write on this one's only"
        return _caller_of(key, foreign, signed_in=True)
    refusal = _why_not_anonymous(connection, settings)
    return Caller(frozenset({PUBLIC}), not refusal, refusal, "" if refusal else LOCAL, not refusal)


def _caller_of(key: Key, foreign: str, *, signed_in: bool = False) -> Caller:
    refusal = foreign or ("" if key.write else f"the key {key.name!r} may not write; its setting `write` allows it")
    may_judge = (key.judge or key.write) and not foreign
    return Caller(frozenset(key.principals) | {PUBLIC}, not refusal, refusal, key.name, may_judge, signed_in)


def require_write(connection: Connection, settings: Settings) -> Caller:
    """Return who sends this request. Raises: Forbidden, saying what would allow it, unless it may write."""
    caller = principal_of(connection, settings)
    if not caller.may_write:
        raise Forbidden(caller.refusal)
    return caller


def require_judge(connection: Connection, settings: Settings) -> Caller:
    """Return who sends this request. Raises: Forbidden unless it may judge; `not_signed_in` where a key would help."""
    caller = principal_of(connection, settings)
    if caller.may_judge:
        return caller
    if not is_same_site(connection) or not settings.keys:
        raise Forbidden(caller.refusal)
    if caller.name:
        raise Forbidden(f"the key {caller.name!r} may not judge; its setting `judge` or `write` allows it")
    raise Forbidden("judging needs a key whose setting `judge` or `write` is true; sign in with it", code=NOT_SIGNED_IN)


def _key_of(header: str, settings: Settings) -> Key:
    scheme, _, secret = header.partition(" ")
    key = key_of_secret(secret.strip(), settings.keys) if scheme.lower() == "bearer" else None
    if key is not None:
        return key
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
        return f"{FOREIGN}; writing without a key is for the user of this machine"
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
