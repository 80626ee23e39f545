"""Filter tree -> tantivy Query, meaning exactly what `indexer.filters.matches` says. Objects only, never text.

`terms` holds a keyword per value and fact of a document's metadata; numbers stand there once more as digits that sort as
they do, and a range becomes a pattern over them (tantivy has no ranges over text). Field names are escaped, so that a name and a value cannot be taken for each other.
"""

from __future__ import annotations

import struct

import tantivy

from indexer.errors import LimitError
from indexer.filters import And, Compare, Contains, Exists, Filter, In, Not, Or, StartsWith, values_of
from indexer.types import Metadata, Scalar

TERMS = "terms"
MAX_BOUND_CHARS = 128
"""Of a string in a comparison: the pattern grows with it."""
_ANYTHING = "(.|\n)*"
_LAST = 0x10FFFF


def encoded(field: str) -> str:
    """Return a field name in letters, digits and underscores; different names stay different."""
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in field)


def term_of(field: str, value: Scalar) -> str:
    """Return the keyword of `field = value`."""
    if isinstance(value, bool):
        return f"{encoded(field)}=b{value}"
    if isinstance(value, str):
        return f"{encoded(field)}=s{value}"
    exact = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{encoded(field)}=n{exact}"


def terms_of(metadata: Metadata) -> list[str]:
    """Return every keyword of a document's metadata."""
    found: list[str] = []
    for field in metadata:
        found.append(f"{encoded(field)}?")
        for value in values_of(metadata, field):
            found.append(term_of(field, value))
            if not isinstance(value, bool | str):
                found.append(f"{encoded(field)}<{sortable(float(value))}")
    return list(dict.fromkeys(found))


def sortable(number: float) -> str:
    """Return 16 hex digits that sort as numbers do. Source: the order of IEEE 754 bits once the sign is turned over."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))
    return f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"


def compile_filter(tree: Filter, schema: tantivy.Schema) -> tantivy.Query:
    """Return the query that passes exactly the documents `matches` passes."""
    match tree:
        case And(parts):
            return _all([compile_filter(part, schema) for part in parts])
        case Or(parts):
            return _any([compile_filter(part, schema) for part in parts])
        case Not(part):
            return _not(compile_filter(part, schema))
        case Exists(field):
            return tantivy.Query.term_query(schema, TERMS, f"{encoded(field)}?")
        case Compare(field, "=", value):
            return tantivy.Query.term_query(schema, TERMS, term_of(field, value))
        case Compare(field, "!=", value):
            return _not(tantivy.Query.term_query(schema, TERMS, term_of(field, value)))
        case Compare(field, operator, value):
            return _range(field, operator, value, schema)
        case In(field, values):
            return _any([tantivy.Query.term_query(schema, TERMS, term_of(field, value)) for value in values])
        case Contains(field, text):
            return _pattern(f"{encoded(field)}=s", f"(.|\n)*{escaped(text)}(.|\n)*", schema)
        case StartsWith(field, text):
            return _pattern(f"{encoded(field)}=s", f"{escaped(text)}(.|\n)*", schema)


def escaped(text: str) -> str:
    """Return a pattern of tantivy's regular expressions that matches exactly this text."""
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def _pattern(prefix: str, pattern: str, schema: tantivy.Schema) -> tantivy.Query:
    return tantivy.Query.regex_query(schema, TERMS, escaped(prefix) + pattern)


def _range(field: str, operator: str, value: Scalar, schema: tantivy.Schema) -> tantivy.Query:
    if isinstance(value, bool):
        return tantivy.Query.empty_query()
    if isinstance(value, str):
        if len(value) > MAX_BOUND_CHARS:
            raise LimitError(f"filter: a string after {operator} has at most {MAX_BOUND_CHARS} characters")
        return _pattern(f"{encoded(field)}=s", ordered_pattern(value, operator), schema)
    return _pattern(f"{encoded(field)}<", ordered_pattern(sortable(float(value)), operator), schema)


def ordered_pattern(bound: str, operator: str) -> str:
    """Return the pattern of all strings that come before or after `bound` by code point (and itself, with `=`)."""
    above = operator.startswith(">")
    ways = []
    for place, character in enumerate(bound):
        first, last = (ord(character) + 1, _LAST) if above else (0, ord(character) - 1)
        if first <= last:
            ways.append(f"{escaped(bound[:place])}[{hexadecimal(first, 0xE000)}-{hexadecimal(last, 0xD7FF)}]{_ANYTHING}")
        if not above:
            ways.append(escaped(bound[:place]))
    if above:
        ways.append(f"{escaped(bound)}(.|\n){_ANYTHING}")
    if operator.endswith("="):
        ways.append(escaped(bound))
    return f"({'|'.join(ways)})" if ways else "[^\\x{0}-\\x{10ffff}]"


def hexadecimal(code: int, instead: int) -> str:
    """Return a code point as a pattern names it; `instead` of a surrogate, which no text holds."""
    return f"\\x{{{instead if 0xD800 <= code <= 0xDFFF else code:x}}}"


def _all(parts: list[tantivy.Query]) -> tantivy.Query:
    return tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in parts])


def _any(parts: list[tantivy.Query]) -> tantivy.Query:
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, part) for part in parts])


def _not(part: tantivy.Query) -> tantivy.Query:
    every = (tantivy.Occur.Must, tantivy.Query.all_query())
    return tantivy.Query.boolean_query([every, (tantivy.Occur.MustNot, part)])

