"""Requests -> structs: query parameters and JSON bodies, with every refusal naming the parameter and the limit."""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import anyio.to_thread
import msgspec
from anyio import CapacityLimiter
from litestar import Request

from indexer.errors import InputError, LimitError
from searchd.api.bodies import check_depth, read_body

T = TypeVar("T")
StructT = TypeVar("StructT", bound=msgspec.Struct)
AnyRequest = Request[Any, Any, Any]

SMALL_BODY_BYTES = 64_000
MAX_PARAMETERS = 100
DECODED_AT_ONCE = 2

_REFUSAL = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$?\.?(?P<path>.*?)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


def read_query(request: AnyRequest, kind: type[StructT]) -> StructT:
    """Return a URL's parameters as a struct. Raises: InputError naming one that is unknown, repeated or refused."""
    given = list(request.query_params.multi_items())
    if len(given) > MAX_PARAMETERS:
        raise LimitError(f"the URL has {len(given)} parameters; at most {MAX_PARAMETERS} are taken")
    hints = get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for name, text in given:
        if name not in hints:
            raise unknown_parameter(name, kind)
        if is_list(hints[name]):
            values.setdefault(name, []).extend(part for part in text.split(",") if part)
        elif name in values:
            raise InputError(f"parameter {name!r} is given twice", code="invalid_parameter")
        else:
            values[name] = text
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_parameter(error, kind) from None


async def read_json(request: AnyRequest, kind: type[T], limit_bytes: int = SMALL_BODY_BYTES) -> T:
    """Return a JSON body as a struct; no body is an empty object. Raises: TooLarge; InputError naming the parameter."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in ("application/json", ""):
        raise InputError(f"the body is {content_type!r}; application/json is accepted", code="unsupported_media_type")
    body = await read_body(request, limit_bytes) or b"{}"
    if len(body) <= SMALL_BODY_BYTES:
        return decode_json(body, kind)
    # 25 MB of small strings take seconds: meanwhile others are answered
    return await anyio.to_thread.run_sync(decode_json, body, kind, limiter=large_bodies(request))


def large_bodies(request: AnyRequest) -> CapacityLimiter:
    """Return the application's limit of large bodies decoded at once: each takes several times its size in memory."""
    state = request.app.state
    if "large_bodies" not in state:
        state["large_bodies"] = CapacityLimiter(DECODED_AT_ONCE)
    limiter: CapacityLimiter = state["large_bodies"]
    return limiter


def decode_json(body: bytes, kind: type[T]) -> T:
    """Decode a JSON text, its nesting checked first. Raises: InputError, LimitError."""
    check_depth(body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise invalid_parameter(error, kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the body is no valid JSON: {error}", code="invalid_json") from None


def validated(value: StructT) -> StructT:
    """Check a struct that was built in Python as one that came from outside. Raises: InputError."""
    try:
        return msgspec.convert(msgspec.to_builtins(value), type(value))
    except msgspec.ValidationError as error:
        raise invalid_parameter(error, type(value)) from None


def unknown_parameter(name: str, kind: Any) -> InputError:
    """Return the error for a parameter that does not exist, with those that do."""
    struct = next((part for part in get_args(kind) if isinstance(part, type)), kind)  # of a union the single one
    known = ", ".join(field.encode_name for field in msgspec.structs.fields(struct)) or "none"
    return InputError(f"parameter {name[:80]!r} is not known; accepted: {known}", code="unknown_parameter")


def invalid_parameter(error: msgspec.ValidationError, kind: Any) -> InputError:
    """Return the error for a value that is refused, its parameter named first."""
    found = _REFUSAL.fullmatch(str(error))
    what, path = (found["what"], found["path"] or "") if found else (str(error), "")
    unknown = _UNKNOWN.fullmatch(what)
    if unknown and not path:
        return unknown_parameter(unknown["name"], kind)
    if unknown:
        return InputError(f"parameter '{path}.{unknown['name'][:80]}' is not known", code="unknown_parameter")
    return InputError(f"parameter {path!r}: {what[:300]}" if path else what[:300], code="invalid_parameter")


def is_list(hint: Any) -> bool:
    """Say whether a parameter holds several values."""
    origin = get_origin(hint)
    if origin in (tuple, list):
        return True
    return any(is_list(part) for part in get_args(hint)) if origin is not None else False
