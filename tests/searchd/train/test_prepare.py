"""What is trained on and what is kept apart: whole documents, the same ones as a collection grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from searchd.train.files import read_lines, write_lines
from searchd.train.mining import MiningSettings
from searchd.train.prepare import GROUPS, HELD_OUT, HeldOut, PrepareSettings, balanced, is_held_out, parted, prepare
from searchd.train.types import Group, Material, Question
from tests.searchd.train.documents import markdown_material

DOCUMENTS = 40
SETTINGS = PrepareSettings(held_out_part=4, mining=MiningSettings(negatives=2))


def material(count: int = DOCUMENTS) -> Material:
    text = (
        "# Part n{0}\n\nThe part n{0} belongs to the machine and nobody but its owner may take it out.\n\n"
        "## Cleaning the part n{0}\n\nStop the machine, then take a soft cloth to the part n{0} and write down the date.\n"
    )
    return markdown_material({f"part-{number}.md": text.format(number) for number in range(count)})


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    rows = np.array([np.random.default_rng(len(text)).normal(size=8) for text in texts], dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ignore(step: str, done: int, whole: int) -> None:
    """Take progress."""


def test_no_text_of_a_held_out_document_is_in_any_group(tmp_path: Path) -> None:
    found = material()
    vectors = encode([passage.text for _, passage in found.passages.values()])
    prepare(found, vectors, encode, tmp_path, SETTINGS, ignore)
    groups, held = list(read_lines(tmp_path / GROUPS, Group)), list(read_lines(tmp_path / HELD_OUT, HeldOut))
    apart = [document for document in found.documents if is_held_out(document, SETTINGS)]
    assert groups and held and apart
    trained = "\n".join(text for group in groups for text in group.texts)
    for document in apart:
        assert all(passage.text not in trained for passage in document.passages)
    assert all(query.relevant for query in held)


def test_a_document_is_kept_apart_or_not_whatever_else_is_there() -> None:
    few, many = material(10), material(30)
    assert [is_held_out(one, SETTINGS) for one in few.documents] == [
        is_held_out(one, SETTINGS) for one in many.documents[:10]
    ]


def test_sources_are_kept_apart_whole_where_they_are_named() -> None:
    documents = [replace(one, source="manual") for one in material(20).documents]
    assert len({is_held_out(one, SETTINGS) for one in documents}) == 1


def test_every_kind_gets_its_share_and_judged_questions_come_first() -> None:
    found = material(20)
    first = [document.passages[0].passage_id for document in found.documents]
    made = [Question(f"asked {n}", "asked", first[n % 20]) for n in range(100)]
    made += [Question(f"title {n}", "title", first[n]) for n in range(5)]
    made += [Question("judged", "judged", first[0])]
    kinds = [question.kind for question in balanced(made, found, 11, seed=1)]
    assert len(kinds) == 11
    assert kinds[0] == "judged"
    assert kinds.count("title") == kinds.count("asked") == 5


def test_judged_questions_about_a_held_out_document_are_measured_with() -> None:
    found = material()
    apart = next(one for one in found.documents if is_held_out(one, SETTINGS))
    train, held = parted(found, SETTINGS, [Question("mine", "judged", apart.passages[0].passage_id)])
    assert "mine" in {one.query for one in held}
    assert "mine" not in {one.query for one in train}


def test_what_is_prepared_is_not_prepared_again(tmp_path: Path) -> None:
    for name in (GROUPS, HELD_OUT):
        write_lines(tmp_path / name, [])
    prepare(material(2), np.zeros((0, 8), np.float32), lambda _: pytest.fail("it was"), tmp_path, SETTINGS, ignore)
