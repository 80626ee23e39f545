"""Documents to passages: whole blocks of a section packed up to a number of tokens, long blocks cut at natural borders.

Takes a Document with its blocks; gives passages whose text is `document.text[start:end]`. Every block is tokenized
once; all later questions ("how many tokens from here to there") are answered from the offsets.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from semantic_text_splitter import TextSplitter
from tokenizers import Tokenizer

from indexer.types import Block, BlockKind, Document, Passage, passage_id

SPLITTER_VERSION: Final = 1
"""Part of every generation's fingerprint: raise it when the same document would be split differently."""
CHARS_PER_TOKEN: Final = 20
"""A passage holds at most this many characters per allowed token: tokenizers make one token of a long unknown word."""
ENCODE_CHARS: Final = 100_000
_SENTENCE: Final = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])[\"'\u201d\u2019)\]]*\s+|\n+")
_WRAP: Final = re.compile(r"(?<=[^\s.!?:])\n(?=\S)")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch that is not cut further: a whole block or a part of a long one."""

    start: int
    end: int
    kind: BlockKind
    page: int | None


class Splitter:
    """Cuts documents into passages of at most `max_tokens` tokens of this tokenizer. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, overlap_tokens: int) -> None:
        if max_tokens < 1 or not 0 <= overlap_tokens * 2 <= max_tokens:
            raise ValueError("overlap_tokens must be between 0 and half of max_tokens")
        self.max_tokens = max_tokens
        self.overlap_tokens = overlap_tokens
        self._tokenizer = _without_truncation(tokenizer)

    def split(self, collection: str, document: Document) -> tuple[Passage, ...]:
        """Return the passages in order; a document without text has none.

        Headings stand in `heading_path`; one that heads nothing becomes a passage of its own.
        """
        tokens = _Tokens(self._tokenizer, document.text, document.blocks, self.max_tokens)
        spans: list[tuple[int, int, tuple[str, ...], int | None]] = []
        for path, section in _sections(document.blocks):
            pieces = [piece for block in section for piece in self._pieces(document.text, block, tokens)]
            spans.extend((start, end, path, page) for start, end, page in self._packed(document.text, pieces, tokens))
        return tuple(
            Passage(
                passage_id=passage_id(collection, document.document_id, ordinal),
                document_id=document.document_id,
                ordinal=ordinal,
                text=document.text[start:end],
                start=start,
                end=end,
                heading_path=path,
                page=page,
            )
            for ordinal, (start, end, path, page) in enumerate(spans)
        )

    def _pieces(self, text: str, block: Block, tokens: _Tokens) -> Iterator[_Piece]:
        """Yield the block whole if it fits, else parts that fit; later parts leave room for what they repeat."""
        start, end = _stripped(text, block.start, block.end)
        spare = 0
        while start < end:
            whole = tokens.fits(start, end, spare)
            cut = end if whole else self._cut(text, start, min(tokens.reach(start, spare), end), end, block.kind)
            spare = self.overlap_tokens
            left, right = _stripped(text, start, cut)
            if left < right:
                yield _Piece(left, right, block.kind, block.page)
            start = cut

    def _cut(self, text: str, start: int, limit: int, end: int, kind: BlockKind) -> int:
        """Return where to end a part that begins at `start`: the best border up to `limit`, where its tokens run out."""
        window = text[start : min(end, limit + (limit - start) // 4 + 1)]
        if kind in ("table", "code", "list"):
            line = window.rfind("\n", 0, limit - start + 1)
            if line > 0 and window[:line].strip():
                return start + line + 1
        # Wrapped lines of running text are no borders; a copy of equal length hides them from the library.
        unwrapped = window if kind == "code" else _WRAP.sub(" ", window)
        first: str = TextSplitter(limit - start, trim=False).chunks(unwrapped)[0]
        size = len(first)
        return start + (size if 0 < size <= limit - start and first.strip() else limit - start)

    def _packed(self, text: str, pieces: Sequence[_Piece], tokens: _Tokens) -> Iterator[tuple[int, int, int | None]]:
        """Yield (start, end, page) of passages: as many pieces as fit, begun a little before the border."""
        at = 0
        while at < len(pieces):
            start = self._overlapped(text, pieces, at, tokens) if at else pieces[0].start
            last = at
            while last + 1 < len(pieces) and tokens.fits(start, pieces[last + 1].end):
                last += 1
            yield start, pieces[last].end, pieces[at].page
            at = last + 1

    def _overlapped(self, text: str, pieces: Sequence[_Piece], at: int, tokens: _Tokens) -> int:
        """Return where the passage that begins with piece `at` starts: some sentences or lines of the piece before.

        Whole ones are taken; where a sentence was cut in two, its last words are.
        """
        piece, before = pieces[at], pieces[at - 1]
        earliest = max(tokens.back(piece.start, self.overlap_tokens), before.start)
        if self.overlap_tokens == 0 or earliest >= piece.start:
            return piece.start
        whole = before.kind in ("table", "code", "list")
        starts = [earliest] if earliest == before.start else []
        if whole:
            starts += [n + 1 for n in range(earliest, before.end) if text[n] == "\n"]
        else:
            starts += [match.end() for match in _SENTENCE.finditer(text, earliest, before.end)]
            if not starts and not _ends_sentence(text, before.end):
                space = re.compile(r"\s+").search(text, earliest, before.end)
                starts = [space.end()] if space else []
        for start in starts:
            start = _stripped(text, start, before.end)[0]
            if start < before.end and tokens.fits(start, piece.end):
                return start
        return piece.start


class _Tokens:
    """Where the tokens of a document begin and end, in characters."""

    def __init__(self, tokenizer: Tokenizer, text: str, blocks: Sequence[Block], max_tokens: int) -> None:
        self._max = max_tokens
        self._max_chars = max_tokens * CHARS_PER_TOKEN
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in _stretches(text, blocks):
            for left, right in tokenizer.encode(text[start:end], add_special_tokens=False).offsets:
                if right > left:
                    self._starts.append(start + left)
                    self._ends.append(start + right)

    def fits(self, start: int, end: int, spare: int = 0) -> bool:
        """Say whether `text[start:end]` is within a passage's limits with `spare` tokens left."""
        if end - start > self._max_chars:
            return False
        return bisect_left(self._starts, end) - bisect_right(self._ends, start) <= self._max - spare

    def reach(self, start: int, spare: int = 0) -> int:
        """Return the furthest end of a passage that begins at `start`, at least one character on."""
        last = bisect_right(self._ends, start) + self._max - spare
        furthest = self._starts[last] if last < len(self._starts) else start + self._max_chars
        return max(start + 1, min(furthest, start + self._max_chars))

    def back(self, end: int, count: int) -> int:
        """Return where the last `count` tokens before `end` begin."""
        first = bisect_left(self._starts, end) - count
        return self._starts[max(0, first)] if self._starts else end


def _sections(blocks: Sequence[Block]) -> Iterator[tuple[tuple[str, ...], list[Block]]]:
    """Yield runs of blocks under one heading, with their path; headings that head nothing come as runs too."""
    run: list[Block] = []
    bare: list[Block] = []
    path: tuple[str, ...] = ()
    for block, following in zip_longest(blocks, blocks[1:]):
        if block.kind != "heading":
            if run and block.heading_path != path:
                yield path, run
                run = []
            path = block.heading_path
            run.append(block)
            continue
        if run:
            yield path, run
            run = []
        if following is None or (following.kind == "heading" and not _within(following, block)):
            if bare and bare[-1].heading_path[:-1] != block.heading_path[:-1]:
                yield bare[0].heading_path[:-1], bare
                bare = []
            bare.append(block)
            if following is not None and following.kind == "heading" and _is_bare_sibling(block, following):
                continue
        if bare:
            yield bare[0].heading_path[:-1], bare
            bare = []
    if run:
        yield path, run


def _within(inner: Block, outer: Block) -> bool:
    """Say whether a heading stands under another, whose words its path then carries."""
    depth = len(outer.heading_path)
    return len(inner.heading_path) > depth and inner.heading_path[:depth] == outer.heading_path


def _is_bare_sibling(block: Block, following: Block) -> bool:
    return (
        False
        if block.heading_path == following.heading_path
        else len(block.heading_path) == len(following.heading_path)
    )


def _stretches(text: str, blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """Yield the parts of the text to tokenize: neighbouring blocks together, cut at white space into moderate sizes."""
    if not blocks:
        return
    start, last = blocks[0].start, blocks[-1].end
    while start < last:
        end = min(start + ENCODE_CHARS, last)
        if end < last:
            space = next((n for n in range(end, max(start, end - 4000), -1) if text[n - 1].isspace()), None)
            end = space or end
        yield start, end
        start = end


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _ends_sentence(text: str, end: int) -> bool:
    return text[max(0, end - 2) : end].rstrip("\"'\u201d\u2019)]").endswith((".", "!", "?", ":", "\u3002"))


@functools.lru_cache(maxsize=4)
def _without_truncation(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy that neither truncates nor pads; the embedder's own is set to do both, and changes as it runs."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy
