"""ModernBERT's packed forward pass: transformers' logits at every length, in every company; what it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from indexer.device import Device
from searchd.rerank.attention import BLOCK, attend_by_runs, attend_in_window
from searchd.rerank.cross_encoder import converted, load_cross_encoder
from searchd.rerank.linears import PackedLinear, PlainLinear
from searchd.rerank.local import Frame, LocalReranker, Pair, padded
from searchd.rerank.modernbert import ModernBertEncoder
from searchd.rerank.packed import PackedForward
from searchd.rerank.scheduler import Scheduler
from searchd.settings import Settings, Stage
from tests.searchd.rerank.families import write_encoder
from tests.searchd.rerank.models import scored

WINDOW = 64
LENGTHS = (3, WINDOW, WINDOW + 1, WINDOW + 2, 2 * WINDOW + 1, BLOCK, BLOCK + 1, BLOCK + WINDOW + 1, 40, 40, 700)
"""On both sides of the window, of a block of queries, and of what a block sees."""
QUERY = "how are command line options parsed"
PASSAGES = ["The argparse module parses options.", "Oil", "", "A longer passage about something else, " * 6]


def model_of(**changed: Any) -> Any:
    torch.manual_seed(5)
    config = hf.ModernBertConfig(**{
        "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
        "global_attn_every_n_layers": 3, "local_attention": 2 * WINDOW, "pad_token_id": 0, "initializer_range": 0.1,
        "classifier_pooling": "mean", "num_labels": 1, **changed,
    })  # fmt: skip
    model: Any = hf.ModernBertForSequenceClassification(config)
    return model.eval()


def pairs_of(*lengths: int) -> list[Pair]:
    chance = np.random.default_rng(1)
    numbers = [chance.integers(3, 300, length).astype(np.int32) for length in lengths]
    return [Pair(Frame(one[:1], one[-1:]), one[1:-1]) for one in numbers]


def standard(model: Any, batch: list[Pair]) -> torch.Tensor:
    ids, mask, _ = padded(batch, 0)
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits
    return logits.float()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("make", [PlainLinear, PackedLinear])
def test_it_gives_the_logits_of_transformers_on_both_sides_of_the_window(pooling: str, labels: int, make: Any) -> None:
    model, batch = model_of(classifier_pooling=pooling, num_labels=labels), pairs_of(*LENGTHS)
    found = PackedForward(ModernBertEncoder(model, make, attend_by_runs)).forward(batch)
    assert found.shape == (len(batch), labels)
    np.testing.assert_allclose(found, standard(model, batch), atol=1e-4)
    assert float(found.std()) > 0.05


def test_layers_with_biases_and_an_uneven_split_of_layers_are_taken_too() -> None:
    model = model_of(attention_bias=True, mlp_bias=True, norm_bias=True, classifier_bias=True, num_hidden_layers=3)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    batch = pairs_of(*LENGTHS)
    found = PackedForward(ModernBertEncoder(model, PlainLinear, attend_by_runs)).forward(batch)
    np.testing.assert_allclose(found, standard(model, batch), atol=1e-4)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_neither_order_nor_company_moves_a_score(pooling: str) -> None:
    model, batch = model_of(classifier_pooling=pooling), pairs_of(*LENGTHS)
    packed = PackedForward(ModernBertEncoder(model, PackedLinear, attend_by_runs))
    together = packed.forward(batch)
    np.testing.assert_allclose(packed.forward(batch[::-1]), together.flip(0), atol=1e-5)
    np.testing.assert_allclose(torch.cat([packed.forward([pair]) for pair in batch]), together, atol=1e-5)


@pytest.mark.parametrize("changed", [{"hidden_activation": "silu"}, {"rope_parameters": {
    "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 160_000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0}}}])  # fmt: skip
def test_other_activations_and_positions_are_left_to_transformers(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not built here"):
        ModernBertEncoder(model_of(**changed), PlainLinear, attend_by_runs)


def test_a_long_sequence_attends_within_its_window_in_little_memory() -> None:
    length, seen = 20_000, []

    class Noting(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.nn.functional.scaled_dot_product_attention:
                seen.append(args[0].shape[2] * args[1].shape[2])
            return func(*args, **(kwargs or {}))

    query, key, value = torch.randn(3, 1, 1, length, 8)
    found = torch.empty(1, 1, length, 8)
    with Noting():
        attend_in_window(query, key, value, WINDOW, found)
    assert max(seen) <= BLOCK * (BLOCK + 2 * WINDOW)
    for place in (0, 5_000, length - 1):
        near = slice(max(0, place - WINDOW), place + WINDOW + 1)
        shares = (query[0, 0, place] @ key[0, 0, near].T / 8**0.5).softmax(0)
        np.testing.assert_allclose(found[0, 0, place], shares @ value[0, 0, near], atol=1e-5)


def test_in_bfloat16_the_frequencies_of_positions_stay_as_exact_as_they_are() -> None:
    batch = pairs_of(30, 700)
    exact = standard(model_of(), batch)
    half = converted(model_of(), "cpu", torch.bfloat16)
    assert half.model.rotary_emb.full_attention_inv_freq.dtype == torch.float32
    assert half.classifier.weight.dtype == torch.bfloat16
    found = PackedForward(ModernBertEncoder(half, PackedLinear, attend_by_runs)).forward(batch)
    np.testing.assert_allclose(found, exact, atol=0.05)
    np.testing.assert_allclose(standard(half, batch), exact, atol=0.05)


def test_it_is_loaded_packed_in_every_precision_of_this_processor(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "modernbert", "modernbert")
    settings = Settings(device="cpu", threads=1, data_dir=str(tmp_path))
    device = Device(settings)
    scores = {}
    halves = ["int8"] if torch.cpu._is_vnni_supported() else []
    for precision in ("float32", "bfloat16", *halves):
        stage = Stage(name="large", model=str(folder), precision=precision)
        reranker = load_cross_encoder(stage, settings, Scheduler(device))
        assert isinstance(reranker, LocalReranker)
        assert reranker.model.path == f"cross_encoder, {precision}, packed sequences"
        scores[precision] = scored(reranker, QUERY, PASSAGES, 128)
        alone = [scored(reranker, QUERY, [passage], 128)[0] for passage in PASSAGES]
        np.testing.assert_allclose(scores[precision], alone, atol=1e-5 if precision == "float32" else 0.02)
    np.testing.assert_allclose(scores["bfloat16"], scores["float32"], atol=0.1)
    device.close()
