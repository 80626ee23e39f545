"""BERT's packed forward pass: whose models it takes, that it gives their logits, int8's layers, what it leaves alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from indexer.device import Device
from indexer.errors import ConfigError
from searchd.rerank import int8, packed, sequences
from searchd.rerank.attention import attend_by_runs
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.int8 import COPIES, Int8FeedForward, Int8Linear, copies_of
from searchd.rerank.linears import FeedForward, Make, PackedLinear, PlainLinear
from searchd.rerank.local import Frame, LocalReranker, Pair
from searchd.rerank.packed import PackedForward, agrees, encoder_of, packed_forward, settle
from searchd.rerank.pair_texts import PairTexts
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.sequences import FILL_BITS, joined, packed_of, row_tokens, runs_of
from searchd.settings import Settings, Stage
from tests.searchd.rerank.families import write_encoder
from tests.searchd.rerank.models import scored, write_tiny

QUERY = "how are command line options parsed"
PASSAGES = ["The argparse module parses options.", "Oil", "", "A longer passage about something else, " * 6]
needs_int8 = pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="this processor has no integer dot product")


def loaded(folder: Path) -> tuple[Any, PairTexts]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    return model, PairTexts(model.config, AutoTokenizer.from_pretrained(folder))


def forward_of(model: Any, make: Make) -> PackedForward:
    return PackedForward(encoder_of(model, make, attend_by_runs))


def ids(*values: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(values, dtype=np.int32)


# -- one row of tokens ----------------------------------------------------------------------------------------------


def test_pairs_are_joined_with_their_segments_and_starts() -> None:
    frame = Frame(ids(1, 2), ids(3), passage_type=1)
    found, types, starts = joined([Pair(frame, ids(7, 8)), Pair(frame, ids())])
    assert found.tolist() == [1, 2, 7, 8, 3, 1, 2, 3]
    assert types.tolist() == [0, 0, 1, 1, 1, 0, 0, 1]
    assert starts.tolist() == [0, 5, 8]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_runs_cover_every_sequence_once_and_are_as_long_as_can_be(lengths: list[int]) -> None:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    runs = runs_of(np.array(lengths), starts)
    assert [length for _, count, length in runs for _ in range(count)] == lengths
    assert [start for start, _, _ in runs] == [starts[sum(r[1] for r in runs[:n])] for n in range(len(runs))]
    assert all(first[2] != second[2] for first, second in itertools.pairwise(runs))


@given(st.integers(1, 200_000))
def test_rows_of_a_cpu_have_one_of_few_lengths_and_are_hardly_longer(tokens: int) -> None:
    found = row_tokens(tokens, "cpu")
    assert tokens <= found <= tokens * (1 + 2 / 2**FILL_BITS)
    assert row_tokens(found, "cpu") == found
    assert row_tokens(tokens, "cuda") == tokens


def test_from_a_power_of_two_to_the_next_rows_have_sixteen_lengths() -> None:
    assert len({row_tokens(tokens, "cpu") for tokens in range(513, 1025)}) == 16


def test_what_fills_a_row_up_is_of_no_sequence() -> None:
    batch = [Pair(Frame(ids(1, 2), ids(3), passage_type=1), ids(*range(length))) for length in (20, 40, 40)]
    row = packed_of(batch, 5, torch.device("cpu"))
    assert len(row.ids) == len(row.types) == len(row.positions) == 112
    assert row.starts.tolist() == [0, 23, 66, 109]
    assert row.firsts.tolist() == [0, 23, 66]
    assert row.runs == ((0, 1, 23), (23, 2, 43))
    assert row.positions[:109].tolist() == [*range(5, 28), *range(5, 48), *range(5, 48)]
    assert not row.ids[109:].any()
    assert not row.positions[109:].any()


@pytest.mark.parametrize("window", [None, 5])
def test_first_tokens_alone_are_given_what_they_get_among_all(window: int | None) -> None:
    batch = [Pair(Frame(ids(1, 2), ids(3), passage_type=1), ids(*range(length))) for length in (0, 4, 4, 9, 600)]
    row = packed_of(batch, 0, torch.device("cpu"))
    qkv = torch.randn(len(row.ids), 3 * 16)
    first = attend_by_runs(qkv, row, 2, window, True)
    np.testing.assert_allclose(first, attend_by_runs(qkv, row, 2, window)[row.firsts], atol=1e-6)


# -- whose layers these are -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "electra", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("labels", [1, 2])
def test_it_gives_the_logits_of_bert_and_its_kin(family: str, labels: int, tmp_path: Path) -> None:
    model, texts = loaded(write_encoder(tmp_path / family, family, labels=labels))
    pairs = texts.pairs(*PASSAGES)
    for make in (PlainLinear, PackedLinear):
        logits = forward_of(model, make).forward(pairs)
        assert logits.shape == (len(pairs), labels)
        np.testing.assert_allclose(logits, texts.logits(model, pairs), atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("make", [PlainLinear, PackedLinear])
def test_what_fills_a_row_up_moves_no_score(family: str, make: Make, tmp_path: Path) -> None:
    model, texts = loaded(write_encoder(tmp_path / family, family))
    pairs = texts.pairs(*PASSAGES)
    forward = forward_of(model, make)
    rows = [pairs * count for count in (1, 2, 3)]
    lengths = [sum(pair.length for pair in row) for row in rows]
    assert any(forward.row_tokens(length) > length for length in lengths)
    alone = texts.logits(model, pairs)
    for count, row in enumerate(rows, 1):
        np.testing.assert_allclose(forward.forward(row), alone.repeat(count, 1), atol=1e-4)


@needs_int8
def test_int8_finds_its_scales_without_what_fills_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, texts = loaded(write_encoder(tmp_path / "bert", "bert"))
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[0, 0] = 1000  # what fills a row is larger than all else in it
    pairs = texts.pairs(*PASSAGES)
    scores = []
    for fill in (lambda tokens, _: tokens, lambda tokens, _: tokens + 16):
        monkeypatch.setattr(sequences, "row_tokens", fill)
        found = forward_of(model, Int8Linear)
        settle(found, texts)
        scores.append(found.forward(pairs))
    np.testing.assert_array_equal(*scores)


def test_other_families_run_as_transformers_has_them(tmp_path: Path) -> None:
    model, texts = loaded(write_encoder(tmp_path / "deberta", "deberta"))
    assert packed_forward(model, texts, "float32", Device(Settings(device="cpu"))) is None


def test_int8_is_for_a_cpu_alone(tmp_path: Path) -> None:
    model, texts = loaded(write_tiny(tmp_path / "tiny"))
    elsewhere = Device(Settings(device="cpu"))
    elsewhere.__dict__["name"] = "mps"
    assert packed_forward(model, texts, "int8", elsewhere) is None


def test_a_gpu_that_is_full_is_no_reason_for_a_slower_way_and_a_cpu_is(tmp_path: Path) -> None:
    model, texts = loaded(write_tiny(tmp_path / "tiny"))

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.bert.embeddings.LayerNorm.register_forward_hook(full)
    device = Device(Settings(device="cpu"))
    assert packed_forward(model, texts, "float32", device) is None
    device.__dict__["name"] = "mps"
    with pytest.raises(torch.OutOfMemoryError):
        packed_forward(model, texts, "float32", device)


def test_attention_that_cannot_run_here_leaves_the_packed_pass_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def broken(*_: Any, **__: Any) -> torch.Tensor:
        asked.append("broken")
        raise RuntimeError("no kernel image is available for execution on the device")

    model, texts = loaded(write_tiny(tmp_path / "tiny"))
    monkeypatch.setattr(packed, "attentions", lambda device: [broken, attend_by_runs])
    found = packed_forward(model, texts, "float32", Device(Settings(device="cpu")))
    assert asked
    assert found is not None
    pairs = texts.pairs(*PASSAGES)
    np.testing.assert_allclose(found.forward(pairs), texts.logits(model, pairs), atol=1e-4)
    monkeypatch.setattr(packed, "attentions", lambda device: [broken])
    assert packed_forward(model, texts, "float32", Device(Settings(device="cpu"))) is None


def test_a_model_whose_layers_do_something_else_is_found_out(tmp_path: Path) -> None:
    model, texts = loaded(write_tiny(tmp_path / "tiny"))
    device = Device(Settings(device="cpu"))
    assert packed_forward(model, texts, "float32", device) is not None
    dense = model.bert.encoder.layer[0].output.dense
    plain = dense.forward
    dense.forward = lambda inputs: plain(inputs) * 1.05
    assert packed_forward(model, texts, "float32", device) is None


def test_logits_that_are_no_numbers_do_not_agree(tmp_path: Path) -> None:
    model, texts = loaded(write_tiny(tmp_path / "tiny"))
    assert agrees(forward_of(model, PlainLinear), model, texts, 1e-3)
    with torch.no_grad():
        model.classifier.weight[:] = float("nan")
    assert not agrees(forward_of(model, PlainLinear), model, texts, 1e-3)


def test_a_score_does_not_depend_on_who_shares_its_batch(tmp_path: Path) -> None:
    model, texts = loaded(write_tiny(tmp_path / "tiny"))
    found, pairs = forward_of(model, PackedLinear), texts.pairs(*PASSAGES * 4)
    together = found.forward(pairs)
    alone = torch.cat([found.forward([pair]) for pair in pairs])
    np.testing.assert_allclose(together, alone, atol=1e-5)


# -- int8 -----------------------------------------------------------------------------------------------------------


@needs_int8
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_an_int8_layer_is_within_a_hundredth_of_its_range(seed: int, gelu: bool) -> None:
    chance = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(48, 64, generator=chance) * 0.1, torch.randn(48, generator=chance)
    inputs = torch.randn(200, 64, generator=chance)
    inputs[:, 5] *= 30  # as some channels of real models are
    layer, plain = Int8Linear(weight, bias), PlainLinear(weight, bias)
    np.testing.assert_allclose(layer(inputs, gelu=gelu), plain(inputs, gelu=gelu), atol=1e-5)
    layer.settle()
    expected = plain(inputs, gelu=gelu)
    assert float((layer(inputs, gelu=gelu) - expected).abs().max()) < 0.02 * float(expected.abs().max())


@needs_int8
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([torch.float32, torch.bfloat16]))
def test_an_int8_feed_forward_block_is_close_to_the_float32_one_though_some_channels_are_large(
    seed: int, dtype: torch.dtype
) -> None:
    chance = torch.Generator().manual_seed(seed)
    up = torch.randn(256, 64, generator=chance) * 0.1, torch.randn(256, generator=chance) * 0.1
    down = torch.randn(64, 256, generator=chance) * 0.1, torch.randn(64, generator=chance) * 0.1
    up[0][7] *= 40  # a hidden channel as wide as those of real models
    hidden = torch.randn(200, 64, generator=chance).to(dtype)
    block, plain = Int8FeedForward(up, down, dtype), FeedForward(PlainLinear(*up), PlainLinear(*down))
    expected = plain(hidden.float())
    np.testing.assert_allclose(block(hidden).float(), expected, atol=0.02 * float(expected.abs().max()))
    block.settle()
    found = block(hidden)
    assert found.dtype == dtype
    assert float((found.float() - expected).square().mean().sqrt()) < 0.02 * float(expected.std())
    torch.testing.assert_close(block(hidden[:3]), found[:3], rtol=0, atol=0.02 * float(expected.abs().max()))


@needs_int8
def test_a_large_channel_that_is_given_again_costs_the_others_none_of_their_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(96, 128, generator=chance) * 0.1, torch.zeros(96)
    inputs = torch.randn(400, 128, generator=chance)
    inputs[:, 9] *= 80
    errors = {}
    for copies in (0, COPIES):
        monkeypatch.setattr(int8, "COPIES", copies)
        layer, plain = Int8Linear(weight, bias), PlainLinear(weight, bias)
        layer(inputs)
        layer.settle()
        errors[copies] = float((layer(inputs) - plain(inputs)).square().mean().sqrt())
    assert errors[COPIES] < errors[0] / 2


def test_channels_are_given_again_as_their_range_needs() -> None:
    reach = torch.tensor([1.0, 8.0, 2.1, 0.5])
    assert copies_of(reach, 0).tolist() == [1, 1, 1, 1]
    found = copies_of(reach, 9)
    assert found.tolist() == [1, 8, 3, 1]
    assert float((reach / found).max()) <= 1.0


@needs_int8
def test_int8_gives_what_lies_beyond_its_examples_a_bound_and_no_nonsense() -> None:
    layer = Int8Linear(torch.eye(4), torch.zeros(4))
    layer(torch.linspace(-1, 1, 40).reshape(10, 4))
    layer.settle()
    found = layer(torch.tensor([[100.0] * 4, [-100.0] * 4]))
    assert float(found[0].min()) > 0.9
    assert float(found[1].max()) < -0.9
    assert float(found.abs().max()) < 2


@needs_int8
def test_int8_s_scores_do_not_depend_on_their_batch_and_rank_like_float32s(tmp_path: Path) -> None:
    device = Device(Settings(device="cpu", threads=1, data_dir=str(tmp_path)))
    scores = {}
    for precision in ("float32", "int8"):
        stage = Stage(name="large", precision=precision)
        reranker = load_cross_encoder(stage, Settings(data_dir=str(tmp_path)), Scheduler(device))
        assert isinstance(reranker, LocalReranker)
        assert f"{precision}, packed" in reranker.model.path
        scores[precision] = scored(reranker, QUERY, PASSAGES, 64)
        alone = [scored(reranker, QUERY, [passage], 64)[0] for passage in PASSAGES]
        np.testing.assert_allclose(scores[precision], alone, atol=1e-4)
    assert scores["int8"].argmax() == scores["float32"].argmax()
    device.close()


def test_int8_is_refused_for_what_has_no_packed_forward(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "deberta", "deberta")
    device = Device(Settings(device="cpu", threads=1))
    with pytest.raises(ConfigError, match="int8 is for BERT"):
        load_cross_encoder(Stage(name="large", model=str(folder), precision="int8"), Settings(), Scheduler(device))
    device.close()
