"""The forward pass of BERT and its kin over packed sequences: no padding, and nothing of what transformers wraps round it.

All tokens of a batch lie in one matrix [tokens, width]; only attention looks at sequences. A sequence's score therefore
does not depend on who shares its batch. Queries, keys and values are one product; of the last layer only the first token
of each sequence is computed. Built from a loaded model; used by `cross_encoder.py` if it gives the model's own logits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.int8 import Int8FeedForward, Int8Linear
from searchd.rerank.linears import FeedForward, Linear, Make, PackedLinear
from searchd.rerank.local import Pair

if TYPE_CHECKING:
    import torch

BODIES = {"bert": "bert", "electra": "electra", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta"}
"""Model types whose layers are these, and where in the model they are."""


Attention = Callable[["torch.Tensor", "Packed", int], "torch.Tensor"]
"""(queries, keys and values [tokens, 3 * width], where sequences lie, heads) -> [tokens, width]."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The tokens of a batch in one row, sequences one after another; all int64 on the model's device."""

    ids: torch.Tensor
    types: torch.Tensor
    positions: torch.Tensor
    starts: torch.Tensor
    """int64[sequences + 1]: where each begins; the last is the number of tokens."""
    runs: tuple[tuple[int, int, int], ...]
    """(start, sequences, length) of neighbours that are equally long."""
    longest: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer; the norms are torch's own modules."""

    qkv: Linear
    attention_out: Linear
    attention_norm: Any
    feed_forward: Callable[[torch.Tensor], torch.Tensor]
    norm: Any


class Encoder:
    """A BERT-like cross-encoder. `forward` runs on the device's thread."""

    def __init__(self, model: Any, make: Make, attend: Attention | None = None) -> None:
        """Take a loaded model; Raises: ValueError if it is of another kind."""
        config = model.config
        if config.model_type not in BODIES or getattr(config, "hidden_act", "") != "gelu":
            raise ValueError(f"{config.model_type} layers are not built here")
        body = getattr(model, BODIES[config.model_type])
        self._embeddings = body.embeddings
        self._project = getattr(body, "embeddings_project", None)
        self._heads = int(config.num_attention_heads)
        self._first_position = int(config.pad_token_id) + 1 if BODIES[config.model_type] == "roberta" else 0
        self._attend = attend or attend_by_runs
        self._head = [copy.deepcopy(part).float() for part in (getattr(body, "pooler", None), model.classifier) if part]
        self.layers = [_layer(one, make) for one in body.encoder.layer]

    def forward(self, batch: Sequence[Pair]) -> torch.Tensor:
        """Return float32[len(batch), labels]."""
        import torch

        with torch.inference_mode():
            order = sorted(range(len(batch)), key=lambda place: batch[place].length)
            packed = self._pack([batch[place] for place in order])
            hidden = self._embed(packed)
            for layer in self.layers[:-1]:
                hidden = self._run(layer, hidden, packed, None)
            hidden = self._run(self.layers[-1], hidden, packed, packed.starts[:-1]).float()[:, None]
            for part in self._head:
                hidden = part(hidden)
            logits = torch.empty((len(batch), hidden.shape[-1]), dtype=torch.float32, device=hidden.device)
            logits[torch.tensor(order, device=hidden.device)] = hidden.reshape(len(batch), -1)
            return logits

    def _pack(self, batch: Sequence[Pair]) -> Packed:
        import torch

        ids, types, starts = joined(batch)
        lengths = np.diff(starts)
        positions = np.arange(len(ids)) - np.repeat(starts[:-1], lengths) + self._first_position
        device = self._embeddings.word_embeddings.weight.device
        tensors = [torch.from_numpy(array).to(device, non_blocking=True) for array in (ids, types, positions, starts)]
        return Packed(tensors[0], tensors[1], tensors[2], tensors[3], runs_of(lengths, starts), int(lengths.max()))

    def _embed(self, packed: Packed) -> torch.Tensor:
        found = self._embeddings
        kinds = found.token_type_embeddings
        summed = found.word_embeddings(packed.ids) + found.position_embeddings(packed.positions)
        summed = summed + (kinds(packed.types) if kinds.num_embeddings > 1 else kinds.weight[0])
        normed: torch.Tensor = found.LayerNorm(summed)
        return normed if self._project is None else self._project(normed)

    def _run(self, layer: Layer, hidden: torch.Tensor, packed: Packed, only: torch.Tensor | None) -> torch.Tensor:
        """Return what a layer makes of [tokens, width]; of the tokens in `only`, if given."""
        mixed = self._attend(layer.qkv(hidden), packed, self._heads)
        if only is not None:
            mixed, hidden = mixed[only], hidden[only]
        hidden = layer.attention_norm(layer.attention_out(mixed) + hidden)
        normed: torch.Tensor = layer.norm(layer.feed_forward(hidden) + hidden)
        return normed


def joined(batch: Sequence[Pair]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the token ids of all pairs one after another, their segment ids, and int64[pairs + 1] of their starts."""
    pieces = [piece for pair in batch for piece in (pair.frame.head, pair.passage, pair.frame.tail)]
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    types = np.array([kind for pair in batch for kind in (0, pair.frame.passage_type, pair.frame.passage_type)])
    starts = np.concatenate([[0], np.cumsum(lengths)[2::3]])
    return np.concatenate(pieces).astype(np.int64), np.repeat(types, lengths), starts


def runs_of(lengths: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    """Return (start, sequences, length) of every run of equal lengths."""
    firsts = np.flatnonzero(np.diff(lengths, prepend=-1))
    counts = np.diff(firsts, append=len(lengths))
    return tuple((int(starts[f]), int(n), int(lengths[f])) for f, n in zip(firsts, counts, strict=True))


def attend_by_runs(qkv: torch.Tensor, packed: Packed, heads: int) -> torch.Tensor:
    """Attend within each sequence; those of equal length together."""
    import torch

    width = qkv.shape[1] // 3
    size = width // heads
    mixed = torch.empty((len(qkv), width), dtype=qkv.dtype, device=qkv.device)
    for start, count, length in packed.runs:
        part = slice(start, start + count * length)
        query, key, value = qkv[part].view(count, length, 3, heads, size).permute(2, 0, 3, 1, 4)
        found = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=1 / math.sqrt(size))
        mixed[part].view(count, length, heads, size).copy_(found.transpose(1, 2))
    return mixed


def _layer(one: Any, make: Make) -> Layer:
    import torch

    attention = one.attention.self
    parts = (attention.query, attention.key, attention.value)
    weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
    up, down = _weights(one.intermediate.dense), _weights(one.output.dense)
    return Layer(
        qkv=make(weight.detach(), bias.detach()),
        attention_out=(PackedLinear if make is Int8Linear else make)(*_weights(one.attention.output.dense)),
        attention_norm=one.attention.output.LayerNorm,
        feed_forward=(
            Int8FeedForward(up, down, one.output.dense.weight.dtype)
            if make is Int8Linear
            else FeedForward(make(*up), make(*down))
        ),
        norm=one.output.LayerNorm,
    )


def _weights(dense: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return dense.weight.detach(), dense.bias.detach()
