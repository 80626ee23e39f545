"""The filter expression of a search: text -> tree. Compiled by each engine; `matches` below is the oracle.

`product = "router" AND (lang IN [en, de] OR version >= 2) AND NOT draft` becomes And(...). The compilers are
`indexer/lexical/filters.py` (Tantivy) and `indexer/vectors/filters.py` (Qdrant); tests hold both against `matches`.

Values keep their type: 2 equals 2.0, but neither "2" nor true is 2 or 1. `>` and `<` compare numbers with numbers, and
dates with dates as the instants they name; nothing else has an order.
"""

from __future__ import annotations

import operator as operators
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from indexer.errors import LimitError, QueryError
from indexer.types import Metadata, Scalar

ComparisonOperator = Literal["=", "!=", ">", ">=", "<", "<="]


@dataclass(frozen=True, slots=True)
class Compare:
    """`field op value`. A field that holds several values matches if any of them does (`!=`: if none is equal).

    An absent field equals nothing, so it passes `!=` and no other operator.
    """

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


MAX_FILTER_CHARS = 4096
MAX_FILTER_TERMS = 64
MAX_FILTER_DEPTH = 8

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator><=|>=|!=|==|=|<|>)
    | (?P<punctuation>[()\[\],])
    | (?P<word>[^\s"'()\[\],=<>!]+)
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = {"and", "or", "not", "in", "exists", "contains", "starts", "with"}
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_DATE = re.compile(
    r"(\d{4}-\d\d)(-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?)?", re.ASCII | re.IGNORECASE
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_filter(text: str) -> Filter:
    """Parse a filter expression.

    Binding, tightest first: NOT, AND, OR; keywords in any case; a field alone means `field = true`. Values are quoted
    strings (either quote, backslash escapes), bare words, numbers, true or false; dates are strings. A field or value
    that is a keyword or holds other signs is quoted.
    Raises: QueryError saying where and what was expected; LimitError, stating the limit.
    """
    if len(text) > MAX_FILTER_CHARS:
        raise LimitError(f"the filter has {len(text):,} characters; at most {MAX_FILTER_CHARS:,} are taken")
    return _Parser(_tokens(text)).parse()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKEN.match(text, position)
        if found is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            if text[start] in "\"'":
                raise QueryError(f"filter: the string that begins at character {start + 1} is not closed")
            raise QueryError(f"filter: {text[start : start + 12]!r} at character {start + 1} is not understood")
        kind = found.lastgroup or ""
        tokens.append(_Token(kind, found[kind], found.start(kind)))
        position = found.end()
    return tokens


class _Parser:
    """Recursive descent over tokens of which the last is the end; bounded in depth and terms."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens, self.place, self.terms = tokens, 0, 0

    def parse(self) -> Filter:
        tree = self._or(0)
        if self._peek().kind != "end":
            raise self._wrong("AND, OR or the end")
        return tree

    def _or(self, depth: int) -> Filter:
        parts = [self._and(depth)]
        while self._take_word("or"):
            parts.append(self._and(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self, depth: int) -> Filter:
        parts = [self._not(depth)]
        while self._take_word("and"):
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self, depth: int) -> Filter:
        if depth > MAX_FILTER_DEPTH:
            raise LimitError(f"the filter is nested deeper than {MAX_FILTER_DEPTH} levels of parentheses and NOT")
        if self._take_word("not"):
            return Not(self._not(depth + 1))
        if self._take("punctuation", "("):
            tree = self._or(depth + 1)
            self._expect(")")
            return tree
        return self._condition()

    def _condition(self) -> Filter:
        self._count()
        field = self._field()
        if self._take_word("exists"):
            return Exists(field)
        if self._take_word("in"):
            return In(field, self._values())
        if self._take_word("contains"):
            return Contains(field, self._text())
        if self._take_word("starts"):
            if not self._take_word("with"):
                raise self._wrong("WITH")
            return StartsWith(field, self._text())
        if self._take_word("not"):
            if self._take_word("in"):
                return Not(In(field, self._values()))
            if self._take_word("exists"):
                return Not(Exists(field))
            raise self._wrong("IN or EXISTS")
        operator = self._take("operator")
        if operator is None:
            return Compare(field, "=", True)
        return self._comparison(field, cast(ComparisonOperator, "=" if operator.text == "==" else operator.text))

    def _comparison(self, field: str, operator: ComparisonOperator) -> Filter:
        token = self._peek()
        value = self._value()
        if operator in _ORDERINGS and not has_order(value):
            raise _expected(f"a number or a date (2024-12-31, 2024-12-31T23:59:59Z) after {operator}", token)
        return Compare(field, operator, value)

    def _field(self) -> str:
        token = self._peek()
        if token.kind not in ("word", "string") or _is_keyword(token):
            raise self._wrong("a field name")
        self.place += 1
        return token.text if token.kind == "word" else _unquoted(token.text)

    def _values(self) -> tuple[Scalar, ...]:
        self._expect("[")
        values = [self._value()]
        while self._take("punctuation", ","):
            self._count()
            values.append(self._value())
        self._expect("]")
        return tuple(values)

    def _text(self) -> str:
        token = self._peek()
        if token.kind not in ("word", "string") or _is_keyword(token):
            raise self._wrong("a text")
        self.place += 1
        return _unquoted(token.text) if token.kind == "string" else token.text

    def _value(self) -> Scalar:
        token = self._peek()
        if token.kind not in ("word", "string") or _is_keyword(token):
            raise self._wrong("a value")
        self.place += 1
        if token.kind == "string":
            return _unquoted(token.text)
        if token.text.lower() in ("true", "false"):
            return token.text.lower() == "true"
        if _INTEGER.fullmatch(token.text):
            return int(token.text)
        if _NUMBER.fullmatch(token.text):
            number = float(token.text)
            if abs(number) == float("inf"):
                raise _expected("a number below 1.8e308", token)
            return number
        return token.text

    def _count(self) -> None:
        self.terms += 1
        if self.terms > MAX_FILTER_TERMS:
            raise LimitError(f"the filter has more than {MAX_FILTER_TERMS} conditions and values")

    def _peek(self) -> _Token:
        return self.tokens[self.place]

    def _take(self, kind: str, text: str | None = None) -> _Token | None:
        token = self._peek()
        if token.kind != kind or text not in (None, token.text):
            return None
        self.place += 1
        return token

    def _take_word(self, word: str) -> bool:
        token = self._peek()
        taken = token.kind == "word" and token.text.lower() == word
        self.place += taken
        return taken

    def _expect(self, sign: str) -> None:
        if self._take("punctuation", sign) is None:
            raise self._wrong(f"`{sign}`")

    def _wrong(self, expected: str) -> QueryError:
        return _expected(expected, self._peek())


def _expected(expected: str, token: _Token) -> QueryError:
    place = f"character {token.position + 1}"
    if token.kind == "end":
        return QueryError(f"filter: {expected} is expected at the end ({place})")
    return QueryError(f"filter: {expected} is expected at {place}, not {token.text[:30]!r}")


def _is_keyword(token: _Token) -> bool:
    return token.kind == "word" and token.text.lower() in _KEYWORDS


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def instant_of(text: str) -> int | None:
    """Return the instant a date or datetime in ISO 8601 names, in microseconds since 1970; None if it names none.

    `2024-12`, `2024-12-31` and `2024-12-31T23:59[:59[.999999]]` with `Z`, `+01:00` or nothing, which means UTC; a date
    means its first instant. A year alone is no date.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(text.upper() if found[2] else f"{text}-01")
    except ValueError:  # 2024-02-30
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def has_order(value: Scalar) -> bool:
    """Say whether `>` and `<` mean anything for this value: for numbers and dates."""
    return instant_of(value) is not None if isinstance(value, str) else not isinstance(value, bool)


def equal(left: Scalar, right: Scalar) -> bool:
    """Say whether two values are the same: 2 equals 2.0, but neither "2" nor true is 2 or 1. Dates compare as text."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return isinstance(left, str) == isinstance(right, str) and left == right


_ORDERINGS: dict[str, Any] = {">": operators.gt, ">=": operators.ge, "<": operators.lt, "<=": operators.le}


def _ordered(left: Scalar, operator: ComparisonOperator, right: Scalar) -> bool:
    """Compare numbers with numbers and dates with dates; else never."""
    if isinstance(left, bool) or isinstance(right, bool) or isinstance(left, str) != isinstance(right, str):
        return False
    if isinstance(left, str) and isinstance(right, str):
        first, second = instant_of(left), instant_of(right)
        return first is not None and second is not None and bool(_ORDERINGS[operator](first, second))
    return bool(_ORDERINGS[operator](left, right))


def matches(tree: Filter, metadata: Metadata) -> bool:
    """Say whether a document with this metadata passes: the plain meaning the engines are tested against.

    An absent field equals nothing and holds nothing, so it passes `!=`, NOT IN, and NOT of a comparison.
    """
    match tree:
        case And(parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts):
            return any(matches(part, metadata) for part in parts)
        case Not(part):
            return not matches(part, metadata)
        case Exists(field):
            return field in metadata
        case Compare(field, "=", value):
            return any(equal(held, value) for held in values_of(metadata, field))
        case Compare(field, "!=", value):
            return not any(equal(held, value) for held in values_of(metadata, field))
        case Compare(field, operator, value):
            return any(_ordered(held, operator, value) for held in values_of(metadata, field))
        case In(field, values):
            return any(equal(held, value) for held in values_of(metadata, field) for value in values)
        case Contains(field, text):
            return any(isinstance(held, str) and text in held for held in values_of(metadata, field))
        case StartsWith(field, text):
            return any(isinstance(held, str) and held.startswith(text) for held in values_of(metadata, field))


def values_of(metadata: Metadata, field: str) -> tuple[Scalar, ...]:
    """Return a field's values: none, one, or several."""
    held = metadata.get(field, ())
    return held if isinstance(held, tuple) else (held,)


def fields_of(tree: Filter) -> frozenset[str]:
    """Return the names of all fields that a filter asks about."""
    match tree:
        case And(parts) | Or(parts):
            return frozenset().union(*(fields_of(part) for part in parts))
        case Not(part):
            return fields_of(part)
        case _:
            return frozenset({tree.field})
