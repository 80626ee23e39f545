"""What a point carries beside its vector, laid out so that every filter of `indexer/filters.py` has a native condition.

`terms` holds one keyword per value ("lang=sen", "version=n2", "draft=btrue") and per fact ("lang?", "lang?s");
numbers and strings are repeated per field for ranges and substrings. `filters.py` compiles against these names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import InputError
from indexer.filters import instant_of
from indexer.types import IndexedDocument, Metadata, Scalar

DOCUMENT_ID, VERSION, ACCESS, TERMS, METADATA = "document_id", "version", "access", "terms", "metadata"
KEYWORDS = (DOCUMENT_ID, ACCESS, TERMS)
"""Payload fields with a keyword index from the start; `TERMS` also serves prefixes."""

LONG_CHARS = 256
"""A longer string is in `terms` as a hash (equality) and as its first characters (prefix)."""

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_LARGEST, _SMALLEST = 1e22, 1e-7


@dataclass(frozen=True, slots=True)
class PointData:
    """A point before it is in either library's own form."""

    passage_id: str
    vector: list[float]
    payload: dict[str, Any]


def points_of(documents: Sequence[IndexedDocument], dimension: int) -> tuple[list[str], list[PointData]]:
    """Return the documents' ids and all their points; of a document that is there twice, the later counts.

    Raises: InputError for vectors that do not fit.
    """
    latest = {document.document_id: document for document in documents}
    points = []
    for document in latest.values():
        vectors = checked(document.vectors, len(document.passages), dimension, document.document_id)
        payload = payload_of(document)
        points += [
            PointData(passage.passage_id, vector.tolist(), payload)
            for passage, vector in zip(document.passages, vectors, strict=True)
        ]
    return list(latest), points


def checked(vectors: NDArray[np.float32], rows: int, dimension: int, where: str) -> NDArray[np.float32]:
    """Return `vectors` as float32[rows, dimension], all finite. Raises: InputError."""
    array = np.asarray(vectors, dtype=np.float32)
    if array.shape != (rows, dimension):
        raise InputError(f"vectors of {where} have shape {array.shape}; this index takes ({rows}, {dimension})")
    if not np.isfinite(array).all():
        raise InputError(f"vectors of {where} hold values that are not finite")
    return array


def payload_of(document: IndexedDocument) -> dict[str, Any]:
    """Return the payload of each of the document's points."""
    payload: dict[str, Any] = {
        DOCUMENT_ID: document.document_id,
        VERSION: document.version,
        ACCESS: list(document.access),
        METADATA: json.dumps(dict(document.metadata), ensure_ascii=False, separators=(",", ":")),
    }
    terms: list[str] = []
    for field, value in document.metadata.items():
        values = value if isinstance(value, tuple | list) else (value,)
        terms.append(exists_term(field))
        for scalar in values:
            terms.extend(_terms_of(field, scalar))
            for key, entry in _sortable(field, scalar):
                payload.setdefault(key, []).append(entry)
    payload[TERMS] = list(dict.fromkeys(terms))
    return payload


def metadata_of(payload: dict[str, Any]) -> Metadata:
    """Return the metadata a payload was made from, lists as tuples again."""
    held: dict[str, Any] = json.loads(payload.get(METADATA) or "{}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in held.items()}


def encoded(field: str) -> str:
    """Return the field's name as a payload key may hold it; different names stay different."""
    return "".join(c if c in _SAFE else f"-{ord(c):x}-" for c in field)


def number_key(field: str) -> str:
    """Return the payload key of the field's numbers, as floats."""
    return f"n_{encoded(field)}"


def string_key(field: str) -> str:
    """Return the payload key of the field's strings."""
    return f"s_{encoded(field)}"


def date_key(field: str) -> str:
    """Return the payload key of the field's dates, as milliseconds since 1970."""
    return f"t_{encoded(field)}"


def exists_term(field: str) -> str:
    """Return the keyword that says the field is there."""
    return f"{encoded(field)}?"


def string_term(field: str) -> str:
    """Return the keyword that says the field has a string value."""
    return f"{encoded(field)}?s"


def equal_term(field: str, value: Scalar) -> str | None:
    """Return the keyword of `field = value`; None for NaN, which equals nothing."""
    name = encoded(field)
    if isinstance(value, bool):
        return f"{name}=b{str(value).lower()}"
    if isinstance(value, str):
        if len(value) > LONG_CHARS:
            return f"{name}=h{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
        return f"{name}=s{value}"
    if value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{name}=n{value}"


def prefix_terms(field: str, text: str) -> tuple[str, str]:
    """Return the keyword prefixes of short and of long strings that start with `text` (cut at LONG_CHARS)."""
    name = encoded(field)
    return f"{name}=s{text[:LONG_CHARS]}", f"{name}=p{text[:LONG_CHARS]}"


def milliseconds(instant: int) -> float:
    """Return an instant in microseconds as whole milliseconds: a < b implies f(a) <= f(b)."""
    return rounded(instant // 1000)


def rounded(number: int | float) -> float:
    """Return the number at 15 significant digits, within +-1e22, tiny ones as 0; a < b implies f(a) <= f(b).

    Qdrant keeps payloads as JSON and reads other floats back a last digit off.
    """
    if abs(number) >= _LARGEST:
        return _LARGEST if number > 0 else -_LARGEST
    return float(f"{number:.14e}") if abs(number) >= _SMALLEST else 0.0


def rounded_number_term(field: str) -> str:
    """Return the keyword that says some number of the field is not what its range entry holds."""
    return f"{encoded(field)}?n"


def rounded_date_term(field: str) -> str:
    """Return the keyword that says some date of the field is not what its range entry holds."""
    return f"{encoded(field)}?t"


def _terms_of(field: str, value: Scalar) -> Iterator[str]:
    term = equal_term(field, value)
    if term is not None:
        yield term
    if isinstance(value, str):
        yield string_term(field)
        if len(value) > LONG_CHARS:
            yield prefix_terms(field, value)[1]
        instant = instant_of(value)
        if instant is not None and milliseconds(instant) * 1000 != instant:
            yield rounded_date_term(field)
    elif not isinstance(value, bool) and rounded(value) != value:
        yield rounded_number_term(field)


def _sortable(field: str, value: Scalar) -> Iterator[tuple[str, float | str]]:
    if isinstance(value, str):
        yield string_key(field), value
        instant = instant_of(value)
        if instant is not None:
            yield date_key(field), milliseconds(instant)
    elif not isinstance(value, bool) and value == value:
        yield number_key(field), rounded(value)
