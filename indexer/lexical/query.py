"""The user's query text -> LexicalQuery, by our own small grammar; tantivy's parsers never see user text.

    query = { part }        part = [ "+" | "-" ] [ "title:" ] ( word | '"' phrase '"' )

Everything is a valid query but what passes a limit. A quote that is not closed runs to the end. A sign counts only at
the start of a word and before no other sign (`--no-wait` is a word), `title:` only before a word or a quote.
"""

from __future__ import annotations

import re

from indexer.errors import LimitError
from indexer.lexical import Clause, LexicalQuery
from indexer.lexical.analysis import words_of

MAX_QUERY_CHARS = 512
MAX_QUERY_TERMS = 32

_PART = re.compile(
    r"""(?P<sign>[+-](?![+-]))?
        (?P<title>title:(?=[^\s]))?
        (?:"(?P<phrase>[^"]*)(?:"|$) | (?P<word>[^\s"]+))""",
    re.IGNORECASE | re.VERBOSE,
)
_CURLY = str.maketrans("\u201c\u201d\u201e\u201f", '""""')


def parse_query(text: str) -> LexicalQuery:
    """Parse a user's query; text without a letter or digit gives no clauses.

    A word that is required, forbidden or bound to the title and holds several parts (`-foo-bar`) is a phrase.
    Raises: LimitError, stating the limit.
    """
    if len(text) > MAX_QUERY_CHARS:
        raise LimitError(f"the query has {len(text):,} characters; at most {MAX_QUERY_CHARS} are taken")
    clauses = []
    terms = 0
    for found in _PART.finditer(text.translate(_CURLY)):
        quoted = found["phrase"]
        written = (found["word"] if quoted is None else quoted).strip()
        words = list(words_of(written))
        if not words:
            continue
        terms += len(written.split())
        sign, title = found["sign"], found["title"] is not None
        several = len(words) > 1 or len(words[0].pieces) > 1
        clauses.append(
            Clause(
                written,
                phrase=quoted is not None or (several and (sign is not None or title)),
                required=sign == "+",
                forbidden=sign == "-",
                title_only=title,
            )
        )
    if terms > MAX_QUERY_TERMS:
        raise LimitError(f"the query has {terms} terms; at most {MAX_QUERY_TERMS} are taken")
    return LexicalQuery(tuple(clauses))
