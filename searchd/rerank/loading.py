"""What loading has in common for models that are asked: their folder, their precision, their weights, and refusals.

Files are found and hashed on the caller's thread, weights are read on the device's, in their precision at once. Used by
`causal.py` and `seq2seq.py`.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.device import Device, importing
from indexer.errors import ConfigError
from indexer.packing import pack_linears
from indexer.settings import Settings
from indexer.weights import digest_of, first_line, model_folder, no_progress_bars
from searchd.rerank.adapters import Adapter, adapter_of, digest_with, refuse_adapter, with_adapter
from searchd.settings import Stage

if TYPE_CHECKING:
    import torch

PACKED_BYTES = 1 << 30
"""Larger models are not laid out for the CPU: while that is done, the weights are there twice."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stage's model comes from."""

    folder: Path
    trusted: bool
    adapter: Adapter | None
    fingerprint: str
    """Of all files; what the model reads and computes in comes on top."""


@contextlib.contextmanager
def refusals(stage: Stage, takes: str) -> Iterator[None]:
    """Turn whatever loading raises into one ConfigError that names the model and says what `model` takes."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise ConfigError(
            f"stage model {stage.model!r} cannot be loaded: {first_line(error)}. `model` takes {takes} with safetensors "
            "weights by its Hugging Face name (the hub must be reachable the first time), or as a folder"
        ) from error


def source_of(stage: Stage, settings: Settings) -> Source:
    """Find a stage's files. Raises: ConfigError if `peft` is wanted and absent; OSError, ValueError."""
    plain, _, revision = (stage.model, "", "") if Path(stage.model).is_dir() else stage.model.partition("@")
    trusted = plain in settings.trust_remote_code
    folder = model_folder(plain, revision, trusted=trusted)
    refuse_adapter(folder)
    adapter = adapter_of(stage)
    return Source(folder, trusted, adapter, digest_with(digest_of(folder), adapter))


def dtype_of(stage: Stage, device: Device) -> torch.dtype:
    """Return a stage's precision; auto: the device's. Raises: ConfigError for int8."""
    import torch

    if stage.precision == "auto":
        return device.dtype
    if stage.precision == "int8":
        raise ConfigError(f"precision int8 is not for kind {stage.kind}; it takes auto, float32, bfloat16 and float16")
    chosen: torch.dtype = getattr(torch, stage.precision)
    return chosen


def fast_tokenizer(source: Source) -> Any:
    """Return a model's tokenizer. Raises: ValueError if it is not a fast one, and none can be made of its files."""
    slow = not (source.folder / "tokenizer.json").is_file() and any(source.folder.glob("*.model"))
    if slow and importlib.util.find_spec("sentencepiece") is None:
        raise ValueError(
            "it has no tokenizer.json, and to make one of its SentencePiece model the package sentencepiece is needed; "
            "run: pip install sentencepiece"
        )
    with importing():
        from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source.folder, trust_remote_code=source.trusted, local_files_only=not source.trusted
    )
    if not tokenizer.is_fast:
        raise ValueError("it has no tokenizer.json, and none can be made of what it has")
    return tokenizer


def weights_of(source: Source, loader: Any, dtype: torch.dtype, device: Device, **options: Any) -> Any:
    """Return a model on its device with its adapter merged, ready to score; `loader` is one of transformers' Auto classes.

    Raises: ValueError if a part of it has no trained weights; whatever transformers raises.
    """
    no_progress_bars()
    model, notes = loader.from_pretrained(
        source.folder,
        use_safetensors=True,
        dtype=dtype,
        trust_remote_code=source.trusted,
        local_files_only=not source.trusted,
        output_loading_info=True,
        **options,
    )
    model.to(device.name)
    return with_adapter(model, source.adapter, set(notes["missing_keys"])).eval()


def longest_of(config: Any, tokenizer: Any, positions: str) -> int:
    """Return how many tokens a model takes: what its tokenizer says, and `positions` of its configuration."""
    return min(int(tokenizer.model_max_length), int(getattr(config, positions, None) or 1 << 20))


def packed_if_small(model: Any, run: Any) -> None:
    """Lay out linear layers for the CPU; `run` passes an example through the model."""
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    if model.device.type == "cpu" and size <= PACKED_BYTES:
        pack_linears(model, run)


def named(dtype: torch.dtype) -> str:
    """Return what a precision is called."""
    return str(dtype).removeprefix("torch.")
