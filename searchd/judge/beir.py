"""BEIR folders: `queries.jsonl` of {"_id", "text"} and `qrels/SPLIT.tsv` under the line `query-id corpus-id score`.

Read are the queries that the split judges. `corpus.jsonl` is not looked at: documents are the collection's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from indexer.errors import InputError
from searchd.judge.content import SetContent
from searchd.judge.given import Draft, Given, GivenJudgment, Problems, grade_of, open_lines, text_lines
from searchd.judge.jsonl import DECODE_FAILURES

QUERIES = "queries.jsonl"
HEADER = "query-id\tcorpus-id\tscore"
SPLIT = "test"
_UNFIT = re.compile(r"[\t\r\n]")


class QueryLine(msgspec.Struct, frozen=True):
    """A line of queries.jsonl; other fields are left alone."""

    id_: str | int = msgspec.field(name="_id")
    text: str = ""


def folder_named(name: str | None) -> Path | None:
    """Return the folder that a command's SET names, None if that can only be a judged set.

    Raises: InputError for a folder without queries: no judged set has a slash in its name.
    """
    if not name:
        return None
    if os.path.isfile(Path(name) / QUERIES):  # of an odd name, False
        return Path(name)
    if "/" in name or os.sep in name:
        raise InputError(f"there is no {Path(name) / QUERIES}: a folder in the BEIR layout has its queries there")
    return None


def read_folder(folder: Path, split: str, problems: Problems) -> Given:
    """Return what a folder says. Raises: InputError naming lines, or a file that is not there."""
    draft = Draft(problems)
    texts = dict(read_queries(folder / QUERIES, problems))
    asked: set[str] = set()
    for judgment in read_qrels(qrels_of(folder, split), problems):
        if judgment.query_id not in texts:
            problems.add(judgment.where, f"query {judgment.query_id[:80]!r} is not in {QUERIES}")
            continue
        asked.add(judgment.query_id)
        draft.add_judgment(judgment)
    for query_id, (where, text) in texts.items():
        if query_id in asked:
            draft.add_query(where, query_id, text)
    return draft.finished()


def qrels_of(folder: Path, split: str) -> Path:
    """Return the file of a split. Raises: InputError naming the splits there are."""
    path = folder / "qrels" / f"{split}.tsv"
    if not os.path.isfile(path):
        there = ", ".join(sorted(one.stem for one in (folder / "qrels").glob("*.tsv"))) or "none"
        raise InputError(f"{folder} has no judgments of split {split!r} (qrels/{split}.tsv); there are: {there}")
    return path


def read_queries(path: Path, problems: Problems) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield (query id, (where, text)) of a queries.jsonl."""
    decoder = msgspec.json.Decoder(QueryLine)
    seen: dict[str, str] = {}
    for where, line in text_lines(open_lines(path), problems, path.name):
        try:
            found = decoder.decode(line)
        except DECODE_FAILURES as error:
            problems.add(where, str(error)[:300])
            continue
        query_id = str(found.id_)
        if not query_id:
            problems.add(where, "the query's id is empty")
        elif seen.setdefault(query_id, where) != where:
            problems.add(
                where, f"query {query_id[:80]!r} stands on {seen[query_id].removeprefix(path.name).strip()} too"
            )
        else:
            yield query_id, (where, found.text)


def read_qrels(path: Path, problems: Problems) -> Iterator[GivenJudgment]:
    """Yield the judgments of a split."""
    name = f"qrels/{path.name}"
    for number, (where, line) in enumerate(text_lines(open_lines(path), problems, name)):
        fields = line.split("\t")
        if number == 0:
            if line != HEADER:
                problems.add(where, "the first line has to be query-id, corpus-id, score, with tabs between")
            continue
        if len(fields) != 3:
            problems.add(where, f"{len(fields)} fields between tabs; query-id, corpus-id, score are 3")
            continue
        try:
            yield GivenJudgment(where, fields[0], "", fields[1], grade_of(fields[2]))
        except ValueError:
            problems.add(where, f"score {fields[2][:80]!r} is no whole number")


def files_of(content: SetContent, folder: Path) -> dict[Path, bytes]:
    """Return the files of a set. Raises: InputError for an id that a table with tabs cannot hold."""
    qrels = content.qrels()
    for one in qrels:
        for text in (one.query_id, one.document_id):
            if _UNFIT.search(text):
                raise InputError(f"id {text[:80]!r} has a tab or a line break, which qrels cannot hold; jsonl can")
    queries = (msgspec.json.encode({"_id": one.query_id, "text": one.text}) + b"\n" for one in content.queries)
    rows = (f"{one.query_id}\t{one.document_id}\t{one.grade}\n" for one in qrels)
    table = HEADER + "\n" + "".join(rows)
    return {folder / QUERIES: b"".join(queries), folder / "qrels" / f"{SPLIT}.tsv": table.encode()}
