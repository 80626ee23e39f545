"""TREC qrels: `query-id 0 document-id grade`, with white space between. Texts of the queries are in `topics.py`'s files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from searchd.judge.content import Qrel, SetContent
from searchd.judge.given import Draft, Given, GivenJudgment, Problems, grade_of, open_lines, text_lines
from searchd.judge.topics import beside, read_topics, spaceless, topic_lines

_BETWEEN = re.compile(r"[ \t]+")


def read_file(path: Path, topics: Path | None, problems: Problems) -> Given:
    """Return what qrels and topics say; without topics the set has to have the queries already.

    Topics that lie beside the qrels as an export writes them need not be named. Raises: InputError naming lines.
    """
    draft = Draft(problems)
    found = topics or (beside(path) if os.path.isfile(beside(path)) else None)
    for where, query_id, text in read_topics(found, problems) if found else ():
        draft.add_query(where, query_id, text)
    name = path.name if found else ""
    for judgment in read_qrels(text_lines(open_lines(path), problems, name), problems):
        draft.add_judgment(judgment)
    return draft.finished()


def read_qrels(lines: Iterable[tuple[str, str]], problems: Problems) -> Iterator[GivenJudgment]:
    """Yield the judgments of (where, line)."""
    for where, line in lines:
        fields = _BETWEEN.split(line.strip(" \t"))
        if len(fields) != 4:
            problems.add(where, f"{len(fields)} fields; query-id, 0, document-id, grade are 4")
            continue
        try:
            yield GivenJudgment(where, fields[0], "", fields[2], grade_of(fields[3]))
        except ValueError:
            problems.add(where, f"grade {fields[3][:80]!r} is no whole number")


def qrels_lines(qrels: Iterable[Qrel]) -> Iterator[str]:
    """Yield the lines of grades, of a set's or an evaluation's. Raises: InputError for an id that has white space."""
    for one in qrels:
        yield f"{spaceless(one.query_id)} 0 {spaceless(one.document_id)} {one.grade}\n"


def files_of(content: SetContent, path: Path) -> dict[Path, bytes]:
    """Return the files of a set: qrels at `path`, the queries beside it. Raises: InputError, as `qrels_lines` does."""
    return {path: "".join(qrels_lines(content.qrels())).encode(), beside(path): "".join(topic_lines(content)).encode()}
