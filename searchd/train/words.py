"""Letters, words and sentences of a text in any script: what the builders cut questions out of.

Pure; used by `builders.py`. Vowel signs are parts of words, and where words are not parted by spaces, characters are counted.
"""

from __future__ import annotations

import re
from typing import Final

from indexer.lexical.analysis import MARKS, SPACELESS

_NAME: Final = re.compile(rf"(?:[^\W\d_][{MARKS}]*)+")
_WORD: Final = re.compile(rf"[^\W\d_][\w.{MARKS}-]{{2,}}[\w{MARKS}]")
_SPACELESS: Final = re.compile(f"[{SPACELESS}]")
_ENDS: Final = re.compile(
    r"[.!?]\s+|[\u3002\uff01\uff1f\u0964\u061f]\s*|\n{2,}"
)  # Chinese, Hindi, Arabic have their own
_OPENING: Final = ('"', "'", "(", "¿", "¡", "«", "„", "“")
_CLOSING: Final = ("'", '"', ")", "»", "”", "“")
_IN_WORDS: Final = re.compile(rf"[^\W_]|[{MARKS}]")
_QUESTION_MARKS: Final = ("?", "\uff1f", "\u061f")
LEAST_LETTERS, LEAST_SPACELESS = 3, 2
SPACELESS_PER_WORD = 2


def names_in(text: str) -> list[str]:
    """Return the runs of letters of a text."""
    return _NAME.findall(text)


def words_in(text: str) -> list[str]:
    """Return words of four characters and more, with what stands inside of them."""
    return _WORD.findall(text)


def tells(text: str) -> bool:
    """Say whether a text has a run of letters that can be a word."""
    return any(
        len(name) >= LEAST_LETTERS or (len(name) >= LEAST_SPACELESS and _SPACELESS.match(name))
        for name in names_in(text)
    )


def telling(text: str) -> int:
    """Return how many words of a text are more than two letters long."""
    return sum(len(name) >= LEAST_LETTERS for name in names_in(text)) + len(_SPACELESS.findall(text))


def count(text: str) -> int:
    """Return how many words a text has; of scripts without spaces so many characters are one."""
    return max(len(text.split()), len(_SPACELESS.findall(text)) // SPACELESS_PER_WORD)


def size_of(text: str) -> int:
    """Return how many characters a text has; of scripts without spaces each says as much as three of others."""
    return len(text) + 2 * len(_SPACELESS.findall(text))


def asks(text: str) -> bool:
    """Say whether a text ends with a question mark."""
    return text.rstrip().endswith(_QUESTION_MARKS)


def sentences_of(text: str) -> list[str]:
    """Return a text's sentences, as they stand; a full stop ends one only before what can begin another."""
    found, start = [], 0
    for end in _ENDS.finditer(text):
        if _is_end(text, end):
            found.append(text[start : end.start() + (end[0][0] != "\n")])
            start = end.end()
    return [*found, text[start:]]


def _is_end(text: str, end: re.Match[str]) -> bool:
    if end[0][0] not in ".!?" or "\n\n" in end[0]:
        return True
    before, after = text[end.start() - 1 : end.start()], text[end.end() : end.end() + 1]
    ended = before in _CLOSING or (_IN_WORDS.match(before) is not None and not before.isupper())
    return ended and (after in _OPENING or (after.isalpha() and not after.islower()))
