"""The filter expression of a search: text -> tree. Compiled by each engine; `matches` below is the oracle.

`product = "router" AND (lang IN [en, de] OR version >= 2) AND NOT draft` becomes And(...). The compilers are
`indexer/lexical/filters.py` (Tantivy) and `indexer/vectors/filters.py` (Qdrant); tests hold both against `matches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from indexer.types import Metadata, Scalar

ComparisonOperator = Literal["=", "!=", ">", ">=", "<", "<="]


@dataclass(frozen=True, slots=True)
class Compare:
    """`field op value`. A field that holds several values matches if any of them does (`!=`: if none is equal)."""

    field: str
    operator: ComparisonOperator
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    """`field IN [a, b]`: any value of the field equals any of these."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """`field EXISTS`: the field is there."""

    field: str


@dataclass(frozen=True, slots=True)
class Contains:
    """`field CONTAINS text`: a string value of the field has this substring, case-sensitive."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class StartsWith:
    """`field STARTS WITH text`: a string value of the field starts so, case-sensitive."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class And:
    """All of `parts` (at least one)."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of `parts` (at least one)."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not `part`; `NOT IN` and `NOT EXISTS` parse to it."""

    part: Filter


Filter = Compare | In | Exists | Contains | StartsWith | And | Or | Not


def parse_filter(text: str) -> Filter:
    """Parse a filter expression. Raises: QueryError at the place that is wrong; LimitError."""
    raise SystemExit(text)


def matches(tree: Filter, metadata: Metadata) -> bool:
    """Say whether a document with this metadata passes: the plain meaning the engines are tested against."""
    raise SystemExit((tree, metadata))
