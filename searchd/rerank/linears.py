"""Linear layers of the packed encoders, and the two of a feed-forward block together; int8 ones are in `int8.py`.

A layer takes [tokens, in] and gives [tokens, out] in the precision of its weight, on any device or packed for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from indexer.packing import PackedLinear as PackedLinear  # one of the layers: the embedder has it too

if TYPE_CHECKING:
    import torch


class Linear(Protocol):
    """A linear layer in some precision."""

    def __call__(self, inputs: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """Return [tokens, out] of [tokens, in], with GELU over it if asked for."""


Make = Callable[[Any, Any], Linear]
"""Makes a layer of (weight [out, in], bias [out])."""


class PlainLinear:
    """A layer on any device, in the precision of its weight."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, inputs: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """See `Linear`."""
        import torch

        outputs = torch.nn.functional.linear(inputs, self._weight, self._bias)
        return torch.nn.functional.gelu(outputs) if gelu else outputs


class FeedForward:
    """Up, GELU, down: two layers one after the other."""

    def __init__(self, up: Linear, down: Linear) -> None:
        self._up, self._down = up, down

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return [tokens, width] of [tokens, width]."""
        return self._down(self._up(hidden, gelu=True))
