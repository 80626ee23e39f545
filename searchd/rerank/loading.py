"""How models that run in this process are loaded: their files, their weights, their precision, and refusals.

Files are found, hashed and read on the caller's thread, which is nobody else's: on the device's, whatever the priority, a
query would wait for the disk. What the device does is in turn with batches of reranking: weights are moved there, and
precisions are tried. Used by `cross_encoder.py`, `causal.py`, `seq2seq.py` and `late_interaction.py`.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import importlib.util
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.device import Priority, importing
from indexer.errors import ConfigError
from indexer.packing import pack_linears
from indexer.settings import Settings
from indexer.weights import digest_of, first_line, model_folder, no_progress_bars
from searchd.rerank.adapters import Adapter, adapter_of, digest_with, refuse_adapter, with_adapter
from searchd.rerank.local import LocalModel
from searchd.rerank.memory import is_shortage
from searchd.rerank.precision import choose
from searchd.rerank.scheduler import Scheduler
from searchd.settings import Stage

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

TRIED_PARAMETERS = 150_000_000
"""Larger models are not tried in several precisions: while that is done, the weights are there three times (0.6 GB each in
float32), and on two cores it would take minutes. They run in `dtype`, as a whole checkpoint is read in it."""
PACKED_BYTES = 1 << 30
"""Larger models are not laid out for the CPU: while that is done, the weights are there twice."""
OWN_CODE_ERRORS = (AttributeError, TypeError, NameError, ImportError)
"""What code raises that was written for another version of a library. Of our code they are bugs, so only a trusted model's
are refusals."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stage's model comes from."""

    folder: Path
    trusted: bool
    adapter: Adapter | None
    fingerprint: str
    """Of all files; what the model reads and computes in comes on top."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a kind makes its model of files."""

    takes: str
    """What `model` may be, in words."""
    read: Callable[[Source, torch.dtype], tuple[Any, Any]]
    """Return a torch module on the CPU, ready to score, and its tokenizer; on the caller's thread."""
    build: Callable[[Any, Any, str], LocalModel]
    """Return the model of such a module, once it is on its device, tokenizer and fingerprint; on the device's thread."""


def load(stage: Stage, settings: Settings, scheduler: Scheduler, recipe: Recipe) -> LocalModel:
    """Return a stage's model in the precision that is asked for, or in the fastest one that ranks like float32 here.

    Raises: ConfigError naming the setting, what it accepts and why it failed.
    """
    import torch

    device, wanted = scheduler.device, wanted_precision(stage, settings)
    with refusals(stage, settings, recipe.takes):
        _ = device.name  # before anything is read: a GPU that is not there is told at once
        source = source_of(stage, settings)
        parameters = parameters_of(source.folder)
        if not wanted and parameters <= TRIED_PARAMETERS:
            module, tokenizer = recipe.read(source, torch.float32)

            def build(precision: str) -> LocalModel:
                if precision == "int8":
                    raise ValueError(f"int8 is not for kind {stage.kind}")
                own = copy.deepcopy(module).to(device=device.name, dtype=getattr(torch, precision))
                return recipe.build(own, tokenizer, source.fingerprint)

            key = f"{source.fingerprint} {stage.kind} {stage.prompt}".strip()
            return device.run(lambda: choose(key, device, settings.data_path, build)[0], priority=Priority.RERANK)
        if not wanted:
            log.info("%s: %s parameters are too many to try precisions; it runs in `dtype`", stage.model, parameters)
        module, tokenizer = recipe.read(source, getattr(torch, wanted) if wanted else device.dtype)
        return device.run(
            lambda: recipe.build(module.to(device.name), tokenizer, source.fingerprint), priority=Priority.RERANK
        )


def wanted_precision(stage: Stage, settings: Settings) -> str:
    """Return the precision that settings ask for; empty: the one that proves itself. Raises: ConfigError for int8."""
    if stage.precision == "int8":
        raise ConfigError(f"precision int8 is not for kind {stage.kind}; it takes auto, float32, bfloat16 and float16")
    if stage.precision != "auto":
        return stage.precision
    return settings.dtype if settings.dtype != "auto" else ""


def parameters_of(folder: Path) -> int:
    """Return how many numbers a model's files hold, by their headers."""
    from safetensors import safe_open

    found = 0
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, framework="numpy") as opened:
            found += sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # no mapping
    return found


@contextlib.contextmanager
def refusals(stage: Stage, settings: Settings, takes: str) -> Iterator[None]:
    """Turn whatever loading raises into one ConfigError that names the model and says what `model` takes."""
    from safetensors import SafetensorError

    refused = (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError, MemoryError)
    own_code = OWN_CODE_ERRORS if is_trusted(stage, settings) else ()
    try:
        yield
    except own_code as error:
        raise ConfigError(own_code_refusal(stage, error)) from error
    except refused as error:
        if is_shortage(error):
            said = first_line(error) or "out of memory"
            raise ConfigError(
                f"stage model {stage.model!r} cannot be loaded, there is no memory for it: {said}"
            ) from error
        raise ConfigError(
            f"stage model {stage.model!r} cannot be loaded: {first_line(error)}. `model` takes {takes} with safetensors "
            "weights by its Hugging Face name (the hub must be reachable the first time), or as a folder"
        ) from error


def own_code_refusal(stage: Stage, error: BaseException) -> str:
    """Say that a trusted model's own code does not run here, why, and what to name instead."""
    version = importlib.metadata.version("transformers")
    onnx = ', or its ONNX export as kind = "onnx"' if stage.kind == "cross_encoder" else ""
    return (
        f"stage model {stage.model!r} cannot be used: its own code does not run with the installed transformers {version}: "
        f"{first_line(error)}. Name another model{onnx}"
    )


def named_revision(stage: Stage) -> tuple[str, str]:
    """Return the folder or hub name that `model` says, and the revision after it; empty: none."""
    plain, _, revision = (stage.model, "", "") if Path(stage.model).is_dir() else stage.model.partition("@")
    return plain, revision


def is_trusted(stage: Stage, settings: Settings) -> bool:
    """Say whether the setting `trust_remote_code` names a stage's model."""
    return named_revision(stage)[0] in settings.trust_remote_code


def source_of(stage: Stage, settings: Settings) -> Source:
    """Find a stage's files. Raises: ConfigError if `peft` is wanted and absent; OSError, ValueError."""
    folder, trusted = fetched(stage, settings)
    return source_in(folder, stage, trusted=trusted)


def fetched(stage: Stage, settings: Settings, *, weights: bool = True) -> tuple[Path, bool]:
    """Return the folder of the files that `model` names, and whether its own code may run. Raises: OSError, ValueError."""
    plain, revision = named_revision(stage)
    trusted = is_trusted(stage, settings)
    return model_folder(plain, revision, trusted=trusted, weights=weights), trusted


def source_in(folder: Path, stage: Stage, *, trusted: bool = False) -> Source:
    """Return a stage's files, its model's being in a folder. Raises as `source_of` does."""
    refuse_adapter(folder)
    adapter = adapter_of(stage)
    return Source(folder, trusted, adapter, digest_with(digest_of(folder), adapter))


def fast_tokenizer(folder: Path, *, trusted: bool) -> Any:
    """Return a model's tokenizer. Raises: ValueError if it is not a fast one, and none can be made of its files."""
    slow = not (folder / "tokenizer.json").is_file() and any(folder.glob("*.model"))
    if slow and importlib.util.find_spec("sentencepiece") is None:
        raise ValueError(
            "it has no tokenizer.json, and to make one of its SentencePiece model the package sentencepiece is needed; "
            "run: pip install sentencepiece"
        )
    with importing():
        from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted, local_files_only=not trusted)
    if not tokenizer.is_fast:
        raise ValueError("it has no tokenizer.json, and none can be made of what it has")
    return tokenizer


def weights_of(source: Source, loader: str, dtype: torch.dtype, **options: Any) -> Any:
    """Return a model on the CPU with its adapter merged, ready to score; `loader` names one of transformers' Auto classes.

    Raises: ValueError if a part of it has no trained weights; whatever transformers raises.
    """
    with importing():
        import transformers

    no_progress_bars()
    model, notes = getattr(transformers, loader).from_pretrained(
        source.folder,
        use_safetensors=True,
        dtype=dtype,
        trust_remote_code=source.trusted,
        local_files_only=not source.trusted,  # trusted code may lie in another repository
        output_loading_info=True,
        **options,
    )
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
