"""Text -> terms, once stemmed and once not, with positions and character offsets; the same at index and query time.

An identifier (`max_wal_size`, `os.path.join`, `ERR_CONN_0x80`) is kept whole in the exact field beside its parts, which
stand at consecutive positions, so that a quoted phrase finds them in order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import tantivy

ANALYZER_VERSION = 1

LANGUAGES = {
    "ar": "arabic", "da": "danish", "nl": "dutch", "en": "english", "fi": "finnish", "fr": "french", "de": "german",
    "el": "greek", "hu": "hungarian", "it": "italian", "no": "norwegian", "nb": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""Languages with a stemmer; text of any other language is not stemmed."""

MAX_TERM_CHARS = 100
_WORD = re.compile(r"\w+(?:[._:/@+#-]+\w+)*(?:\+\+|#)?")
_PART = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a word in its text: `text` folded, `position` counts parts, offsets in characters."""

    text: str
    position: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Word:
    """A word as written, folded whole; `parts` are its runs of letters and digits."""

    text: str
    start: int
    end: int
    parts: tuple[Term, ...]

    @property
    def is_identifier(self) -> bool:
        """Whether it is more than one run of letters: it is then indexed whole as well."""
        return self.text != (self.parts[0].text if self.parts else "")


def fold(text: str) -> str:
    """Return text in lower case without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words_of(text: str) -> Iterator[Word]:
    """Yield the words of a text in order."""
    position = 0
    for found in _WORD.finditer(text):
        parts = []
        for part in _PART.finditer(found[0]):
            start = found.start() + part.start()
            parts.append(Term(fold(part[0])[:MAX_TERM_CHARS], position, start, start + len(part[0])))
            position += 1
        if parts:
            yield Word(fold(found[0])[:MAX_TERM_CHARS], found.start(), found.end(), tuple(parts))


def analyzer_fingerprint(language: str) -> str:
    """Return what names the analysis in a generation's recipe."""
    return f"{ANALYZER_VERSION}:{LANGUAGES.get(language, 'none')}"


class Stemmer:
    """Stems single folded words of one language; remembers them."""

    def __init__(self, language: str) -> None:
        name = LANGUAGES.get(language)
        self._analyzer: tantivy.TextAnalyzer | None = None
        if name is not None:
            builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
            self._analyzer = builder.filter(tantivy.Filter.stemmer(name)).build()
        self._known: dict[str, str] = {}

    def __call__(self, word: str) -> str:
        """Return the stem of a folded word (the word itself where the language has no stemmer)."""
        if self._analyzer is None:
            return word
        stem = self._known.get(word)
        if stem is None:
            stem = (self._analyzer.analyze(word) or [word])[0]
            if len(self._known) > 200_000:
                self._known.clear()
            self._known[word] = stem
        return stem
