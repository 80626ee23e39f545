"""Cross-encoders: the packaged ones, and any Hugging Face sequence-classification model with one label or two.

Takes pairs, gives logits, in float32 whatever the model's body runs in; the sigmoid is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.device import Device, Priority, importing
from indexer.embedder import plain_tokenizer
from indexer.errors import ConfigError
from indexer.packing import pack_linears
from indexer.settings import Settings
from indexer.weights import digest_of, first_line, house_folder, model_folder, no_progress_bars
from searchd.rerank import house
from searchd.rerank.adapters import Adapter, adapter_of, digest_with, refuse_adapter, with_adapter
from searchd.rerank.local import Frame, LocalReranker, Pair, PassageTokenizer, padded
from searchd.rerank.pairs import PairFrames
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import Reranker
from searchd.settings import Stage

if TYPE_CHECKING:
    import torch


class CrossEncoderModel:
    """A loaded cross-encoder. See `LocalModel`."""

    packs = False

    def __init__(self, model: Any, tokenizer: Any, fingerprint: str) -> None:
        if not tokenizer.is_fast:
            raise ValueError("it has no tokenizer.json, and none can be made of what it has")
        if tokenizer.pad_token_id is None:
            raise ValueError("its tokenizer has no padding token")
        self._model = model
        plain = plain_tokenizer(tokenizer)
        self._frames = PairFrames(plain)
        self._pad_id = int(tokenizer.pad_token_id)
        self._has_types = "token_type_ids" in tokenizer.model_input_names
        self.tokenizer = PassageTokenizer(plain)
        self.fingerprint = fingerprint
        self.longest = longest_of(model.config, tokenizer)
        self.labels = int(model.config.num_labels)
        if self.labels not in (1, 2):
            raise ValueError(f"a cross-encoder has 1 or 2 labels, this model has {self.labels}")
        self.path = f"cross_encoder, {str(model.dtype).removeprefix('torch.')}, padded batches"

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        """See `LocalModel.frame`; there is no instruction."""
        return self._frames.frame(query, limit)

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        """Return float32[len(batch)] raw logits; of two labels their difference."""
        ids, mask, types = padded(batch, self._pad_id)
        inputs = {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": types} if self._has_types else {})
        logits = logits_of(self._model, inputs)
        scores = logits[:, 0] if self.labels == 1 else logits[:, 1] - logits[:, 0]
        array: NDArray[np.float32] = scores.cpu().numpy()
        return array

    def pack(self) -> None:
        """Lay out linear layers for the CPU."""
        pair = Pair(self.frame("how does it work", "", 64), self.tokenizer.encode(["It works as it was built to."])[0])
        ids, mask, types = padded([pair], self._pad_id)
        inputs = {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": types} if self._has_types else {})
        pack_linears(self._model, lambda: logits_of(self._model, inputs))


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


def load_cross_encoder(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
    """Load a packaged model, a Hugging Face name (`name@revision`) or a folder.

    Raises: ConfigError naming the setting, what it accepts and why it failed.
    """
    from safetensors import SafetensorError

    name, device = stage.model, scheduler.device
    try:
        adapter = adapter_of(stage)
        if name in house.HOUSE_MODELS:
            model = device.run(lambda: _load_house(name, adapter, device), priority=Priority.QUERY)
        else:
            plain, _, revision = (name, "", "") if Path(name).is_dir() else name.partition("@")
            trusted = plain in settings.trust_remote_code
            folder = model_folder(plain, revision, trusted=trusted)
            refuse_adapter(folder)
            model = device.run(lambda: _load_folder(folder, trusted, adapter, device), priority=Priority.QUERY)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise ConfigError(
            f"stage model {name!r} cannot be loaded: {first_line(error)}. `model` takes a packaged name "
            f"({', '.join(house.HOUSE_MODELS)}), the Hugging Face name of a cross-encoder with safetensors weights "
            "(the hub must be reachable the first time), or a folder"
        ) from error
    return LocalReranker(model, scheduler)


def _load_house(name: str, adapter: Adapter | None, device: Device) -> CrossEncoderModel:
    with importing():
        from transformers import AutoTokenizer

    device.prepare()
    tokenizer = AutoTokenizer.from_pretrained(house_folder(), local_files_only=True)
    model: Any = house.load(name, device.dtype).to(device.name)  # type: ignore[arg-type]  # transformers hides torch's own signature
    model = with_adapter(model, adapter, set())
    return _ready(CrossEncoderModel(model, tokenizer, digest_with(house.HOUSE_MODELS[name], adapter)), device)


def _load_folder(folder: Path, trusted: bool, adapter: Adapter | None, device: Device) -> CrossEncoderModel:
    with importing():
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device.prepare()
    no_progress_bars()
    # trusted code may lie in another repository
    options = {"trust_remote_code": trusted, "local_files_only": not trusted}
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    model: Any
    model, notes = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, dtype=device.dtype, output_loading_info=True, **options
    )
    model.to(device.name)
    model = with_adapter(model, adapter, set(notes["missing_keys"])).eval()
    return _ready(CrossEncoderModel(model, tokenizer, digest_with(digest_of(folder), adapter)), device)


def _ready(model: CrossEncoderModel, device: Device) -> CrossEncoderModel:
    if device.name == "cpu":
        model.pack()
    return model
