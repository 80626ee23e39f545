"""Where a reader may be sent: a document's uri as a link if it is safe to follow, else as plain text.

Only http, https and mailto become links; `file:` is shown as the path it names, anything else as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

SHOWN_CHARS = 90


@dataclass(frozen=True, slots=True)
class Link:
    """`label` is always shown; `href` is None for what must not or cannot be followed."""

    label: str
    href: str | None


def link_of(uri: str) -> Link:
    """Return how `uri` is shown. Unparsable addresses and foreign schemes are text only."""
    text = uri.strip()
    try:
        parts = urlsplit(text)
    except ValueError:
        return Link(shortened(text), None)
    # Browsers drop tabs and newlines inside an address before reading its scheme: such an address is never a link.
    printable = text.isprintable() and " " not in text
    if parts.scheme in ("http", "https") and parts.netloc and printable:
        return Link(shortened(parts.netloc + unquote(parts.path).rstrip("/")), text)
    if parts.scheme == "mailto" and parts.path and printable:
        return Link(shortened(parts.path), text)
    if parts.scheme == "file":
        return Link(shortened(unquote(parts.path)), None)
    return Link(shortened(text), None)


def shortened(text: str, limit: int = SHOWN_CHARS) -> str:
    """Cut in the middle, where a path says least."""
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def document_path(collection: str, document_id: str) -> str:
    """Return the address of a document's page; an id may hold slashes and anything else printable."""
    return f"/documents/{quote(collection, safe='')}/{quote(document_id, safe='/')}"
