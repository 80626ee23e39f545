"""prompt + tokenizer -> the frame around a passage, and the tokenizer that makes passages fit into it.

Passages are tokenised alone, once, whatever the query; joined with head and tail they must give the ids of the whole
prompt. Where white space before a passage belongs to its first token depends on the tokenizer, so it is tried out. A
single passage that still runs into the text around it is read as the whole prompt has it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from tokenizers import Tokenizer

from indexer.errors import ConfigError
from indexer.tokens import QUERY, Grown, PassageTokenizer, TokenIds
from searchd.rerank.local import Frame
from searchd.rerank.prompts import BOS, EOS, Prompt
from searchd.rerank.types import LongInstruction, QueryCut, query_cut

LEAST_TOKENS = 8
"""What the prompt must leave of a stage's `max_length` for query and passage."""
PROBES = (
    "word", "A sentence, with punctuation. And another\none", "2024-01-31", "(in brackets)", "\"quoted\"", "äöü 漢字 🙂",
    "-", "'s", "#heading", "/path/to/it", "e\u0301", "ends with spaces  ", "ends with a line\n", "two\n\nblocks", "_x_", "…",
)  # fmt: skip
"""Passages by which the seams are tried out; what white space before a passage does is not among them."""


@dataclass(frozen=True, slots=True)
class _Seam:
    """Where a prompt is cut so that a passage can be tokenised alone."""

    dropped: int
    """Characters of white space that the text before the passage loses."""
    prefix: str
    """Text that is tokenised with the passage."""
    after: str
    """Text after the passage."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A prompt with one query: what the ids of passages must add up to."""

    head: Sequence[int]
    tail: Sequence[int]
    wholes: Callable[[Sequence[str]], list[list[int]]]
    """Passages -> the ids of the whole prompt of each."""


class PromptPassages(PassageTokenizer):
    """Makes ids of a passage that stands inside a prompt. Thread-safe.

    Control tokens that are spelt out in a passage stay plain text: a document must not end its turn and answer for the model.
    """

    def __init__(self, tokenizer: Tokenizer, prefix: str, stripped: bool, checked: Checked) -> None:
        own = Tokenizer.from_str(tokenizer.to_str())
        own.encode_special_tokens = True
        super().__init__(own)
        self._prefix, self._stripped, self._checked = prefix, stripped, checked
        self._control = [token.content for token in own.get_added_tokens_decoder().values() if token.special]
        self.fingerprint = hashlib.sha256(f"{self.fingerprint}|{prefix!r}|{stripped}|plain".encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return int32[n] of each text, in order."""
        return super().encode([self._prefix + (text.strip() if self._stripped else text) for text in texts])

    def adding_up(self, texts: Sequence[str], encoded: Sequence[TokenIds]) -> list[bool]:
        """Say of each text whether its ids, within the prompt, are those of the whole prompt.

        A text in which control tokens are spelt out is taken to: the whole prompt would have it end its turn.
        """
        head, tail = self._checked.head, self._checked.tail
        return [
            [*head, *ids.tolist(), *tail] == whole or any(token in text for token in self._control)
            for text, ids, whole in zip(texts, encoded, self._checked.wholes(texts), strict=True)
        ]

    def within(self, texts: Sequence[str]) -> list[TokenIds | Grown]:
        """Return each text's ids as they stand in the whole prompt, which is encoded as one; they are its own if they add up.

        A text in which control tokens are spelt out is encoded alone.
        """
        alone = [any(token in text for token in self._control) for text in texts]
        own = iter(self.encode([text for text, spelt in zip(texts, alone, strict=True) if spelt]))
        wholes = iter(self._checked.wholes([text for text, spelt in zip(texts, alone, strict=True) if not spelt]))
        return [next(own) if spelt else self._cut(next(wholes)) for spelt in alone]

    def _cut(self, whole: Sequence[int]) -> TokenIds | Grown:
        """Return what of a whole prompt is neither head nor tail.

        Whatever the query: a token reaches into the prompt's own words before the passage, not beyond them.
        """
        head, tail = self._checked.head, self._checked.tail
        start = common(head, whole)
        end = len(whole) - common(tail[::-1], whole[start:][::-1])
        ids = np.asarray(whole[start:end], dtype=np.int32)
        swallowed = len(head) - start, len(tail) - (len(whole) - end)
        return Grown(ids, *swallowed) if any(swallowed) else ids


class PromptFrames:
    """Makes frames of a prompt; `passages` makes the ids that stand in them. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer, prompt: Prompt, bos_id: int | None, eos_id: int | None) -> None:
        """Raises: ValueError if the tokenizer lacks a token of the prompt, or joins texts so that none can stand alone."""
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._tokens = {BOS: bos_id, EOS: eos_id}
        if missing := [token for token in prompt.segments if token in self._tokens and self._tokens[token] is None]:
            raise ValueError(f"its tokenizer has no token for {', '.join(missing)}, which its prompt needs")
        self._seam, self.passages = self._find_seam()

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        """Return the frame of a query, which gets half of what the prompt leaves of `limit` tokens at most.

        Raises: ConfigError if the prompt leaves less than LEAST_TOKENS; LongInstruction if the instruction does.
        """
        head, tail = self._around(self._seam, "", instruction)
        room = limit - len(head) - len(tail)
        if room < LEAST_TOKENS:
            said = (
                f"max_length {limit} is too small: prompt and instruction take {len(head) + len(tail)} tokens; "
                f"it takes {len(head) + len(tail) + LEAST_TOKENS} or more"
            )
            plain = sum(map(len, self._around(self._seam, "", "")))
            if instruction and limit - plain >= LEAST_TOKENS:
                raise LongInstruction(f"instruction: too long; {said}")
            raise ConfigError(said)
        beginning, cut = self._cut(query.strip() if self._prompt.stripped else query, room // 2)
        head, tail = self._around(self._seam, beginning, instruction)
        return Frame(head=np.asarray(head, dtype=np.int32), tail=np.asarray(tail, dtype=np.int32), cut=cut)

    def wholes(self, query: str, instruction: str, documents: Sequence[str]) -> list[list[int]]:
        """Return the ids of whole prompts, each segment tokenised as one text: what frame and passage must add up to."""
        segments, instruction = self._prompt.asked(instruction)
        place = next(number for number, segment in enumerate(segments) if "{document}" in segment)
        if self._prompt.stripped:
            query, documents = query.strip(), [document.strip() for document in documents]
        values = {"query": query, "instruction": instruction}
        head, tail = self._join(segments[:place], values), self._join(segments[place + 1 :], values)
        texts = [filled(segments[place], values | {"document": document}) for document in documents]
        found = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [[*head, *one.ids, *tail] for one in found]

    def answer_id(self, word: str) -> int:
        """Return the token of an answer. Raises: ValueError if it is not one token."""
        ids = self._ids(word, {})
        if len(ids) != 1:
            raise ValueError(f"its tokenizer has no single token {word!r}, which its prompt needs")
        return ids[0]

    def _around(self, seam: _Seam, query: str, instruction: str) -> tuple[list[int], list[int]]:
        """Return the ids before and after the passage."""
        segments, instruction = self._prompt.asked(instruction)
        place = next(number for number, segment in enumerate(segments) if "{document}" in segment)
        values = {"query": query.strip() if self._prompt.stripped else query, "instruction": instruction}
        before = segments[place].partition("{document}")[0]
        head = (*segments[:place], before[: len(before) - seam.dropped])
        return self._join(head, values), self._join((seam.after, *segments[place + 1 :]), values)

    def _find_seam(self) -> tuple[_Seam, PromptPassages]:
        """Try out the ways to cut before and after the passage; the first that adds up for all PROBES is right."""
        segment = next(segment for segment in self._prompt.segments if "{document}" in segment)
        before, _, after = segment.partition("{document}")
        blank = before[len(before.rstrip()) :]
        lefts = dict.fromkeys([(0, ""), (len(blank), blank), (len(blank), "")])
        wholes = self.wholes(QUERY, "", PROBES)
        for (dropped, prefix), right in itertools.product(lefts, dict.fromkeys([after, after.lstrip()])):
            seam = _Seam(dropped, prefix, right)
            head, tail = self._around(seam, QUERY, "")
            checked = Checked(head, tail, partial(self.wholes, QUERY, ""))
            passages = PromptPassages(self._tokenizer, prefix, self._prompt.stripped, checked)
            if [[*head, *ids.tolist(), *tail] for ids in passages.encode(PROBES)] == wholes:
                return seam, passages
        raise ValueError("its tokenizer joins a passage with the prompt around it, so this prompt is not made for it")

    def _cut(self, query: str, tokens: int) -> tuple[str, QueryCut | None]:
        """Return as much of a query's beginning as makes so many tokens, and what is to be told of that."""
        encoding = self._tokenizer.encode(query, add_special_tokens=False)
        cut = query_cut(tokens, len(encoding.ids))
        return (query, None) if cut is None else (query[: encoding.offsets[tokens - 1][1]], cut)

    def _join(self, segments: Sequence[str], values: dict[str, str]) -> list[int]:
        return [token for segment in segments for token in self._ids(segment, values)]

    def _ids(self, segment: str, values: dict[str, str]) -> list[int]:
        token = self._tokens.get(segment)
        if token is not None:
            return [token]
        ids: list[int] = self._tokenizer.encode(filled(segment, values), add_special_tokens=False).ids
        return ids


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def filled(segment: str, values: dict[str, str]) -> str:
    """Return a segment with its placeholders replaced, once: what stands in a value is left alone."""
    return re.sub(r"\{(query|instruction|document)\}", lambda found: values.get(found[1], found[0]), segment)
