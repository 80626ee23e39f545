"""query -> the token ids a late-interaction model reads of it: marker, text, expansion tokens; and the passage's frame.

Built from ids as the models were trained (ColBERT puts its marker after the first special token), from what a
sentence-transformers MultiVectorEncoder says of prompts, lengths and expansion. Used by `late_interaction.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from indexer.tokens import TokenIds

SAMPLES = ("how", "The", "42", "(a)", "é")
"""Beginnings of texts, to see whether a prompt leaves them alone."""


@dataclass(frozen=True, slots=True)
class QueryIds:
    """One query as a model reads it; each of the three is as long as the sequence."""

    ids: tuple[int, ...]
    attended: tuple[int, ...]
    """1 where other tokens see it."""
    added: tuple[int, ...]
    """1 for expansion tokens, which are scored though they may not be seen."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """Tokens by which a query is filled up to a length; they are scored like its own."""

    token: int
    length: int
    attend: bool


@dataclass(frozen=True, slots=True)
class QueryForm:
    """What stands around a query, how long it may be, and how it is filled up."""

    head: tuple[int, ...]
    tail: tuple[int, ...]
    longest: int
    expansion: Expansion | None

    @property
    def room(self) -> int:
        """How many of a query's own ids are read."""
        return max(1, self.longest - len(self.head) - len(self.tail))

    def ids(self, text: Sequence[int]) -> QueryIds:
        """Return the sequence for a query's own ids; what does not fit is cut, as it was in training."""
        own = [*self.head, *text[: self.room], *self.tail]
        if self.expansion is None or len(own) >= self.expansion.length:
            return QueryIds(tuple(own), (1,) * len(own), (0,) * len(own))
        more = self.expansion.length - len(own)
        return QueryIds(
            ids=(*own, *[self.expansion.token] * more),
            attended=(*[1] * len(own), *[int(self.expansion.attend)] * more),
            added=(*[0] * len(own), *[1] * more),
        )


def query_form(encoder: Any, tokenizer: Tokenizer, longest: int) -> QueryForm:
    """Return the form of queries that a MultiVectorEncoder was saved with. Raises: ValueError if its prompt cannot be kept."""
    head, tail = specials(tokenizer)
    backbone = encoder[0]
    said = backbone.query_expansion
    expansion = None
    if said is not None:
        wrapped = encoder.tokenizer
        token = wrapped.convert_tokens_to_ids(said["token"]) if said["token"] is not None else wrapped.mask_token_id
        token = wrapped.eos_token_id if token is None else token
        expansion = Expansion(token=int(token), length=int(said["length"]), attend=bool(said["attend"]))
        if said["strategy"] == "fixed":
            longest = min(longest, expansion.length)
    if backbone.query_length is not None:
        longest = min(longest, max(int(backbone.query_length), 0 if expansion is None else expansion.length))
    return QueryForm((*head, *marker(tokenizer, encoder.prompts.get("query"))), tail, longest, expansion)


def passage_frame(encoder: Any, tokenizer: Tokenizer) -> tuple[TokenIds, TokenIds]:
    """Return the ids before and after every passage. Raises: ValueError if its prompt cannot be kept."""
    head, tail = specials(tokenizer)
    before = (*head, *marker(tokenizer, encoder.prompts.get("document")))
    return np.asarray(before, dtype=np.int32), np.asarray(tail, dtype=np.int32)


def specials(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens that stand before and after a single text."""
    whole = tokenizer.post_process(tokenizer.encode("a", add_special_tokens=False), None, True)
    inside = [place for place, sequence in enumerate(whole.sequence_ids) if sequence == 0]
    return tuple(whole.ids[: inside[0]]), tuple(whole.ids[inside[-1] + 1 :])


def marker(tokenizer: Tokenizer, prompt: str | None) -> tuple[int, ...]:
    """Return the ids of a prompt: one token such as `[Q] `, or words that do not run into the text after them.

    Raises: ValueError if they do: passages are tokenized apart from it.
    """
    if not prompt:
        return ()
    whole = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    for written in (prompt, prompt.strip()):
        if written in whole:
            return (whole[written],)
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    for sample in SAMPLES:
        alone = tokenizer.encode(sample, add_special_tokens=False).ids
        if tokenizer.encode(prompt + sample, add_special_tokens=False).ids != [*ids, *alone]:
            raise ValueError(f"its prompt {prompt!r} is no token of its own and runs into the words after it")
    return tuple(ids)
