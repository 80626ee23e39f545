"""Token vectors stored while passages are indexed give the scores of computing them, and are computed once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from indexer.device import Device
from indexer.errors import Busy
from indexer.store import token_vectors
from indexer.store.database import Database
from indexer.store.token_vectors import TokenVectors
from indexer.token_vectors import remember
from searchd.rerank.late_interaction import load_late_interaction
from searchd.rerank.late_stored import LateEncoder, LateReranker
from searchd.rerank.memory import SHORTAGES
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import PartScores, PassageText, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank.late_models import write_stanford

SETTINGS = Settings(device="cpu", dtype="float32", threads=1)
QUERY = "How are command-line options parsed?"
TEXTS = {
    "a": "The argparse module parses command line options, and writes usage messages!",
    "b": "Oil",
    "c": "The turbine is lubricated by oil (under pressure). " * 5,
    "d": "Far too long for the model. " * 40,
    "e": "",
}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Scheduler]:
    device = Device(SETTINGS)
    yield Scheduler(device)
    device.close()


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory, scheduler: Scheduler) -> LateReranker:
    folder: Path = write_stanford(tmp_path_factory.mktemp("late") / "model", metadata={"query_maxlen": 32})
    loaded = load_late_interaction(Stage(name="s", kind="late_interaction", model=str(folder)), SETTINGS, scheduler)
    assert isinstance(loaded, LateReranker)
    return loaded


@dataclass
class Counting:
    """A real encoder that notes what it was asked."""

    inner: LateEncoder
    asked: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    def encode(self, texts: Sequence[str]) -> list[TokenVectors | None]:
        self.asked += texts
        return self.inner.encode(texts)


def passages(found: dict[str, TokenVectors], model: str) -> list[PassageText]:
    return [PassageText(text, vectors={model: found[name]} if name in found else {}) for name, text in TEXTS.items()]


def test_stored_vectors_give_the_scores_of_computing_them(
    database: Database, reranker: LateReranker, scheduler: Scheduler
) -> None:
    encoder = Counting(LateEncoder(reranker.model, scheduler))
    assert remember(database, encoder, TEXTS) == 5
    with database.read() as session:
        found = token_vectors.read(session, encoder.fingerprint, [*TEXTS, "missing"])
    assert set(found) == {"a", "b", "c", "e"}, "what is too long in one piece is read in parts, by the model"
    assert found["b"].vectors.dtype == np.float16
    request = ScoreRequest(QUERY, 128)
    computed = reranker.score(request, passages({}, encoder.fingerprint))
    ours = reranker.score(request, passages(found, encoder.fingerprint))
    np.testing.assert_allclose(ours, computed, atol=0.02)
    assert list(ours.argsort()) == list(computed.argsort())
    assert (ours[[0, 1, 2]] != computed[[0, 1, 2]]).any(), "they come from float16"


def test_a_text_is_encoded_once(database: Database, reranker: LateReranker, scheduler: Scheduler) -> None:
    encoder = Counting(LateEncoder(reranker.model, scheduler))
    first = {name: TEXTS[name] for name in ("a", "b")}
    assert remember(database, encoder, first) == 2
    assert remember(database, encoder, first | {"e": TEXTS["e"]}) == 1
    assert encoder.asked == [TEXTS["a"], TEXTS["b"], TEXTS["e"]]


def test_vectors_of_texts_that_are_gone_are_forgotten(
    database: Database, reranker: LateReranker, scheduler: Scheduler
) -> None:
    encoder = LateEncoder(reranker.model, scheduler)
    remember(database, encoder, {"a": TEXTS["a"]})
    with database.session() as session:
        assert token_vectors.unused(session) == ["a"]
        token_vectors.forget(session, ["a"])
        assert token_vectors.read(session, encoder.fingerprint, ["a"]) == {}


def test_another_models_vectors_and_shorter_limits_are_computed(reranker: LateReranker, scheduler: Scheduler) -> None:
    encoder = LateEncoder(reranker.model, scheduler)
    made = dict(zip(TEXTS, encoder.encode(list(TEXTS.values())), strict=True))
    found = {name: vectors for name, vectors in made.items() if vectors is not None}
    for request, model in ((ScoreRequest(QUERY, 128), "another"), (ScoreRequest(QUERY, 16), encoder.fingerprint)):
        texts = [PassageText(TEXTS["a"], vectors={model: found["a"]})]
        np.testing.assert_array_equal(
            reranker.score(request, texts), reranker.score(request, [PassageText(TEXTS["a"])])
        )


def test_what_is_stored_takes_no_time_and_survives_a_deadline_for_the_rest(
    reranker: LateReranker, scheduler: Scheduler
) -> None:
    encoder = LateEncoder(reranker.model, scheduler)
    made = dict(zip(TEXTS, encoder.encode(list(TEXTS.values())), strict=True))
    found = {name: vectors for name, vectors in made.items() if vectors is not None}
    request = ScoreRequest(QUERY, 128)
    reranker.score(request, passages({}, encoder.fingerprint))
    few, many = passages({}, encoder.fingerprint) * 40, passages(found, encoder.fingerprint) * 40
    assert reranker.fits(request, few, 0.001) < reranker.fits(request, many, 0.001)
    stored = [passage for passage in many if passage.vectors]
    assert reranker.fits(request, stored, 0.0) == len(stored)
    assert reranker.at_once(request, few) <= reranker.at_once(request, many)
    assert reranker.at_once(request, stored) == len(stored)


def test_while_the_model_is_left_alone_what_is_stored_is_scored(reranker: LateReranker, scheduler: Scheduler) -> None:
    short = Scheduler(scheduler.device)
    alone = LateReranker(reranker.model, short)
    (vectors,) = LateEncoder(reranker.model, scheduler).encode([TEXTS["a"]])
    assert vectors is not None
    stored = PassageText(TEXTS["a"], vectors={reranker.model.stored_as: vectors})
    for _ in range(SHORTAGES):
        short.memory.ran_out(reranker.fingerprint, 100, 2, begun=time.monotonic(), halved=False)
    request = ScoreRequest(QUERY, 128)
    assert alone.fits(request, [stored, PassageText(TEXTS["b"])], 9.0) == 2
    with pytest.raises(PartScores, match="ran out of memory") as caught:
        alone.score(request, [stored, PassageText(TEXTS["b"])])
    assert np.isnan(caught.value.scores).tolist() == [False, True]
    for asked, passage in ((request, []), (replace(request, whole=True), [stored])):
        with pytest.raises(Busy, match="ran out of memory"):
            alone.fits(asked, [*passage, PassageText(TEXTS["b"])], 9.0)
