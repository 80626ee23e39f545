"""A small model to distil into: some layers of a fitted one, narrower, with its embeddings, pooler and head.

Half of the layers alone are 2.3 times as fast; with a third of the neurons of their feed-forward parts, 3 times
(`benchmarks/rerank.py --only models --model FOLDER`). On two layers as wide as before, which are faster still, little of
what a reranker learned is left.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from indexer.errors import ConfigError
from searchd.train.learner import load
from searchd.train.losses import PairReader, grouped_logits
from searchd.train.types import Group

if TYPE_CHECKING:
    import torch

    from searchd.train.fit import FitSettings

KEPT, STEP = 3, 64
"""One of so many neurons of a feed-forward part is kept, in steps of so many: processors multiply blocks."""
LOOKED_AT = 100
"""Pairs by which neurons are compared."""
_LAYER = re.compile(r"(.*encoder\.layer\.)(\d+)(\..+)")
_INTO, _OUT = ".intermediate.dense", ".output.dense"


@dataclass(frozen=True, slots=True)
class Activity:
    """What the neurons of a layer's feed-forward part gave: float32[neurons] means and root mean squares.

    Over all tokens; in a BERT's last layer, which is computed for the first token alone, over first tokens.
    """

    mean: torch.Tensor
    size: torch.Tensor


def has_layers(folder: Path) -> bool:
    """Say whether a model's layers are such that some can be taken and made narrower: BERT, RoBERTa, ELECTRA, DeBERTa, MPNet
    and kin."""
    from safetensors import safe_open

    path = folder / "model.safetensors"
    size = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("intermediate_size")
    if not path.is_file():
        return False
    with safe_open(path, framework="numpy") as opened:
        found = {name: _LAYER.fullmatch(name) for name in opened.keys()}  # no mapping
        wide = {match[3] for name, match in found.items() if match and size in opened.get_slice(name).get_shape()}
    return wide == {f"{_INTO}.weight", f"{_INTO}.bias", f"{_OUT}.weight"}


def kept_of(neurons: int) -> int:
    """Return how many neurons a narrower layer has: 512 of 1,536, 1,024 of 3,072."""
    return round(neurons / KEPT / STEP) * STEP or max(1, neurons // KEPT)


def every_second(fitted: Path) -> tuple[int, ...]:
    """Return every second layer of a model, the last one among them: 1, 3 and 5 of six."""
    config = json.loads((fitted / "config.json").read_text(encoding="utf-8"))
    count = int(config.get("num_hidden_layers", 0))
    return tuple(range((count + 1) % 2, count, 2))


def shrunk(fitted: Path, layers: Sequence[int], folder: Path, groups: Sequence[Group], settings: FitSettings) -> Path:
    """Write a model of these layers of the fitted one (from 0, in order) and return its folder.

    Of each one the neurons are kept that add most where it reads pairs of `groups`. Raises: ConfigError where the fitted
    model has no such layers.
    """
    from safetensors.torch import load_file, save_file

    if (folder / "model.safetensors").is_file():
        return folder
    config = json.loads((fitted / "config.json").read_text(encoding="utf-8"))
    if not layers or max(layers) >= int(config.get("num_hidden_layers", 0)):
        raise ConfigError(f"layers {list(layers)} cannot be taken from a model of {config.get('num_hidden_layers')}")
    width = kept_of(int(config["intermediate_size"]))
    active = activity(fitted, groups, settings)
    tensors: dict[str, torch.Tensor] = {}
    taken: dict[int, dict[str, torch.Tensor]] = {number: {} for number in layers}
    for name, tensor in load_file(fitted / "model.safetensors").items():
        found = _LAYER.fullmatch(name)
        if found is None:
            tensors[name] = tensor
        elif int(found[2]) in layers:
            prefix = found[1]
            taken[int(found[2])][found[3]] = tensor
    for place, (number, layer) in enumerate(taken.items()):
        tensors |= {f"{prefix}{place}{name}": one for name, one in narrowed(layer, active[number], width).items()}
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(fitted, draft)
    config |= {"num_hidden_layers": len(layers), "intermediate_size": width}
    (draft / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    save_file(tensors, draft / "model.safetensors", {"format": "pt"})
    draft.rename(folder)
    return folder


def narrowed(layer: dict[str, torch.Tensor], active: Activity, width: int) -> dict[str, torch.Tensor]:
    """Return a layer's tensors with those neurons that add most; what the others add on average becomes part of the bias.

    Source: Muralidharan et al., "Compact language models via pruning and knowledge distillation", NeurIPS 2024 (neurons by
    what they do on a few texts); Sun et al., "A simple and effective pruning approach for large language models", ICLR 2024
    (weight times size of input).
    """
    import torch

    out = layer[f"{_OUT}.weight"].float()
    kept = (active.size * out.norm(dim=0)).topk(width).indices.sort().values
    dropped = torch.ones(out.shape[1], dtype=torch.bool)
    dropped[kept] = False
    bias = layer[f"{_OUT}.bias"]
    return layer | {
        f"{_INTO}.weight": layer[f"{_INTO}.weight"][kept].contiguous(),
        f"{_INTO}.bias": layer[f"{_INTO}.bias"][kept].contiguous(),
        f"{_OUT}.weight": layer[f"{_OUT}.weight"][:, kept].contiguous(),
        f"{_OUT}.bias": (bias.float() + out[:, dropped] @ active.mean[dropped]).to(bias.dtype),
    }


def activity(fitted: Path, groups: Sequence[Group], settings: FitSettings) -> list[Activity]:
    """Return what each layer's neurons give where the model reads some pairs of the groups; the same ones each time."""
    import torch

    torch.set_num_threads(settings.threads)
    model: Any = load(fitted, replace(settings, method="full"))
    sums: dict[int, list[torch.Tensor]] = {}

    def note(number: int, given: torch.Tensor) -> None:
        rows = given.detach().float().reshape(-1, given.shape[-1]).cpu()
        new = [rows.sum(0), rows.square().sum(0), torch.tensor(float(len(rows)))]
        before = sums.get(number)
        sums[number] = new if before is None else [one + other for one, other in zip(before, new, strict=True)]

    for number, layer in enumerate(model.model.base_model.encoder.layer):
        layer.output.dense.register_forward_pre_hook(lambda _module, given, number=number: note(number, given[0]))
    pairs = [(group.query, text) for group in groups for text in group.texts]
    reader = PairReader(model.tokenizer, settings.max_length)
    model.eval()
    with torch.no_grad():
        for query, text in Random(settings.seed).sample(pairs, min(LOOKED_AT, len(pairs))):  # noqa: S311  # no secret
            grouped_logits(model, reader.pairs([query], [[text]]), reader.pad_id)  # one by one: without padding
    counted = [sums[number] for number in sorted(sums)]
    return [Activity(total / count, (squares / count).sqrt()) for total, squares, count in counted]
