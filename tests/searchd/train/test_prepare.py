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
from searchd.train.prepare import (
    GROUPS,
    HELD_OUT,
    HeldOut,
    PrepareSettings,
    apart_of,
    balanced,
    fingerprint,
    is_held_out,
    parted,
    prepare,
)
from searchd.train.types import Group, Material, Question, text_of
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


def test_no_seed_changes_what_is_kept_apart_so_that_the_model_in_use_never_knows_the_queries() -> None:
    first, second = (PrepareSettings(held_out_part=4, seed=seed) for seed in (7, 8))
    found = material()
    held = [{d.document_id for d in found.documents if is_held_out(d, one)} for one in (first, second)]
    assert held[0] == held[1]
    trained = {found.passages[one.passage_id][0].document_id for one in parted(found, first, [])[0]}
    measured = {found.passages[one.passage_id][0].document_id for one in parted(found, second, [])[1]}
    assert trained and measured and not trained & measured


def test_a_query_to_measure_with_is_not_trained_on_with_another_answer() -> None:
    found = material()
    apart = next(one for one in found.documents if is_held_out(one, SETTINGS))
    other = next(one for one in found.documents if not is_held_out(one, SETTINGS))
    judged = [
        Question(query, "judged", one.passages[0].passage_id) for one, query in ((apart, "Mine"), (other, "mine"))
    ]
    train, held = parted(found, SETTINGS, judged)
    assert "Mine" in {one.query for one in held}
    assert "mine" not in {one.query for one in train}


def test_a_query_that_is_left_out_for_their_number_is_not_trained_on_either() -> None:
    found = material()
    apart = [one for one in found.documents if is_held_out(one, SETTINGS)]
    other = next(one for one in found.documents if not is_held_out(one, SETTINGS))
    queries = [f"Where do I put {one.title}  at night?" for one in apart]
    judged = [Question(query, "judged", one.passages[0].passage_id) for query, one in zip(queries, apart, strict=True)]
    judged += [
        Question(f"where do i put {one.title} at night", "judged", other.passages[0].passage_id) for one in apart
    ]
    train, held = parted(found, replace(SETTINGS, held_out=2), judged)
    assert len(held) == 2 < len(queries)
    assert not [one for one in train if one.query.lower().startswith("where do i put")]


def test_what_answers_the_same_question_of_another_document_is_no_negative() -> None:
    found = material()
    one, two, third = [doc.passages[0].passage_id for doc in found.documents if not is_held_out(doc, SETTINGS)][:3]
    asked = [("How do I clean it?", one), ("how do I  clean it", two), ("How do I oil it?", third)]
    train, _ = parted(found, SETTINGS, [Question(query, "judged", answer) for query, answer in asked])
    also = {question.passage_id: question.also for question in train if question.kind == "judged"}
    assert also == {one: {two}, two: {one}, third: frozenset()}


def test_a_query_that_several_held_out_documents_answer_is_measured_once_with_all_its_answers(tmp_path: Path) -> None:
    found = material()
    apart = [one for one in found.documents if is_held_out(one, SETTINGS)][:6]
    firsts = [one.passages[0].passage_id for one in apart]
    judged = [Question("a soft cloth", "judged", one, frozenset(firsts) - {one}) for one in firsts[:4]]
    judged += [Question("A soft cloth?", "faq", one) for one in firsts[4:]]
    vectors = encode([passage.text for _, passage in found.passages.values()])
    prepare(
        found,
        vectors,
        encode,
        tmp_path,
        replace(SETTINGS, mining=MiningSettings(negatives=2, depth=200)),
        ignore,
        judged,
    )
    (query,) = (one for one in read_lines(tmp_path / HELD_OUT, HeldOut) if "soft cloth" in one.query.lower())
    texts = {text_of(document, document.passages[0]) for document in apart}
    assert texts == {query.texts[place] for place in query.relevant}


def test_a_copy_of_a_held_out_text_is_not_trained_on() -> None:
    found = material()
    apart = next(one for one in found.documents if is_held_out(one, SETTINGS))
    copies = [replace(one, document_id=f"copy-{n}", text=one.text) for n, one in enumerate(apart.passages)]
    names = (f"copy-{number}" for number in range(100))
    name = next(one for one in names if not is_held_out(replace(apart, document_id=one), SETTINGS))
    passages = tuple(replace(one, passage_id=f"{name}-{n}") for n, one in enumerate(copies))
    copied = Material((*found.documents, replace(apart, document_id=name, passages=passages)))
    train, _ = parted(copied, SETTINGS, [])
    assert {passage.passage_id for passage in passages} <= apart_of(copied, SETTINGS)
    assert not {one.passage_id for one in train} & apart_of(copied, SETTINGS)


def test_mining_that_was_stopped_goes_on_where_it_was_with_the_same_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchd.train.prepare.MINED_AT_ONCE", 8)
    found = material()
    vectors = encode([passage.text for _, passage in found.passages.values()])
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    prepare(found, vectors, encode, whole, SETTINGS, ignore)
    asked: list[str] = []

    def once(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return encode(texts)

    def killed(step: str, done: int, of: int) -> None:
        if done == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(found, vectors, once, stopped, SETTINGS, killed)
    (kept,) = stopped.glob("mined-*.jsonl")
    assert len(kept.read_bytes().splitlines()) == 24
    kept.write_bytes(kept.read_bytes()[:-5])
    before = len(asked)
    prepare(found, vectors, once, stopped, SETTINGS, ignore)
    assert len(set(asked[before:]) & set(asked[:before])) <= len(list(read_lines(stopped / HELD_OUT, HeldOut))) + 8
    for name in (GROUPS, HELD_OUT):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    assert list(stopped.glob("mined-*")) == []


def test_what_was_mined_of_other_texts_is_not_gone_on_with() -> None:
    found, other = material(3), material(3)
    vectors = np.zeros((len(found.passages), 8), np.float32)
    first = other.documents[0].passages[0]
    changed = replace(other.documents[0], passages=(replace(first, text="Changed."), *other.documents[0].passages[1:]))
    same, different = Material(other.documents), Material((changed, *other.documents[1:]))
    names = [fingerprint(one, vectors, [], SETTINGS) for one in (found, same, different)]
    assert names[0] == names[1] != names[2]
    assert fingerprint(found, vectors + 1, [], SETTINGS) != names[0]
    assert fingerprint(found, vectors, [], replace(SETTINGS, groups=5)) != names[0]


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
