"""Where queries to judge come from: the log of real searches, lines of a file, or the collection's own headings.

Each gives queries in the order in which they are worth judging; `wording.fresh` takes those that a set has not got.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy.orm import Session

from indexer.errors import InputError
from indexer.scope import Scope
from indexer.store import collections, documents, generations, passages, searches
from indexer.store.judged import JudgedQuery
from searchd.judge.beir import read_queries
from searchd.judge.given import Problems, open_lines, text_lines
from searchd.judge.wording import fresh, plain, query_of, why_no_id, why_not
from searchd.train.builders import headings, titles
from searchd.train.material import passage_of
from searchd.train.phrasing import plain as without_number
from searchd.train.types import Material, TrainingDocument
from searchd.train.words import tells

LOG, HEADINGS, FILE, PAGE = "log", "headings", "file", "page"
USUAL = 60
"""Queries proposed at once: between 50 and 200 say which stage helps."""
MOST = 1000
DOCUMENTS_AT_ONCE = 500
DOCUMENTS_EACH = 3
"""Documents read for each query wanted: not every one has a heading that asks for something."""
EMPTY_LOG = (
    "the log of searches has no queries of this collection: texts are kept only where the owner opted in, by the setting "
    "`log_queries`"
)


def of_log(session: Session, collection: str, most: int = MOST) -> list[JudgedQuery]:
    """Return what was searched for in a collection, most frequent first. Raises: InputError if nothing was kept."""
    asked = [text for text, _ in searches.texts(session, collection, most) if plain(text)]
    if not asked:
        raise InputError(EMPTY_LOG, code="empty_log")
    return [query_of(text, LOG) for text in asked]


def of_lines(lines: Iterable[str]) -> list[JudgedQuery]:
    """Return a query per line that is not empty. Raises: InputError naming the lines that cannot be searched for."""
    rows = ((f"line {number}", line, "") for number, line in enumerate(lines, start=1))
    return _checked(rows, PAGE, Problems())


def of_file(path: Path) -> list[JudgedQuery]:
    """Return the queries of a file: a line each, or with the ending .jsonl an object each, as in a BEIR folder.

    Raises: InputError naming the lines that are wrong; then none is taken.
    """
    problems = Problems()
    if path.suffix.lower() == ".jsonl":
        rows = ((where, text, query_id) for query_id, (where, text) in read_queries(path, problems))
    else:
        rows = ((where, line, "") for where, line in text_lines(open_lines(path), problems, path.name))
    return _checked(rows, FILE, problems)


def _checked(rows: Iterable[tuple[str, str, str]], origin: str, problems: Problems) -> list[JudgedQuery]:
    """Return the queries of where, text and id, all of them or none."""
    found = []
    for where, text, query_id in rows:
        if not plain(text) and not query_id:
            continue
        if why := why_not(text) or why_no_id(query_id):
            problems.add(where, why)
        found.append(query_of(text, origin, query_id))
    problems.check()
    if not found:
        raise InputError("there is no query; it is one a line")
    return found


def of_headings(
    session: Session, scope: Scope, most: int = USUAL, *, known: Iterable[JudgedQuery] = (), seed: int = 7
) -> tuple[JudgedQuery, ...]:
    """Return up to `most` queries that are not known, made of titles and headings of documents that `scope` may read.

    One of each document before a second of any; the same documents give the same queries. They are worded as the
    documents are, which makes them easier than what people ask. Raises: InputError if nothing is indexed.
    """
    generation = generations.live(session, scope.collection)
    collection = collections.get(session, scope.collection)
    if generation is None or collection is None:
        raise InputError(f"collection {scope.collection!r} has nothing indexed; add documents first")
    chance = random.Random(seed)  # noqa: S311  # not a secret
    names = list(_document_ids(session, scope))
    chance.shuffle(names)
    asked: list[list[str]] = []
    for name in names[: max(DOCUMENTS_EACH * most, DOCUMENTS_EACH * USUAL)]:
        cut = passages.of_document(session, scope, generation.generation_id, name)
        if cut:
            document = TrainingDocument(name, cut[0].title, cut[0].uri, tuple(passage_of(one) for one in cut))
            asked.append(_asked_of(document, collection.language, seed))
    turns = max(map(len, asked), default=0)
    ordered = (texts[turn] for turn in range(turns) for texts in asked if turn < len(texts))
    return fresh((query_of(text, HEADINGS) for text in ordered), known, most)


def _document_ids(session: Session, scope: Scope) -> Iterator[str]:
    cursor: str | None = None
    while True:
        page = documents.page(session, scope, cursor, DOCUMENTS_AT_ONCE)
        yield from (one.document_id for one in page.documents)
        cursor = page.cursor
        if cursor is None:
            return


def _asked_of(document: TrainingDocument, language: str, seed: int) -> list[str]:
    """Return what a document is asked, in an order of its own."""
    material = Material((document,), language)
    chance = random.Random(f"{seed}:{document.document_id}")  # noqa: S311
    questions = [one for build in (headings, titles) for one in build(document, material, chance)]
    texts = list(dict.fromkeys(question.query for question in questions))
    chance.shuffle(texts)
    if not texts and tells(document.title) and "/" not in document.title:  # too little text for training: fine to find
        return [without_number(document.title)]
    return texts
