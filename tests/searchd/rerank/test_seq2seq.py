"""MonoT5, tiny and random: compared with what its published code computes, written here again, one pair at a time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from indexer.errors import ConfigError
from searchd.rerank.local import LocalReranker
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.seq2seq import load_seq2seq
from searchd.rerank.types import PassageText, Reranker, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank.families import write_encoder, write_t5
from tests.searchd.rerank.tokenizers import write_tokenizer

QUERY = "how are command line options parsed?"
PASSAGES = [
    "The argparse module parses command line options and writes usage messages.",
    "Oil",
    "",
    "The turbine is lubricated by oil under pressure.\n" * 40,
    "  Perl > Options\ngetopt parses command line options\tin the manner of the C library. ",
    "Ünïcödé 漢字 🙂 e\u0301\n\nand   more",
    "#heading of a longer passage about something else, " * 6,
]


def published(tokenizer: object, query: str, passage: str) -> list[int]:
    """Source: pygaggle, T5BatchTokenizer; one end token, as the slow tokenizer it was made for gave."""
    ids: list[int] = tokenizer(f"Query: {query} Document: {passage} Relevant:")["input_ids"]  # type: ignore[operator]
    return ids


def plainly(folder: Path, max_length: int) -> NDArray[np.float32]:
    """Compute logit(true) - logit(false) one pair at a time with transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    end = tokenizer("Relevant:")["input_ids"]
    true, false = (tokenizer.convert_tokens_to_ids(token) for token in ("▁true", "▁false"))
    scores = []
    for passage in PASSAGES:
        ids = published(tokenizer, QUERY, passage)
        ids = ids if len(ids) <= max_length else [*ids[: max_length - len(end)], *end]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0]])).logits[0, -1]
        scores.append(float(logits[true] - logits[false]))
    return np.asarray(scores, dtype=np.float32)


def load(folder: Path, settings: Settings, scheduler: Scheduler, precision: str = "auto") -> LocalReranker:
    stage = Stage(name="large", kind="seq2seq", model=str(folder), precision=precision)
    loaded = load_seq2seq(stage, settings, scheduler)
    assert isinstance(loaded, LocalReranker)
    return loaded


def score(reranker: Reranker, passages: list[str], max_length: int) -> NDArray[np.float32]:
    """Score passages by their beginnings."""
    return reranker.score(ScoreRequest(QUERY, max_length, parts=False), [PassageText(text) for text in passages])


@pytest.fixture(scope="module", params=[True, False], ids=["head of T5", "head of T5 1.1"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("t5") / "model", tied=request.param)


@pytest.fixture(scope="module")
def reranker(folder: Path, settings: Settings, scheduler: Scheduler) -> LocalReranker:
    return load(folder, settings, scheduler)


@pytest.mark.parametrize("max_length", [32, 64, 512])
def test_scores_are_those_of_the_published_code(folder: Path, reranker: LocalReranker, max_length: int) -> None:
    scores = score(reranker, PASSAGES, max_length)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, plainly(folder, max_length), atol=1e-4, rtol=1e-5)
    assert len({round(float(one), 3) for one in scores}) > 4


def test_neither_padding_nor_order_nor_batch_size_moves_a_score(reranker: LocalReranker) -> None:
    together = score(reranker, PASSAGES, 96)
    alone = [score(reranker, [passage], 96)[0] for passage in PASSAGES]
    backwards = score(reranker, PASSAGES[::-1], 96)[::-1]
    repeated = score(reranker, PASSAGES * 20, 96)[-len(PASSAGES) :]
    for other in (alone, backwards, repeated):
        np.testing.assert_allclose(other, together, atol=1e-4)


@pytest.mark.parametrize("query", ["q", QUERY, " two\nlines ", "漢字 🙂?", "{document}"])
def test_frame_and_passage_add_up_to_the_whole_prompt(folder: Path, reranker: LocalReranker, query: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    frame = reranker.model.frame(query, "", 1 << 20)
    for passage, ids in zip(PASSAGES, reranker.model.tokenizer.encode(PASSAGES), strict=True):
        assert [*frame.head, *ids, *frame.tail] == published(tokenizer, query, passage), passage


def test_a_long_passage_scores_as_its_best_part(reranker: LocalReranker) -> None:
    long = "A cat sat on a mat. " * 30 + "The argparse module parses command line options."
    frame, name = reranker.model.frame(QUERY, "", 64), reranker.model.tokenizer.fingerprint
    room = 64 - len(frame.head) - len(frame.tail)
    ids = reranker.model.tokenizer.encode([long])[0]
    alone = [
        reranker.score(ScoreRequest(QUERY, 64), [PassageText("", {name: ids[start : start + room]})])[0]
        for start in [*range(0, len(ids) - room, room - room // 4), len(ids) - room]
    ]
    assert len(alone) > 3
    best = reranker.score(ScoreRequest(QUERY, 64), [PassageText(long)])
    assert best[0] == pytest.approx(max(alone), abs=1e-4)


def test_there_is_no_instruction(reranker: LocalReranker) -> None:
    passages = [PassageText(text) for text in PASSAGES]
    told = reranker.score(ScoreRequest(QUERY, 64, instruction="Prefer what is short"), passages)
    np.testing.assert_allclose(told, reranker.score(ScoreRequest(QUERY, 64), passages), atol=1e-4)


def test_it_takes_as_many_tokens_as_it_was_trained_on(reranker: LocalReranker) -> None:
    assert reranker.model.longest == 512


def test_bfloat16_gives_float32_logits_that_do_not_tie(
    folder: Path, reranker: LocalReranker, settings: Settings, scheduler: Scheduler
) -> None:
    half = load(folder, settings, scheduler, precision="bfloat16")
    assert half.fingerprint != reranker.fingerprint
    scores, exact = score(half, PASSAGES, 96), score(reranker, PASSAGES, 96)
    np.testing.assert_allclose(scores, exact, atol=0.1 * max(1.0, float(np.abs(exact).max())))
    assert (scores != torch.from_numpy(scores).bfloat16().float().numpy()).any()


def test_a_model_of_another_kind_is_refused(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    with pytest.raises(ConfigError, match=r"cannot be loaded: .*`model` takes a sequence-to-sequence model"):
        load(write_encoder(tmp_path / "bert", "bert"), settings, scheduler)


def test_a_model_that_does_not_answer_true_or_false_is_refused(
    tmp_path: Path, settings: Settings, scheduler: Scheduler
) -> None:
    folder = write_t5(tmp_path / "t5")
    words = (folder / "tokenizer.json").read_text().replace('"▁true"', '"▁tru"').replace('\\u2581true"', '\\u2581tru"')
    (folder / "tokenizer.json").write_text(words)
    with pytest.raises(ConfigError, match="no single token 'true'"):
        load(folder, settings, scheduler)


def test_a_tokenizer_of_pieces_alone_names_the_package_that_reads_it(
    tmp_path: Path, settings: Settings, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_t5(tmp_path / "t5")
    (folder / "tokenizer.json").rename(folder / "spiece.model")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "sentencepiece" else found(name, *rest)
    )
    with pytest.raises(ConfigError, match=r"no tokenizer.json.*run: pip install sentencepiece"):
        load(folder, settings, scheduler)


def test_int8_is_refused(tmp_path: Path, settings: Settings, scheduler: Scheduler) -> None:
    with pytest.raises(ConfigError, match="int8 is not for kind seq2seq"):
        load(tmp_path, settings, scheduler, precision="int8")


def test_the_tokenizer_is_a_t5s(tmp_path: Path) -> None:
    tokenizer = write_tokenizer("t5", tmp_path)
    assert tokenizer.encode("x true").tokens[-2:] == ["▁true", "</s>"]
