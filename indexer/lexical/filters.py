"""Filter tree -> tantivy Query, meaning exactly what `indexer.filters.matches` says. Objects only, never text.

The field `terms` holds a keyword per value and fact of a document's metadata: `lang?` (is there), `lang=sen`,
`draft=btrue`, and for numbers and dates keys that sort as these do (`version#...`, `date@...`). A range or a substring
is a pattern over the keywords; where tantivy finds a pattern too large, the keywords are read and chosen here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from decimal import Decimal

import tantivy

from indexer.filters import (
    MAX_FILTER_CHARS,
    And,
    Compare,
    Contains,
    Exists,
    Filter,
    In,
    Not,
    Or,
    StartsWith,
    instant_of,
    values_of,
)
from indexer.types import Metadata, Scalar

TERMS = "terms"
LONG_CHARS = 10_000
"""A longer string is no single keyword (tantivy drops those above 65,530 bytes): a hash, its beginning, and windows."""
PATTERN_CHARS = 32
"""Longer texts are not put into a pattern: tantivy allows 1,000 states and needs 17 ms for 64 characters."""

_ANYTHING = "(.|\n)*"
_KEY_SIGNS = "0123456789lmnpq~"
"""What keys of numbers are made of, in order."""
_EXPONENT = 50_000
_HALF_PAIR = re.compile("[\ud800-\udfff]")
"""What JSON can smuggle into a text and UTF-8 cannot hold."""
_LONG_FIELD = 200


def terms_of(metadata: Metadata) -> list[str]:
    """Return every keyword of a document's metadata."""
    found: list[str] = []
    for field in metadata:
        name = encoded(field)
        found.append(f"{name}?")
        for value in values_of(metadata, field):
            found.extend(_terms_of_value(name, value))
    return list(dict.fromkeys(found))


def _terms_of_value(name: str, value: Scalar) -> list[str]:
    equal = _equal_term(name, value)
    found = [equal] if equal is not None else []
    if not isinstance(value, str):
        return found
    instant = instant_of(value)
    if instant is not None:
        found.append(f"{name}@{number_key(instant)}")
    if equal is not None and equal.startswith(f"{name}=h"):
        sound = _HALF_PAIR.sub("\ufffd", value)
        found.append(f"{name}=p{sound[:LONG_CHARS]}")
        step = LONG_CHARS - MAX_FILTER_CHARS  # the longest text asked for lies whole within one window
        found.extend(f"{name}=w{sound[start : start + LONG_CHARS]}" for start in range(0, len(sound), step))
    return found


def _equal_term(name: str, value: Scalar) -> str | None:
    """Return the keyword of `field = value`; None for NaN, which equals nothing."""
    if isinstance(value, bool):
        return f"{name}=b{str(value).lower()}"
    if not isinstance(value, str):
        return f"{name}#{number_key(value)}" if value == value else None
    if len(value) > LONG_CHARS or _HALF_PAIR.search(value):
        return f"{name}=h{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"{name}=s{value}"


def encoded(field: str) -> str:
    """Return a field name in letters, digits and underscores; different names stay different."""
    name = "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in field)
    return name if len(name) <= _LONG_FIELD else f"-{hashlib.sha256(name.encode()).hexdigest()}"


def number_key(number: int | float) -> str:
    """Return a text that is the same for equal numbers and sorts as they do, whatever their type and size.

    Sign, power of ten and digits, all exact; below zero the nines' complement, so that larger ones come first.
    """
    value = Decimal(number)
    if value.is_infinite():
        return "q" if value > 0 else "l"
    if not value:
        return "n"
    _, digits, _ = value.as_tuple()
    written = "".join(map(str, digits)).rstrip("0")
    power = f"{value.adjusted() + _EXPONENT:06d}"
    if value > 0:
        return f"p{power}{written}"
    return f"m{_complement(power + written)}~"


def _complement(digits: str) -> str:
    return digits.translate(str.maketrans("0123456789", "9876543210"))


class FilterCompiler:
    """Compiles filters against what a searcher sees."""

    def __init__(self, schema: tantivy.Schema, searcher: tantivy.Searcher) -> None:
        self.schema = schema
        self.searcher = searcher

    def compile(self, tree: Filter) -> tantivy.Query:
        """Return the query that passes exactly the documents `matches` passes."""
        match tree:
            case And(parts):
                return tantivy.Query.boolean_query([(tantivy.Occur.Must, self.compile(part)) for part in parts])
            case Or(parts):
                return tantivy.Query.boolean_query([(tantivy.Occur.Should, self.compile(part)) for part in parts])
            case Not(part):
                return _not(self.compile(part))
            case Exists(field):
                return self._terms([f"{encoded(field)}?"])
            case Compare(field, "=", value):
                return self._equal(field, (value,))
            case Compare(field, "!=", value):
                return _not(self._equal(field, (value,)))
            case Compare(field, operator, value):
                return self._range(encoded(field), operator, value)
            case In(field, values):
                return self._equal(field, values)
            case Contains(field, text):
                return self._contains(encoded(field), text)
            case StartsWith(field, text):
                return self._starts_with(encoded(field), text)

    def _equal(self, field: str, values: Sequence[Scalar]) -> tantivy.Query:
        terms = (_equal_term(encoded(field), value) for value in values)
        return self._terms([term for term in terms if term is not None])

    def _range(self, name: str, operator: str, value: Scalar) -> tantivy.Query:
        number = instant_of(value) if isinstance(value, str) else value
        if number is None or isinstance(number, bool) or number != number:
            return tantivy.Query.empty_query()
        prefix, bound = name + ("@" if isinstance(value, str) else "#"), number_key(number)
        return self._where(prefix, range_pattern(bound, operator), lambda key: _is_within(key, operator, bound))

    def _contains(self, name: str, text: str) -> tantivy.Query:
        pattern = f"{_ANYTHING}{escaped(text)}{_ANYTHING}" if len(text) <= PATTERN_CHARS else None
        kinds = [self._where(f"{name}={kind}", pattern, lambda value: text in value) for kind in "sw"]
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, kind) for kind in kinds])

    def _starts_with(self, name: str, text: str) -> tantivy.Query:
        pattern = f"{escaped(text)}{_ANYTHING}" if len(text) <= PATTERN_CHARS else None
        kinds = [self._where(f"{name}={kind}", pattern, lambda value: value.startswith(text)) for kind in "sp"]
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, kind) for kind in kinds])

    def _where(self, prefix: str, pattern: str | None, passes: Callable[[str], bool]) -> tantivy.Query:
        """Return the query of all keywords that begin with `prefix` and go on as said, by pattern and by predicate."""
        if pattern is not None:
            try:
                return tantivy.Query.regex_query(self.schema, TERMS, escaped(prefix) + pattern)
            except ValueError:  # too many states
                pass
        held = self.searcher.terms_with_prefix(TERMS, prefix)
        return self._terms([term for term, _ in held if passes(term[len(prefix) :])])

    def _terms(self, terms: Sequence[str]) -> tantivy.Query:
        if len(terms) == 1:
            return tantivy.Query.term_query(self.schema, TERMS, terms[0], "basic")
        return tantivy.Query.term_set_query(self.schema, TERMS, terms) if terms else tantivy.Query.empty_query()


def escaped(text: str) -> str:
    """Return a pattern of tantivy's regular expressions that matches exactly this text."""
    return "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def range_pattern(bound: str, operator: str) -> str:
    """Return the pattern of all keys that sort before or after `bound` (and itself, with `=`)."""
    anything = f"[{_KEY_SIGNS}]*"
    ways = [bound] if operator.endswith("=") else []
    for place, sign in enumerate(bound):
        where = _KEY_SIGNS.index(sign)
        beyond = _KEY_SIGNS[where + 1 :] if operator.startswith(">") else _KEY_SIGNS[:where]
        if beyond:
            ways.append(f"{bound[:place]}[{beyond}]{anything}")
    if operator.startswith(">"):
        ways.append(f"{bound}[{_KEY_SIGNS}]{anything}")
    else:
        ways.extend(bound[:place] for place in range(1, len(bound)))
    return f"({'|'.join(ways)})"


def _is_within(key: str, operator: str, bound: str) -> bool:
    if key == bound:
        return operator.endswith("=")
    return (key > bound) == operator.startswith(">")


def _not(part: tantivy.Query) -> tantivy.Query:
    every = (tantivy.Occur.Must, tantivy.Query.all_query())
    return tantivy.Query.boolean_query([every, (tantivy.Occur.MustNot, part)])
