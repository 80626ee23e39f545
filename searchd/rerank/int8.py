"""int8 layers on the CPU: integers go in, and from the up-projection through GELU to the down-projection stay integers.

Weights by output channel, symmetric; activations by fixed scales found on example texts, to 8 bits without sign, which is
what the integer dot product of CPUs takes. Scales are fixed, or a score would depend on its batch. Inputs that are large
are made smaller and their weights larger (SmoothQuant, Xiao et al., ICML 2023), the largest are given several times, a
part each (outlier channel splitting, Zhao et al., ICML 2019); the few hidden channels of a feed-forward block that are
largest go round it as precise as they come (as in LLM.int8, Dettmers et al., NeurIPS 2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from searchd.rerank.linears import PackedLinear

if TYPE_CHECKING:
    import torch

SMOOTHING = 0.5
"""How much of an activation's range goes into its weights."""
COPIES = 32
"""Input channels that are given again, those of the largest ranges several times."""
APART = 48
"""Hidden channels that are larger than all others by far: one scale for all would be theirs."""
HEADROOM = 1.15
"""Over the largest activation of the examples."""
LEAST_GELU = -0.17
"""GELU gives nothing below."""
NO_SCALE = 1.0, 0


class Noted:
    """A layer in float32 that notes the range of each input channel."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.weight, self.bias = weight.float(), bias.float()
        self.lowest: Any = None
        self.highest: Any = None

    def __call__(self, inputs: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """See `Linear`."""
        import torch

        lowest, highest = inputs.amin(dim=0).float(), inputs.amax(dim=0).float()
        self.lowest = lowest if self.lowest is None else torch.minimum(self.lowest, lowest)
        self.highest = highest if self.highest is None else torch.maximum(self.highest, highest)
        outputs = torch.nn.functional.linear(inputs.float(), self.weight, self.bias)
        return (torch.nn.functional.gelu(outputs) if gelu else outputs).to(inputs.dtype)


class Weights:
    """Integer weights of a layer and the product with 8-bit inputs of one scale."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        import torch

        ops: Any = torch.ops.onednn
        self._scales = (weight.abs().amax(dim=1) / 127).clamp(min=1e-8)
        whole = (weight / self._scales[:, None]).round().clamp(-127, 127).to(torch.int8)
        self._weight, self._bias = ops.qlinear_prepack(whole, None), bias
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._run = ops.qlinear_pointwise

    def times(
        self,
        codes: torch.Tensor,
        coded: tuple[float, int],
        dtype: torch.dtype,
        *,
        gelu: bool,
        out: tuple[float, int] = NO_SCALE,
    ) -> torch.Tensor:
        """Return [tokens, out] of uint8[tokens, in] of a (scale, zero); as codes of `out` if `dtype` is uint8."""
        after: tuple[str, list[Any], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        outputs: torch.Tensor = self._run(
            codes, *coded, self._weight, self._scales, self._zeros, self._bias, *out, dtype, *after
        )
        return outputs


class Settled:
    """An int8 layer that codes its inputs itself, by the ranges that were noted.

    A channel that is given k times is rounded at k different points of a step, so that the codes sum to what k times as many
    steps would give: floor(v) + floor(v + 1/k) + .. + floor(v + (k-1)/k) = floor(k v) (Hermite's identity).
    """

    def __init__(self, noted: Noted) -> None:
        import torch

        reach = torch.maximum(noted.highest.abs(), noted.lowest.abs()).clamp(min=1e-5)
        smooth = reach**SMOOTHING / noted.weight.abs().amax(dim=0).clamp(min=1e-3) ** (1 - SMOOTHING)
        copies = copies_of(reach / smooth, min(COPIES, len(reach)))
        most = smooth * copies
        lowest, highest = float((noted.lowest / most).min().clamp(max=0)), float((noted.highest / most).max())
        self._coded = scale_of(lowest * HEADROOM, max(highest, 1e-5) * HEADROOM)
        scale, zero = self._coded
        self._again = torch.arange(len(reach)).repeat_interleave(copies - 1)
        nth = torch.cat([torch.ones(len(reach)), *(torch.arange(2, int(one) + 1) for one in copies if one > 1)])
        columns = torch.cat([torch.arange(len(reach)), self._again])
        self._inverse = 1 / (most[columns] * scale)
        self._offset = zero + (nth - 0.5) / copies[columns]
        self._weights = Weights((noted.weight * smooth)[:, columns], noted.bias)

    def __call__(
        self, inputs: torch.Tensor, *, gelu: bool, dtype: torch.dtype, out: tuple[float, int] = NO_SCALE
    ) -> torch.Tensor:
        """See `Weights.times`; `inputs` are [tokens, in] of any precision."""
        import torch

        width = inputs.shape[1]
        wide = torch.empty(len(inputs), len(self._offset))
        torch.addcmul(self._offset[:width], inputs, self._inverse[:width], out=wide[:, :width])
        again = inputs.index_select(1, self._again)
        torch.addcmul(self._offset[width:], again, self._inverse[width:], out=wide[:, width:])
        codes = wide.clamp_(0, 255).to(torch.uint8)
        return self._weights.times(codes, self._coded, dtype, gelu=gelu, out=out)


def copies_of(reach: torch.Tensor, most: int) -> torch.Tensor:
    """Return int64[channels], how often each channel is given: those of the largest reach again, `most` times in all."""
    import torch

    copies = torch.ones(len(reach), dtype=torch.int64)
    for _ in range(most):
        copies[(reach / copies).argmax()] += 1
    return copies


class Int8Linear:
    """A layer in int8. Until `settle` it is a float32 layer that notes the range of its inputs."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._noted = Noted(weight, bias)
        self._dtype = weight.dtype
        self._settled: Settled | None = None

    def __call__(self, inputs: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """See `Linear`."""
        if self._settled is None:
            return self._noted(inputs, gelu=gelu).to(self._dtype)
        return self._settled(inputs, gelu=gelu, dtype=self._dtype)

    def settle(self) -> None:
        """Fix scales by the inputs seen so far, and pack the weights."""
        self._settled = Settled(self._noted)
        del self._noted


class Int8FeedForward:
    """Up, GELU, down in int8. Until `settle` in float32, noting ranges."""

    def __init__(
        self, up: tuple[torch.Tensor, torch.Tensor], down: tuple[torch.Tensor, torch.Tensor], dtype: torch.dtype
    ) -> None:
        """Take (weight, bias) of both; `dtype` is that of what is given, and of what stays apart."""
        self._noted_up, self._noted_down = Noted(*up), Noted(*down)
        self._dtype = dtype
        self._up: Settled | None = None

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return [tokens, width] of [tokens, width]."""
        import torch

        if self._up is None:
            return self._noted_down(self._noted_up(hidden, gelu=True)).to(self._dtype)
        codes = self._up(hidden, gelu=True, dtype=torch.uint8, out=self._between)
        outputs = self._down.times(codes, self._between, self._dtype, gelu=False)
        if not len(self._apart_down):
            return outputs
        return outputs.addmm_(self._apart(hidden.to(self._dtype), gelu=True), self._apart_down)

    def settle(self) -> None:
        """Fix scales by the inputs seen so far, and pack the weights."""
        import torch

        up, down = self._noted_up, self._noted_down
        apart = down.highest.topk(min(APART, len(down.highest) // 8)).indices
        inside = torch.ones(len(down.highest), dtype=torch.bool)
        inside[apart] = False
        self._apart = PackedLinear(up.weight[apart].to(self._dtype), up.bias[apart].to(self._dtype))
        self._apart_down = down.weight[:, apart].t().contiguous().to(self._dtype)
        self._between = scale_of(LEAST_GELU, float(down.highest[inside].max().clamp(min=1e-5)) * HEADROOM)
        up.weight, up.bias = up.weight * inside[:, None], up.bias * inside
        self._up = Settled(up)
        self._down = Weights(down.weight * inside, down.bias)
        del self._noted_up, self._noted_down


def scale_of(lowest: float, highest: float) -> tuple[float, int]:
    """Return the scale and the zero of 8-bit codes over a range that holds 0."""
    scale = (highest - lowest) / 255
    return scale, round(-lowest / scale)
