"""LoRA adapters: a small folder of weights that is added to a model when it is loaded, through `peft`.

`adapter_of` finds and checks it, off the device's thread; `with_adapter` merges it. Safetensors only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.device import importing
from indexer.errors import ConfigError
from indexer.weights import digest_of, model_folder
from searchd.settings import Stage

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
INSIDE = "base_model.model."
"""How adapters call the model they are for."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that may be merged."""

    folder: Path
    digest: str


def adapter_of(stage: Stage) -> Adapter | None:
    """Return the adapter of a stage, fetched if it is not in the hub's cache; None if it has none.

    Raises: ConfigError if `peft` is not installed; OSError or ValueError if it cannot be had or is not a LoRA.
    """
    if not stage.adapter:
        return None
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(f"adapter {stage.adapter!r} needs the package peft; run: pip install 'searchd[lora]'")
    plain, _, revision = (stage.adapter, "", "") if Path(stage.adapter).is_dir() else stage.adapter.partition("@")
    folder = model_folder(plain, revision)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"adapter {stage.adapter!r} has no {CONFIG}")
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"adapter {stage.adapter!r} has no {WEIGHTS}; pickled weights are never read")
    kind = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("peft_type")
    if kind != "LORA":
        raise ValueError(f"adapter {stage.adapter!r} is of type {kind}; only LORA can be merged")
    return Adapter(folder, digest_of(folder))


def refuse_adapter(folder: Path) -> None:
    """Refuse an adapter where a model is wanted: transformers would fetch its base itself. Raises: ValueError."""
    if (folder / CONFIG).is_file():
        raise ValueError(f"it is an adapter ({CONFIG}): name its base in `model`, and it in `adapter`")


def with_adapter(model: Any, adapter: Adapter | None, missing: set[str]) -> Any:
    """Return a model with its adapter merged into its weights; on the device's own thread.

    `missing` are the weights that the model's own files lack: a head that nobody trained gives scores like any other.
    Raises: ValueError if the adapter does not bring them all; RuntimeError if it does not fit.
    """
    brought = set() if adapter is None else keys_of(adapter)
    trained = {name for name, _ in model.named_parameters()}  # buffers are computed
    if absent := sorted((missing & trained) - brought):
        raise ValueError(f"its files lack {', '.join(absent[:3])}: it is no trained reranker")
    if adapter is None:
        return model
    with importing():
        from peft import PeftModel

    joined = PeftModel.from_pretrained(model, str(adapter.folder), torch_device=str(model.device))
    return joined.merge_and_unload(safe_merge=True)


def digest_with(digest: str, adapter: Adapter | None) -> str:
    """Return the digest of a model with its adapter; its own if it has none."""
    return digest if adapter is None else hashlib.sha256(f"{digest}|{adapter.digest}".encode()).hexdigest()


def keys_of(adapter: Adapter) -> set[str]:
    """Return the names of whole weights that an adapter replaces, as the model calls them."""
    from safetensors import safe_open

    with safe_open(adapter.folder / WEIGHTS, framework="numpy") as opened:
        names = set(opened.keys())
    return {name.removeprefix(INSIDE) for name in names if "lora_" not in name}
