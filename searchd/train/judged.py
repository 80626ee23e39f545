"""The owner's own judgments as questions, from a file of JSON lines: {"query", "document_id", "grade"}.

`searchd judged export` writes such files. A grade of 0 says that a document does not answer; such lines make no question.
Of a judged document the passage that was judged is the answer, else the one that shares most of the query's words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Set as AbstractSet
from pathlib import Path

from indexer.errors import InputError
from searchd.judge.jsonl import JudgedLine
from searchd.train.files import read_lines
from searchd.train.types import Material, Question, TrainingDocument

_WORD = re.compile(r"\w{3,}")


def read_judged(path: Path, material: Material) -> list[Question]:
    """Return a question per line with a grade above 0; lines whose document is gone, or has no text, are left out.

    What another line says answers the same query is no negative of it. Raises: InputError naming the file, if a line is
    not what it should be.
    """
    documents = {document.document_id: document for document in material.documents if document.passages}
    try:
        judged = [line for line in read_lines(path, JudgedLine) if line.grade > 0 and line.document_id in documents]
    except (OSError, InputError) as error:
        raise InputError(f"judgments {path} cannot be read: {error}") from error
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for line in judged:
        answers[line.query] |= {passage.passage_id for passage in documents[line.document_id].passages}
    return [question_of(line, documents[line.document_id], answers[line.query]) for line in judged]


def question_of(line: JudgedLine, document: TrainingDocument, answers: AbstractSet[str]) -> Question:
    """Return the question that a judged document answers; other passages of what answers it are no negatives."""
    words = set(_WORD.findall(line.query.lower()))
    told = [passage for passage in document.passages if passage.passage_id == line.passage_id]
    shared = max(document.passages, key=lambda p: (len(words & set(_WORD.findall(p.text.lower()))), -p.ordinal))
    best = told[0] if told else shared
    return Question(line.query, "judged", best.passage_id, frozenset(answers) - {best.passage_id})
