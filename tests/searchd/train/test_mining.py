"""Hard negatives: found by words and by meaning, without those that answer too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from searchd.train.mining import Miner, MiningSettings, choose
from searchd.train.types import Question
from tests.searchd.train.documents import markdown_material

TEXTS = {
    "answer.md": "The pump of the cellar is started by its green button.",
    "copy.md": "By its green button the pump of the cellar is started.",
    "likely.md": "Whoever wants water from below presses green.",
    "near.md": "The pump of the garden has no button and starts by itself.",
    "far.md": "Pump prices went up by a tenth in the last year.",
    "other.md": "The pump room is locked in the evening.",
}
MATERIAL = markdown_material(TEXTS)
COSINES = np.array([0.70, 0.69, 0.95, 0.65, 0.30, 0.40], dtype=np.float32)
"""Of the query to each passage: one that is no copy of the answer is far nearer to the query than the answer."""
QUERY = "start the pump of the cellar"


def vectors() -> np.ndarray:  # type: ignore[type-arg]
    found = np.eye(len(TEXTS), 8, dtype=np.float32)
    found[1] = found[0]
    return found


def question() -> Question:
    return Question(QUERY, "asked", MATERIAL.documents[0].passages[0].passage_id)


@pytest.fixture
def miner(tmp_path: Path) -> Iterator[Miner]:
    opened = Miner(MATERIAL, vectors(), tmp_path)
    yield opened
    opened.close()


def names(miner: Miner, found: list[str]) -> list[str]:
    return [miner.material.passages[one][0].document_id for one in found]


def test_a_copy_of_the_answer_and_a_passage_that_is_nearer_by_the_margin_are_no_negatives(miner: Miner) -> None:
    fused = miner.ranked(QUERY, COSINES, 50)
    left = miner.negatives(question(), fused, COSINES, MiningSettings(margin=0.1))
    assert set(names(miner, left)) == {"near.md", "far.md", "other.md"}


def test_a_wide_margin_keeps_what_is_nearer(miner: Miner) -> None:
    fused = miner.ranked(QUERY, COSINES, 50)
    left = miner.negatives(question(), fused, COSINES, MiningSettings(margin=0.5))
    assert "likely.md" in names(miner, left)


def test_passages_that_are_known_to_answer_too_are_no_negatives(miner: Miner) -> None:
    also = frozenset({MATERIAL.documents[3].passages[0].passage_id})
    fused = miner.ranked(QUERY, COSINES, 50)
    left = miner.negatives(replace(question(), also=also), fused, COSINES, MiningSettings())
    assert "near.md" not in names(miner, left)


def test_both_systems_are_fused(miner: Miner) -> None:
    assert names(miner, miner.ranked(QUERY, COSINES, 50))[0] == "answer.md"
    assert len(miner.ranked(QUERY, COSINES, 2)) == 2


def test_a_group_has_the_answer_first_and_the_teacher_knows_its_cosines(miner: Miner) -> None:
    group = miner.group(question(), COSINES, MiningSettings(negatives=3), Random(1))
    assert group is not None
    assert "green button" in group.texts[0]
    assert group.labels == (1.0, 0.0, 0.0, 0.0)
    assert group.teacher[0] == pytest.approx(0.70)
    assert sorted(group.teacher[1:]) == pytest.approx([0.30, 0.40, 0.65])


def test_a_question_whose_answer_is_not_found_or_that_has_too_few_negatives_makes_no_group(miner: Miner) -> None:
    assert miner.group(question(), COSINES, MiningSettings(negatives=4), Random(1)) is None
    hidden = MiningSettings(negatives=1, depth=1)
    assert miner.group(replace(question(), query="prices"), -COSINES, hidden, Random(1)) is None


def test_a_query_of_signs_and_quotes_is_mined_like_any_other(miner: Miner) -> None:
    assert miner.ranked('-"+pump" (title: "', COSINES, 50)
    assert miner.ranked("!?", COSINES, 50)


def test_half_of_the_negatives_come_from_the_first_ranks() -> None:
    ranked = [str(rank) for rank in range(40)]
    chosen = choose(ranked, MiningSettings(negatives=6, hard=10), Random(1))
    assert len(set(chosen)) == 6
    assert sum(int(one) < 10 for one in chosen) == 3


def test_words_are_stemmed_as_the_collection_s_language_has_them(tmp_path: Path) -> None:
    german = replace(markdown_material({"a.md": "Die Häuser am Fluss.", "b.md": "Ein Boot."}), language="de")
    opened = Miner(german, np.eye(2, dtype=np.float32), tmp_path)
    try:
        assert [one.document_id for one in opened._bm25("Haus", 5)] == ["a.md"]
    finally:
        opened.close()
