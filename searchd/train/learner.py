"""The model while it learns: loaded, its embeddings frozen, wrapped for LoRA if that is the method; its loss; written down.

Takes a folder and gives one. Word and position embeddings stay as they were: the packaged models share them, and a few
thousand groups teach little about 30,000 words.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.weights import no_progress_bars
from searchd.train.first_token import only_first_token
from searchd.train.losses import PairReader, distil_loss, group_loss

if TYPE_CHECKING:
    import torch
    from sentence_transformers import CrossEncoder

    from searchd.train.fit import FitSettings

FROZEN = ("word_embeddings", "position_embeddings", "tok_embeddings")
LORA_RANK, LORA_ALPHA = 16, 32


def load(base: Path, settings: FitSettings) -> CrossEncoder:
    """Return the model, its embeddings frozen, its dropout off, wrapped for LoRA if that is the method.

    On the CPU attention is computed step by step: the fused kernel's backward pass takes 5 times as long at these lengths.
    """
    from sentence_transformers import CrossEncoder

    no_progress_bars()
    attention = {"attn_implementation": "eager"} if settings.device == "cpu" else {}
    model: Any = CrossEncoder(
        str(base), num_labels=1, device=settings.device, local_files_only=True,
        model_kwargs={"use_safetensors": True, **attention},
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in name for part in FROZEN))
    for module in model.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.0
    only_first_token(model.model)
    if settings.method == "lora":
        adapt(model)
    loaded: CrossEncoder = model
    return loaded


def adapt(model: Any) -> None:
    """Put low-rank weights beside every linear layer, the head's among them.

    Source: Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022.
    """
    from peft import LoraConfig

    model.add_adapter(LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules=linears(model.model)))


def linears(model: Any) -> list[str]:
    """Return what a model calls its linear layers: query, key, value, dense and classifier of a BERT."""
    from torch.nn import Linear

    return sorted({name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, Linear)})


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


def save(model: Any, folder: Path, settings: FitSettings) -> Path:
    """Write the fitted model as an ordinary folder of safetensors; it appears when it is complete."""
    draft = folder / "model.draft"
    shutil.rmtree(draft, ignore_errors=True)
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
