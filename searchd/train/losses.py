"""What fitting minimises, as sentence-transformers' trainer takes it: a loss over whole groups, and one of distillation.

Pairs are made by the product's own frames and tokenizer, so that a model reads while it learns exactly what it is served later;
they run sorted by length, since padding is half of the work otherwise. Made lazily: torch takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from indexer.embedder import plain_tokenizer
from indexer.tokens import PassageTokenizer
from searchd.rerank.local import Pair, padded, parts_of
from searchd.rerank.pairs import PairFrames

if TYPE_CHECKING:
    import torch

LABEL, TEACHER = 0, 1
"""The two columns of a group's labels."""
MARGIN_WEIGHT, LABEL_WEIGHT = 0.2, 0.3
"""Of the parts of imitation, beside the teacher's shares."""
MICRO_TOKENS = 4096
"""Tokens of one forward pass, after padding."""


@dataclass(frozen=True, slots=True)
class LossSettings:
    """How a group's parts of the loss weigh."""

    teacher: float = 0.2
    """Weight of following the bi-encoder's order (Kullback-Leibler divergence over the group)."""
    teacher_scale: float = 15.0
    """Cosines times this are the teacher's logits."""
    absolute: float = 0.2
    """Weight of binary cross-entropy, which gives logits a level that can be calibrated across queries."""


class PairReader:
    """Makes a model's input pairs; a passage that is too long is read from its beginning."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        plain = plain_tokenizer(tokenizer)
        self._frames = PairFrames(plain)
        self._passages = PassageTokenizer(plain)
        self._max_length = max_length
        self.pad_id = int(tokenizer.pad_token_id)

    def pairs(self, queries: Sequence[str], groups: Sequence[Sequence[str]]) -> list[Pair]:
        """Return every pair, in the order given."""
        found: list[Pair] = []
        for query, texts in zip(queries, groups, strict=True):
            frame = self._frames.frame(query, self._max_length)
            found += parts_of(frame, self._passages.encode(texts), self._max_length, whole=False)[0]
        return found


def group_loss(model: Any, reader: PairReader, settings: LossSettings) -> torch.nn.Module:
    """Return the loss: softmax cross-entropy of each group, its teacher's order, and its absolute labels.

    Source: softmax over a group with mined negatives: Gao, Dai, Callan, "Rethink training of BERT rerankers in multi-stage
    retrieval pipeline", ECIR 2021.
    """
    import torch

    class GroupLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, inputs: list[Any], labels: list[torch.Tensor], **_ignored: Any) -> dict[str, torch.Tensor]:
            queries, texts = inputs
            logits = grouped_logits(self.model, reader.pairs(queries, texts), reader.pad_id)
            found = torch.split(logits, [len(group) for group in texts])
            return mean_over_groups(
                [loss_parts(one, two.to(one.device), settings) for one, two in zip(found, labels, strict=True)]
            )

    return GroupLoss()


def loss_parts(logits: torch.Tensor, labels: torch.Tensor, settings: LossSettings) -> dict[str, torch.Tensor]:
    """Return the weighted parts of one group's loss: float32[texts] logits against float[texts, 2] labels."""
    from torch.nn import functional

    wanted = labels[:, LABEL].float()
    log_shares = functional.log_softmax(logits, dim=0)
    parts = {"choice": -(log_shares * (wanted / wanted.sum().clamp(min=1e-6))).sum()}
    if settings.teacher:
        taught = functional.softmax(labels[:, TEACHER].float() * settings.teacher_scale, dim=0)
        parts["teacher"] = settings.teacher * functional.kl_div(log_shares, taught, reduction="sum")
    if settings.absolute:
        parts["absolute"] = settings.absolute * functional.binary_cross_entropy_with_logits(logits, wanted)
    return parts


def distil_loss(
    student: Any, teacher: Any, reader: PairReader, layers: Sequence[int], settings: LossSettings
) -> torch.nn.Module:
    """Return the loss of a small model that imitates a large one: its margins, its hidden states, and the labels.

    `layers[i]` is the teacher's layer that layer i of the student imitates.
    Sources: Hofstaetter et al., "Improving efficient neural ranking models with cross-architecture knowledge distillation",
    2020 (margins); Jiao et al., "TinyBERT", EMNLP 2020 (hidden states).
    """
    import torch

    seen, shown = Layers(student), Layers(teacher)

    class DistilLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = student

        def forward(self, inputs: list[Any], labels: list[torch.Tensor], **_ignored: Any) -> dict[str, torch.Tensor]:
            queries, texts = inputs
            hidden: list[torch.Tensor] = []

            def both(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
                with torch.no_grad():
                    wanted = scores_of(teacher, tensors)
                own = scores_of(self.model, tensors)
                hidden.append(hidden_distance(seen, shown, layers, tensors["attention_mask"].bool()))
                return torch.stack((own, wanted), dim=1)

            logits = grouped_logits(both, reader.pairs(queries, texts), reader.pad_id)
            found = torch.split(logits, [len(group) for group in texts])
            parts = [
                imitation(one[:, 0], one[:, 1], two.to(one.device), settings)
                for one, two in zip(found, labels, strict=True)
            ]
            return mean_over_groups(parts) | {"hidden": torch.stack(hidden).mean()}

    return DistilLoss()


def imitation(
    own: torch.Tensor, taught: torch.Tensor, labels: torch.Tensor, settings: LossSettings
) -> dict[str, torch.Tensor]:
    """Return the weighted parts of one group: distance of margins, of shares, and the labels'."""
    from torch.nn import functional

    margin = (own - own.mean()) - (taught - taught.mean())
    order = functional.kl_div(functional.log_softmax(own, 0), functional.softmax(taught, 0), reduction="sum")
    choice = loss_parts(own, labels, settings)["choice"]
    return {"margin": MARGIN_WEIGHT * margin.square().mean(), "order": order, "choice": LABEL_WEIGHT * choice}


def hidden_distance(seen: Layers, shown: Layers, layers: Sequence[int], mask: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of normalised hidden states over the tokens that are no padding."""
    import torch
    from torch.nn.functional import layer_norm

    found = []
    for own, taught in enumerate(layers):
        width = seen.outputs[own].shape[-1:]
        apart = layer_norm(seen.outputs[own].float(), width) - layer_norm(shown.outputs[taught].float(), width)
        shown_too = mask[:, : apart.shape[1]]  # the last layer may have the first token's state only
        found.append(apart[shown_too.to(apart.device)].square().mean())
    return torch.stack(found).mean()


class Layers:
    """Notes what each layer of a model's encoder gave in its last forward pass."""

    def __init__(self, model: Any) -> None:
        self.outputs: dict[int, Any] = {}
        for number, layer in enumerate(model.model.base_model.encoder.layer):
            layer.register_forward_hook(self._noting(number))

    def _noting(self, number: int) -> Callable[[Any, Any, Any], None]:
        def note(_layer: Any, _inputs: Any, output: Any) -> None:
            self.outputs[number] = output[0] if isinstance(output, tuple) else output

        return note


def grouped_logits(model: Any, pairs: Sequence[Pair], pad_id: int) -> torch.Tensor:
    """Return float32 logits in the order of `pairs`, run longest first in batches of about equal length."""
    import torch

    order = sorted(range(len(pairs)), key=lambda row: -pairs[row].length)
    found = []
    start = 0
    while start < len(order):
        some = order[start : start + max(1, MICRO_TOKENS // pairs[order[start]].length)]
        arrays = padded([pairs[row] for row in some], pad_id)
        names = ("input_ids", "attention_mask", "token_type_ids")
        found.append(scores_of(model, {n: torch.from_numpy(array) for n, array in zip(names, arrays, strict=True)}))
        start += len(some)
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(found)[back]


def scores_of(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return float32[pairs] (or [pairs, 2] of the pair of models) for padded inputs."""
    import torch

    if isinstance(model, torch.nn.Module):
        device = next(model.parameters()).device
        logits: torch.Tensor = model({name: tensor.to(device) for name, tensor in tensors.items()})["scores"]
        return logits.float().view(-1)
    found: torch.Tensor = model(tensors)
    return found


def mean_over_groups(parts: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return each part's mean over the groups."""
    import torch

    return {name: torch.stack([one[name] for one in parts]).mean() for name in parts[0]}
