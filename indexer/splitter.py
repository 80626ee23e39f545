"""Documents -> passages: whole blocks packed under their headings, long ones cut at sentence and line borders.

Takes a Document with its blocks; gives passages with `text == document.text[start:end]`, never longer than `max_tokens`
of the embedder's tokenizer. Each block is tokenized once; cuts are found on the token offsets.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tokenizers import Tokenizer

from indexer.types import Block, Document, Passage, passage_id

SPLITTER_VERSION = 1

_SENTENCE = re.compile(r"(?<=[.!?;:])[\"')\]]*\s+|\n+|(?<=[。！？])")  # noqa: RUF001  # full-width stops end sentences too
_LINE = re.compile(r"\n+")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch that is not cut further: offsets in the document, its tokens, and where it stands."""

    start: int
    end: int
    tokens: int
    heading_path: tuple[str, ...]
    page: int | None


class Splitter:
    """Cuts documents for one embedder. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, overlap_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max = max_tokens
        self._overlap = overlap_tokens

    def split(self, collection: str, document: Document) -> tuple[Passage, ...]:
        """Return the passages of a document in order; a document without text has none."""
        text = document.text
        pieces: list[_Piece] = []
        blocks = [block for block in self._with_bare_headings(document.blocks) if text[block.start : block.end].strip()]
        encodings = self._tokenizer.encode_batch([text[b.start : b.end] for b in blocks], add_special_tokens=False)
        for block, encoding in zip(blocks, encodings, strict=True):
            pieces.extend(self._pieces(text, block, encoding.offsets))
        return tuple(
            Passage(
                passage_id=passage_id(collection, document.document_id, ordinal),
                document_id=document.document_id,
                ordinal=ordinal,
                text=text[start:end],
                start=start,
                end=end,
                heading_path=piece.heading_path,
                page=piece.page,
            )
            for ordinal, (start, end, piece) in enumerate(self._packed(text, pieces))
        )

    def _with_bare_headings(self, blocks: Sequence[Block]) -> list[Block]:
        """Leave headings out (they are in the heading path of what follows) unless nothing follows under them."""
        kept = []
        for i, block in enumerate(blocks):
            if block.kind != "heading":
                kept.append(block)
            elif i + 1 == len(blocks) or blocks[i + 1].kind == "heading":
                kept.append(block)
        return kept

    # -- blocks into pieces ---------------------------------------------------------------------------------------

    def _pieces(self, text: str, block: Block, offsets: Sequence[tuple[int, int]]) -> list[_Piece]:
        """Cut a block into pieces of at most `max_tokens`: by sentences or lines, then words, then tokens."""
        starts = [block.start + begin for begin, _ in offsets]
        if len(starts) <= self._max:
            return [self._piece(text, block.start, block.end, len(starts), block)]
        border = _LINE if block.kind in ("code", "table") else _SENTENCE
        spans = borders(text, block.start, block.end, border)
        pieces: list[_Piece] = []
        for start, end in spans:
            count = bisect_left(starts, end) - bisect_left(starts, start)
            if count <= self._max:
                pieces.append(self._piece(text, start, end, count, block))
            else:
                pieces.extend(self._hard_cuts(text, start, end, starts, block))
        return [piece for piece in pieces if piece.end > piece.start]

    def _hard_cuts(self, text: str, start: int, end: int, starts: Sequence[int], block: Block) -> list[_Piece]:
        """Cut what has no border: after the last space that fits, else between two tokens."""
        pieces = []
        while start < end:
            first = bisect_left(starts, start)
            if first + self._max >= len(starts) or starts[first + self._max] >= end:
                pieces.append(self._piece(text, start, end, bisect_left(starts, end) - first, block))
                break
            limit = starts[first + self._max]
            space = max((m.end() for m in _SPACE.finditer(text, start + 1, limit)), default=0)
            cut = space if space > start else max(limit, start + 1)
            pieces.append(self._piece(text, start, cut, bisect_left(starts, cut) - first, block))
            start = cut
        return pieces

    def _piece(self, text: str, start: int, end: int, tokens: int, block: Block) -> _Piece:
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        return _Piece(start, end, tokens, block.heading_path, block.page)

    # -- pieces into passages -------------------------------------------------------------------------------------

    def _packed(self, text: str, pieces: Sequence[_Piece]) -> list[tuple[int, int, _Piece]]:
        """Pack neighbours under one heading up to `max_tokens`; return (start, end, first piece) per passage."""
        packed: list[tuple[int, int, _Piece]] = []
        group: list[_Piece] = []
        fresh = 0
        for piece in pieces:
            together = sum(p.tokens for p in group) + piece.tokens
            if group and (piece.heading_path != group[0].heading_path or together > self._max):
                packed.append((group[0].start, group[-1].end, group[fresh if fresh < len(group) else 0]))
                same = piece.heading_path == group[0].heading_path
                group = self._tail(group, self._max - piece.tokens) if same else []
                fresh = len(group)
            group.append(piece)
        if group:
            packed.append((group[0].start, group[-1].end, group[fresh if fresh < len(group) else 0]))
        return self._fitting(text, packed)

    def _tail(self, group: Sequence[_Piece], room: int) -> list[_Piece]:
        """Return the last pieces of a passage that the next one repeats: within the overlap and the room there is."""
        kept: list[_Piece] = []
        tokens = 0
        for piece in reversed(group[1:]):
            tokens += piece.tokens
            if tokens > min(self._overlap, room):
                break
            kept.insert(0, piece)
        return kept

    def _fitting(self, text: str, packed: list[tuple[int, int, _Piece]]) -> list[tuple[int, int, _Piece]]:
        """Count each passage whole: between pieces lies text (line breaks, markers) that may add a token or two."""
        counts = [
            len(encoding.ids)
            for encoding in self._tokenizer.encode_batch([text[s:e] for s, e, _ in packed], add_special_tokens=False)
        ]
        fitting: list[tuple[int, int, _Piece]] = []
        for (start, end, piece), count in zip(packed, counts, strict=True):
            if count <= self._max:
                fitting.append((start, end, piece))
                continue
            offsets = self._tokenizer.encode(text[start:end], add_special_tokens=False).offsets
            starts = [start + begin for begin, _ in offsets]
            block = Block("paragraph", start, end, piece.heading_path, piece.page)
            fitting.extend((p.start, p.end, p) for p in self._hard_cuts(text, start, end, starts, block))
        return fitting


def borders(text: str, start: int, end: int, border: re.Pattern[str]) -> list[tuple[int, int]]:
    """Return the spans between borders within text[start:end], in order, covering all of it."""
    cuts = [start, *(found.end() for found in border.finditer(text, start, end)), end]
    return [(a, b) for a, b in pairwise(sorted(set(cuts))) if b > a]
