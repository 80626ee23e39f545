"""A small model to distil into: some layers of a fitted one, with its embeddings, pooler and head."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from indexer.errors import ConfigError

_LAYER = re.compile(r"(.*encoder\.layer\.)(\d+)(\..+)")


def has_layers(folder: Path) -> bool:
    """Say whether a model's layers are named so that some can be taken: BERT, RoBERTa, ELECTRA, DeBERTa, MPNet and kin."""
    from safetensors import safe_open

    path = folder / "model.safetensors"
    if not path.is_file():
        return False
    with safe_open(path, framework="numpy") as opened:
        return any(_LAYER.fullmatch(name) for name in opened.keys())


def every_second(fitted: Path) -> tuple[int, ...]:
    """Return every second layer of a model, the last one among them: 1, 3 and 5 of six."""
    config = json.loads((fitted / "config.json").read_text(encoding="utf-8"))
    count = int(config.get("num_hidden_layers", 0))
    return tuple(range((count + 1) % 2, count, 2))


def shrunk(fitted: Path, layers: Sequence[int], folder: Path) -> Path:
    """Write a model of these layers of the fitted one (from 0, in order) and return its folder.

    Raises: ConfigError where the fitted model has no such layers.
    """
    from safetensors.torch import load_file, save_file

    if (folder / "model.safetensors").is_file():
        return folder
    config = json.loads((fitted / "config.json").read_text(encoding="utf-8"))
    if not layers or max(layers) >= int(config.get("num_hidden_layers", 0)):
        raise ConfigError(f"layers {list(layers)} cannot be taken from a model of {config.get('num_hidden_layers')}")
    tensors = {}
    for name, tensor in load_file(fitted / "model.safetensors").items():
        found = _LAYER.fullmatch(name)
        if found is None:
            tensors[name] = tensor
        elif int(found[2]) in layers:
            tensors[f"{found[1]}{list(layers).index(int(found[2]))}{found[3]}"] = tensor
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(fitted, draft)
    config |= {"num_hidden_layers": len(layers)}
    (draft / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file(tensors, draft / "model.safetensors", {"format": "pt"})
    draft.rename(folder)
    return folder
