"""Judged sets and sets of clicks as questions of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.errors import InputError, NotFound
from indexer.store import collections, judged
from indexer.store.database import Database, open_database
from indexer.store.judged import JudgedQuery, Judgment
from searchd.train.judged_sets import read_sets
from searchd.train.options import TrainOptions, check_sets
from searchd.train.prepare import PrepareSettings, is_held_out, parted
from tests.searchd.train.documents import material

PUMPS, VALVES = "manual/pumps.html", "manual/valves.md"
WHEEL = "turn the wheel until it stops"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Return a database with a judged set and a set of clicks of the collection `docs`."""
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('sets') / 'searchd.db'}")
    last = material().documents[0].passages[-1]
    with database.session() as session:
        collections.ensure(session, "docs", "en", 1.0)
        for name, kind in (("mine", "judged"), ("weak", "clicks")):
            made = judged.create(session, "docs", name, 1.0, kind=kind)
            queries = [JudgedQuery("q1", WHEEL, "file"), JudgedQuery("q2", "one passage", "file")]
            judged.add_queries(session, made.set_id, queries)
            given = [
                Judgment("q1", VALVES, 3, "ann", 1.0),
                Judgment("q1", PUMPS, 1, "ann", 1.0),
                Judgment("q1", "gone", 3, "ann", 1.0),
                Judgment("q2", VALVES, 0, "ann", 1.0),
                Judgment("q2", last.document_id, 2, "ann", 1.0, last.passage_id),
            ]
            judged.put_judgments(session, made.set_id, given)
    yield database
    database.close()


def test_judgments_make_questions_of_their_kind_and_weak_ones_need_a_higher_grade(opened: Database) -> None:
    found = material()
    documents = {passage: document.document_id for passage, (document, _) in found.passages.items()}
    asked = read_sets(opened, "docs", ["mine", "weak", "mine"], found)
    last = found.documents[0].passages[-1]
    assert [(one.kind, one.query, documents[one.passage_id]) for one in asked] == [
        ("judged", WHEEL, PUMPS),
        ("judged", WHEEL, VALVES),
        ("judged", "one passage", last.document_id),
        ("clicks", WHEEL, VALVES),
        ("clicks", "one passage", last.document_id),
    ]
    assert found.passages[asked[1].passage_id][1].text.startswith("Turn the wheel")
    assert asked[2].passage_id == last.passage_id, "the passage that was judged"
    everything = {passage.passage_id for document in found.documents for passage in document.passages}
    assert {asked[3].passage_id, *asked[3].also} == everything, (
        "a weak 1 answers too little to ask, not to be a negative"
    )


def test_clicks_are_trained_on_and_never_measured_with(opened: Database) -> None:
    found = material()
    everywhere, nowhere = PrepareSettings(held_out_part=1), PrepareSettings(held_out_part=10**9)
    assert all(is_held_out(document, everywhere) for document in found.documents)
    asked = read_sets(opened, "docs", ["weak", "mine"], found)
    _, held = parted(found, everywhere, asked)
    assert {"clicks"} == {one.kind for one in asked} - {one.kind for one in held}
    trained, _ = parted(found, nowhere, asked)
    assert {"clicks", "judged"} <= {one.kind for one in trained}


def test_a_set_that_there_is_not_is_refused_with_those_there_are(opened: Database) -> None:
    with pytest.raises(NotFound, match="no judged set 'other'; there are: mine, weak"):
        read_sets(opened, "docs", ["other"], material())


def test_sets_and_a_corpus_are_not_for_one_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a run on the documents of a --corpus has none"):
        check_sets(TrainOptions(sets=("mine",), corpus=str(tmp_path)))
    check_sets(TrainOptions(sets=("mine",)))
