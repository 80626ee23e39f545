"""Cross-encoders: the packaged ones, and any Hugging Face sequence-classification model with one label or two.

Takes pairs, gives logits, in float32 whatever the model's body runs in; the sigmoid is ours.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.device import Device, Priority, cpu_has_bfloat16, importing
from indexer.packing import pack_linears
from indexer.settings import Settings
from indexer.weights import house_folder
from searchd.rerank import house
from searchd.rerank.adapters import Adapter, adapter_of, digest_with, with_adapter
from searchd.rerank.loading import fast_tokenizer, refusals, source_in, source_of, weights_of
from searchd.rerank.local import Frame, LocalReranker, Pair
from searchd.rerank.packed import PackedForward, packed_forward
from searchd.rerank.pair_texts import PairTexts
from searchd.rerank.precision import choose, disagreement
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import Reranker
from searchd.settings import Stage
from searchd.train.registry import promoted

log = logging.getLogger(__name__)


class CrossEncoderModel:
    """A loaded cross-encoder in one precision. See `LocalModel`."""

    def __init__(
        self, model: Any, packed: PackedForward | None, texts: PairTexts, fingerprint: str, precision: str
    ) -> None:
        self._model = model if packed is None else None
        self.packed = packed
        self._texts = texts
        self._precision = precision
        self.warning = ""
        """What readers of `/readyz` are to know of its scores."""
        self.packs = None if packed is None else packed.row_tokens
        self.tokenizer = texts.tokenizer
        self.longest = texts.longest
        self.fingerprint = hashlib.sha256(f"{fingerprint}|{precision}".encode()).hexdigest()

    @property
    def path(self) -> str:
        """See `LocalModel.path`."""
        way = "padded batches" if self.packed is None else self.packed.path
        return f"cross_encoder, {self._precision}, {way}" + (f"; {self.warning}" if self.warning else "")

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        """See `LocalModel.frame`; there is no instruction."""
        return self._texts.frames.frame(query, limit)

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        """Return float32[len(batch)] raw logits; of two labels their difference."""
        logits = self._texts.logits(self._model, batch) if self.packed is None else self.packed.forward(batch)
        scores = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
        array: NDArray[np.float32] = scores.cpu().numpy()
        return array


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model as its files have it, before it is brought into a precision."""

    model: Any
    texts: PairTexts
    digest: str


def load_cross_encoder(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
    """Load a packaged model (or what its owner promoted in its place), a Hugging Face name (`name@revision`) or a folder.

    Raises: ConfigError naming the setting, what it accepts and why it failed.
    """
    device = scheduler.device
    wanted = stage.precision if stage.precision != "auto" else settings.dtype if settings.dtype != "auto" else ""
    with refusals(stage, settings, f"a packaged name ({', '.join(house.HOUSE_MODELS)}), or a cross-encoder"):
        _ = device.name  # before anything is read: a GPU that is not there is told at once
        loaded = _read(stage, settings, wanted)
        model = device.run(lambda: _ready(loaded, wanted, device, settings), priority=Priority.RERANK)
    return LocalReranker(model, scheduler)


def _read(stage: Stage, settings: Settings, wanted: str) -> Loaded:
    import torch

    own = promoted(settings, stage.model)
    if own is None and stage.model in house.HOUSE_MODELS:
        return _read_house(stage.model, adapter_of(stage))
    source = source_of(stage, settings) if own is None else source_in(own, stage)
    # A large model that is to be half as precise is never in memory in full.
    dtype = getattr(torch, wanted) if wanted in ("bfloat16", "float16") else torch.float32
    tokenizer = fast_tokenizer(source.folder, trusted=source.trusted)
    model = weights_of(source, "AutoModelForSequenceClassification", dtype)
    return Loaded(model, PairTexts(model.config, tokenizer), source.fingerprint)


def _read_house(name: str, adapter: Adapter | None) -> Loaded:
    with importing():
        from transformers import AutoTokenizer

    import torch

    tokenizer = AutoTokenizer.from_pretrained(house_folder(), local_files_only=True)
    model: Any = with_adapter(house.load(name, torch.float32), adapter, set())
    return Loaded(model, PairTexts(model.config, tokenizer), digest_with(house.HOUSE_MODELS[name], adapter))


def _ready(loaded: Loaded, wanted: str, device: Device, settings: Settings) -> CrossEncoderModel:
    """Return the model in the precision wanted, or in the one that proves itself; int8 says if it does not."""

    def build(precision: str) -> CrossEncoderModel:
        return in_precision(loaded, precision, device)

    if wanted:
        model = build(wanted)
        said = disagreement(loaded.digest, device, settings.data_path, wanted, build) if wanted == "int8" else ""
        if said:  # it is the owner's wish, so it runs
            log.warning("%s: %s", model.path, said)
            model.warning = said
        return model
    chosen, _ = choose(loaded.digest, device, settings.data_path, build)
    assert isinstance(chosen, CrossEncoderModel)  # noqa: S101  # narrows the type: it is what `build` made
    return chosen


def in_precision(loaded: Loaded, precision: str, device: Device) -> CrossEncoderModel:
    """Return the model on the device in a precision. Raises: ValueError if it cannot be had."""
    import torch

    kept = torch.bfloat16 if precision == "int8" and cpu_has_bfloat16() else torch.float32
    dtype = kept if precision == "int8" else getattr(torch, precision)
    model = converted(copy.deepcopy(loaded.model), device.name, dtype)
    packed = packed_forward(model, loaded.texts, precision, device)
    if packed is None:
        if precision == "int8":
            raise ValueError(
                f"int8 is for BERT, RoBERTa, XLM-RoBERTa, ELECTRA and ModernBERT on a CPU, not {model.config.model_type}"
            )
        if device.name == "cpu":
            example = loaded.texts.pairs("It works as it was built to.")
            pack_linears(model, lambda: loaded.texts.logits(model, example))
    return CrossEncoderModel(model, packed, loaded.texts, loaded.digest, precision)


def converted(model: Any, device: str, dtype: Any) -> Any:
    """Return a model on a device in a precision; the frequencies of its positions stay as they are, and on a CPU its norms.

    In bfloat16 frequencies would turn a token at position 500 by up to half a radian too far; norms cost no time in float32.
    """
    norms = {name: copy.deepcopy(part) for name, part in model.named_modules() if device == "cpu" and is_norm(part)}
    precise = {name: buffer for name, buffer in model.named_buffers() if name.endswith("inv_freq")}
    model = model.to(device=device, dtype=dtype)
    for name, buffer in precise.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, buffer.to(device))
    for name, norm in norms.items():
        model.set_submodule(name, norm.float())
    return model


def is_norm(part: Any) -> bool:
    """Say whether a part of a model is a layer norm."""
    from torch.nn import LayerNorm

    return isinstance(part, LayerNorm)
