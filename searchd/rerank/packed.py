"""Which forward pass over packed sequences a cross-encoder can have here: layers by precision, attention by device.

Gives a PackedForward that was seen to give the model's own logits, or None: then transformers' own forward runs, padded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from indexer.device import Device
from searchd.rerank.attention import Attention, attend_by_runs, attend_varlen
from searchd.rerank.encoder import BODIES, BertEncoder, Encoder
from searchd.rerank.examples import questions
from searchd.rerank.graphs import CudaRecorder, Graphs, rooms
from searchd.rerank.int8 import Int8Linear
from searchd.rerank.linears import Make, PackedLinear, PlainLinear
from searchd.rerank.local import Pair, parts_of
from searchd.rerank.memory import is_shortage
from searchd.rerank.modernbert import ModernBertEncoder
from searchd.rerank.pair_texts import PairTexts
from searchd.rerank.sequences import packed_of, row_tokens

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

ENCODERS: dict[str, type[BertEncoder] | type[ModernBertEncoder]] = {
    **dict.fromkeys(BODIES, BertEncoder),
    "modernbert": ModernBertEncoder,
}
"""Model type -> its forward pass."""
TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.2, "int8": math.inf}
"""How far a logit may be from transformers' own in the same precision, relative to it or to 1: both round, each in its
own order. int8 has a gate of its own (`precision.py`)."""
CALIBRATION = 4, 8
"""Example queries, and passages of each, on which int8 finds its scales."""
EXAMPLE_TOKENS = 128
"""More than ModernBERT's window reaches to both sides."""


class PackedForward:
    """An encoder, fed with pairs; `forward` runs on the device's thread."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.graphs = Graphs(encoder)

    @property
    def path(self) -> str:
        """How it runs, in words."""
        return "packed sequences, CUDA graphs" if self.graphs else "packed sequences"

    def row_tokens(self, tokens: int) -> int:
        """See `LocalModel.packs`; what fills a CUDA graph is not counted."""
        return row_tokens(tokens, self.encoder.device.type)

    def forward(self, batch: Sequence[Pair]) -> torch.Tensor:
        """Return float32[len(batch), labels], on the CPU."""
        import torch

        with torch.inference_mode():
            order = sorted(range(len(batch)), key=lambda place: batch[place].length)
            ordered, encoder = [batch[place] for place in order], self.encoder
            found = self.graphs.logits(ordered)
            if found is None:
                found = encoder.logits(packed_of(ordered, encoder.first_position, encoder.device))
            found = found.cpu()
            logits = torch.empty_like(found)
            logits[torch.tensor(order)] = found
            return logits


def packed_forward(model: Any, texts: PairTexts, precision: str, device: Device) -> PackedForward | None:
    """Return the packed forward pass of a model that is on its device, None if there is none that gives what it gives.

    Raises: what a GPU raises that is out of memory. On a CPU the model then runs as it is, which takes no second layout.
    """
    import torch

    if precision == "int8" and device.name != "cpu":
        return None
    makers: list[Make] = [Int8Linear] if precision == "int8" else [PackedLinear, PlainLinear]
    for make in makers if device.name == "cpu" else [PlainLinear]:
        for attend in attentions(device):
            try:
                found = PackedForward(encoder_of(model, make, attend))
                if precision == "int8":
                    settle(found, texts)
                if agrees(found, model, texts, TOLERANCE[precision]):
                    if attend is attend_varlen:
                        keep_graphs(found, texts, TOLERANCE[precision])
                    return found
            except (ValueError, AttributeError, RuntimeError, TypeError, LookupError, MemoryError) as error:
                # Whatever a model of another make raises when its layers are not where these expect them.
                if is_shortage(error) and device.name != "cpu":
                    raise
                log.info("no packed forward with %s, %s: %s", make, attend, str(error).partition("\n")[0])
            if device.name.startswith("cuda"):
                torch.cuda.synchronize(device.name)
    return None


def encoder_of(model: Any, make: Make, attend: Attention) -> Encoder:
    """Return the encoder of a model's type. Raises: ValueError if there is none; whatever another make of it leads to."""
    if model.config.model_type not in ENCODERS:
        raise ValueError(f"{model.config.model_type} layers are not built here")
    return ENCODERS[model.config.model_type](model, make, attend)


def attentions(device: Device) -> list[Attention]:
    """Return the ways to attend within packed sequences that may run here, the fastest first."""
    return [attend_varlen, attend_by_runs] if device.name.startswith("cuda") else [attend_by_runs]


def keep_graphs(found: PackedForward, texts: PairTexts, tolerance: float) -> None:
    """Record CUDA graphs of the sizes of batch for which they are faster here."""
    import torch

    device = found.encoder.device
    query, passages = questions(1, 40, seed=4)[0]
    with torch.inference_mode():
        example = example_pairs(texts, query, passages)
        found.graphs.keep(rooms(texts.longest), lambda: CudaRecorder(device), example, tolerance)


def settle(found: PackedForward, texts: PairTexts) -> None:
    """Fix the scales of int8 layers by the example texts, and by nothing that fills a row."""
    import torch

    encoder = found.encoder
    for query, passages in questions(*CALIBRATION, seed=2):
        pairs = example_pairs(texts, query, passages)
        with torch.inference_mode():
            encoder.logits(packed_of(pairs, encoder.first_position, encoder.device, filled=False))
    encoder.settle()


def agrees(found: PackedForward, model: Any, texts: PairTexts, tolerance: float) -> bool:
    """Say whether a forward pass gives what the model gives, for sequences of several lengths in one batch."""
    query, passages = questions(1, 5, seed=3)[0]
    pairs = example_pairs(texts, query, [" ".join(passages), *passages, "", passages[0][:30]])
    own, standard = found.forward(pairs), texts.logits(model, pairs).cpu()
    moved = float(((own - standard).abs() / standard.abs().clamp(min=1.0)).max())
    if not moved <= tolerance:
        log.info("no packed forward: its logits differ by %.3g", moved)
    return moved <= tolerance


def example_pairs(texts: PairTexts, query: str, passages: list[str]) -> list[Pair]:
    """Return pairs of at most EXAMPLE_TOKENS tokens."""
    limit = min(EXAMPLE_TOKENS, texts.longest)
    return parts_of(texts.frames.frame(query, limit), texts.tokenizer.encode(passages), limit, whole=False)[0]
