"""Filters for Qdrant: scope and filter tree -> conditions of qdrant_edge or qdrant_client, applied before top-k.

A tree compiles to two bounds: `upper` lets through at least what `filters.matches` does, `lower` at most. Where they
are equal the engine decides alone; else it is given `upper`, and `matches` is asked about each point that comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from indexer.filters import And, Compare, Contains, Exists, Filter, In, Not, Or, StartsWith, instant_of, matches
from indexer.scope import Scope
from indexer.types import Scalar
from indexer.vectors.payload import (
    ACCESS,
    DOCUMENT_ID,
    LONG_CHARS,
    TERMS,
    date_key,
    equal_term,
    exists_term,
    metadata_of,
    milliseconds,
    number_key,
    prefix_terms,
    rounded,
    rounded_date_term,
    rounded_number_term,
    string_key,
    string_term,
)
from indexer.vectors.ranking import Scored


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A keyword field holds one of these; of none: nothing passes."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prefix:
    """A keyword field holds a value that starts so."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Substring:
    """A string field holds a value that has this within it."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Between:
    """A number field holds a value within these bounds."""

    key: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class Every:
    """Every part."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Unless:
    """Not this."""

    part: Condition


Condition = AnyOf | Prefix | Substring | Between | Every | Some | Unless

NOTHING = AnyOf(TERMS, ())


@dataclass(frozen=True, slots=True)
class Bounds:
    """A filter between two conditions: lower passes => filter passes => upper passes."""

    upper: Condition
    lower: Condition

    @property
    def exact(self) -> bool:
        """Whether the engine's answer is final."""
        return self.upper == self.lower


def compile_filter(tree: Filter) -> Bounds:
    """Compile a filter tree for payloads as `payload.py` lays them out."""
    match tree:
        case And(parts):
            bounds = [compile_filter(part) for part in parts]
            return Bounds(Every(tuple(b.upper for b in bounds)), Every(tuple(b.lower for b in bounds)))
        case Or(parts):
            bounds = [compile_filter(part) for part in parts]
            return Bounds(Some(tuple(b.upper for b in bounds)), Some(tuple(b.lower for b in bounds)))
        case Not(part):
            inner = compile_filter(part)
            return Bounds(Unless(inner.lower), Unless(inner.upper))
        case Compare(field, "=", value):
            return _equal(field, (value,))
        case Compare(field, "!=", value):
            return compile_filter(Not(In(field, (value,))))
        case Compare(field, operator, value):
            return _range(field, operator, value)
        case In(field, values):
            return _equal(field, values)
        case Exists(field):
            return _same(AnyOf(TERMS, (exists_term(field),)))
        case Contains(field, text):
            return _same(Substring(string_key(field), text) if text else AnyOf(TERMS, (string_term(field),)))
        case StartsWith(field, text):
            return _starts_with(field, text)


def _same(condition: Condition) -> Bounds:
    return Bounds(condition, condition)


def _equal(field: str, values: Sequence[Scalar]) -> Bounds:
    terms = [equal_term(field, value) for value in values]
    return _same(AnyOf(TERMS, tuple(dict.fromkeys(term for term in terms if term is not None))))


def _starts_with(field: str, text: str) -> Bounds:
    if not text:
        return _same(AnyOf(TERMS, (string_term(field),)))
    short, long = prefix_terms(field, text)
    if len(text) > LONG_CHARS:
        return Bounds(Prefix(TERMS, long), NOTHING)
    return _same(Some((Prefix(TERMS, short), Prefix(TERMS, long))))


def _range(field: str, operator: str, value: Scalar) -> Bounds:
    """Compare numbers with numbers and dates with dates; what was rounded on either side may be level or not."""
    if isinstance(value, str):
        instant = instant_of(value)
        if instant is None:
            return _same(NOTHING)
        bound, even = milliseconds(instant), milliseconds(instant) * 1000 == instant
        key, uneven = date_key(field), AnyOf(TERMS, (rounded_date_term(field),))
    elif isinstance(value, bool) or value != value:
        return _same(NOTHING)
    else:
        bound, even = rounded(value), rounded(value) == value
        key, uneven = number_key(field), AnyOf(TERMS, (rounded_number_term(field),))
    beyond = Between(key, gt=bound) if operator[0] == ">" else Between(key, lt=bound)
    level = Between(key, gte=bound, lte=bound)
    if not even:
        return Bounds(Some((beyond, level)), beyond)
    if operator.endswith("="):
        return Bounds(Some((beyond, level)), Some((beyond, Every((level, Unless(uneven))))))
    return Bounds(Some((beyond, Every((level, uneven)))), beyond)


class Dialect(Protocol):
    """The names that qdrant_edge and qdrant_client's models share."""

    Filter: Callable[..., Any]
    FieldCondition: Callable[..., Any]
    MatchAny: Callable[..., Any]
    MatchPrefix: Callable[..., Any]
    MatchSubstring: Callable[..., Any]
    Range: Callable[..., Any]
    HasId: Callable[..., Any]


def native(condition: Condition, dialect: Dialect) -> Any:
    """Turn a condition into the dialect's own objects."""
    match condition:
        case AnyOf(key, values):
            return dialect.FieldCondition(key=key, match=dialect.MatchAny(any=list(values)))
        case Prefix(key, text):
            return dialect.FieldCondition(key=key, match=dialect.MatchPrefix(prefix=text))
        case Substring(key, text):
            return dialect.FieldCondition(key=key, match=dialect.MatchSubstring(substring=text))
        case Between(key, gt, gte, lt, lte):
            return dialect.FieldCondition(key=key, range=dialect.Range(gt=gt, gte=gte, lt=lt, lte=lte))
        case Every(parts):
            return dialect.Filter(must=[native(part, dialect) for part in parts])
        case Some(parts):
            return dialect.Filter(should=[native(part, dialect) for part in parts])
        case Unless(part):
            return dialect.Filter(must_not=[native(part, dialect)])


def scoped(scope: Scope, bounds: Bounds | None, dialect: Dialect) -> Any:
    """Return the engine's filter for what this reader may see and asked for."""
    access: Condition = AnyOf(ACCESS, tuple(sorted(scope.principals)))
    parts = (access,) if bounds is None else (access, bounds.upper)
    return native(Every(parts), dialect)


def question(scope: Scope, filter: Filter | None, dialect: Dialect) -> tuple[Any, Callable[[Scored], bool] | None]:
    """Return the engine's filter of a search, and the second look at its points where the engine cannot decide alone."""
    bounds = None if filter is None else compile_filter(filter)
    if filter is None or bounds is None or bounds.exact:
        return scoped(scope, bounds, dialect), None
    return scoped(scope, bounds, dialect), second_look(filter)


def of_documents(document_ids: Sequence[str], keep: Sequence[str], dialect: Dialect) -> Any:
    """Return the engine's filter for all points of these documents but those with the ids in `keep`."""
    found = native(AnyOf(DOCUMENT_ID, tuple(document_ids)), dialect)
    return dialect.Filter(must=[found], must_not=[dialect.HasId(list(keep))] if keep else None)


def second_look(tree: Filter) -> Callable[[Scored], bool]:
    """Return the check of a point against the filter's plain meaning, from the metadata in its payload."""
    return lambda point: matches(tree, metadata_of(point.payload))
