"""What sentence-transformers' trainer is given: its arguments, the groups in their order, and who hears of each step.

Used by `fit.py`. The order is the same every time, so that a run which goes on meets the groups it has not seen yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from searchd.train.types import Group

if TYPE_CHECKING:
    from searchd.train.fit import FitSettings

LENGTH_BUCKETS = 50
"""Groups of so many batches are sorted by length before they are made into batches."""

WARMUP_PART = 10
"""A short run of one in so many steps: otherwise it would end before its learning rate is reached."""

StepDone = Callable[[int, int, float | None], None]
"""Told the step, of how many, and the last loss that was logged."""


def steps_of(groups: int, settings: FitSettings) -> int:
    """Return how many steps a run has."""
    return settings.max_steps or math.ceil(groups // settings.groups_at_once * settings.epochs)


def arguments(folder: Path, settings: FitSettings, steps: int) -> Any:
    """Return the trainer's arguments for a run of so many steps, of which a tenth at most is for warming up."""
    from sentence_transformers.cross_encoder import CrossEncoderTrainingArguments
    from torch.distributed import is_torchelastic_launched

    return CrossEncoderTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.groups_at_once,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        warmup_steps=min(settings.warmup_steps, steps // WARMUP_PART),
        lr_scheduler_type=settings.schedule,
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=settings.bfloat16,
        use_cpu=settings.device == "cpu",
        seed=settings.seed,
        data_seed=settings.seed,
        batch_sampler=in_order,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_steps=10,
        report_to=[],
        disable_tqdm=True,
        dataloader_drop_last=True,
        dataloader_pin_memory=False,
        ddp_backend="gloo" if settings.device == "cpu" and is_torchelastic_launched() else None,
        ddp_find_unused_parameters=False,
    )


def on_one_gpu(arguments: Any, device: str) -> Any:
    """Return arguments that keep to the GPU that is named: by itself the trainer takes the first, and shares out among all."""
    import torch

    if device.startswith("cuda"):
        if ":" in device:
            torch.cuda.set_device(device)
        arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def in_order(dataset: Any, batch_size: int, drop_last: bool, **_others: Any) -> Any:
    """Return the batches as the dataset has them: `by_length` has mixed them already, the same way every time."""
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from torch.utils.data import SequentialSampler

    return DefaultBatchSampler(SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)


def by_length(groups: Sequence[Group], settings: FitSettings) -> list[Group]:
    """Return the groups shuffled, then sorted by length within each stretch, its batches shuffled again."""
    rng = Random(settings.seed)  # noqa: S311
    size = settings.groups_at_once
    mixed = rng.sample(list(groups), len(groups))
    ordered: list[Group] = []
    for start in range(0, len(mixed), size * LENGTH_BUCKETS):
        stretch = sorted(mixed[start : start + size * LENGTH_BUCKETS], key=lambda group: sum(map(len, group.texts)))
        batches = [stretch[at : at + size] for at in range(0, len(stretch), size)]
        whole = [batch for batch in batches if len(batch) == size]
        rng.shuffle(whole)
        ordered += [group for batch in (*whole, *(batch for batch in batches if len(batch) < size)) for group in batch]
    return ordered


def dataset_of(groups: Sequence[Group]) -> Any:
    """Return what the trainer reads: a query, its texts, and a (label, teacher) pair for each."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "query": [group.query for group in groups],
            "texts": [list(group.texts) for group in groups],
            "labels": [[list(pair) for pair in zip(group.labels, group.teacher, strict=True)] for group in groups],
        }
    )


def progress_callback(step_done: StepDone) -> Any:
    """Return what tells `step_done` of every step."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        loss: float | None = None

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_others: Any) -> None:
            self.loss = (logs or {}).get("loss", self.loss)

        def on_step_end(self, args: Any, state: Any, control: Any, **_others: Any) -> None:
            step_done(state.global_step, state.max_steps, self.loss)

    return Progress()


def printer() -> Any:
    """Return the trainer's own callback that prints, which is taken out."""
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
