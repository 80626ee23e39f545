"""Cross-encoders: the packaged one, and any Hugging Face sequence-classification model with one label or two.

Takes (query, passages), gives logits, in float32 whatever the model's body runs in; the sigmoid is ours. One `score` is
one job of the device.
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
from searchd.rerank.pairs import PairEncoder

if TYPE_CHECKING:
    import torch


class CrossEncoderReranker:
    """A loaded cross-encoder. Thread-safe."""

    def __init__(self, model: Any, pairs: PairEncoder, device: Device, fingerprint: str) -> None:
        self._model = model
        self._pairs = pairs
        self._device = device
        self.fingerprint = fingerprint
        self.labels = int(model.config.num_labels)
        if self.labels not in (1, 2):
            raise ValueError(f"a cross-encoder has 1 or 2 labels, this model has {self.labels}")

    def score(
        self, query: str, passages: Sequence[str], *, max_length: int, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Return float32[n] raw logits (of two labels: their difference). See `Reranker.score`."""
        if not passages:
            return np.zeros(0, dtype=np.float32)
        inputs = self._pairs.encode(query, passages, max_length)
        return self._device.run(lambda: self._forward(inputs), priority=Priority.RERANK, deadline=deadline)

    def _forward(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        logits = logits_of(self._model, inputs)
        scores = logits[:, 0] if self.labels == 1 else logits[:, 1] - logits[:, 0]
        array: NDArray[np.float32] = scores.cpu().numpy()
        return array


def logits_of(model: Any, inputs: dict[str, NDArray[np.int64]]) -> torch.Tensor:
    """Return float32[pairs, labels] on the model's device."""
    import torch

    with torch.inference_mode():
        tensors = {name: torch.from_numpy(array).to(model.device) for name, array in inputs.items()}
        logits: torch.Tensor = model(**tensors).logits.float()
    return logits


def load_cross_encoder(name: str, settings: Settings, device: Device) -> CrossEncoderReranker:
    """Load a packaged model, a Hugging Face name (`name@revision`) or a folder.

    Raises: ConfigError naming the setting, what it accepts and why it failed.
    """
    from safetensors import SafetensorError

    try:
        if name in house.HOUSE_MODELS:
            return device.run(lambda: _load_house(name, device), priority=Priority.QUERY)
        plain, _, revision = (name, "", "") if Path(name).is_dir() else name.partition("@")
        trusted = plain in settings.trust_remote_code
        folder = model_folder(plain, revision, trusted=trusted)
        return device.run(lambda: _load_folder(folder, trusted, device), priority=Priority.QUERY)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise ConfigError(
            f"stage model {name!r} cannot be loaded: {first_line(error)}. `model` takes a packaged name "
            f"({', '.join(house.HOUSE_MODELS)}), the Hugging Face name of a cross-encoder with safetensors weights "
            "(the hub must be reachable the first time), or a folder"
        ) from error


def _load_house(name: str, device: Device) -> CrossEncoderReranker:
    with importing():
        from transformers import AutoTokenizer

    device.prepare()
    tokenizer = AutoTokenizer.from_pretrained(house_folder(), local_files_only=True)
    model: Any = house.load(name, device.dtype).to(device.name)  # type: ignore[arg-type]  # transformers hides torch's own signature
    return _ready(model, pairs_of(tokenizer, model.config), device, house.HOUSE_MODELS[name])


def _load_folder(folder: Path, trusted: bool, device: Device) -> CrossEncoderReranker:
    with importing():
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device.prepare()
    no_progress_bars()
    # trusted code may lie in another repository
    options = {"trust_remote_code": trusted, "local_files_only": not trusted}
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, dtype=device.dtype, **options
    )
    model.to(device.name).eval()
    return _ready(model, pairs_of(tokenizer, model.config), device, digest_of(folder))


def _ready(model: Any, pairs: PairEncoder, device: Device, fingerprint: str) -> CrossEncoderReranker:
    reranker = CrossEncoderReranker(model, pairs, device, fingerprint)
    if device.name == "cpu":
        example = pairs.encode("how does it work", ["It works as it was built to."], 64)
        pack_linears(model, lambda: logits_of(model, example))
    return reranker


def pairs_of(tokenizer: Any, config: Any) -> PairEncoder:
    """Return the encoder of pairs for a loaded tokenizer. Raises: ValueError if it is not a fast one, or cannot pad."""
    if not tokenizer.is_fast:
        raise ValueError("it has no tokenizer.json, and none can be made of what it has")
    if tokenizer.pad_token_id is None:
        raise ValueError("its tokenizer has no padding token")
    longest = min(int(tokenizer.model_max_length), int(getattr(config, "max_position_embeddings", None) or 1 << 20))
    return PairEncoder(
        plain_tokenizer(tokenizer),
        pad_id=int(tokenizer.pad_token_id),
        longest=longest,
        type_ids="token_type_ids" in tokenizer.model_input_names,
    )
