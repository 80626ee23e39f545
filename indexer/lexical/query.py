"""The user's query text -> LexicalQuery, by our own small grammar; tantivy's parsers never see user text.

    query  = { part }        part = [ "+" | "-" ] [ "title:" ] ( word | '"' phrase '"' )

Everything is a valid query but what passes a limit. An unbalanced quote runs to the end.
"""

from __future__ import annotations

import re

from indexer.errors import LimitError
from indexer.lexical import Clause, LexicalQuery

MAX_QUERY_CHARS = 512
MAX_QUERY_TERMS = 32

_PART = re.compile(r'(?P<sign>[+-]?)(?P<title>title:)?(?:"(?P<phrase>[^"]*)(?:"|$)|(?P<word>[^\s"]+))', re.IGNORECASE)


def parse_query(text: str) -> LexicalQuery:
    """Parse a user's query; blank text gives no clauses. Raises: LimitError, stating the limit."""
    if len(text) > MAX_QUERY_CHARS:
        raise LimitError(f"the query has {len(text):,} characters; at most {MAX_QUERY_CHARS} are taken")
    clauses = []
    for found in _PART.finditer(text):
        phrase = found["phrase"]
        words = phrase if phrase is not None else found["word"]
        if not any(c.isalnum() for c in words):
            continue
        clauses.append(
            Clause(
                words.strip(),
                phrase=phrase is not None,
                required=found["sign"] == "+",
                forbidden=found["sign"] == "-",
                title_only=found["title"] is not None,
            )
        )
    terms = sum(len(clause.text.split()) for clause in clauses)
    if terms > MAX_QUERY_TERMS:
        raise LimitError(f"the query has {terms} terms; at most {MAX_QUERY_TERMS} are taken")
    return LexicalQuery(tuple(clauses))
