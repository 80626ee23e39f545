"""The cookie of somebody who signed in on a page: which key it was, until when, and a proof that only its secret makes.

Nothing is kept on this side: a cookie is good while its key is configured with the same secret, until it expires.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from searchd.settings import Key

COOKIE = "searchd-key"
DAYS = 30
SECONDS = DAYS * 24 * 3600
_PURPOSE = b"searchd sign-in\0"
"""So that nothing else that is ever signed with a secret is a cookie."""


def cookie_of(key: Key, now: float) -> str:
    """Return the value of a cookie for this key: its name, when it expires, and the proof; all of URL-safe characters."""
    expiry = str(int(now) + SECONDS)
    return f"{_packed(key.name.encode())}.{expiry}.{_proof(key, expiry)}"


def key_of_cookie(value: str, keys: Sequence[Key], now: float) -> Key | None:
    """Return the key that a cookie was made for, None for one that is expired, tampered with or of no key of these."""
    name, _, rest = value.partition(".")
    expiry, _, proof = rest.partition(".")
    if not (expiry.isascii() and expiry.isdecimal() and len(expiry) < 16 and int(expiry) > now):
        return None
    given = proof.encode("utf-8", "surrogateescape")
    named = [key for key in keys if _packed(key.name.encode()) == name]
    proven = [key for key in named if hmac.compare_digest(_proof(key, expiry).encode(), given)]
    return proven[0] if proven else None


def key_of_secret(secret: str, keys: Sequence[Key]) -> Key | None:
    """Return the key with this secret, None if there is none; all are compared, so that time tells nothing."""
    given = secret.encode("utf-8", "surrogateescape")
    matching = [key for key in keys if hmac.compare_digest(key.secret.encode(), given)]
    return matching[0] if matching else None


def _proof(key: Key, expiry: str) -> str:
    signed = _PURPOSE + key.name.encode() + b"\0" + expiry.encode()
    return _packed(hmac.new(key.secret.encode(), signed, hashlib.sha256).digest())


def _packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
