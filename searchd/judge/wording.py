"""Queries on their way into a judged set: within the limits of a search, each text once, with an id of its own.

Pure. The same text has the same id in every set, so that what is proposed twice is added once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from indexer.errors import LimitError
from indexer.lexical.query import parse_query
from indexer.store.judged import JudgedQuery
from searchd.judge.given import MOST_QUERY_ID, query_id_of


def plain(text: str) -> str:
    """Return a query on one line without white space around it."""
    return " ".join(text.split())


def folded(text: str) -> str:
    """Return what two queries share that are the same to a judge."""
    return plain(text).casefold()


def query_of(text: str, origin: str, query_id: str = "") -> JudgedQuery:
    """Return a query to be added; `query_id` is the one that a file gave it."""
    return JudgedQuery(query_id or query_id_of(plain(text)), plain(text), origin)


def why_not(text: str) -> str:
    """Return why a text cannot be searched for, an empty string if it can."""
    if not plain(text):
        return "the query is empty"
    try:
        parse_query(plain(text))
    except LimitError as error:
        return str(error)
    return ""


def why_no_id(query_id: str) -> str:
    """Return why a file's id cannot be one, an empty string if it can."""
    return f"the query's id has more than {MOST_QUERY_ID} characters" if len(query_id) > MOST_QUERY_ID else ""


def fresh(proposed: Iterable[JudgedQuery], known: Iterable[JudgedQuery], most: int) -> tuple[JudgedQuery, ...]:
    """Return up to `most` of the proposed queries that can be searched for and are not known by id or text."""
    known = list(known)
    return tuple(_first(_new(proposed, {one.query_id for one in known}, {folded(one.text) for one in known}), most))


def find(text: str, known: Sequence[JudgedQuery]) -> JudgedQuery | None:
    """Return the query of a set with this text, None if there is none."""
    wanted = folded(text)
    return next((one for one in known if folded(one.text) == wanted), None)


def _new(proposed: Iterable[JudgedQuery], ids: set[str], texts: set[str]) -> Iterator[JudgedQuery]:
    for one in proposed:
        text = folded(one.text)
        if one.query_id in ids or text in texts or why_not(one.text):
            continue
        ids.add(one.query_id)
        texts.add(text)
        yield one


def _first(found: Iterator[JudgedQuery], most: int) -> Iterator[JudgedQuery]:
    for _, one in zip(range(most), found, strict=False):
        yield one
