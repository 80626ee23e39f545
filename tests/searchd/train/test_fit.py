"""Fitting: a model learns its groups, keeps its embeddings, and goes on after a stop as if there had been none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder

from indexer.errors import ConfigError
from searchd.train import fit as fitting
from searchd.train.fit import FitSettings, fit
from searchd.train.losses import LossSettings
from searchd.train.shrink import every_second, shrunk
from searchd.train.trainer import arguments, by_length, on_one_gpu, steps_of
from tests.searchd.rerank.families import ENCODERS, write_encoder
from tests.searchd.rerank.models import write_tiny
from tests.searchd.train.documents import groups

SETTINGS = FitSettings(groups_at_once=8, learning_rate=2e-3, warmup_steps=2, max_length=48, save_steps=4)


def ignore(step: int, steps: int, loss: float | None) -> None:
    """Take a step's progress."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("base"))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def test_a_model_learns_and_word_and_position_embeddings_stay(base: Path, tmp_path: Path) -> None:
    fitted = fit(base, groups(), tmp_path / "run", SETTINGS, ignore)
    before, after = tensors(base), tensors(fitted)
    changed = {name for name in before if not torch.equal(before[name].float(), after[name].float())}
    assert any("encoder.layer.0" in name for name in changed)
    assert not any("word_embeddings" in name or "position_embeddings" in name for name in changed)
    asked = groups()[0]
    scores = CrossEncoder(str(fitted), device="cpu").predict([(asked.query, text) for text in asked.texts])
    assert scores.argmax() == 0


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(base: Path, tmp_path: Path) -> None:
    whole = fit(base, groups(), tmp_path / "whole", SETTINGS, ignore)
    steps: list[int] = []

    def stop_in_the_middle(step: int, of: int, loss: float | None) -> None:
        steps.append(step)
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(base, groups(), tmp_path / "stopped", SETTINGS, stop_in_the_middle)
    gone_on = fit(base, groups(), tmp_path / "stopped", SETTINGS, lambda step, of, loss: steps.append(step))
    assert steps == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9, 10, 11, 12]
    left, right = tensors(whole), tensors(gone_on)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_lora_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, method="lora", max_steps=6)
    whole = fit(base, groups(), tmp_path / "whole", settings, ignore)

    def stop(step: int, of: int, loss: float | None) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(base, groups(), tmp_path / "stopped", settings, stop)
    left, right = tensors(whole), tensors(fit(base, groups(), tmp_path / "stopped", settings, ignore))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_checkpoint_that_a_full_disk_or_a_kill_cut_short_is_passed_over(base: Path, tmp_path: Path) -> None:
    def stop(step: int, of: int, loss: float | None) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(base, groups(), tmp_path, SETTINGS, stop)
    state = tmp_path / "checkpoint-8" / "trainer_state.json"
    assert fitting.last_checkpoint(tmp_path) == str(state.parent)
    state.write_bytes(state.read_bytes()[:-20])
    assert fitting.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    steps: list[int] = []
    fit(base, groups(), tmp_path, SETTINGS, lambda step, of, loss: steps.append(step))
    assert steps[0] == 5


@pytest.mark.parametrize("family", [name for name in ENCODERS if name != "bert"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_family_of_cross_encoders_learns(family: str, method: str, tmp_path: Path) -> None:
    base = write_encoder(tmp_path / family, family)
    settings = replace(SETTINGS, method=method, max_steps=2)
    fitted = fit(base, groups(), tmp_path / "run", settings, ignore)
    before, after = tensors(base), tensors(fitted)
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name].float(), after[name].float())}
    assert any("layer" in name for name in changed)
    assert any("classifier" in name for name in changed)
    assert not any("word_embeddings" in name or "tok_embeddings" in name for name in changed)


def test_a_short_run_warms_up_for_a_tenth_of_it_and_a_long_one_for_what_is_set() -> None:
    settings = FitSettings(warmup_steps=50, epochs=1.0)
    assert [steps_of(count, settings) for count in (320, 20_000)] == [20, 1250]
    warm = [arguments(Path("x"), settings, steps).warmup_steps for steps in (1, 20, 1250)]
    assert warm == [0, 2, 50]


def test_a_finished_run_is_not_done_again(base: Path, tmp_path: Path) -> None:
    first = fit(base, groups(), tmp_path / "run", replace(SETTINGS, max_steps=2), ignore)
    again = fit(base, groups(), tmp_path / "run", replace(SETTINGS, max_steps=2), lambda *_: pytest.fail("it ran"))
    assert again == first


def test_a_run_does_not_go_on_with_other_settings(base: Path, tmp_path: Path) -> None:
    fitting.same_settings(tmp_path / "run", SETTINGS)
    fitting.same_settings(tmp_path / "run", replace(SETTINGS, threads=2))
    with pytest.raises(ConfigError, match="learning_rate"):
        fitting.same_settings(tmp_path / "run", replace(SETTINGS, learning_rate=1.0))


def test_lora_changes_weights_and_leaves_an_ordinary_model(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, method="lora", max_steps=3)
    fitted = fit(base, groups(), tmp_path / "run", settings, ignore)
    before, after = tensors(base), tensors(fitted)
    assert set(before) == set(after)
    assert not torch.equal(
        before["bert.encoder.layer.0.attention.self.query.weight"],
        after["bert.encoder.layer.0.attention.self.query.weight"],
    )


def test_a_small_model_begins_with_every_second_layer_and_comes_to_score_like_its_teacher(
    base: Path, tmp_path: Path
) -> None:
    fitted = fit(base, groups(), tmp_path / "base", SETTINGS, ignore)
    layers = every_second(fitted)
    assert layers == (1,)
    small = shrunk(fitted, layers, tmp_path / "start", groups(), SETTINGS)
    key = "bert.encoder.layer.{}.attention.output.dense.weight"
    assert torch.equal(tensors(small)[key.format(0)], tensors(fitted)[key.format(1)])
    assert key.format(1) not in tensors(small)
    losses: list[float] = []

    def note(step: int, steps: int, loss: float | None) -> None:
        if loss is not None:
            losses.append(loss)

    settings = replace(SETTINGS, epochs=3)
    distilled = fit(small, groups(), tmp_path / "small", settings, note, fitted, layers)
    assert losses[-1] < losses[0]
    asked = groups()[0]
    pairs = [(asked.query, text) for text in asked.texts]
    assert CrossEncoder(str(distilled), device="cpu").predict(pairs).argmax() == 0


def test_in_bfloat16_a_model_is_fitted_and_distilled_too(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, bfloat16=True)
    fitted = fit(base, groups(), tmp_path / "base", settings, ignore)
    exact = fit(base, groups(), tmp_path / "exact", SETTINGS, ignore)
    key = "bert.encoder.layer.0.output.dense.weight"
    assert tensors(fitted)[key].dtype == torch.float32, "only what is multiplied is rounded, not what is learned"
    assert not torch.equal(tensors(fitted)[key], tensors(exact)[key])
    layers = every_second(fitted)
    small = shrunk(fitted, layers, tmp_path / "start", groups(), settings)
    distilled = fit(small, groups(), tmp_path / "small", replace(settings, epochs=3), ignore, fitted, layers)
    asked = groups()[0]
    for folder in (fitted, distilled):
        pairs = [(asked.query, text) for text in asked.texts]
        assert CrossEncoder(str(folder), device="cpu").predict(pairs).argmax() == 0


def test_of_several_gpus_a_run_takes_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Arguments:
        n_gpu = _n_gpu = 4

    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert on_one_gpu(Arguments(), "cpu")._n_gpu == 4
    assert chosen == []
    assert on_one_gpu(Arguments(), "cuda:2")._n_gpu == 1
    assert on_one_gpu(Arguments(), "cuda")._n_gpu == 1
    assert chosen == ["cuda:2"]


def test_layers_that_a_model_has_not_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[5\] cannot be taken from a model of 2"):
        shrunk(base, (5,), tmp_path / "start", groups(), SETTINGS)


def test_groups_of_like_length_stand_together_and_none_is_lost() -> None:
    ordered = by_length(groups(), SETTINGS)
    assert sorted(map(repr, ordered)) == sorted(map(repr, groups()))
    sizes = [[sum(map(len, one.texts)) for one in ordered[at : at + 8]] for at in range(0, 96, 8)]
    assert max(max(size) - min(size) for size in sizes) < 60


def test_the_teacher_and_absolute_labels_can_be_left_out() -> None:
    from searchd.train.losses import loss_parts

    logits, labels = torch.tensor([2.0, 0.0]), torch.tensor([[1.0, 0.9], [0.0, 0.2]])
    assert set(loss_parts(logits, labels, LossSettings(teacher=0, absolute=0))) == {"choice"}
    parts = loss_parts(logits, labels, LossSettings())
    assert parts["choice"].item() == pytest.approx(0.1269, abs=1e-4)
    assert all(part.item() > 0 for part in parts.values())
