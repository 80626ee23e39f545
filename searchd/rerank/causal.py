"""Causal language models that are asked whether a passage answers a query: the logit of yes, less that of no.

Kind `causal`; `prompt` of the stage names how the model is asked (`prompts.py`). Padded left, so that every answer is at
the last position; only its logits are computed, in float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.embedder import plain_tokenizer
from indexer.errors import ConfigError
from indexer.settings import Settings
from searchd.rerank.loading import Recipe, Source, fast_tokenizer, load, longest_of, named, packed_if_small, weights_of
from searchd.rerank.local import Frame, LocalReranker, Pair, padded
from searchd.rerank.prompted import PromptFrames
from searchd.rerank.prompts import PROMPTS, Prompt
from searchd.rerank.readout import Readout
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import Reranker
from searchd.settings import Stage

if TYPE_CHECKING:
    import torch


class CausalModel:
    """A loaded causal model. See `LocalModel`."""

    packs = None

    def __init__(self, model: Any, tokenizer: Any, prompt: Prompt, fingerprint: str) -> None:
        """Keep the body of `model` and of its head what is read. Raises: ValueError if prompt and model do not fit."""
        self._frames = PromptFrames(plain_tokenizer(tokenizer), prompt, tokenizer.bos_token_id, tokenizer.eos_token_id)
        self.tokenizer = self._frames.passages
        self.longest = longest_of(model.config, tokenizer, "max_position_embeddings")
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._body = model.base_model
        rows = rows_of(model, self._frames, prompt)
        head = model.get_output_embeddings() if prompt.yes else getattr(model, "score", None)
        if head is None:
            raise ValueError(f"{type(model).__name__} has no head to read the answer from")
        cap = float(getattr(model.config, "final_logit_softcapping", None) or 0.0)
        self._readout = Readout(head, rows, cap=cap if prompt.yes else 0.0, scale=prompt.scale)
        self._readout.check(self._hidden([self._example()]), own_logits(model, self._example(), rows))
        packed_if_small(self._body, lambda: self._hidden([self._example()]))
        precision = named(model.dtype)
        self.fingerprint = hashlib.sha256(f"causal|{fingerprint}|{prompt!r}|{precision}".encode()).hexdigest()
        self.path = f"causal, {precision}, padded batches"

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        """See `LocalModel.frame`; prompt and instruction count into `limit`."""
        return self._frames.frame(query, instruction, limit)

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        """Return float32[len(batch)]: logit of yes, less that of no, if there is one; or the score head's logit."""
        import torch

        with torch.inference_mode():
            scores: NDArray[np.float32] = self._readout.scores(self._hidden(batch)).cpu().numpy()
        return scores

    def _hidden(self, batch: Sequence[Pair]) -> torch.Tensor:
        """Return the hidden states[len(batch), width] of the last position."""
        import torch

        ids, mask, _ = padded(batch, self._pad_id, left=True)
        positions = np.maximum(mask.cumsum(axis=1) - 1, 0)  # padding must not move a passage
        with torch.inference_mode():
            inputs = [torch.from_numpy(array).to(self._body.device) for array in (ids, mask, positions)]
            states = self._body(
                input_ids=inputs[0], attention_mask=inputs[1], position_ids=inputs[2], use_cache=False
            ).last_hidden_state
        last: torch.Tensor = states[:, -1]
        return last

    def _example(self) -> Pair:
        frame = self._frames.frame("how does it work", "", 1 << 20)
        return Pair(frame, self.tokenizer.encode(["It works as it was built to."])[0])


def rows_of(model: Any, frames: PromptFrames, prompt: Prompt) -> list[int]:
    """Return which outputs of a model's head the score is made of: no before yes."""
    if prompt.yes:
        return [frames.answer_id(word) for word in (prompt.no, prompt.yes) if word]
    labels = int(model.config.num_labels)
    if labels not in (1, 2):
        raise ValueError(f"a score head has 1 or 2 labels, this model has {labels}")
    return list(range(labels))


def own_logits(model: Any, pair: Pair, rows: Sequence[int]) -> torch.Tensor:
    """Return what the whole model itself says for one pair: float[1, rows]."""
    import torch

    ids, mask, _ = padded([pair], 0)
    with torch.inference_mode():
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        logits = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}, use_cache=False).logits
    own: torch.Tensor = logits.reshape(-1, logits.shape[-1])[-1:, list(rows)]
    return own


def load_causal(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
    """Load a causal model by its Hugging Face name (`name@revision`) or from a folder, with its adapter if it has one.

    Raises: ConfigError naming the setting, what it accepts and why it failed.
    """
    if stage.prompt not in PROMPTS:
        said = f"has no prompt {stage.prompt!r}" if stage.prompt else "names no prompt"
        raise ConfigError(f"stage model {stage.model!r} {said}; `prompt` takes {', '.join(PROMPTS)}")
    prompt = PROMPTS[stage.prompt]

    def read(source: Source, dtype: torch.dtype) -> tuple[Any, Any]:
        scored = {} if prompt.yes else {"num_labels": 1}
        loader = "AutoModelForCausalLM" if prompt.yes else "AutoModelForSequenceClassification"
        return weights_of(source, loader, dtype, **scored), fast_tokenizer(source.folder, trusted=source.trusted)

    def build(model: Any, tokenizer: Any, fingerprint: str) -> CausalModel:
        return CausalModel(model, tokenizer, prompt, fingerprint)

    recipe = Recipe(f"a causal language model that fits prompt {stage.prompt!r},", read, build)
    return LocalReranker(load(stage, settings, scheduler, recipe), scheduler)
