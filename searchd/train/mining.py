"""Questions -> groups: hard negatives by the product's own hybrid retrieval, without those that answer too.

BM25 comes from a temporary index made with `indexer`'s own classes, vectors are compared as they are (every pair, exact),
both fused as at query time. The bi-encoder's cosines go with the group: fitting may follow them where labels are few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from indexer.errors import LimitError
from indexer.lexical.query import MAX_QUERY_CHARS, MAX_QUERY_TERMS, parse_query
from indexer.lexical.tantivy import TantivyIndex
from indexer.scope import Scope
from indexer.types import PUBLIC, IndexedDocument, RankedPassage
from searchd.fuse import reciprocal_rank_fusion
from searchd.retrieve import BM25, DENSE
from searchd.train.types import Group, Material, Question, text_of
from searchd.types import Ranking

QUERIES_AT_ONCE = 256
DOCUMENTS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """How negatives are chosen."""

    negatives: int = 5
    depth: int = 50
    """Passages taken of each system, and the fused rank to which the answer itself must come."""
    hard: int = 10
    """Half of the negatives come from so many first ranks, the others from those after them."""
    margin: float = 0.1
    """A passage whose cosine to the query is higher than the answer's by more may well answer too: it is left out."""
    twin: float = 0.95
    """Likewise one whose cosine to the answer is this high: another copy of it."""


class Miner:
    """Retrieves over the material; `vectors` are float32[passages, dim] of unit length, in the material's order.

    Passages that are kept `apart` are candidates of held-out queries, and no negatives of any group.
    """

    def __init__(
        self,
        material: Material,
        vectors: NDArray[np.float32],
        folder: Path,
        apart: frozenset[str] = frozenset(),
    ) -> None:
        self.material = material
        self._apart = apart
        self.vectors = vectors
        self.ids = list(material.passages)
        self.rows = {passage_id: row for row, passage_id in enumerate(self.ids)}
        if len(self.ids) != len(vectors):
            raise ValueError(f"{len(vectors)} vectors for {len(self.ids)} passages")
        self._index = TantivyIndex(folder, material.language)
        self._fill()

    def _fill(self) -> None:
        empty = np.zeros((0, 0), dtype=np.float32)
        documents = self.material.documents
        for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
            self._index.replace(
                [
                    IndexedDocument(one.document_id, 1, one.title, {}, (PUBLIC,), one.passages, empty)
                    for one in documents[start : start + DOCUMENTS_AT_ONCE]
                ]
            )
        self._index.flush()

    def close(self) -> None:
        """Let the temporary index go."""
        self._index.close()

    def mine(
        self, questions: Sequence[Question], query_vectors: NDArray[np.float32], settings: MiningSettings, seed: int
    ) -> Iterator[Group | None]:
        """Yield a group per question, in order; None where the answer is not found or too few negatives are left."""
        for start in range(0, len(questions), QUERIES_AT_ONCE):
            some = questions[start : start + QUERIES_AT_ONCE]
            cosines = query_vectors[start : start + QUERIES_AT_ONCE] @ self.vectors.T
            for question, row in zip(some, cosines, strict=True):
                yield self.group(question, row, settings, Random(f"{seed}:{question.query}"))  # noqa: S311

    def group(
        self, question: Question, cosines: NDArray[np.float32], settings: MiningSettings, rng: Random
    ) -> Group | None:
        """Return the question with its answer first and its negatives after it."""
        fused = self.ranked(question.query, cosines, settings.depth)
        if question.passage_id not in fused:
            return None
        chosen = choose(self.negatives(question, fused, cosines, settings), settings, rng)
        if len(chosen) < settings.negatives:
            return None
        texts = [self._text(question.passage_id, question, body=question.body)]
        texts += [self._text(passage_id, question) for passage_id in chosen]
        teacher = tuple(round(float(cosines[self.rows[one]]), 4) for one in (question.passage_id, *chosen))
        return Group(question.query, question.kind, tuple(texts), teacher, (1.0, *(0.0 for _ in chosen)))

    def ranked(self, query: str, cosines: NDArray[np.float32], depth: int) -> list[str]:
        """Return passage ids in fused order, at most `depth`."""
        best = np.argpartition(-cosines, min(depth, len(cosines) - 1))[:depth]
        best = best[np.argsort(-cosines[best], kind="stable")]
        dense = tuple(RankedPassage(self.ids[row], self._document(row), float(cosines[row])) for row in best)
        rankings = [Ranking(BM25, self._bm25(query, depth)), Ranking(DENSE, dense)]
        return [candidate.passage_id for candidate in reciprocal_rank_fusion(rankings)[:depth]]

    def _bm25(self, query: str, depth: int) -> tuple[RankedPassage, ...]:
        words = query[:MAX_QUERY_CHARS].replace('"', " ").split()[:MAX_QUERY_TERMS]
        try:
            parsed = parse_query(" ".join(word.lstrip("+-") for word in words))
        except LimitError:
            return ()
        return self._index.search(parsed, Scope("train"), None, depth).passages

    def negatives(
        self, question: Question, fused: Sequence[str], cosines: NDArray[np.float32], settings: MiningSettings
    ) -> list[str]:
        """Return what was found and does not answer, in fused order."""
        answer = self.rows[question.passage_id]
        highest = cosines[answer] + settings.margin
        seen = {question.passage_id, *question.also} | self._apart
        found = []
        for passage_id in fused:
            row = self.rows[passage_id]
            twin = float(self.vectors[row] @ self.vectors[answer]) >= settings.twin
            if passage_id not in seen and not twin and cosines[row] <= highest:
                found.append(passage_id)
        return found

    def _document(self, row: int) -> str:
        return self.material.passages[self.ids[row]][0].document_id

    def _text(self, passage_id: str, question: Question, body: str | None = None) -> str:
        document, passage = self.material.passages[passage_id]
        return text_of(document, passage, body=body, bare=question.bare)


def choose(ranked: Sequence[str], settings: MiningSettings, rng: Random) -> list[str]:
    """Return the negatives of one group: half of the first ranks, half of the others; fewer if there are too few."""
    first, others = list(ranked[: settings.hard]), list(ranked[settings.hard :])
    hard = min(len(first), max((settings.negatives + 1) // 2, settings.negatives - len(others)))
    chosen = rng.sample(first, hard)
    return chosen + rng.sample(others, min(len(others), settings.negatives - hard))
