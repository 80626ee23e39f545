"""The forward pass of ModernBERT over packed sequences, as `encoder.py` has BERT's.

Layers look at all of their sequence or at a window of it, in turns; positions are turns of queries and keys (RoPE), by
angles that differ between the two sorts. A head reads the first token or the mean of all.
Source: Warner et al., "Smarter, Better, Faster, Longer", 2024; Su et al., "RoFormer", 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchd.rerank.attention import Attention
from searchd.rerank.encoder import head_of
from searchd.rerank.int8 import Int8Linear
from searchd.rerank.linears import Linear, Make, PackedLinear
from searchd.rerank.sequences import Packed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: both norms stand before what they are for; the first layer's is none."""

    kind: str
    window: int | None
    attention_norm: Any
    qkv: Linear
    attention_out: Linear
    norm: Any
    up: Linear
    gate: Linear
    down: Linear


class ModernBertEncoder:
    """A ModernBERT cross-encoder."""

    def __init__(self, model: Any, make: Make, attend: Attention) -> None:
        """Take a loaded model. Raises: ValueError if it is of another kind."""
        config, body = model.config, model.model
        ropes = {kind: config.rope_parameters[kind]["rope_type"] for kind in set(config.layer_types)}
        if config.hidden_activation != "gelu" or set(ropes.values()) != {"default"}:
            raise ValueError(
                f"{config.model_type} layers with {config.hidden_activation} or {ropes} are not built here"
            )
        self._embeddings = body.embeddings
        self._heads = int(config.num_attention_heads)
        self._attend = attend
        self._mean = {"mean": True, "cls": False}[config.classifier_pooling]
        self._norm = body.final_norm
        self._head = head_of((model.head, model.classifier), (1, config.hidden_size))
        self._turns = {kind: turns_of(body.rotary_emb, kind, config.max_position_embeddings) for kind in ropes}
        windows = {"full_attention": None, "sliding_attention": int(config.sliding_window)}
        self._layers = [_layer(one, windows[one.attention_type], self._heads, make) for one in body.layers]
        self.first_position = 0
        self.device: torch.device = self._embeddings.tok_embeddings.weight.device

    def logits(self, packed: Packed) -> torch.Tensor:
        """See `Encoder.logits`."""
        hidden = self._embeddings.norm(self._embeddings.tok_embeddings(packed.ids))
        turns = {kind: table.index_select(0, packed.positions)[:, None] for kind, table in self._turns.items()}
        for layer in self._layers[:-1]:
            hidden = self._run(layer, hidden, turns, packed)
        hidden = self._norm(self._run(self._layers[-1], hidden, turns, packed, first_only=not self._mean)).float()
        logits: torch.Tensor = self._head(mean_of_each(hidden, packed) if self._mean else hidden)
        return logits

    def settle(self) -> None:
        """See `Encoder.settle`."""
        for layer in self._layers:
            for part in (layer.qkv, layer.up, layer.gate):
                assert isinstance(part, Int8Linear)  # noqa: S101  # narrows the type
                part.settle()

    def _run(
        self,
        layer: Layer,
        hidden: torch.Tensor,
        turns: dict[str, torch.Tensor],
        packed: Packed,
        *,
        first_only: bool = False,
    ) -> torch.Tensor:
        """Return what a layer makes of [tokens, width], or of the first tokens of sequences alone."""
        qkv = layer.qkv(layer.attention_norm(hidden))
        turn(qkv, turns[layer.kind])
        mixed = self._attend(qkv, packed, self._heads, layer.window, first_only)
        if first_only:
            hidden = hidden.index_select(0, packed.firsts)
        hidden = layer.attention_out(mixed) + hidden
        normed = layer.norm(hidden)
        outputs: torch.Tensor = layer.down(layer.up(normed, gelu=True).mul_(layer.gate(normed))) + hidden
        return outputs


def turns_of(rotary: Any, kind: str, positions: int) -> torch.Tensor:
    """Return complex64[positions, half of a head]: by which angle each pair of a head's numbers is turned."""
    import torch

    device = getattr(rotary, f"{kind}_inv_freq").device
    cosine, sine = rotary(torch.zeros(1, device=device), torch.arange(positions, device=device)[None], kind)
    half = cosine.shape[-1] // 2
    return torch.complex(cosine[0, :, :half].contiguous(), sine[0, :, :half].contiguous())


def turn(qkv: torch.Tensor, turns: torch.Tensor) -> None:
    """Turn queries and keys [tokens, 2 of 3 * width] in place, whose numbers lie in pairs: see `_in_pairs`."""
    import torch

    both = qkv[:, : qkv.shape[1] // 3 * 2].view(len(qkv), -1, turns.shape[-1], 2)
    if qkv.dtype == torch.float32:
        torch.view_as_complex(both).mul_(turns)
    else:
        both.copy_(torch.view_as_real(torch.view_as_complex(both.float()).mul_(turns)))


def mean_of_each(hidden: torch.Tensor, packed: Packed) -> torch.Tensor:
    """Return float32[sequences, width], the mean of each sequence's tokens; of empty ones nothing of use."""
    import torch

    # `unsafe` leaves out checks for which a GPU would be waited for.
    means: torch.Tensor = torch.segment_reduce(hidden, "mean", offsets=packed.starts, axis=0, unsafe=True)
    return means


def _layer(one: Any, window: int | None, heads: int, make: Make) -> Layer:
    qkv, attention_out, wide, down = (
        (linear.weight.detach(), _bias_of(linear)) for linear in (one.attn.Wqkv, one.attn.Wo, one.mlp.Wi, one.mlp.Wo)
    )
    (up, gate), (up_bias, gate_bias) = (part.chunk(2) for part in wide)
    # What enters these is a product of two: of many sizes, for which one int8 scale is too coarse.
    precise = PackedLinear if make is Int8Linear else make
    return Layer(
        kind=one.attention_type,
        window=window,
        attention_norm=one.attn_norm,
        qkv=make(*(_in_pairs(part, heads) for part in qkv)),
        attention_out=precise(*attention_out),
        norm=one.mlp_norm,
        up=make(up, up_bias),
        gate=make(gate, gate_bias),
        down=precise(*down),
    )


def _bias_of(linear: Any) -> torch.Tensor:
    """Return a layer's bias; zeros where it has none: every sort of layer takes one."""
    found: torch.Tensor = linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias
    return found.detach()


def _in_pairs(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Return the rows of queries and keys so that what is turned together lies together: a head's n-th of both halves.

    Their products stay the same, as both are moved alike; values stay where they are.
    """
    import torch

    both = len(rows) // 3 * 2
    size = both // (2 * heads)
    moved = rows[:both].view(2 * heads, 2, size // 2, *rows.shape[1:]).transpose(1, 2)
    return torch.cat([moved.reshape(both, *rows.shape[1:]), rows[both:]])
