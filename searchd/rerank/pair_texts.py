"""How a cross-encoder's texts become its inputs, and what plain transformers makes of them.

Takes a loaded tokenizer and configuration; gives frames, token ids and padded logits. Used by `cross_encoder.py` and by
`packed.py`, which holds its own forward pass against these logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.embedder import plain_tokenizer
from indexer.tokens import PassageTokenizer
from searchd.rerank.local import Pair, padded, parts_of
from searchd.rerank.pairs import PairFrames

if TYPE_CHECKING:
    import torch


class PairTexts:
    """How a model's texts become its inputs, whatever its precision."""

    def __init__(self, config: Any, tokenizer: Any) -> None:
        if not tokenizer.is_fast:
            raise ValueError("it has no tokenizer.json, and none can be made of what it has")
        if tokenizer.pad_token_id is None:
            raise ValueError("its tokenizer has no padding token")
        if int(config.num_labels) not in (1, 2):
            raise ValueError(f"a cross-encoder has 1 or 2 labels, this model has {config.num_labels}")
        plain = plain_tokenizer(tokenizer)
        self.frames = PairFrames(plain)
        self.tokenizer = PassageTokenizer(plain)
        self.longest = longest_of(config, tokenizer)
        self._pad_id = int(tokenizer.pad_token_id)
        self._has_types = "token_type_ids" in tokenizer.model_input_names

    def logits(self, model: Any, batch: Sequence[Pair]) -> torch.Tensor:
        """Return float32[len(batch), labels] as transformers computes them, padded."""
        ids, mask, types = padded(batch, self._pad_id)
        inputs = {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": types} if self._has_types else {})
        return logits_of(model, inputs)

    def pairs(self, *texts: str) -> list[Pair]:
        """Return example pairs."""
        frame = self.frames.frame("how does it work", min(64, self.longest))
        return parts_of(frame, self.tokenizer.encode(texts), min(64, self.longest), whole=False)[0]


def longest_of(config: Any, tokenizer: Any) -> int:
    """Return how many tokens a model takes: what its tokenizer says, and its table of positions."""
    positions = int(getattr(config, "max_position_embeddings", None) or 1 << 20)
    # RoBERTa and its kin count positions from the padding id + 1.
    offset = int(config.pad_token_id or 0) + 1 if config.model_type in ROBERTA_LIKE else 0
    return min(int(tokenizer.model_max_length), positions - offset)


ROBERTA_LIKE = (
    "roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer", "mpnet", "roberta-prelayernorm", "data2vec-text",
    "xmod", "ibert", "luke",
)  # fmt: skip


def logits_of(model: Any, inputs: dict[str, NDArray[np.int64]]) -> torch.Tensor:
    """Return float32[pairs, labels] on the model's device."""
    import torch

    with torch.inference_mode():
        tensors = {name: torch.from_numpy(array).to(model.device) for name, array in inputs.items()}
        logits: torch.Tensor = model(**tensors).logits.float()
    return logits
