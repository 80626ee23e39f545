"""Linear layers of the packed encoder: torch's own, packed for the CPU, and int8.

int8: weights by output channel, symmetric; activations by fixed scales found on example texts, to 8 bits without sign,
which is what the integer dot product of CPUs takes. Channels that are large are made smaller and their weights larger
(SmoothQuant, Xiao et al., ICML 2023), and the few largest stay as they are (as in LLM.int8, Dettmers et al., NeurIPS 2022),
so that one scale fits all. Scales are fixed, or a score would depend on its batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SMOOTHING = 0.5
"""How much of an activation's range goes into its weights."""
APART = 32
"""Channels that are larger than all others by far, which stay as precise as they come: one scale for all would be theirs."""
HEADROOM = 1.15
"""Over the largest activation of the examples."""


class PlainLinear:
    """A layer on any device, in the precision of its weight."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, inputs: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """See `Linear`."""
        import torch

        outputs = torch.nn.functional.linear(inputs, self._weight, self._bias)
        return torch.nn.functional.gelu(outputs) if gelu else outputs


class PackedLinear:
    """A layer on the CPU whose weight is laid out once. Raises AttributeError or RuntimeError where torch cannot."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        import torch

        ops: Any = torch.ops.mkldnn
        self._run = ops._linear_pointwise
        self._weight, self._bias = ops._reorder_linear_weight(weight), bias

    def __call__(self, inputs: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """See `Linear`."""
        after: tuple[str, list[Any], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        outputs: torch.Tensor = self._run(inputs, self._weight, self._bias, *after)
        return outputs


class Int8Linear:
    """A layer in int8 on the CPU. Until `settle` it is a float32 layer that notes the range of its inputs."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._full, self._bias = weight.float(), bias.float()
        self._lowest: Any = None
        self._highest: Any = None
        self._weight: Any = None

    def __call__(self, inputs: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """See `Linear`."""
        return self._noting(inputs, gelu) if self._weight is None else self._multiplied(inputs, gelu)

    def _noting(self, inputs: torch.Tensor, gelu: bool) -> torch.Tensor:
        import torch

        lowest, highest = inputs.amin(dim=0).float(), inputs.amax(dim=0).float()
        self._lowest = lowest if self._lowest is None else torch.minimum(self._lowest, lowest)
        self._highest = highest if self._highest is None else torch.maximum(self._highest, highest)
        outputs = torch.nn.functional.linear(inputs.float(), self._full, self._bias)
        return (torch.nn.functional.gelu(outputs) if gelu else outputs).to(inputs.dtype)

    def settle(self) -> None:
        """Fix scales by the inputs seen so far, and pack the weights."""
        import torch

        ops: Any = torch.ops.onednn
        reach = torch.maximum(self._highest.abs(), self._lowest.abs()).clamp(min=1e-5)
        weight = self._full.clone()
        apart = reach.topk(min(APART, len(reach) // 8)).indices
        self._apart, self._wide = apart, weight[:, apart].t().contiguous()
        weight[:, apart] = 0
        reach[apart] = reach.median()
        inside = torch.ones(len(reach), dtype=torch.bool)
        inside[apart] = False
        smooth = reach**SMOOTHING / weight.abs().amax(dim=0).clamp(min=1e-3) ** (1 - SMOOTHING)
        weight = weight * smooth
        lowest = float((self._lowest / smooth)[inside].min().clamp(max=0)) * HEADROOM
        highest = float((self._highest / smooth)[inside].max().clamp(min=1e-5)) * HEADROOM
        self._scale = (highest - lowest) / 255
        self._zero = round(-lowest / self._scale)
        self._inverse = 1 / (smooth * self._scale)
        self._offset = torch.full_like(self._inverse, self._zero + 0.5)
        self._scales = (weight.abs().amax(dim=1) / 127).clamp(min=1e-8)
        whole = (weight / self._scales[:, None]).round().clamp(-127, 127).to(torch.int8)
        self._weight = ops.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._run = ops.qlinear_pointwise
        del self._full, self._lowest, self._highest

    def _multiplied(self, inputs: torch.Tensor, gelu: bool) -> torch.Tensor:
        import torch

        small = torch.addcmul(self._offset, inputs.float(), self._inverse).clamp_(0, 255).to(torch.uint8)
        alone = gelu and not len(self._apart)
        after: tuple[str, list[Any], str] = ("gelu", [], "none") if alone else ("none", [], "")
        outputs: torch.Tensor = self._run(
            small, self._scale, self._zero, self._weight, self._scales, self._zeros, self._bias, 1.0, 0,
            inputs.dtype, *after,
        )  # fmt: skip
        if len(self._apart):
            outputs = outputs.addmm_(inputs[:, self._apart].to(outputs.dtype), self._wide.to(outputs.dtype))
            return torch.nn.functional.gelu(outputs) if gelu else outputs
        return outputs
