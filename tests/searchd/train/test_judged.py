"""The owner's judgments as questions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.errors import InputError
from indexer.store.judged import JudgedQuery, Judgment
from searchd.judge.jsonl import write
from searchd.train.judged import read_judged
from searchd.train.types import Material
from tests.searchd.train.documents import material

PUMPS, VALVES = "manual/pumps.html", "manual/valves.md"


def judged(folder: Path, *lines: tuple[str, str, int]) -> Path:
    path = folder / "judged.jsonl"
    rows = [json.dumps({"query": query, "document_id": name, "grade": grade}) for query, name, grade in lines]
    path.write_text("\n".join(rows))
    return path


def test_the_passage_that_shares_most_words_answers_and_no_passage_of_another_answer_is_a_negative(
    tmp_path: Path,
) -> None:
    found = material()
    path = judged(tmp_path, ("turn the wheel until it stops", VALVES, 3), ("turn the wheel until it stops", PUMPS, 1))
    first, second = read_judged(path, found)
    assert found.passages[first.passage_id][1].text.startswith("Turn the wheel")
    everything = {passage.passage_id for document in found.documents for passage in document.passages}
    assert {first.passage_id, *first.also} == {second.passage_id, *second.also} == everything


def test_a_set_that_was_exported_is_taken_and_a_passage_that_was_judged_is_the_answer(tmp_path: Path) -> None:
    found = material()
    last = next(document for document in found.documents if document.document_id == VALVES).passages[-1]
    rows = (JudgedQuery("q1", "turn the wheel until it stops", "file"), JudgedQuery("q2", "not judged", "log"))
    path = tmp_path / "judged.jsonl"
    path.write_bytes(b"".join(write(rows, [Judgment("q1", VALVES, 2, "ann", 1.5, last.passage_id)])))
    (question,) = read_judged(path, found)
    assert (question.query, question.passage_id) == ("turn the wheel until it stops", last.passage_id)


def test_what_does_not_answer_is_gone_or_has_no_text_makes_no_question(tmp_path: Path) -> None:
    empty = replace(material().documents[0], document_id="empty", passages=())
    path = judged(tmp_path, ("a", PUMPS, 0), ("b", "gone", 2), ("c", "empty", 2))
    assert read_judged(path, Material((*material().documents, empty))) == []


@pytest.mark.parametrize("line", [b'{"question": 1}', '{"query": "café"}'.encode("latin-1"), b"query,document_id"])
def test_a_line_that_is_no_judgment_is_named_with_its_file(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_bytes(b'\n{"query": "a", "document_id": "b"}\n' + line)
    with pytest.raises(InputError, match=r"judgments .*judged\.jsonl cannot be read: line 3 of judged\.jsonl: "):
        read_judged(path, material())
