"""Queries and passages that every Python has: on them precisions are compared, and int8 finds its scales.

Cut from the language reference that comes with the interpreter for `help()`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from functools import cache

SHORTEST_CHARS = 120


@cache
def paragraphs() -> tuple[str, ...]:
    """Return paragraphs of English prose and code, always in the same order."""
    from pydoc_data import topics  # half a megabyte that only a new model needs

    texts = itertools.chain.from_iterable(topics.topics[name].split("\n\n") for name in sorted(topics.topics))
    return tuple(text for text in texts if len(text) >= SHORTEST_CHARS)


def close_questions(count: int, passages: int, seed: int = 1) -> Sequence[tuple[str, list[str]]]:
    """Return so many queries, each with neighbouring paragraphs, which are about one thing: what retrieval hands on.

    Passages that have nothing to do with a query all score about the same, and any rounding changes their order.
    """
    chance = random.Random(seed)  # noqa: S311  # a fixed choice of examples, nothing secret
    found = []
    for _ in range(count):
        start = chance.randrange(len(paragraphs()) - passages)
        texts = list(paragraphs()[start : start + passages])
        found.append((some_words(chance.choice(texts), chance), texts))
    return found


def questions(count: int, passages: int, seed: int = 1) -> Sequence[tuple[str, list[str]]]:
    """Return so many queries with so many passages each: some words of one of them stand for what a user asks."""
    chance = random.Random(seed)  # noqa: S311  # a fixed choice of examples, nothing secret
    found = []
    for _ in range(count):
        texts = chance.sample(paragraphs(), passages)
        found.append((some_words(texts[0], chance), texts))
    return found


def some_words(text: str, chance: random.Random) -> str:
    """Return 3 to 12 words of a text that stand side by side."""
    words = text.split()
    start = chance.randrange(max(1, len(words) - 12))
    return " ".join(words[start : start + chance.randint(3, 12)])
