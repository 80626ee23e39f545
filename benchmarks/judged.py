"""Judged sets in the BEIR layout, read for the benchmarks: corpus.jsonl, queries.jsonl, qrels/<split>.tsv."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ir_measures import Qrel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from indexer.lexical.query import MAX_QUERY_CHARS, MAX_QUERY_TERMS


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Queries by id and their judgments; the corpus is read as it is indexed."""

    name: str
    folder: Path
    queries: dict[str, str]
    qrels: list[Qrel]

    def corpus(self) -> Iterator[dict[str, str]]:
        """Yield {"id", "title", "text"} per document."""
        with (self.folder / "corpus.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield {"id": row["_id"], "title": row.get("title", ""), "text": row["text"]}


def read_judged_set(folder: Path, split: str = "test", limit: int = 0) -> JudgedSet:
    """Read a BEIR folder; `limit` keeps the first so many judged queries (0: all)."""
    with (folder / "queries.jsonl").open(encoding="utf-8") as lines:
        texts = {row["_id"]: row["text"] for row in map(json.loads, lines)}
    qrels = []
    with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            query_id, document_id, grade = line.rstrip("\n").split("\t")
            qrels.append(Qrel(query_id, document_id, int(float(grade))))
    judged = {qrel.query_id for qrel in qrels}
    queries = {query_id: within_limits(text) for query_id, text in texts.items() if query_id in judged}
    if limit:
        queries = dict(list(queries.items())[:limit])
        qrels = [qrel for qrel in qrels if qrel.query_id in queries]
    return JudgedSet(folder.name, folder, queries, qrels)


def within_limits(text: str) -> str:
    """Return as many of a query's words as a query may have: one of Cranfield's has 33, the limit is 32."""
    words = text[:MAX_QUERY_CHARS].split()
    return " ".join(words[:MAX_QUERY_TERMS])
