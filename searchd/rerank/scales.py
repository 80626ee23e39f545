"""On what scale the raw scores of each kind and provider are, and how each scale becomes a number from 0 to 1.

The one place that says it: KINDS, PROVIDERS and COSINE_MODELS. Read by the rerank APIs, which promise 0 to 1, and by the
playground, which shows raw scores; a search never asks, for it blends standard scores. None of the numbers is calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from searchd.rerank.remote import JOINT_MODELS
from searchd.settings import Stage

Name = Literal["logit", "probability", "cosine", "order"]

KINDS: Mapping[str, Name] = {
    "cross_encoder": "logit",
    "causal": "logit",
    "seq2seq": "logit",
    "onnx": "logit",
    "late_interaction": "cosine",
    "listwise": "order",
}
"""All kinds but `remote`, whose scale is its provider's."""
PROVIDERS: Mapping[str, Name] = {
    "cohere": "probability",
    "voyage": "probability",
    "jina": "probability",
    "zeroentropy": "probability",
    # These are asked for raw scores (`providers.py`), which of a cross-encoder are logits.
    "tei": "logit",
    "vllm": "logit",
    "infinity": "logit",
}
COSINE_MODELS = JOINT_MODELS
"""Remote models that give cosines, whatever their provider's others give."""
WORDS: Mapping[Name, str] = {
    "logit": "logits",
    "probability": "from 0 to 1",
    "cosine": "cosines",
    "order": "places, counted from the last",
}
"""What a reader is told of each."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What raw scores are; `summed`: how many cosines each is the sum of."""

    name: Name
    summed: int = 1

    def relevance(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32[len(raw)] from 0 to 1, rising with the raw scores of one stage, all of which are given.

        A logit's sigmoid; a probability as it is; of cosines the mean, -1 to 1 brought to 0 to 1; of an order the share
        of its passages that stand below one, half of itself counted: it says no more of the first than that.
        """
        if self.name == "logit":
            return sigmoid(raw)
        if self.name == "probability":
            return np.clip(raw, np.float32(0), np.float32(1))
        found = (raw / self.summed + 1) / 2 if self.name == "cosine" else (raw - 0.5) / max(1, len(raw))
        return np.clip(found, 0, 1).astype(np.float32)


def scale_of(stage: Stage, summed: int = 1) -> Scale:
    """Return the scale of a stage's raw scores; `summed` where they are sums of cosines."""
    if stage.kind != "remote":
        return Scale(KINDS[stage.kind], summed)
    if stage.model.rpartition("/")[2] in COSINE_MODELS:
        return Scale("cosine")
    return Scale(PROVIDERS[stage.provider])


def sigmoid(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + e^-x) in float32, without overflow."""
    small = np.exp(-np.abs(raw))
    return np.where(raw >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
