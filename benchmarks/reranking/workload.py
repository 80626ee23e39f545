"""What is scored: real queries, each with its 100 best passages by BM25, at three lengths. The same in every run.

Reads a judged set in the BEIR layout; gives groups (a query and its passages) and, of the natural ones, their grades.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.judged import read_judged_set
from indexer.splitter import Splitter
from indexer.types import Block, Document

CANDIDATES = 100
SIZES = {"short": (18, 1), "natural": (200, 1), "long": (520, 10)}
"""Tokens of a passage at most, and how many documents in a row are joined before they are split into passages.

Natural is what `indexer` makes of the corpus by default. With query and special tokens a pair of Perl's FAQ has a mean
of about 30, 150 and 400 tokens.
"""
K1, B = 1.2, 0.75


@dataclass(frozen=True, slots=True)
class Group:
    """A query and its passages, best first by BM25, with the documents that they are of."""

    query_id: str
    query: str
    passages: tuple[str, ...]
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """Groups of one length; `qrels` holds the grade of each judged document by query."""

    name: str
    groups: tuple[Group, ...]
    qrels: dict[str, dict[str, int]]


def read_workload(folder: Path, name: str, tokenizer: Tokenizer, queries: int) -> Workload:
    """Return the first so many judged queries of a folder, with passages of the length named."""
    judged = read_judged_set(folder, limit=queries)
    most_tokens, together = SIZES[name]
    rows = [(row["id"], f"{row['title']}\n{row['text']}".strip()) for row in judged.corpus()]
    joined = [
        (rows[start][0], "\n\n".join(text for _, text in rows[start : start + together]))
        for start in range(0, len(rows), together)
    ]
    passages = split(joined, tokenizer, most_tokens)
    bm25 = Bm25([words(text) for _, text in passages])
    groups = []
    for query_id, query in judged.queries.items():
        best = [passages[place] for place in bm25.best(words(query), CANDIDATES)]
        groups.append(Group(query_id, query, tuple(text for _, text in best), tuple(document for document, _ in best)))
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for qrel in judged.qrels:
        grades[qrel.query_id][qrel.doc_id] = qrel.relevance
    return Workload(name, tuple(groups), dict(grades))


def split(rows: Sequence[tuple[str, str]], tokenizer: Tokenizer, most_tokens: int) -> list[tuple[str, str]]:
    """Return (document, passage) for each passage that the product's splitter makes of the texts."""
    splitter = Splitter(tokenizer, most_tokens, 0)
    found = []
    for name, text in rows:
        blocks = (Block("paragraph", 0, len(text)),)
        document = Document("default", name, "", name, text, blocks, {}, (), 1, name)
        found += [(name, passage.text) for passage in splitter.split("default", document)]
    return found


def words(text: str) -> list[str]:
    """Return lower-case words of letters and digits."""
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


class Bm25:
    """BM25 over lists of words. Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009."""

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        mean = sum(map(len, documents)) / len(documents)
        for place, document in enumerate(documents):
            norm = K1 * (1 - B + B * len(document) / mean)
            for word, count in Counter(document).items():
                self._postings[word].append((place, count * (K1 + 1) / (count + norm)))
        self._count = len(documents)

    def best(self, query: Sequence[str], most: int) -> list[int]:
        """Return the places of the best documents; those without any of the words come last, in their order."""
        scores = [0.0] * self._count
        for word in set(query):
            postings = self._postings.get(word, [])
            weight = math.log(1 + (self._count - len(postings) + 0.5) / (len(postings) + 0.5))
            for place, share in postings:
                scores[place] += weight * share
        return sorted(range(self._count), key=lambda place: (-scores[place], place))[:most]
