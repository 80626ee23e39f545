"""The small model's start: what is kept of a layer, and by what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from searchd.train.shrink import Activity, activity, has_layers, kept_of, narrowed, shrunk
from tests.searchd.rerank.families import ENCODERS, write_encoder
from tests.searchd.rerank.models import write_tiny
from tests.searchd.train.test_fit import SETTINGS, groups

NEURONS, WIDTH = 12, 5


@pytest.fixture
def fitted(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny")


def layer(seed: int = 0) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return {
        ".intermediate.dense.weight": torch.randn(NEURONS, WIDTH, generator=chance),
        ".intermediate.dense.bias": torch.randn(NEURONS, generator=chance),
        ".output.dense.weight": torch.randn(WIDTH, NEURONS, generator=chance),
        ".output.dense.bias": torch.randn(WIDTH, generator=chance),
        ".attention.output.dense.weight": torch.randn(WIDTH, WIDTH, generator=chance),
    }


def test_neurons_that_always_give_the_same_are_left_out_without_a_difference() -> None:
    whole, steady = layer(), [1, 4, 7, 8]
    whole[".intermediate.dense.weight"][steady] = 0.0
    rows = torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(1))

    def inner(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.relu(rows @ tensors[".intermediate.dense.weight"].T + tensors[".intermediate.dense.bias"])

    given = inner(whole)
    sizes = given.square().mean(0).sqrt()
    sizes[steady] = 0.0  # they are not chosen, whatever they give
    less = narrowed(whole, Activity(given.mean(0), sizes), NEURONS - len(steady))
    outputs = [inner(one) @ one[".output.dense.weight"].T + one[".output.dense.bias"] for one in (whole, less)]
    assert less[".intermediate.dense.weight"].shape == (NEURONS - len(steady), WIDTH)
    assert torch.allclose(*outputs, atol=1e-5)
    assert torch.equal(less[".attention.output.dense.weight"], whole[".attention.output.dense.weight"])


def test_those_are_kept_that_add_most() -> None:
    whole = layer()
    out = whole[".output.dense.weight"]
    size = torch.ones(NEURONS)
    out /= out.norm(dim=0)
    size[3], size[9] = 5.0, 4.0
    out[:, 10] *= 6.0
    less = narrowed(whole, Activity(torch.zeros(NEURONS), size), 3)
    assert torch.equal(less[".intermediate.dense.bias"], whole[".intermediate.dense.bias"][[3, 9, 10]])


def test_activity_is_that_of_a_plain_computation(fitted: Path) -> None:
    one = groups()[3]  # texts of different lengths
    tokenizer = AutoTokenizer.from_pretrained(fitted)
    model = AutoModelForSequenceClassification.from_pretrained(fitted).eval()
    seen: list[list[torch.Tensor]] = [[], []]
    for number, noted in enumerate(seen):
        model.bert.encoder.layer[number].intermediate.register_forward_hook(
            lambda *given, noted=noted: noted.append(given[2][0])
        )
    with torch.no_grad():
        for text in one.texts:
            model(**tokenizer(one.query, text, return_tensors="pt"))
    assert len({len(rows) for rows in seen[0]}) > 1
    first, last = torch.cat(seen[0]), torch.stack([rows[0] for rows in seen[1]])
    found = activity(fitted, [one], SETTINGS)
    assert len(found) == model.config.num_hidden_layers == 2
    for active, rows in zip(found, (first, last), strict=True):
        assert torch.allclose(active.mean, rows.mean(0), atol=1e-5)
        assert torch.allclose(active.size, rows.square().mean(0).sqrt(), atol=1e-5)


def test_a_small_model_is_an_ordinary_one_of_fewer_and_narrower_layers(fitted: Path, tmp_path: Path) -> None:
    neurons = json.loads((fitted / "config.json").read_text())["intermediate_size"]
    small = shrunk(fitted, (1,), tmp_path / "small", groups(), SETTINGS)
    model = AutoModelForSequenceClassification.from_pretrained(small)
    assert model.config.num_hidden_layers == 1
    assert model.config.intermediate_size == kept_of(neurons)
    tensors = load_file(small / "model.safetensors")
    assert {name: tensor.shape for name, tensor in model.state_dict().items() if "position_ids" not in name} == {
        name: tensor.shape for name, tensor in tensors.items() if "position_ids" not in name
    }
    prefix = "bert.encoder.layer."
    whole = {
        name.removeprefix(f"{prefix}1"): tensor
        for name, tensor in load_file(fitted / "model.safetensors").items()
        if name.startswith(f"{prefix}1")
    }
    expected = narrowed(whole, activity(fitted, groups(), SETTINGS)[1], kept_of(neurons))
    assert all(torch.equal(tensor, tensors[f"{prefix}0{name}"]) for name, tensor in expected.items())


@pytest.mark.parametrize(("neurons", "kept"), [(1536, 512), (3072, 1024), (4096, 1344), (128, 64), (64, 21), (2, 1)])
def test_kept_neurons_fill_whole_blocks(neurons: int, kept: int) -> None:
    assert kept_of(neurons) == kept


@pytest.mark.parametrize("family", [family for family in ENCODERS if family != "modernbert"])
def test_every_family_with_such_layers_becomes_narrower(family: str, tmp_path: Path) -> None:
    fitted = write_encoder(tmp_path / "fitted", family)
    assert has_layers(fitted)
    small = shrunk(fitted, (1,), tmp_path / "small", groups(), SETTINGS)
    model, notes = AutoModelForSequenceClassification.from_pretrained(small, output_loading_info=True)
    assert model.config.num_hidden_layers == 1
    assert not notes["missing_keys"] and not notes["mismatched_keys"] and not notes["unexpected_keys"]


def test_a_family_of_other_layers_is_told_apart(tmp_path: Path) -> None:
    assert not has_layers(write_encoder(tmp_path / "modern", "modernbert"))
