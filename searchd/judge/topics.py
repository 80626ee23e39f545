"""Texts of the queries that TREC qrels judge, by the ending of the file's name.

.jsonl                        {"_id", "text"} a line, as in a BEIR folder
.tsv .txt                     query-id, a tab, text
.topics .sgml .xml .top       <top> blocks with <num> and <title>, as TREC gives them; the title is the query
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from indexer.errors import InputError
from searchd.judge.beir import read_queries
from searchd.judge.content import SetContent
from searchd.judge.given import Problems, open_lines, text_lines

BLOCKS = (".topics", ".sgml", ".xml", ".top")
TABLES = (".tsv", ".txt")
_TAG = re.compile(r"<(/?)(top|num|title|desc|narr|head|dom|def|smry|con|fac|nat)\b[^>]*>", re.IGNORECASE)
"""What TREC's tracks have used; other angle brackets are text."""
_SPACE = re.compile(r"\s")
_NAMED = re.compile(r"^(number|topic|title)\s*:", re.IGNORECASE)
Topic = tuple[str, str, str]
"""Where, query id, text."""


def beside(qrels: Path) -> Path:
    """Return where an export puts the queries of a qrels file."""
    return qrels.with_name(f"{qrels.stem}.topics.tsv")


def read_topics(path: Path, problems: Problems) -> Iterator[Topic]:
    """Yield the queries of a file. Raises: InputError for a name that does not say what it is."""
    ending = path.suffix.lower()
    if ending == ".jsonl":
        yield from ((where, query_id, text) for query_id, (where, text) in read_queries(path, problems))
    elif ending in (*TABLES, *BLOCKS):
        lines = text_lines(open_lines(path), problems, path.name)
        yield from read_table(lines, problems) if ending in TABLES else read_blocks(lines, problems)
    else:
        endings = ", ".join((".jsonl", *TABLES, *BLOCKS))
        raise InputError(f"topics {path}: the name has to end in one of {endings}; it says how the queries stand in it")


def read_table(lines: Iterable[tuple[str, str]], problems: Problems) -> Iterator[Topic]:
    """Yield the queries of lines with a tab."""
    for where, line in lines:
        query_id, tab, text = line.partition("\t")
        if not tab or not query_id.strip():
            problems.add(where, "not an id, a tab and a text; a file of <top> blocks has to be called .topics")
        else:
            yield where, query_id.strip(), text.strip()


def read_blocks(lines: Iterable[tuple[str, str]], problems: Problems) -> Iterator[Topic]:
    """Yield the queries of <top> blocks."""
    began, field = "", ""
    values: dict[str, list[str]] = {}
    for where, line in lines:
        for closing, name, text in _pieces(line):
            if name == "top" and bool(began) != bool(closing):
                problems.add(where, f"<{closing}top> where a block has {'not ended' if began else 'not begun'}")
            elif name == "top" and closing:
                yield from _topic(began, values, problems)
            if name == "top":
                began, field, values = "" if closing else where, "", {}
            elif name:
                field = "" if closing else name
            if began and field and text.strip():
                values.setdefault(field, []).append(text.strip())
    if began:
        problems.add(began, "the <top> block has no end")


def _pieces(line: str) -> Iterator[tuple[str, str, str]]:
    """Yield ("/" or "", tag, text after it) of a line; what comes before the first tag has none."""
    before, *parts = _TAG.split(line)
    yield "", "", before
    for closing, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        yield closing, name.lower(), text


def _topic(where: str, values: dict[str, list[str]], problems: Problems) -> Iterator[Topic]:
    query_id, title = (
        _NAMED.sub("", html.unescape(" ".join(values.get(name, ())))).strip() for name in ("num", "title")
    )
    if query_id and title:
        yield where, query_id, title
    else:
        problems.add(where, f"the block has no <{'title' if query_id else 'num'}>")


def topic_lines(content: SetContent) -> Iterator[str]:
    """Yield a set's queries as lines with a tab; line breaks and tabs in them become spaces."""
    return (f"{spaceless(one.query_id)}\t{' '.join(one.text.split())}\n" for one in content.queries)


def spaceless(text: str) -> str:
    """Return an id. Raises: InputError if it has white space, which ends an id in TREC's files."""
    if _SPACE.search(text):
        raise InputError(f"id {text[:80]!r} has white space, which TREC files cannot hold; beir or jsonl can")
    return text
