"""The owner's own judgments as questions, from a file of JSON lines: {"query", "document_id", "grade"}.

A grade of 0 says that a document does not answer; such lines make no question. Of a judged document the passage that
shares most of the query's words is taken to be the answer.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from indexer.errors import InputError
from searchd.train.files import read_lines
from searchd.train.types import Material, Question, TrainingDocument

_WORD = re.compile(r"\w{3,}")


class Judgment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One judged pair."""

    query: str
    document_id: str
    grade: int = 1


def read_judged(path: Path, material: Material) -> list[Question]:
    """Return a question per line with a grade above 0; lines whose document is gone are left out.

    Raises: InputError naming the file, if a line is not what it should be.
    """
    documents = {document.document_id: document for document in material.documents}
    found = []
    try:
        for line in read_lines(path, Judgment):
            document = documents.get(line.document_id)
            if document is not None and line.grade > 0:
                found.append(question_of(line.query, document))
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"judgments {path} cannot be read: {error}") from error
    return found


def question_of(query: str, document: TrainingDocument) -> Question:
    """Return the question that a judged document answers; its other passages are no negatives."""
    words = set(_WORD.findall(query.lower()))
    best = max(document.passages, key=lambda p: (len(words & set(_WORD.findall(p.text.lower()))), -p.ordinal))
    also = frozenset(passage.passage_id for passage in document.passages) - {best.passage_id}
    return Question(query, "judged", best.passage_id, also)
