"""Runs and judgments as TREC tools read them: `query Q0 document rank score tag`, and `query 0 document grade`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from indexer.errors import InputError
from searchd.evaluate.types import JudgedData, Run
from searchd.judge.content import Qrel
from searchd.judge.topics import spaceless
from searchd.judge.trec import qrels_lines
from searchd.train.files import write_whole

CLICKS = "clicks"
QRELS = {"judged": "qrels.txt", CLICKS: "qrels-weak-grades-from-clicks.txt"}
"""Name of the file of judgments, by kind of set."""


def run_lines(run: Run, tag: str) -> Iterator[str]:
    """Yield the lines of a run; scores fall with rank, for tools that sort by them.

    Raises: InputError for an id with white space.
    """
    for query_id, documents in run.items():
        for rank, document_id in enumerate(documents, start=1):
            yield f"{spaceless(query_id)} Q0 {spaceless(document_id)} {rank} {len(documents) - rank + 1} {tag}\n"


def write_runs(folder: Path, runs: Mapping[str, Run], data: JudgedData) -> list[Path]:
    """Write a run of each system, and the judgments; return the files.

    Raises: InputError for an id that TREC's files cannot hold, or a folder that cannot be written.
    """
    texts = {folder / f"{file_name(name)}.run": "".join(run_lines(run, file_name(name))) for name, run in runs.items()}
    grades = (Qrel(query_id, *judged) for query_id, found in data.qrels.items() for judged in found.items())
    texts[folder / QRELS[data.kind]] = "".join(qrels_lines(grades))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            write_whole(path, text.encode())
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return list(texts)


def file_name(system: str) -> str:
    """Return a system's name as files and run tags have it: `rrf+small`."""
    return re.sub(r"\s+", "", system)
