"""Metadata as users write it -> the flat form that is stored and filtered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from indexer.errors import InputError, LimitError
from indexer.types import Metadata, Scalar

MAX_KEYS = 200
MAX_VALUE_CHARS = 8000
MAX_VALUES = 1000
MAX_DEPTH = 8
LARGEST_INTEGER = 2**53


def flatten_metadata(value: Any) -> Metadata:
    """Flatten nested objects with dots, lists into tuples; null is dropped.

    Raises: InputError for what cannot be filtered (lists of objects, other types); LimitError, stating the limit.
    """
    if not isinstance(value, Mapping):
        raise InputError("metadata must be an object of names and values")
    flat: dict[str, Scalar | tuple[Scalar, ...]] = {}
    _flatten(value, "", flat, 0)
    if len(flat) > MAX_KEYS:
        raise LimitError(f"metadata has {len(flat)} fields; at most {MAX_KEYS} are taken")
    return flat


def _flatten(value: Mapping[Any, Any], prefix: str, flat: dict[str, Scalar | tuple[Scalar, ...]], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise LimitError(f"metadata is nested deeper than {MAX_DEPTH} levels")
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if not name or len(name) > 200 or not name.isprintable():
            raise InputError(f"metadata field {name[:60]!r}: names have 1 to 200 printable characters")
        if inner is None:
            continue
        if isinstance(inner, Mapping):
            _flatten(inner, f"{name}.", flat, depth + 1)
        elif isinstance(inner, list | tuple):
            if len(inner) > MAX_VALUES:
                raise LimitError(f"metadata field {name!r} has {len(inner)} values; at most {MAX_VALUES} are taken")
            flat[name] = tuple(_scalar(name, one) for one in inner if one is not None)
        else:
            flat[name] = _scalar(name, inner)


def _scalar(name: str, value: Any) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > MAX_VALUE_CHARS:
            raise LimitError(
                f"metadata field {name!r} has {len(value):,} characters; at most {MAX_VALUE_CHARS:,} are taken"
            )
        return value
    if isinstance(value, int) and abs(value) <= LARGEST_INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InputError(
        f"metadata field {name!r}: strings, finite numbers up to 2^53, true, false and lists of them are taken"
    )
