"""Who is looking at a page: what the bar offers them, by name; `render.py` shows it on every page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from litestar import Request

from indexer.errors import Forbidden
from searchd.api.principals import principal_of
from searchd.settings import Settings


@dataclass(frozen=True, slots=True)
class Visitor:
    """What the bar says to whom: the judge's page, and the way in or out; empty strings and False offer nothing."""

    may_judge: bool = False
    signed_in_as: str = ""
    sign_in: str = ""
    """Address of the form, from which one comes back here."""


NOBODY = Visitor()


def visitor_of(request: Request[Any, Any, Any], settings: Settings) -> Visitor:
    """Return who is looking; without configured keys there is nothing to sign in with."""
    try:
        caller = principal_of(request, settings)
    except Forbidden:  # of a header that the page's own answer is about
        return NOBODY
    if caller.signed_in:
        return Visitor(caller.may_judge, caller.name)
    offered = settings.keys and not caller.name
    return Visitor(caller.may_judge, sign_in=sign_in_address(here(request)) if offered else "")


def here(request: Request[Any, Any, Any]) -> str:
    """Return the address that a page was asked for, of this site; the front page where it was no page that was asked for."""
    if request.method != "GET":
        return "/"
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.scope.get("query_string", b"").decode("latin-1")
    return raw.split(b"?")[0].decode("latin-1") + (f"?{query}" if query else "")


def sign_in_address(back: str) -> str:
    """Return the address of the form that leads back to an address of this site."""
    return "/sign-in" if back in ("", "/") else f"/sign-in?{urlencode({'next': back})}"


def own_path(text: str) -> str:
    """Return an address of this site that a request names, as it is; the front page for one of another site."""
    # Browsers read a backslash as a slash, and drop tabs and newlines: `/\t/evil` is another site's.
    local = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable() and " " not in text
    return text if local and text.isascii() else "/"
