"""Text -> words -> terms, at index time, at query time and for highlights: one analysis, so all agree to the letter.

A word is cut into parts (runs of letters and digits) and the joints that hold them together: `max_wal_size` is
`max _ wal _ size`. The exact terms of a text are all of these in order, so that a phrase of them finds an identifier
exactly as written; the stemmed terms are the stems of the parts alone. Where a script has no spaces every character is
a part, and two neighbours make a stemmed term.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import tantivy

ANALYZER_VERSION = 4
"""Grows with every change here, in stopwords.py or in schema.py; it is part of a generation's recipe."""

LANGUAGES = {
    "ar": "arabic", "da": "danish", "nl": "dutch", "en": "english", "fi": "finnish", "fr": "french", "de": "german",
    "el": "greek", "hu": "hungarian", "it": "italian", "nb": "norwegian", "nn": "norwegian", "no": "norwegian",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "es": "spanish", "sv": "swedish", "ta": "tamil",
    "tr": "turkish",
}  # fmt: skip
"""Languages with a stemmer (Snowball); text of any other language is folded, but not stemmed."""

MAX_TERM_CHARS = 100
KNOWN_WORDS = 50_000


def _marks() -> str:
    """Return, for a character class, what stands in words and is no letter to `re`: vowel signs, accents, joiners.

    Within the first 65,536 characters only: others would make the class, and all analysis, three times as slow.
    """
    inside = [c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c) in ("Mn", "Mc", "Me")]
    return re.escape("".join([*inside, "\u00ad", "\u200c", "\u200d", "\u2060"]))


SPACELESS = (
    "\u0e01-\u0e4e\u0e81-\u0ecd\u1000-\u109f\u1780-\u17d3"  # Thai, Lao, Burmese, Khmer
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\uac00-\ud7a3"  # Korean has spaces, but its endings stick to the words
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
_SIGNS = "._:/\\\\@+#&'\u2019$%~-"
_LETTERS = f"[^\\W_{SPACELESS}]"
MARKS = _marks()
_TOKEN = re.compile(f"({_LETTERS}+(?:[{MARKS}]+{_LETTERS}*)*|[{SPACELESS}])|[{_SIGNS}]+")
_RUN = re.compile(f"({_LETTERS}++)(?![{MARKS}{_SIGNS}{SPACELESS}])|[\\w{MARKS}{_SIGNS}{SPACELESS}]+")
"""What stands together; most often mere letters, which need no second look."""
_LEADING = re.compile(r"_+|--?|[.@#$%/]|~/|::|\$_")
_TRAILING = re.compile(r"_+|\+\+|[#%]")
_BREAKS = re.compile(r"-{2,}|\.{2,}|['\u2019]{2,}").fullmatch
"""What stands between words even without a space: a dash, dots, quotes."""
_IS_SPACELESS = re.compile(f"[{SPACELESS}]").match
_SOFT = frozenset("-'\u2019/&")
_SPARED = {0x306}  # the breve of й, a letter of its own
_FOLDED = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i", "\u0640": "", "\u00ad": ""}
)


class Token(NamedTuple):
    """A term and where it stands, `text[start:end]` in characters; neighbours in a text are neighbours in a phrase.

    A tuple, like Piece: there are as many as words in all documents, and a frozen dataclass takes three times as long.
    """

    term: str
    start: int
    end: int


class Piece(NamedTuple):
    """A part or a joint of a word, as it is in the text."""

    text: str
    start: int
    end: int
    is_part: bool


class Word(NamedTuple):
    """What stands together without a space: parts and the joints between them."""

    pieces: tuple[Piece, ...]

    @property
    def is_joined(self) -> bool:
        """Whether signs hold it together; such a word is looked for whole as well as in parts."""
        return any(not piece.is_part for piece in self.pieces)

    @property
    def is_spaceless(self) -> bool:
        """Whether it begins in a script that puts no spaces between words."""
        return _IS_SPACELESS(self.pieces[0].text) is not None

    @property
    def is_identifier(self) -> bool:
        """Whether it is more than prose joins (`real-time`, `don't`, `UTF-8`): other signs, or several with digits."""
        signs = [piece.text for piece in self.pieces if not piece.is_part]
        if not self.pieces[0].is_part or any(not _SOFT.issuperset(text) for text in signs):
            return True
        return len(signs) > 1 and self.has_digits

    @property
    def has_digits(self) -> bool:
        """Whether a digit is among its parts."""
        return any(c.isdigit() for piece in self.pieces if piece.is_part for c in piece.text)


def words_of(text: str) -> Iterator[Word]:
    """Yield the words of a text in order; each has at least one part."""
    for run in _RUN.finditer(text):
        if run.lastindex:
            yield Word((Piece(run[0], run.start(), run.end(), True),))
        else:
            yield from _words_of_run(text, run.start(), run.end())


def _words_of_run(text: str, start: int, end: int) -> Iterator[Word]:
    pieces: list[Piece] = []
    last = start
    for found in _TOKEN.finditer(text, start, end):
        is_part = found.lastindex is not None
        if found.start() != last or (not is_part and found.start() > start and _BREAKS(found[0])):
            yield from _trimmed(pieces)
            pieces = []
        last = found.end()
        if is_part or pieces or not _BREAKS(found[0]) or found.start() == start:
            pieces.append(Piece(found[0], found.start(), last, is_part))
    yield from _trimmed(pieces)


def _trimmed(pieces: list[Piece]) -> Iterator[Word]:
    """Yield the word without the punctuation around it; signs that belong to names (`--no-wait`, `C++`) stay."""
    if pieces and not pieces[0].is_part and not _LEADING.fullmatch(pieces[0].text):
        pieces = pieces[1:]
    if pieces and not pieces[-1].is_part and not _TRAILING.fullmatch(pieces[-1].text):
        pieces = pieces[:-1]
    if len(pieces) > 1 or (pieces and pieces[0].is_part):
        yield Word(tuple(pieces))


def fold(text: str) -> str:
    """Return text without case, accents and invisible characters; `й` and the vowel signs of Indic scripts stay."""
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    kept = [c for c in decomposed if not (unicodedata.combining(c) and ord(c) < 0x700 and ord(c) not in _SPARED)]
    folded = unicodedata.normalize("NFC", "".join(kept)).translate(_FOLDED)
    return "".join(folded.split()).strip("\u200c\u200d\u2060")[:MAX_TERM_CHARS]


class Analyzer:
    """The analysis of one language: exact and stemmed terms. Thread-safe; remembers the words it has seen."""

    def __init__(self, language: str) -> None:
        self.language = language
        name = LANGUAGES.get(language)
        self._stemmer: tantivy.TextAnalyzer | None = None
        if name is not None:
            builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
            self._stemmer = builder.filter(tantivy.Filter.stemmer(name)).build()
        self._known: dict[str, tuple[str, str]] = {}

    def exact(self, words: Iterable[Word]) -> list[Token]:
        """Return every part and joint, folded, none stemmed."""
        found = []
        for word in words:
            for text, start, end, is_part in word.pieces:
                term = self._terms(text)[0] if is_part else text.replace("\u2019", "'")
                if term:
                    found.append(Token(term, start, end))
        return found

    def stemmed(self, words: Iterable[Word]) -> list[Token]:
        """Return the stem of every part; neighbours in a script without spaces are taken two by two."""
        found: list[Token] = []
        for word in words:
            last: Token | None = None
            for text, start, end, is_part in word.pieces:
                if not is_part:
                    continue
                token = Token(self._terms(text)[1], start, end)
                if not _IS_SPACELESS(text):
                    last = None
                elif last is not None and last.end == start:
                    if found[-1] is last:
                        found.pop()  # the first of a run stands alone only if nothing follows it
                    found.append(Token(last.term + token.term, last.start, end))
                    last = token
                    continue
                else:
                    last = token
                if token.term:
                    found.append(token)
        return found

    def _terms(self, part: str) -> tuple[str, str]:
        """Return the folded form and the folded stem; the stemmer sees the accents, which some endings need."""
        known = self._known.get(part)
        if known is None:
            if len(self._known) >= KNOWN_WORDS:
                self._known.clear()
            lowered = self._lowered(unicodedata.normalize("NFKC", part))[:MAX_TERM_CHARS]
            stems = self._stemmer.analyze(lowered) if self._stemmer is not None else []
            exact = fold(lowered)
            known = self._known[sys.intern(part)] = (exact, fold(stems[0]) if stems else exact)
        return known

    def _lowered(self, text: str) -> str:
        if self.language == "tr":
            text = text.replace("\u0130", "i").replace("I", "\u0131")
        return text.lower().replace("\u00ad", "")


def analyzer_fingerprint(language: str) -> str:
    """Return what names the analysis in a generation's recipe."""
    return f"{ANALYZER_VERSION}:{LANGUAGES.get(language, 'none')}"
