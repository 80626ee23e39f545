"""Cross-encoders: any Hugging Face sequence-classification model with one label (or two), and the packaged one.

Logits leave the model in float32 whatever its body runs in; the sigmoid is ours. One forward is one job of the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.device import Device, Priority
from indexer.embedder import house_folder, sha256_of
from indexer.errors import ConfigError
from indexer.settings import Settings
from searchd.rerank import house

if TYPE_CHECKING:
    import torch


class CrossEncoderReranker:
    """A loaded cross-encoder. Thread-safe."""

    def __init__(self, model: Any, tokenizer: Any, device: Device, fingerprint: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self.fingerprint = fingerprint
        self.labels = int(model.config.num_labels)
        if self.labels not in (1, 2):
            raise ConfigError(f"a cross-encoder has 1 or 2 labels, this model has {self.labels}; name another")

    def score(
        self, query: str, passages: Sequence[str], *, max_length: int, deadline: float | None = None
    ) -> NDArray[np.float32]:
        """Return float32[n] raw logits (of two labels: their difference). See `Reranker.score`."""
        if not passages:
            return np.zeros(0, dtype=np.float32)
        encoded = self._encode(query, passages, max_length)
        return self._device.run(lambda: self._forward(encoded), priority=Priority.RERANK, deadline=deadline)

    def _encode(self, query: str, passages: Sequence[str], max_length: int) -> Any:
        """Tokenize pairs; a query that would fill more than half is cut first, so that the passage is seen at all."""
        limit = min(max_length, int(self._model.config.max_position_embeddings))
        ids = self._tokenizer(query, add_special_tokens=False, truncation=True, max_length=limit // 2)["input_ids"]
        shortened = self._tokenizer.decode(ids) if len(ids) >= limit // 2 else query
        return self._tokenizer(
            [shortened] * len(passages),
            list(passages),
            truncation="only_second",
            max_length=limit,
            padding=True,
            return_tensors="pt",
        )

    def _forward(self, encoded: Any) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            logits = self._model(**{name: tensor.to(self._model.device) for name, tensor in encoded.items()}).logits
        found: torch.Tensor = logits.float()
        scores = found[:, 0] if self.labels == 1 else found[:, 1] - found[:, 0]
        array: NDArray[np.float32] = scores.cpu().numpy()
        return array


def load_cross_encoder(name: str, settings: Settings, device: Device) -> CrossEncoderReranker:
    """Load a packaged model, a Hugging Face name or a folder.

    Raises: ConfigError naming the setting, what it accepts and why it failed.
    """
    try:
        return device.run(lambda: _load(name, settings, device), priority=Priority.QUERY)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise ConfigError(
            f"stage model {name!r} cannot be loaded: {first}. `model` takes a packaged name ({', '.join(house.HOUSE_MODELS)}), "
            "the Hugging Face name of a cross-encoder with safetensors weights (the hub must be reachable the first time), "
            "or a folder"
        ) from error


def _load(name: str, settings: Settings, device: Device) -> CrossEncoderReranker:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device.prepare()
    if name in house.HOUSE_MODELS:
        tokenizer = AutoTokenizer.from_pretrained(house_folder(), local_files_only=True)
        model: Any = house.load(name, device.dtype)
        model.to(device.name)
        return CrossEncoderReranker(model, tokenizer, device, house.HOUSE_MODELS[name])
    options = {
        "trust_remote_code": name in settings.trust_remote_code,
        "local_files_only": Path(name).is_dir(),
    }
    tokenizer = AutoTokenizer.from_pretrained(name, **options)
    loaded = AutoModelForSequenceClassification.from_pretrained(
        name, use_safetensors=True, dtype=device.dtype, **options
    )
    return CrossEncoderReranker(loaded.to(device.name).eval(), tokenizer, device, _fingerprint(name, loaded))


def _fingerprint(name: str, model: Any) -> str:
    folder = Path(name)
    if folder.is_dir():
        return hashlib.sha256("".join(sha256_of(f) for f in sorted(folder.rglob("*.safetensors"))).encode()).hexdigest()
    return hashlib.sha256(f"{name}@{getattr(model.config, '_commit_hash', None)}".encode()).hexdigest()
