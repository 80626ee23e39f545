"""last hidden state -> score, in float32: the logits of the answers alone, never those of the whole vocabulary.

A model's own head would give them in its precision: in bfloat16, logits between 4 and 8 are 0.03 apart, and tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

TOLERANCE = 0.05
"""How far a logit may be from the model's own, relative to it or to 1: bfloat16 has 8 bits."""


class Readout:
    """The rows of a head that are needed: one answer, or two of which the first is taken away from the second."""

    def __init__(
        self, head: Any, rows: Sequence[int], *, factor: float = 1.0, cap: float = 0.0, scale: float = 1.0
    ) -> None:
        """Take `rows` of a linear `head`; `factor` of hidden states, `cap` of logits (0: none), `scale` of the score."""
        self._weight = head.weight.detach()[list(rows)].float()
        self._bias = None if head.bias is None else head.bias.detach()[list(rows)].float()
        self._factor, self._cap, self._scale = factor, cap, scale

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32[n, rows] for hidden[n, width]."""
        logits: torch.Tensor = (hidden.float() * self._factor) @ self._weight.T
        if self._bias is not None:
            logits = logits + self._bias
        return self._cap * (logits / self._cap).tanh() if self._cap else logits

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32[n] for hidden[n, width]."""
        logits = self.logits(hidden)
        return (logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]) / self._scale

    def check(self, hidden: torch.Tensor, own: torch.Tensor) -> None:
        """Compare with the model's own logits of these rows. Raises: ValueError if its head does more than this one."""
        logits = self.logits(hidden)
        if not bool(((logits - own.float()).abs() <= TOLERANCE * own.float().abs().clamp(min=1.0)).all()):
            raise ValueError(
                f"its logits are {own.tolist()}, its hidden states give {logits.tolist()}: its head is not known"
            )
