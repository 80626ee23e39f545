"""JSON lines of judgments, the house's own form: `{"query", "document_id", "grade", ...}`, as `searchd train` takes them.

A line without `document_id` is a query that is still to be judged. Read here from files and from request bodies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from indexer.store.judged import JudgedQuery, Judgment
from searchd.judge.given import Draft, Given, GivenJudgment, Problems

DECODE_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class JudgedLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One judged pair."""

    query: str
    document_id: Annotated[str, Meta(description="Left out: a query that is still to be judged")] = ""
    grade: Annotated[
        int, Meta(ge=0, le=3, description="0 not relevant, 1 a little, 2 relevant, 3 answers it; left out: 1")
    ] = 1
    query_id: Annotated[str, Meta(description="Left out: the one that the text has, or one made of it")] = ""
    passage_id: Annotated[str, Meta(description="Of one passage; left out: of the document as a whole")] = ""
    judge: Annotated[str, Meta(description="Who or what judged; left out: who imports it")] = ""
    judged_at: Annotated[
        Annotated[float, Meta(ge=0, le=1e11)] | None, Meta(description="Seconds since 1970; left out: now")
    ] = None


def read(lines: Iterable[tuple[str, bytes]], problems: Problems) -> Given:
    """Return what (where, JSON) lines say. Raises: InputError naming the lines that are wrong."""
    draft = Draft(problems)
    decoder = msgspec.json.Decoder(JudgedLine)
    for where, line in lines:
        try:
            found = decoder.decode(line)
        except DECODE_FAILURES as error:
            problems.add(where, str(error)[:300])
            continue
        query = draft.add_query(where, found.query_id, found.query)
        if query is None or not found.document_id:
            continue
        draft.add_judgment(
            GivenJudgment(
                where,
                query.query_id,
                query.text,
                found.document_id,
                found.grade,
                found.passage_id,
                found.judge,
                found.judged_at,
            )
        )
    return draft.finished()


def numbered(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of a file that are not blank, with their numbers."""
    for number, line in enumerate(lines, start=1):
        stripped = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
        if stripped:
            yield f"line {number}", stripped


def entries(array: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the entries of a JSON array, counted from 1. Raises: msgspec.DecodeError if it is none."""
    for number, entry in enumerate(msgspec.json.decode(array, type=list[msgspec.Raw]), start=1):
        yield f"entry {number}", bytes(entry)


def write(queries: Iterable[JudgedQuery], judgments: Iterable[Judgment]) -> Iterator[bytes]:
    """Yield the lines of a set: query by query in its order."""
    of_query: dict[str, list[Judgment]] = {}
    for one in judgments:
        of_query.setdefault(one.query_id, []).append(one)
    for query in queries:
        asked = {"query": query.text, "query_id": query.query_id}
        found = of_query.get(query.query_id, [])
        for one in found:
            passage = {"passage_id": one.passage_id} if one.passage_id else {}
            row = {
                "query": query.text,
                "document_id": one.document_id,
                "grade": one.grade,
                "query_id": query.query_id,
                **passage,
                "judge": one.judge,
                "judged_at": one.judged_at,
            }
            yield msgspec.json.encode(row) + b"\n"
        if not found:
            yield msgspec.json.encode(asked) + b"\n"
