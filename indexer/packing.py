"""Linear layers whose weights are laid out for the CPU once, when a model is loaded, and not anew at every call.

torch.compile does the same when it freezes a model, but needs a C++ compiler where it runs. Used by both kinds of model;
a model that gives other outputs with packed layers, or none at all, keeps its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

TOLERANCE = 0.02
"""How far an output may move, by length, relative to its own or to 1: bfloat16 has 8 bits.

Packed layers give the same bits for the packaged models; a unit vector that moves as far has a cosine of 0.9998.
"""


class PackedLinear:
    """A linear layer on the CPU whose weight is laid out once. Raises AttributeError or RuntimeError where torch cannot."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        import torch

        ops: Any = torch.ops.mkldnn
        self._run = ops._linear_pointwise
        self._weight, self._bias = ops._reorder_linear_weight(weight), bias

    def __call__(self, inputs: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """Return [..., out] of [..., in], with GELU over it if asked for."""
        after: tuple[str, list[Any], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        outputs: torch.Tensor = self._run(inputs, self._weight, self._bias, *after)
        return outputs


def pack_linears(model: torch.nn.Module, run: Callable[[], torch.Tensor]) -> int:
    """Pack the linear layers of a model on the CPU, in place; return how many, 0 if it was left as it was.

    `run` passes an example through the model: its outputs before and after must be equal within TOLERANCE.
    """
    import torch

    linears = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear and child.weight.device.type == "cpu"
    ]
    try:
        with torch.inference_mode():
            before = run().float()
            for parent, name, child in linears:
                setattr(parent, name, packed(child))
            after = run().float()
        moved, length = (after - before).norm(dim=-1), before.norm(dim=-1)
        same = bool((moved <= TOLERANCE * length.clamp(min=1.0)).all())
        reason = "outputs differ"
    except Exception as error:  # whatever a model's own code raises when its layers are of another class
        same, reason = False, str(error).partition("\n")[0]
    if same:
        return len(linears)
    for parent, name, child in linears:
        setattr(parent, name, child)
    log.info("layers stay as they are: %s", reason)
    return 0


def packed(linear: torch.nn.Linear) -> torch.nn.Module:
    """Return a layer that gives what `linear` gives. Raises: AttributeError, RuntimeError where torch cannot."""
    import torch

    class Packed(torch.nn.Module):
        def __init__(self, run: PackedLinear) -> None:
            super().__init__()
            self._run = run

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self._run(inputs)

    # It must not hold `linear` itself, whose weight would then be there twice.
    return Packed(PackedLinear(linear.weight.detach(), None if linear.bias is None else linear.bias.detach()))
