"""Token ids of passages: made once, when a passage is indexed, so that no search has to tokenise one.

A query's ids, a passage's and special tokens are joined when a pair is scored; that this gives what encoding the pair
gives is tested for WordPiece, and for every other tokenizer seen for each passage before its ids are stored. Of a passage
that is not stored `within` gives the ids, for a prompt those that stand in it where a token reaches over the seam.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models

TokenIds = NDArray[np.int32]
"""int32[n], a text's token ids without special tokens."""

QUERY = "how does it work"
"""The query of the pairs by which ids are checked."""


def uncut(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer, set neither to truncate nor to pad: it counts, gives offsets, and all ids of a text."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@dataclass(frozen=True, slots=True)
class Grown:
    """A passage within a prompt encoded whole, where its first or last token takes in some of the text around it."""

    ids: TokenIds
    head_less: int
    """Tokens before the passage that its first one swallows."""
    tail_less: int
    """Tokens after it that its last one swallows."""


class PassageTokenizer:
    """Makes token ids of a passage alone, without special tokens; never truncates. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.fingerprint = hashlib.sha256(tokenizer.to_str().encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return int32[n] of each text, in order."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(one.ids, dtype=np.int32) for one in found]

    def within(self, texts: Sequence[str]) -> list[TokenIds | Grown]:
        """Return each text's ids as they stand between those around them.

        For pairs they are the text's own: a fast tokenizer encodes both texts of a pair apart and joins them by a template,
        whatever its merges, and `PairFrames` refuses a template that does otherwise. So nothing is encoded twice.
        """
        return list(self.encode(texts))

    def adding_up(self, texts: Sequence[str], encoded: Sequence[TokenIds]) -> list[bool]:
        """Say of each text whether its ids, between those around them, are what encoding query and text as a pair gives."""
        if isinstance(self._tokenizer.model, models.WordPiece):
            return [True] * len(texts)
        example = self._tokenizer.encode(QUERY, "a")
        inside = [place for place, sequence in enumerate(example.sequence_ids) if sequence == 1]
        if not inside:
            return [False] * len(texts)
        head, tail = example.ids[: inside[0]], example.ids[inside[-1] + 1 :]
        pairs = self._tokenizer.encode_batch_fast([(QUERY, text) for text in texts])
        return [pair.ids == [*head, *ids.tolist(), *tail] for pair, ids in zip(pairs, encoded, strict=True)]
