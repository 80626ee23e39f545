"""Sequence-to-sequence models in the manner of MonoT5: the first word they would say, true or false.

Kind `seq2seq`. The encoder reads query and passage, the decoder makes one step; its logit of true, less that of false,
is the score, computed in float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.embedder import plain_tokenizer
from indexer.settings import Settings
from searchd.rerank.loading import Recipe, Source, fast_tokenizer, load, longest_of, named, packed_if_small, weights_of
from searchd.rerank.local import Frame, LocalReranker, Pair, padded
from searchd.rerank.prompted import PromptFrames
from searchd.rerank.prompts import MONO_T5
from searchd.rerank.readout import Readout
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import Reranker
from searchd.settings import Stage

if TYPE_CHECKING:
    import torch


class Seq2SeqModel:
    """A loaded sequence-to-sequence model. See `LocalModel`."""

    packs = None

    def __init__(self, model: Any, tokenizer: Any, fingerprint: str) -> None:
        """Keep encoder and decoder of `model`, and of its head what is read. Raises: ValueError if it is not as MonoT5."""
        self._frames = PromptFrames(plain_tokenizer(tokenizer), MONO_T5, None, tokenizer.eos_token_id)
        self.tokenizer = self._frames.passages
        self.longest = longest_of(model.config, tokenizer, "n_positions")
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._start_id = int(model.config.decoder_start_token_id)
        self._encoder, self._decoder = model.get_encoder(), model.get_decoder()
        rows = [self._frames.answer_id(word) for word in (MONO_T5.no, MONO_T5.yes)]
        scaled = bool(getattr(model.config, "scale_decoder_outputs", False))
        factor = float(model.config.d_model**-0.5) if scaled else 1.0
        self._readout = Readout(model.get_output_embeddings(), rows, factor=factor)
        self._readout.check(self._hidden([self._example()]), self._own_logits(model, rows))
        packed_if_small(model, lambda: self._hidden([self._example()]))
        precision = named(model.dtype)
        self.fingerprint = hashlib.sha256(f"seq2seq|{fingerprint}|{MONO_T5!r}|{precision}".encode()).hexdigest()
        self.path = f"seq2seq, {precision}, padded batches"

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        """See `LocalModel.frame`; there is no instruction, and the prompt counts into `limit`."""
        return self._frames.frame(query, "", limit)

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        """Return float32[len(batch)]: logit of true, less that of false."""
        import torch

        with torch.inference_mode():
            scores: NDArray[np.float32] = self._readout.scores(self._hidden(batch)).cpu().numpy()
        return scores

    def _inputs(self, batch: Sequence[Pair]) -> tuple[torch.Tensor, ...]:
        """Return ids and mask of the encoder, and the ids of the decoder."""
        import torch

        ids, mask, _ = padded(batch, self._pad_id)
        start = np.full((len(batch), 1), self._start_id, dtype=np.int64)
        return tuple(torch.from_numpy(array).to(self._encoder.device) for array in (ids, mask, start))

    def _hidden(self, batch: Sequence[Pair]) -> torch.Tensor:
        """Return the decoder's hidden states[len(batch), width] after its first step."""
        import torch

        with torch.inference_mode():
            ids, mask, start = self._inputs(batch)
            read = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            said = self._decoder(
                input_ids=start, encoder_hidden_states=read, encoder_attention_mask=mask, use_cache=False
            ).last_hidden_state
        first: torch.Tensor = said[:, -1]
        return first

    def _own_logits(self, model: Any, rows: Sequence[int]) -> torch.Tensor:
        """Return what the whole model itself says for the example: float[1, rows]."""
        import torch

        with torch.inference_mode():
            ids, mask, start = self._inputs([self._example()])
            logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start, use_cache=False).logits
        own: torch.Tensor = logits[:, -1, list(rows)]
        return own

    def _example(self) -> Pair:
        frame = self._frames.frame("how does it work", "", 1 << 20)
        return Pair(frame, self.tokenizer.encode(["It works as it was built to."])[0])


def load_seq2seq(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
    """Load a model by its Hugging Face name (`name@revision`) or from a folder.

    Raises: ConfigError naming the setting, what it accepts and why it failed.
    """
    recipe = Recipe("a sequence-to-sequence model that answers true or false, as MonoT5 does,", _read, Seq2SeqModel)
    return LocalReranker(load(stage, settings, scheduler, recipe), scheduler)


def _read(source: Source, dtype: torch.dtype) -> tuple[Any, Any]:
    return weights_of(source, "AutoModelForSeq2SeqLM", dtype), fast_tokenizer(source.folder, trusted=source.trusted)
