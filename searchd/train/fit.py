"""Groups -> a fitted cross-encoder, by sentence-transformers' CrossEncoderTrainer; goes on where it was stopped.

Full or LoRA; bfloat16 where the processor or GPU multiplies it fast. `learner.py` makes the model, `trainer.py` what the
trainer is given.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from indexer.errors import ConfigError
from searchd.train.files import write_whole
from searchd.train.learner import load, loss_of, save
from searchd.train.losses import LossSettings
from searchd.train.trainer import (
    StepDone,
    arguments,
    by_length,
    dataset_of,
    on_one_gpu,
    printer,
    progress_callback,
    steps_of,
)
from searchd.train.types import Group

EXTRA = ("accelerate", "datasets", "peft", "ir_measures")


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a model is fitted. One run folder is one of these: a run that goes on must have the same."""

    method: str = "full"
    """full, or lora."""
    groups_at_once: int = 16
    epochs: float = 1.0
    max_steps: int = 0
    """Steps in all; 0: as many as the epochs take."""
    learning_rate: float = 4e-5
    warmup_steps: int = 50
    schedule: str = "linear"
    """linear: to nothing at the last step; constant_with_warmup: for runs whose end is not known."""
    max_length: int = 128
    seed: int = 7
    save_steps: int = 100
    threads: int = 1
    device: str = "cpu"
    bfloat16: bool = False
    loss: LossSettings = field(default_factory=LossSettings)


def require_extra() -> None:
    """Raise ConfigError naming the extra unless all that training needs is installed."""
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"training needs {', '.join(missing)}; install the extra: pip install 'searchd[train]'")


def fit(
    base: Path,
    groups: Sequence[Group],
    folder: Path,
    settings: FitSettings,
    step_done: StepDone,
    teacher: Path | None = None,
    layers: Sequence[int] = (),
) -> Path:
    """Fit the model in `base` and return the folder of the fitted one; with `teacher`, by imitating that model.

    Checkpoints lie in `folder`; a run that was stopped goes on from the last one and ends with the same weights.
    """
    import torch
    from sentence_transformers.cross_encoder import CrossEncoderTrainer

    done = folder / "model"
    if done.is_dir():
        return done
    same_settings(folder, settings)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    model = load(base, settings)
    loss = loss_of(model, settings, teacher, layers)
    rows = by_length(groups, settings)
    trainer = CrossEncoderTrainer(
        model=model,
        args=on_one_gpu(arguments(folder, settings, steps_of(len(rows), settings)), settings.device),
        train_dataset=dataset_of(rows),
        loss=loss,
        callbacks=[progress_callback(step_done)],
    )
    trainer.remove_callback(printer())
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    return save(model, folder, settings) if trainer.is_world_process_zero() else done


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that was written whole, None if there is none."""
    whole = [path for path in folder.glob("checkpoint-*") if is_whole(path)]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def is_whole(checkpoint: Path) -> bool:
    """Say whether a checkpoint is complete: the trainer's state is its last file, and JSON to its end."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def same_settings(folder: Path, settings: FitSettings) -> None:
    """Note the settings of a new run, and compare those of one that goes on. Raises: ConfigError naming what differs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    now = msgspec.to_builtins(settings)
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        differ = sorted(
            name for name in now if name not in ("threads", "device", "bfloat16") and before.get(name) != now[name]
        )
        if differ:
            raise ConfigError(
                f"the run in {folder} was begun with other settings ({', '.join(differ)}); name a new one"
            )
        return
    write_whole(path, json.dumps(now, indent=1).encode())
