"""The last layer for the first token alone: same scores, same gradients."""

from pathlib import Path
from typing import Any

import pytest

from searchd.rerank import house
from searchd.train.first_token import only_first_token

torch = pytest.importorskip("torch")


def read_of(model: Any) -> tuple[Any, Any]:
    """Return a model's logits for three padded pairs, and the gradient of its last layer's keys."""
    ids = torch.randint(1000, 30_000, (3, 20), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 12:] = 0
    model.zero_grad()
    logits = model(input_ids=ids, attention_mask=mask).logits
    logits.square().sum().backward()
    return logits.detach(), model.bert.encoder.layer[-1].attention.self.key.weight.grad.clone()


def loaded(folder: Path, attention: str) -> Any:
    from transformers import BertForSequenceClassification

    return BertForSequenceClassification.from_pretrained(folder, attn_implementation=attention).eval()


def test_scores_and_gradients_are_those_of_the_whole_layer(tmp_path: Path) -> None:
    house.export("rerank-base", tmp_path / "base")
    model = loaded(tmp_path / "base", "eager")
    scores, gradient = read_of(model)
    assert only_first_token(model)
    assert model.bert(torch.ones((1, 4), dtype=torch.long)).last_hidden_state.shape[1] == 1
    lean_scores, lean_gradient = read_of(model)
    torch.testing.assert_close(lean_scores, scores)
    torch.testing.assert_close(lean_gradient, gradient)


def test_attention_by_a_fused_kernel_is_left_as_it_is(tmp_path: Path) -> None:
    house.export("rerank-base", tmp_path / "base")
    assert not only_first_token(loaded(tmp_path / "base", "sdpa"))
