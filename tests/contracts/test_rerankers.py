"""The Reranker contract, run over every kind in RERANKERS with each model it is shipped with or made for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from indexer.device import Device
from searchd.rerank import house
from searchd.rerank.late_stored import LateReranker
from searchd.rerank.local import LocalReranker
from searchd.rerank.onnx_export import export_onnx
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RERANKERS
from searchd.rerank.types import PassageText, QueryCut, Reranker, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank.families import write_decoder, write_t5
from tests.searchd.rerank.late_models import write_stanford
from tests.searchd.rerank.models import scored, write_tiny

MODELS = {
    "cross_encoder": ("rerank-base", "one label", "two labels"),
    "causal": ("qwen3",),
    "seq2seq": ("t5",),
    "late_interaction": ("colbert",),
    "onnx": ("exported",),
}
"""Every kind whose model runs here has at least one to run the contract on."""
SERVICES = {"remote", "listwise"}
"""Run against servers of their own, in tests/searchd/rerank."""
PROMPT_TOKENS = {"causal": 160}
"""What a kind's prompt takes of every length."""
SETTINGS = Settings(dtype="float32", threads=1)
QUERY = "how are command line options parsed"
PASSAGES = [
    "The argparse module parses command line options and writes usage messages.",
    "Oil",
    "",
    "The turbine is lubricated by oil under pressure. " * 60,
    "getopt parses command line options in the manner of the C library.",
    "Ünïcödé 漢字 🙂",
    "A longer passage about something else, " * 6,
]


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    opened = Device(SETTINGS)
    yield opened
    opened.close()


WRITERS: dict[str, Callable[[Path], Path]] = {
    "one label": write_tiny,
    "two labels": lambda folder: write_tiny(folder, labels=2),
    "qwen3": lambda folder: write_decoder(folder, "qwen3"),
    "t5": write_t5,
    "colbert": lambda folder: write_stanford(folder, metadata={"query_maxlen": 16, "doc_maxlen": 128}),
}


@pytest.fixture(scope="module", params=[(kind, model) for kind in MODELS for model in MODELS[kind]], ids=str)
def named(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, device: Device
) -> tuple[Reranker, Path, str]:
    """Return a reranker, its model as an ordinary folder, and its kind."""
    kind, model = request.param
    folder = tmp_path_factory.mktemp("rerankers") / "model"
    name = str(folder)
    if model == "rerank-base":
        house.export(model, folder)
        name = model
    elif model == "exported":
        export_onnx(str(write_tiny(folder)), folder.parent / "exported", int8=False)
        name = str(folder.parent / "exported")
    else:
        WRITERS[model](folder)
    stage = Stage(name="stage", kind=kind, model=name, **({"prompt": "qwen3"} if kind == "causal" else {}))
    return RERANKERS[kind](stage, SETTINGS, Scheduler(device)), folder, kind


@pytest.fixture(scope="module")
def reranker(named: tuple[Reranker, Path, str]) -> Reranker:
    return named[0]


@pytest.fixture(scope="module")
def more(named: tuple[Reranker, Path, str]) -> int:
    """Return how many tokens the kind's prompt takes."""
    return PROMPT_TOKENS.get(named[2], 0)


def test_every_kind_is_under_contract() -> None:
    assert set(RERANKERS) == set(MODELS) | SERVICES


def plainly(folder: Path, max_length: int) -> list[float]:
    """Compute the logits one pair at a time with transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    scores = []
    for passage in PASSAGES:
        pair = tokenizer([QUERY], [passage], truncation="only_second", max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**pair).logits[0]
        scores.append(float(logits[0] if len(logits) == 1 else logits[1] - logits[0]))
    return scores


class TestReranker:
    @pytest.mark.parametrize("max_length", [24, 128])
    def test_scores_are_the_logits_that_plain_transformers_gives(
        self, named: tuple[Reranker, Path, str], max_length: int
    ) -> None:
        if named[2] not in ("cross_encoder", "onnx"):
            pytest.skip("held against its published code in a test of its own")
        scores = scored(named[0], QUERY, PASSAGES, max_length)
        assert (scores.dtype, scores.shape) == (np.float32, (len(PASSAGES),))
        np.testing.assert_allclose(scores, plainly(named[1], max_length), atol=1e-4)

    def test_neither_padding_nor_order_nor_batch_size_moves_a_score(self, reranker: Reranker, more: int) -> None:
        together = scored(reranker, QUERY, PASSAGES, 96 + more)
        alone = [scored(reranker, QUERY, [passage], 96 + more)[0] for passage in PASSAGES]
        backwards = scored(reranker, QUERY, PASSAGES[::-1], 96 + more)[::-1]
        repeated = scored(reranker, QUERY, PASSAGES * 3, 96 + more)[len(PASSAGES) : 2 * len(PASSAGES)]
        for other in (alone, backwards, repeated):
            np.testing.assert_allclose(other, together, atol=1e-4)
        assert len({round(float(score), 3) for score in together}) > 4

    def test_what_runs_at_once_is_one_passage_or_more_and_never_more_than_there_are(
        self, reranker: Reranker, more: int
    ) -> None:
        request = ScoreRequest(QUERY, 64 + more)
        for count in (1, 2, len(PASSAGES)):
            assert 1 <= reranker.at_once(request, [PassageText(text) for text in PASSAGES[:count]]) <= count

    def test_no_passages_give_no_scores(self, reranker: Reranker, more: int) -> None:
        scores = scored(reranker, QUERY, [], 64 + more)
        assert (scores.dtype, scores.shape) == (np.float32, (0,))

    def test_what_lies_beyond_the_length_is_not_read(self, reranker: Reranker, more: int) -> None:
        start = "the passage begins with these words " * 40
        short, long = scored(reranker, QUERY, [start, start + "and then tells of something else " * 4000], 32 + more)
        assert short == pytest.approx(long, abs=1e-4)

    def test_a_query_longer_than_the_model_still_leaves_half_to_the_passage(
        self, reranker: Reranker, more: int
    ) -> None:
        scores = scored(reranker, "words without an end " * 2000, PASSAGES[:2], 64 + more)
        assert abs(float(scores[0] - scores[1])) > 1e-4

    def test_a_query_that_is_read_in_part_is_told_in_the_models_own_tokens(
        self, named: tuple[Reranker, Path, str], more: int
    ) -> None:
        reranker, _, kind = named
        assert isinstance(reranker, LocalReranker | LateReranker)
        limit, words = 64 + more, "oil " * 300
        bare = reranker.model.frame("", "", limit)
        room = limit - len(bare.head) - len(bare.tail)
        reads = {"causal": room // 2, "seq2seq": room // 2, "late_interaction": 16 - 3}.get(kind, limit // 2)
        tokens = len(reranker.model.tokenizer.encode([words.strip()])[0])
        cut = reranker.query_cut(ScoreRequest(words.strip(), limit))
        # A prompt's blank before a word, or none, may make one token more.
        assert cut in (QueryCut(reads, tokens), QueryCut(reads, tokens + 1))
        assert reranker.query_cut(ScoreRequest("oil", limit)) is None
        within = "oil " * (reads * 300 // tokens - 1)
        assert reranker.query_cut(ScoreRequest(within.strip(), limit)) is None
        same = [scored(reranker, words + end, PASSAGES, limit) for end in ("pump", "turbine")]
        np.testing.assert_allclose(*same, atol=1e-4)

    def test_lengths_beyond_what_the_model_takes_are_cut_to_it(self, reranker: Reranker, more: int) -> None:
        assert np.isfinite(scored(reranker, QUERY, [PASSAGES[3]], 8192 + more)).all()

    def test_threads_that_score_different_lengths_at_once_do_not_disturb_each_other(
        self, reranker: Reranker, more: int
    ) -> None:
        expected = {length: scored(reranker, QUERY, PASSAGES, length + more) for length in (16, 32, 64, 96)}
        wrong: list[int] = []

        def score(length: int) -> None:
            for _ in range(3):
                if np.abs(scored(reranker, QUERY, PASSAGES, length + more) - expected[length]).max() > 1e-4:
                    wrong.append(length)

        threads = [threading.Thread(target=score, args=(length,)) for length in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []

    def test_past_the_deadline_it_is_a_timeout(self, reranker: Reranker, more: int) -> None:
        with pytest.raises(TimeoutError):
            scored(reranker, QUERY, PASSAGES, 64 + more, deadline=time.monotonic() - 1)

    def test_a_long_passage_scores_as_its_best_part(self, reranker: Reranker, more: int) -> None:
        filler = "The turbine is lubricated by oil under pressure. " * 12
        answer = "command line options are parsed by argparse"
        for text in (filler + answer, answer + filler, filler + answer + filler):
            whole = scored(reranker, QUERY, [text], 48 + more, parts=True)[0]
            words = text.split()
            pieces = [" ".join(words[start : start + 60]) for start in range(0, len(words), 5)]
            assert whole >= scored(reranker, QUERY, [text], 48 + more)[0] - 1e-4
            assert whole >= np.median(scored(reranker, QUERY, pieces, 48 + more)) - 1e-4

    def test_stored_token_ids_give_the_scores_that_texts_give(self, reranker: Reranker, more: int) -> None:
        assert isinstance(reranker, LocalReranker | LateReranker)
        tokenizer = reranker.model.tokenizer
        stored = [PassageText("not read", {tokenizer.fingerprint: ids}) for ids in tokenizer.encode(PASSAGES)]
        for parts in (True, False):
            request = ScoreRequest(QUERY, 48 + more, parts=parts)
            expected = reranker.score(request, [PassageText(text) for text in PASSAGES])
            np.testing.assert_allclose(reranker.score(request, stored), expected, atol=1e-5)

    def test_a_caller_who_went_away_gets_no_scores(self, reranker: Reranker, more: int) -> None:
        with pytest.raises(TimeoutError):
            scored(reranker, QUERY, PASSAGES, 64 + more, cancelled=lambda: True)

    def test_its_fingerprint_is_a_digest(self, reranker: Reranker) -> None:
        assert len(reranker.fingerprint) == 64
        assert int(reranker.fingerprint, 16) > 0
