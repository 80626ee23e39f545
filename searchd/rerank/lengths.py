"""Counts tokens of bare texts, and cuts texts where a caller asks for it. Counted as the embedder counts: one tokenizer
for all kinds of stages, some of which have none of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from indexer.tokens import TokenIds
from searchd.rerank.local import OVERLAP_SHARE

AT_ONCE = 32
"""Texts tokenized together: encodings take many times the memory of their text."""
SPECIAL_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """Texts as they will be read, their tokens in all, and how many of them were cut."""

    texts: tuple[str, ...]
    ids: tuple[TokenIds | None, ...]
    """Of each text as it will be read; None for one that was cut."""
    tokens: int
    cut: int


def measured(tokenizer: Tokenizer, texts: Sequence[str], most_tokens: int | None = None) -> Measured:
    """Count the tokens of texts, each cut to its first `most_tokens`."""
    kept: list[str] = []
    ids: list[TokenIds | None] = []
    tokens = cut = 0
    for start in range(0, len(texts), AT_ONCE):
        some = list(texts[start : start + AT_ONCE])
        if most_tokens is None:
            kept += some
            made = [as_ids(one.ids) for one in tokenizer.encode_batch_fast(some, add_special_tokens=False)]
            ids += made
            tokens += sum(map(len, made))
            continue
        for text, one in zip(some, tokenizer.encode_batch(some, add_special_tokens=False), strict=True):
            tokens += min(len(one.ids), most_tokens)
            fits = len(one.ids) <= most_tokens
            cut += not fits
            ids.append(as_ids(one.ids) if fits else None)
            kept.append(text if fits else text[: one.offsets[most_tokens - 1][1]])
    return Measured(tuple(kept), tuple(ids), tokens, cut)


def as_ids(ids: Sequence[int]) -> TokenIds:
    """Return ids as they are stored."""
    return np.asarray(ids, dtype=np.int32)


def tokens_of_parts(parts: int, max_length: int, query_tokens: int) -> int:
    """Return how far so many overlapping parts reach into a text."""
    room = max(1, max_length - min(query_tokens, max_length // 2) - SPECIAL_TOKENS)
    return room + (parts - 1) * max(1, room - int(room * OVERLAP_SHARE))
