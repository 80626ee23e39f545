"""BM25 over passages: the LexicalIndex protocol and what it takes and gives. Implementation: `tantivy.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from indexer.filters import Filter
from indexer.scope import Scope
from indexer.types import IndexedDocument, IndexedPassage, RankedPassage


@dataclass(frozen=True, slots=True)
class Clause:
    """One part of a user's query: a word or a quoted phrase, perhaps required, forbidden, or bound to the title."""

    text: str
    phrase: bool = False
    required: bool = False
    forbidden: bool = False
    title_only: bool = False


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """A parsed user query; empty `clauses` match nothing."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class LexicalRanking:
    """`passages` best first, at most `depth`; `document_ids` of every match (capped: `complete` is then False)."""

    passages: tuple[RankedPassage, ...]
    document_ids: frozenset[str]
    complete: bool


class LexicalIndex(Protocol):
    """BM25 index of one collection and generation. Thread-safe; one process writes at a time (waits for its turn)."""

    def replace(self, documents: Sequence[IndexedDocument]) -> None:
        """Delete by document id, then add the passages; visible and durable after `flush`. Idempotent."""

    def delete(self, document_ids: Sequence[str]) -> None:
        """Delete all passages of these documents; unknown ids are ignored."""

    def flush(self) -> None:
        """Make everything since the last flush durable and visible to `search` in this process."""

    def search(self, query: LexicalQuery, scope: Scope, filter: Filter | None, depth: int) -> LexicalRanking:
        """Return the best `depth` passages the scope may read and the filter lets pass, ties by passage id."""

    def matched_terms(self, query: LexicalQuery, text: str) -> tuple[tuple[int, int, str], ...]:
        """Return (start, end, query word) in characters of what the query matches in `text`, in order."""

    def scan(self) -> Iterator[IndexedPassage]:
        """Yield every passage held, for `indexer doctor`."""

    def verify(self) -> list[str]:
        """Return a sentence per file that is damaged (checksums); empty when sound."""

    def refresh(self) -> None:
        """See what other processes have committed."""

    def close(self) -> None:
        """Let go of files and locks; unflushed changes are dropped."""
