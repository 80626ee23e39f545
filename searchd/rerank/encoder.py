"""The forward pass of BERT and its kin over packed sequences: no padding, and nothing of what transformers wraps round it.

All tokens of a batch lie in one matrix [tokens, width]; only attention looks at sequences. A sequence's score therefore
does not depend on who shares its batch. Queries, keys and values are one product; of the last layer only the first token
of each sequence is computed. Built from a loaded model; used by `packed.py` if it gives the model's own logits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from indexer.packing import pack_linears
from searchd.rerank.attention import Attention
from searchd.rerank.int8 import Int8FeedForward, Int8Linear
from searchd.rerank.linears import FeedForward, Linear, Make, PackedLinear
from searchd.rerank.sequences import Packed

if TYPE_CHECKING:
    import torch

BODIES = {"bert": "bert", "electra": "electra", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta"}
"""Model types whose layers are these, and where in the model they are."""


class Encoder(Protocol):
    """A cross-encoder over a row of tokens. Looks at the row's tensors alone if its attention does."""

    first_position: int
    """Of each sequence's first token."""
    device: torch.device

    def logits(self, packed: Packed) -> torch.Tensor:
        """Return float32[sequences, labels]. Runs on the device's thread, in inference mode."""

    def settle(self) -> None:
        """Fix the scales of int8 layers by the inputs that they have seen."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer; the norms are torch's own modules."""

    qkv: Linear
    attention_out: Linear
    attention_norm: Any
    feed_forward: Callable[[torch.Tensor], torch.Tensor]
    norm: Any


class BertEncoder:
    """A BERT-like cross-encoder. On a CPU hidden states are float32 between the layers, whatever the layers multiply in."""

    def __init__(self, model: Any, make: Make, attend: Attention) -> None:
        """Take a loaded model. Raises: ValueError if it is of another kind."""
        import torch

        config = model.config
        if config.model_type not in BODIES or getattr(config, "hidden_act", "") != "gelu":
            raise ValueError(f"{config.model_type} layers are not built here")
        body = getattr(model, BODIES[config.model_type])
        self._embeddings = body.embeddings
        self._project = getattr(body, "embeddings_project", None)
        self._heads = int(config.num_attention_heads)
        self._attend = attend
        parts = [part for part in (getattr(body, "pooler", None), model.classifier) if part]
        self._head = head_of(parts, (1, 1, config.hidden_size))
        self.device: torch.device = self._embeddings.word_embeddings.weight.device
        self._dtype: torch.dtype = body.encoder.layer[0].output.dense.weight.dtype
        on_cpu = self.device.type == "cpu"
        # int8 layers code hidden states as they come: rounding them first costs more time than it saves.
        self._given: torch.dtype = torch.float32 if make is Int8Linear else self._dtype
        self._norm = _norm(self._embeddings.LayerNorm, precise=on_cpu)
        self._layers = [_layer(one, make, precise=on_cpu) for one in body.encoder.layer]
        self.first_position = int(config.pad_token_id) + 1 if BODIES[config.model_type] == "roberta" else 0

    def logits(self, packed: Packed) -> torch.Tensor:
        """See `Encoder.logits`."""
        hidden = self._embed(packed)
        for layer in self._layers[:-1]:
            hidden = self._run(layer, hidden, packed)
        hidden = self._run(self._layers[-1], hidden, packed, first_only=True).float()[:, None]
        logits: torch.Tensor = self._head(hidden)
        return logits.reshape(len(packed.firsts), -1)

    def settle(self) -> None:
        """See `Encoder.settle`."""
        for layer in self._layers:
            for part in (layer.qkv, layer.feed_forward):
                assert isinstance(part, Int8Linear | Int8FeedForward)  # noqa: S101  # narrows the type
                part.settle()

    def _embed(self, packed: Packed) -> torch.Tensor:
        found = self._embeddings
        kinds = found.token_type_embeddings
        summed = found.word_embeddings(packed.ids) + found.position_embeddings(packed.positions)
        summed = summed + (kinds(packed.types) if kinds.num_embeddings > 1 else kinds.weight[0])
        normed: torch.Tensor = self._norm(summed.to(self._norm.weight.dtype))
        return normed if self._project is None else self._project(normed.to(self._dtype)).to(normed.dtype)

    def _run(self, layer: Layer, hidden: torch.Tensor, packed: Packed, *, first_only: bool = False) -> torch.Tensor:
        """Return what a layer makes of [tokens, width], or of the first tokens of sequences alone."""
        mixed = self._attend(layer.qkv(hidden.to(self._given)), packed, self._heads, None, first_only)
        if first_only:
            hidden = hidden.index_select(0, packed.firsts)
        hidden = layer.attention_norm(layer.attention_out(mixed) + hidden)
        normed: torch.Tensor = layer.norm(layer.feed_forward(hidden.to(self._given)) + hidden)
        return normed


def head_of(parts: Sequence[Any], shape: Sequence[int]) -> Any:
    """Return a model's head in float32; `shape` is that of what its first part takes.

    On a CPU its layers are laid out once, like the others: torch's own take another kernel for other numbers of rows, and
    texts that are the same would score a few bits apart, in another order at every call.
    """
    import torch

    head = torch.nn.Sequential(*(copy.deepcopy(part).float() for part in parts))
    if next(head.parameters()).device.type == "cpu":
        example = torch.linspace(-1, 1, shape[-1]).expand(*shape)
        pack_linears(head, lambda: head(example))
    return head


def _norm(norm: Any, *, precise: bool) -> Any:
    """Return a layer norm, in float32 if it is to be precise."""
    return copy.deepcopy(norm).float() if precise else norm


def _layer(one: Any, make: Make, *, precise: bool) -> Layer:
    import torch

    attention = one.attention.self
    parts = (attention.query, attention.key, attention.value)
    weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
    up, down = _weights(one.intermediate.dense), _weights(one.output.dense)
    return Layer(
        qkv=make(weight.detach(), bias.detach()),
        attention_out=(PackedLinear if make is Int8Linear else make)(*_weights(one.attention.output.dense)),
        attention_norm=_norm(one.attention.output.LayerNorm, precise=precise),
        feed_forward=(
            Int8FeedForward(up, down, one.output.dense.weight.dtype)
            if make is Int8Linear
            else FeedForward(make(*up), make(*down))
        ),
        norm=_norm(one.output.LayerNorm, precise=precise),
    )


def _weights(dense: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return dense.weight.detach(), dense.bias.detach()
