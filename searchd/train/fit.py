"""Groups -> a fitted cross-encoder, by sentence-transformers' CrossEncoderTrainer; goes on where it was stopped.

Full or LoRA; bfloat16 where the processor or GPU multiplies it fast. Word and position embeddings stay as they were: the
packaged models share them, and a few thousand groups teach little about 30,000 words.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from indexer.errors import ConfigError
from indexer.weights import no_progress_bars
from searchd.train.losses import LossSettings, PairReader, distil_loss, group_loss
from searchd.train.types import Group

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder

EXTRA = ("accelerate", "datasets", "peft", "ir_measures")
FROZEN = ("word_embeddings", "position_embeddings")
LENGTH_BUCKETS = 50
"""Groups of so many batches are sorted by length before they are made into batches."""


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


StepDone = Callable[[int, int, float | None], None]
"""Told the step, of how many, and the last loss that was logged."""


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
        args=arguments(folder, settings, len(rows)),
        train_dataset=dataset_of(rows),
        loss=loss,
        callbacks=[progress_callback(step_done)],
    )
    trainer.remove_callback(printer())
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    return save(model, folder, settings) if trainer.is_world_process_zero() else done


def loss_of(model: CrossEncoder, settings: FitSettings, teacher: Path | None, layers: Sequence[int]) -> torch.nn.Module:
    """Return what is minimised: the groups' loss, or with a teacher the distance to it."""
    import torch

    reader = PairReader(model.tokenizer, settings.max_length)
    if teacher is None:
        return group_loss(model, reader, settings.loss)
    taught = load(teacher, replace(settings, method="full"))
    taught.eval().requires_grad_(False)
    if settings.bfloat16:
        taught.to(torch.bfloat16)
    return distil_loss(model, taught, reader, layers, settings.loss)


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that was written whole, None if there is none: the trainer's state is its last file."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def load(base: Path, settings: FitSettings) -> CrossEncoder:
    """Return the model, its embeddings frozen, its dropout off, wrapped for LoRA if that is the method.

    On the CPU attention is computed step by step: the fused kernel's backward pass takes 5 times as long at these lengths.
    """
    from sentence_transformers import CrossEncoder

    no_progress_bars()
    attention = "eager" if settings.device == "cpu" else "sdpa"
    model: Any = CrossEncoder(
        str(base), num_labels=1, device=settings.device, local_files_only=True,
        model_kwargs={"attn_implementation": attention, "use_safetensors": True},
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in name for part in FROZEN))
    for module in model.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.0
    if settings.method == "lora":
        from peft import LoraConfig

        model.add_adapter(LoraConfig(r=16, lora_alpha=32, target_modules=["query", "key", "value", "dense"]))
    loaded: CrossEncoder = model
    return loaded


def arguments(folder: Path, settings: FitSettings, groups: int) -> Any:
    """Return the trainer's arguments."""
    from sentence_transformers.cross_encoder import CrossEncoderTrainingArguments
    from torch.distributed import is_torchelastic_launched

    return CrossEncoderTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.groups_at_once,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
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


def save(model: Any, folder: Path, settings: FitSettings) -> Path:
    """Write the fitted model as an ordinary folder of safetensors; it appears when it is complete."""
    draft = folder / "model.draft"
    if settings.method == "lora":
        merge_adapter(model)
    model.save_pretrained(str(draft), create_model_card=False)
    return draft.rename(folder / "model")


def merge_adapter(model: Any) -> None:
    """Add what LoRA learned to the layers it stands beside, and take it out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())
    model.model._hf_peft_config_loaded = False


def same_settings(folder: Path, settings: FitSettings) -> None:
    """Note the settings of a new run, and compare those of one that goes on. Raises: ConfigError naming what differs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    now = msgspec.to_builtins(settings)
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        differ = sorted(name for name in now if name not in ("threads", "device") and before.get(name) != now[name])
        if differ:
            raise ConfigError(
                f"the run in {folder} was begun with other settings ({', '.join(differ)}); name a new one"
            )
        return
    path.write_text(json.dumps(now, indent=1), encoding="utf-8")
