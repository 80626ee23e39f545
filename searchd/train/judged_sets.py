"""Judged sets of the collection as questions: judgments as `--judged FILE` has them, and weak grades made of clicks.

Both keep their kind as questions, so that a model's card counts them apart. Clicks are trained on and never measured with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from indexer.store import judged
from indexer.store.database import Database
from indexer.store.judged import CLICKS, JUDGED, Judgment
from searchd.judge.jsonl import JudgedLine
from searchd.train.judged import question_of
from searchd.train.types import Material, Question

LEAST_GRADE = {JUDGED: 1, CLICKS: 2}
"""Kind of set -> from which grade on a document answers: a weak 1 is hardly more than an accident."""


def read_sets(database: Database, collection: str, names: Sequence[str], material: Material) -> list[Question]:
    """Return the questions of these sets, in their order. Raises: NotFound, naming the sets there are."""
    return [question for name in dict.fromkeys(names) for question in read_set(database, collection, name, material)]


def read_set(database: Database, collection: str, name: str, material: Material) -> list[Question]:
    """Return a question for each judgment that says a document answers; documents that are gone make none.

    What has any grade above 0 for the same query is no negative of it. Raises: NotFound, naming the sets there are.
    """
    with database.read() as session:
        found = judged.get(session, collection, name)
        texts = {query.query_id: query.text for query in judged.queries(session, found.set_id)}
        told = judged.judgments(session, found.set_id)
    return list(_questions(found.kind, texts, [one for one in told if one.grade > 0], material))


def _questions(kind: str, texts: dict[str, str], told: Sequence[Judgment], material: Material) -> Iterator[Question]:
    documents = {document.document_id: document for document in material.documents if document.passages}
    there = [one for one in told if one.document_id in documents]
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for one in there:
        answers[texts[one.query_id]] |= {passage.passage_id for passage in documents[one.document_id].passages}
    for one in there:
        if one.grade < LEAST_GRADE[kind]:
            continue
        text = texts[one.query_id]
        line = JudgedLine(query=text, document_id=one.document_id, grade=one.grade, passage_id=one.passage_id)
        yield replace(question_of(line, documents[one.document_id], answers[text]), kind=kind)
