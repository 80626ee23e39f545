"""Where the API of a stage is, and its key: settings and environment to what `http.py` is given. Nothing is sent."""

from __future__ import annotations

import ipaddress

import httpx

from indexer.errors import ConfigError
from indexer.settings import environment


def address(url: str, path: str) -> httpx.URL:
    """Return where to post: `path` behind `url`, which may already end with all or the beginning of it.

    Raises: ConfigError if it is no http or https address, or has a password in it.
    """
    try:
        base = httpx.URL(url.strip())
    except httpx.InvalidURL:
        base = httpx.URL("")
    if base.scheme not in ("http", "https") or not base.host or base.fragment:
        raise ConfigError("`url` of a stage is an address that begins with http:// or https://")
    if base.userinfo:
        raise ConfigError("`url` of a stage has no user or password in it; `key_variable` names where a key is")
    before, steps = base.path.rstrip("/"), path.strip("/").split("/")
    known = next(n for n in range(len(steps), -1, -1) if n == 0 or before.endswith("/" + "/".join(steps[:n])))
    return base.copy_with(path="/".join([before, *steps[known:]]))


def key_from(variable: str, usual: str, *, needed: bool) -> str:
    """Return the key in an environment variable, or in the usual one if none is named; empty if there is none.

    Raises: ConfigError naming the variable if a named or needed one is not set, or no header can carry what it holds.
    """
    name = variable or usual
    key = environment().get(name, "").strip() if name else ""
    if not key and (variable or needed):
        raise ConfigError(
            f"environment variable {name} is not set; it holds the API's key (`key_variable` of the stage)"
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"environment variable {name} holds no key: it has characters that no header can carry")
    return key


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: no proxy stands before it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
