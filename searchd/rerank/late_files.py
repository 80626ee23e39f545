"""Refuses folders that would load as late-interaction models and score at random, or run what was not trusted.

sentence-transformers makes a MultiVectorEncoder of anything: without a projection it draws one, without an activation
it may run it takes another, and says so in its log only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OURS = ("ColBERT", "MultiVectorEncoder")
"""What `config_sentence_transformers.json` calls such models, by PyLate and by sentence-transformers."""
PYLATE = ("query_prefix", "document_prefix")
"""Keys of PyLate's first versions, which said no model type."""
STANFORD = "HF_ColBERT"
KNOWN_PARTS = ("sentence_transformers.", "pylate.models.Dense.Dense")
"""The last is read as sentence-transformers' own; PyLate's code is never run."""
RENAMED = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def refuse_other_models(folder: Path, *, trusted: bool) -> None:
    """Refuse what is no late-interaction model, pickled weights, and code of its own unless trusted. Raises: ValueError."""
    config, said = _read(folder / "config.json"), _read(folder / "config_sentence_transformers.json")
    parts: list[dict[str, Any]] = _read(folder / "modules.json") or []
    architectures = config.get("architectures") or []
    stanford = STANFORD in architectures
    if not (stanford or said.get("model_type") in OURS or any(key in said for key in PYLATE)):
        raise ValueError(
            f"it is no late-interaction model: neither is its architecture {STANFORD}, nor its model_type one of "
            f"{', '.join(OURS)}"
        )
    if any(str(name).endswith("ForRetrieval") for name in architectures):
        raise ValueError(f"its architecture {architectures[0]} reads passages as images, not as text")
    for place in {folder, *(folder / str(part.get("path", "")) for part in parts)}:
        if any(place.glob("*.bin")) and not any(place.glob("*.safetensors")):
            raise ValueError("it has pickled weights only; there must be safetensors")
    if trusted:
        return
    for part in parts:
        kind = str(part.get("type", ""))
        if not kind.startswith(KNOWN_PARTS):
            raise ValueError(f"its part {kind!r} is code of its own; the setting trust_remote_code must name it")
        activation = _read(folder / str(part.get("path", "")) / "config.json").get("activation_function", "torch.")
        if kind.endswith(".Dense") and not str(activation).startswith("torch."):
            raise ValueError(
                f"its activation {activation!r} is code of its own; the setting trust_remote_code must name it"
            )


def refuse_missing_weights(backbone: Any, folder: Path) -> None:
    """Refuse a model some of whose weights are in no file: they would be random. Raises: ValueError naming one."""
    from safetensors import safe_open

    known: set[str] = set()
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            for key in opened.keys():  # no mapping
                for old, new in RENAMED.items():
                    key = key.replace(old, new)
                steps = key.split(".")
                known.update(".".join(steps[start:]) for start in range(len(steps)))
    missing = [name for name, _ in backbone.named_parameters() if name not in known and "pooler" not in name]
    if missing:
        code = "auto_map" in _read(folder / "config.json")
        own = "; it has code of its own, which runs if the setting trust_remote_code names it" if code else ""
        raise ValueError(f"its files have no weights for {missing[0]} and {len(missing) - 1} more{own}")


def _read(path: Path) -> Any:
    """Return what a JSON file holds, nothing if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
