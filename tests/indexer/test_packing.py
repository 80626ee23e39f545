"""Packed layers: the same outputs, or the model is left as it was."""

from __future__ import annotations

import gc
import itertools
import weakref

import pytest
import torch

from indexer.packing import pack_linears


class Reads(torch.nn.Module):
    """Looks at the weight of its layer, as some architectures do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(16, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.layer(inputs.to(self.layer.weight.dtype))
        return outputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_layers_give_what_the_layers_gave(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(16, 32, bias=bias), torch.nn.GELU(), torch.nn.Sequential(torch.nn.Linear(32, 4, bias=bias))
    ).to(dtype)
    inputs = torch.randn(3, 5, 16).to(dtype)
    with torch.inference_mode():
        before = model(inputs)
        assert pack_linears(model, lambda: model(inputs[:1])) == 2
        assert not any(type(module) is torch.nn.Linear for module in model.modules())
        assert torch.allclose(model(inputs).float(), before.float(), atol=0.02 if dtype == torch.bfloat16 else 1e-5)


def test_a_model_that_reads_its_weights_keeps_its_layers() -> None:
    model = Reads()
    assert pack_linears(model, lambda: model(torch.ones(1, 16))) == 0
    assert type(model.layer) is torch.nn.Linear


def test_the_weights_of_packed_layers_are_there_once() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(16, 4))
    weight = weakref.ref(model[0].weight)
    assert pack_linears(model, lambda: model(torch.ones(1, 16))) == 1
    gc.collect()
    assert weight() is None


def test_a_vector_of_many_dimensions_that_turns_a_little_is_another_output() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(16, 4))
    unit = torch.nn.functional.normalize(torch.randn(2, 4096, generator=torch.Generator().manual_seed(1)), dim=-1)
    turned = torch.nn.functional.normalize(unit + 0.1 * unit.roll(1, dims=-1), dim=-1)
    outputs = iter((unit, turned))
    assert pack_linears(model, lambda: next(outputs)) == 0


def test_a_model_that_gives_other_outputs_keeps_its_layers() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(16, 4))
    calls = itertools.count()
    assert pack_linears(model, lambda: torch.full((1,), float(next(calls)))) == 0
    assert type(model[0]) is torch.nn.Linear
