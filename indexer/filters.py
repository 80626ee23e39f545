"""The filter expression of a search: text -> tree. Compiled by each engine; `matches` below is the oracle.

`product = "router" AND (lang IN [en, de] OR version >= 2) AND NOT draft` becomes And(...). The compilers are
`indexer/lexical/filters.py` (Tantivy) and `indexer/vectors/filters.py` (Qdrant); tests hold both against `matches`.
"""

from __future__ import annotations

import operator as operators
import re
from dataclasses import dataclass
from typing import Any, Literal, cast

from indexer.errors import LimitError, QueryError
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


MAX_FILTER_CHARS = 4096
MAX_FILTER_TERMS = 64
MAX_FILTER_DEPTH = 8

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator><=|>=|!=|==|=|<|>)
    | (?P<punctuation>[()\[\],])
    | (?P<word>[^\s"'()\[\],=<>!]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = {"and", "or", "not", "in", "exists", "contains", "starts", "with"}
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse_filter(text: str) -> Filter:
    """Parse a filter expression.

    Operators, loosest first: OR, AND, NOT; keywords in any case; a field alone means `field = true`. Values are quoted
    strings (either quote, backslash escapes), bare words, numbers, true or false.
    Raises: QueryError at the place that is wrong; LimitError, stating the limit.
    """
    if len(text) > MAX_FILTER_CHARS:
        raise LimitError(f"the filter has {len(text):,} characters; at most {MAX_FILTER_CHARS:,} are taken")
    return _Parser(_tokens(text), len(text)).parse()


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise QueryError(f"filter: {text[start : start + 12]!r} at character {start + 1} is not understood")
        kind = found.lastgroup or ""
        tokens.append(_Token(kind, found[kind], found.start(kind)))
        position = found.end()
    return tokens


class _Parser:
    """Recursive descent, bounded in depth and terms."""

    def __init__(self, tokens: list[_Token], end: int) -> None:
        self.tokens, self.end, self.place, self.terms = tokens, end, 0, 0

    def parse(self) -> Filter:
        tree = self._or(0)
        if self.place < len(self.tokens):
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
            raise LimitError(f"the filter is nested deeper than {MAX_FILTER_DEPTH} levels")
        if self._take_word("not"):
            return Not(self._not(depth + 1))
        if self._take("punctuation", "("):
            tree = self._or(depth + 1)
            self._expect("punctuation", ")")
            return tree
        return self._condition()

    def _condition(self) -> Filter:
        self.terms += 1
        if self.terms > MAX_FILTER_TERMS:
            raise LimitError(f"the filter has more than {MAX_FILTER_TERMS} conditions")
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
        return Compare(field, cast(ComparisonOperator, "=" if operator.text == "==" else operator.text), self._value())

    def _field(self) -> str:
        token = self._next()
        if token is None or token.kind not in ("word", "string") or self._is_keyword(token):
            raise self._wrong("a field name", back=token is not None)
        return token.text if token.kind == "word" else _unquoted(token.text)

    def _values(self) -> tuple[Scalar, ...]:
        self._expect("punctuation", "[")
        values = [self._value()]
        while self._take("punctuation", ","):
            values.append(self._value())
        self._expect("punctuation", "]")
        self.terms += len(values) - 1
        return tuple(values)

    def _text(self) -> str:
        value = self._next()
        if value is None or value.kind not in ("word", "string"):
            raise self._wrong("a text", back=value is not None)
        return _unquoted(value.text) if value.kind == "string" else value.text

    def _value(self) -> Scalar:
        token = self._next()
        if token is None or token.kind not in ("word", "string") or self._is_keyword(token):
            raise self._wrong("a value", back=token is not None)
        if token.kind == "string":
            return _unquoted(token.text)
        if token.text.lower() in ("true", "false"):
            return token.text.lower() == "true"
        if _NUMBER.fullmatch(token.text):
            return int(token.text) if re.fullmatch(r"[+-]?\d{1,18}", token.text) else float(token.text)
        return token.text

    def _is_keyword(self, token: _Token) -> bool:
        return token.kind == "word" and token.text.lower() in _KEYWORDS

    def _next(self) -> _Token | None:
        if self.place >= len(self.tokens):
            return None
        self.place += 1
        return self.tokens[self.place - 1]

    def _take(self, kind: str, text: str | None = None) -> _Token | None:
        if self.place < len(self.tokens):
            token = self.tokens[self.place]
            if token.kind == kind and text in (None, token.text):
                self.place += 1
                return token
        return None

    def _take_word(self, word: str) -> bool:
        if self.place < len(self.tokens):
            token = self.tokens[self.place]
            if token.kind == "word" and token.text.lower() == word:
                self.place += 1
                return True
        return False

    def _expect(self, kind: str, text: str) -> None:
        if self._take(kind, text) is None:
            raise self._wrong(f"`{text}`")

    def _wrong(self, expected: str, *, back: bool = False) -> QueryError:
        place = self.place - 1 if back else self.place
        if place >= len(self.tokens):
            return QueryError(f"filter: {expected} is expected at the end (character {self.end + 1})")
        token = self.tokens[place]
        return QueryError(f"filter: {expected} is expected at character {token.position + 1}, not {token.text[:30]!r}")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def equal(left: Scalar, right: Scalar) -> bool:
    """Say whether two values are the same: 2 equals 2.0, but neither "2" nor true is 2 or 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return isinstance(left, str) == isinstance(right, str) and left == right


def _ordered(left: Scalar, operator: ComparisonOperator, right: Scalar) -> bool:
    """Compare numbers with numbers and strings with strings (by code point, so ISO dates sort); else never."""
    if isinstance(left, bool) or isinstance(right, bool) or isinstance(left, str) != isinstance(right, str):
        return False
    return bool(_ORDERINGS[operator](left, right))


_ORDERINGS: dict[str, Any] = {">": operators.gt, ">=": operators.ge, "<": operators.lt, "<=": operators.le}


def matches(tree: Filter, metadata: Metadata) -> bool:
    """Say whether a document with this metadata passes: the plain meaning the engines are tested against.

    An absent field equals nothing, so it passes `!=` and `NOT`.
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
