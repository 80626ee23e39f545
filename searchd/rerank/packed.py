"""Which forward pass over packed sequences a cross-encoder can have here: layers by precision, attention by device.

Gives an Encoder that was seen to give the model's own logits, or None: then transformers' own forward runs, padded.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from indexer.device import Device
from searchd.rerank.encoder import Attention, Encoder, Packed, attend_by_runs
from searchd.rerank.examples import questions
from searchd.rerank.int8 import Int8FeedForward, Int8Linear
from searchd.rerank.linears import PackedLinear, PlainLinear
from searchd.rerank.local import Pair, parts_of
from searchd.rerank.pair_texts import PairTexts

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.2, "int8": math.inf}
"""How far a logit may be from transformers' own in the same precision, relative to it or to 1: both round, each in its
own order. int8 has a gate of its own (`precision.py`)."""
CALIBRATION = 4, 8
"""Example queries, and passages of each, on which int8 finds its scales."""


def packed_encoder(model: Any, texts: PairTexts, precision: str, device: Device) -> Encoder | None:
    """Return the encoder of a model that is on its device, None if there is none that gives what the model gives."""
    import torch

    makers: list[Any] = [Int8Linear] if precision == "int8" else [PackedLinear, PlainLinear]
    for make in makers if device.name == "cpu" else [PlainLinear]:
        for attend in attentions(device):
            try:
                encoder = Encoder(model, make, attend)
                if precision == "int8":
                    settle(encoder, texts)
                if agrees(encoder, model, texts, TOLERANCE[precision]):
                    return encoder
            except (ValueError, AttributeError, RuntimeError, TypeError, IndexError) as error:
                # Whatever a model of another make raises when its layers are not where these expect them.
                log.info("no packed forward with %s: %s", make.__name__, str(error).partition("\n")[0])
            if device.name.startswith("cuda"):
                torch.cuda.synchronize(device.name)
    return None


def attentions(device: Device) -> list[Attention]:
    """Return the ways to attend within packed sequences that may run here, the fastest first."""
    return [attend_varlen, attend_by_runs] if device.name.startswith("cuda") else [attend_by_runs]


def attend_varlen(qkv: torch.Tensor, packed: Packed, heads: int) -> torch.Tensor:
    """Attend within each sequence by one flash attention over all; half precision on GPUs from Ampere on."""
    import torch
    from torch.nn.attention.varlen import varlen_attn

    tokens, width = qkv.shape[0], qkv.shape[1] // 3
    query, key, value = qkv.view(tokens, 3, heads, width // heads).unbind(1)
    starts = packed.starts.to(torch.int32)
    mixed = varlen_attn(query, key, value, starts, starts, packed.longest, packed.longest)
    assert isinstance(mixed, torch.Tensor)  # noqa: S101  # narrows the type: no log-sum-exp was asked for
    return mixed.reshape(tokens, width)


def settle(encoder: Encoder, texts: PairTexts) -> None:
    """Fix the scales of int8 layers by the example texts."""
    for query, passages in questions(*CALIBRATION, seed=2):
        encoder.forward(example_pairs(texts, query, passages))
    for layer in encoder.layers:
        for part in (layer.qkv, layer.feed_forward):
            assert isinstance(part, Int8Linear | Int8FeedForward)  # noqa: S101  # narrows the type
            part.settle()


def agrees(encoder: Encoder, model: Any, texts: PairTexts, tolerance: float) -> bool:
    """Say whether an encoder gives what the model gives, for sequences of several lengths in one batch."""
    query, passages = questions(1, 5, seed=3)[0]
    pairs = example_pairs(texts, query, [*passages, "", passages[0][:30]])
    own, standard = encoder.forward(pairs), texts.logits(model, pairs)
    moved = float(((own - standard).abs() / standard.abs().clamp(min=1.0)).max())
    if not moved <= tolerance:
        log.info("no packed forward: its logits differ by %.3g", moved)
    return moved <= tolerance


def example_pairs(texts: PairTexts, query: str, passages: list[str]) -> list[Pair]:
    """Return pairs of at most 128 tokens."""
    limit = min(128, texts.longest)
    return parts_of(texts.frames.frame(query, limit), texts.tokenizer.encode(passages), limit, whole=False)[0]
