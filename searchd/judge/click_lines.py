"""CSV of clicks: `query,document_id,position,clicked`, a line per document that was shown, made into weak grades.

Also `dwell_ms` and `query_id` where they are known. A text that comes with several ids (of searches) has the first one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexer.store.judged import CLICKS
from searchd.judge.clicks import weak_grades
from searchd.judge.given import Draft, Given, GivenJudgment, Problems, open_lines
from searchd.judge.impressions import Impression

NEEDED = ("query", "document_id", "position", "clicked")
KNOWN = (*NEEDED, "dwell_ms", "query_id")
CLICKED = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
MOST_DIGITS = 9
MOST_POSITION = 10_000
"""How deep paging goes."""


def read_file(path: Path, problems: Problems) -> Given:
    """Return the queries of a file with the weak grades of its clicks. Raises: InputError naming the lines that are wrong."""
    draft = Draft(problems)
    first: dict[str, tuple[str, str]] = {}
    seen: list[Impression] = []
    for where, row in rows_of(open_lines(path), problems):
        query_id, _ = first.setdefault(row["query"], (row.get("query_id", ""), where))
        query = draft.add_query(where, query_id, row["query"])
        impression = impression_of(where, row, problems)
        if query is not None and impression is not None:
            seen.append(Impression(query.text, *impression))
            first.setdefault(query.text, (query_id, where))
    problems.check()
    for (text, document_id), grade in weak_grades(seen).items():
        query_id, where = first[text]
        draft.add_judgment(GivenJudgment(where, query_id, text, document_id, grade, judge=CLICKS))
    return replace(draft.finished(), of_clicks=True)


def impression_of(where: str, row: dict[str, str], problems: Problems) -> tuple[str, int, bool, int | None] | None:
    """Return document, position, whether it was clicked, and dwell; None if one of them is wrong."""
    position, dwell = (_whole(row.get(name, "")) for name in ("position", "dwell_ms"))
    clicked = CLICKED.get(row["clicked"].strip().lower())
    if not row["document_id"]:
        problems.add(where, "there is no document id")
    elif not position or position > MOST_POSITION:
        problems.add(where, f"position {row['position'][:40]!r}: it is the rank that was shown, 1 to {MOST_POSITION:,}")
    elif clicked is None:
        problems.add(where, f"clicked {row['clicked'][:40]!r}: it is 1 or 0, true or false, yes or no")
    elif dwell is None and row.get("dwell_ms", "").strip():
        problems.add(where, f"dwell_ms {row['dwell_ms'][:40]!r} is no whole number of milliseconds")
    else:
        return row["document_id"], position, clicked, dwell
    return None


def _whole(text: str) -> int | None:
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= MOST_DIGITS else None


def rows_of(lines: Iterable[bytes], problems: Problems) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, fields by name) of the lines under the first one, which names them."""
    table: Any = csv.reader(_decoded(lines, problems), strict=True)
    names: list[str] | None = None
    while True:
        where = f"line {table.line_num + 1}"
        try:
            fields = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(where, f"no CSV: {error}")
            continue
        if names is None:
            names = [name.strip() for name in fields]
            wrong = header_mistake(names)
            if wrong:
                problems.add(where, wrong)
                return
        elif len(fields) not in (0, len(names)):
            problems.add(where, f"{len(fields)} fields; the first line names {len(names)}")
        elif fields:
            yield where, dict(zip(names, fields, strict=True))


def header_mistake(names: list[str]) -> str:
    """Return what is wrong with the names of the columns; nothing if they are right."""
    missing, other = [name for name in NEEDED if name not in names], [name for name in names if name not in KNOWN]
    if missing or other or len(set(names)) != len(names):
        wrong = f"{', '.join(missing)} missing" if missing else f"{', '.join(other) or 'a name twice'} not known"
        return (
            f"the first line names the columns: {', '.join(NEEDED)}, and where known dwell_ms, query_id; {wrong[:200]}"
        )
    return ""


def _decoded(lines: Iterable[bytes], problems: Problems) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            problems.add(f"line {number}", f"no UTF-8: byte {error.start + 1} of the line is {line[error.start]:#04x}")
            yield line.decode("utf-8", "replace")
