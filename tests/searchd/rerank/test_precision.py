"""The precision of a model: the fastest that ranks like float32, tried once for each model and processor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models

from indexer.device import Device
from searchd.rerank import precision as module
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.examples import close_questions, paragraphs, questions
from searchd.rerank.local import Frame, LocalReranker, Pair, PassageTokenizer
from searchd.rerank.precision import FILE, Trial, choose, fastest, overlap, spearman
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.settings import Settings, Stage
from tests.searchd.rerank.models import write_tiny

FULL = Trial(seconds=1.0, spearman=1.0, overlap=1.0)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ({"float32": FULL}, "float32"),
        ({"float32": FULL, "bfloat16": Trial(0.4, 0.9995, 1.0)}, "bfloat16"),
        ({"float32": FULL, "bfloat16": Trial(0.4, 0.99, 1.0)}, "float32"),
        ({"float32": FULL, "bfloat16": Trial(0.4, 0.9995, 0.9)}, "float32"),
        ({"float32": FULL, "bfloat16": Trial(0.95, 0.9995, 1.0)}, "float32"),
        ({"float32": FULL, "bfloat16": Trial(0.4, 0.9995, 1.0), "int8": Trial(0.3, 0.996, 0.97)}, "int8"),
        ({"float32": FULL, "bfloat16": Trial(0.4, 0.9995, 1.0), "int8": Trial(0.38, 0.996, 0.97)}, "bfloat16"),
        ({"float32": FULL, "bfloat16": Trial(0.4, 0.9995, 1.0), "int8": Trial(0.1, 0.99, 0.97)}, "bfloat16"),
        ({"float32": FULL, "bfloat16": Trial(1.4, 0.9, 1.0), "int8": Trial(0.1, 0.996, 0.97)}, "int8"),
    ],
)
def test_the_fastest_that_agrees_is_taken_if_it_is_clearly_faster(trials: dict[str, Trial], expected: str) -> None:
    assert fastest(trials) == expected


def test_agreement_is_of_ranks() -> None:
    first = np.array([3.0, 1.0, 2.0, 0.0], dtype=np.float32)
    assert spearman(first, first * 10 + 5) == pytest.approx(1)
    assert spearman(first, -first) == pytest.approx(-1)
    assert spearman(first, np.array([3.0, 2.0, 1.0, 0.0], dtype=np.float32)) == pytest.approx(0.8)
    assert overlap(first, first * 2, 2) == 1
    assert overlap(first, -first, 2) == 0
    assert overlap(first, np.array([3.0, 2.0, 1.0, 0.0], dtype=np.float32), 2) == 0.5


def test_examples_are_real_text_and_always_the_same() -> None:
    assert len(paragraphs()) > 1000
    assert questions(3, 5) == questions(3, 5)
    query, passages = questions(3, 5)[1]
    assert query in " ".join(passages[0].split())
    assert len(set(passages)) == 5


def test_precisions_are_compared_on_passages_that_are_about_one_thing() -> None:
    assert close_questions(3, 8) == close_questions(3, 8)
    for query, passages in close_questions(3, 8):
        assert any(query in " ".join(passage.split()) for passage in passages)
        start = paragraphs().index(passages[0])
        assert tuple(passages) == paragraphs()[start : start + 8]


class Toy:
    """A model whose scores are lengths, as exactly and as slowly as its precision says."""

    packs, longest, path = None, 512, "toy"

    def __init__(self, precision: str, made: list[str]) -> None:
        made.append(precision)
        self.fingerprint = precision
        self.tokenizer = PassageTokenizer(Tokenizer(models.BPE()))
        self.precision = precision

    def frame(self, query: str, instruction: str, limit: int) -> Frame:
        nothing = np.zeros(0, dtype=np.int32)
        return Frame(nothing, nothing)

    def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
        return np.arange(len(batch), dtype=np.float32) * (-1 if self.precision == "int8" else 1)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setattr(module, "precisions_of", lambda device: ("float32", "bfloat16", "int8"))
    return Device(Settings(device="cpu"))


def test_the_choice_is_kept_for_this_model_and_processor(device: Device, tmp_path: Path) -> None:
    made: list[str] = []
    first, trials = choose("abc", device, tmp_path, lambda precision: Toy(precision, made))
    assert made == ["float32", "bfloat16", "int8"]
    assert trials["int8"].spearman == pytest.approx(-1)
    assert first.fingerprint in ("float32", "bfloat16")
    again, known = choose("abc", device, tmp_path, lambda precision: Toy(precision, made))
    assert (made[3:], again.fingerprint, known) == ([first.fingerprint], first.fingerprint, {})
    choose("other", device, tmp_path, lambda precision: Toy(precision, made))
    assert len(made) == 7
    assert len(json.loads((tmp_path / FILE).read_text())) == 2


def test_a_gpu_is_timed_on_more_at_once(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Noting(Toy):
        def forward(self, batch: Sequence[Pair]) -> NDArray[np.float32]:
            sizes.append(len(batch))
            return super().forward(batch)

    monkeypatch.setitem(device.__dict__, "name", "mps")
    choose("abc", device, tmp_path, lambda precision: Noting(precision, []))
    assert max(sizes) == module.PASSAGES * module.GPU_REPEATS


@pytest.mark.parametrize("content", ["", "[]", "{", '{"abc on nothing": "int4"}'])
def test_a_file_that_is_damaged_is_as_none(content: str, device: Device, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(content)
    made: list[str] = []
    choose("abc", device, tmp_path, lambda precision: Toy(precision, made))
    assert made == ["float32", "bfloat16", "int8"]


def test_a_precision_that_cannot_be_had_is_left_out(device: Device, tmp_path: Path) -> None:
    def build(precision: str) -> Toy:
        if precision != "float32":
            raise ValueError("not on this processor")
        return Toy(precision, [])

    assert choose("abc", device, tmp_path, build)[0].fingerprint == "float32"
    assert not (tmp_path / FILE).exists()


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="this processor has no int8")
def test_int8_that_is_asked_for_runs_and_says_if_it_ranks_unlike_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, device = str(write_tiny(tmp_path / "tiny")), Device(Settings(device="cpu", threads=1))
    trials: list[Any] = []
    tried = module.tried
    monkeypatch.setattr(module, "tried", lambda *given: trials.append(tried(*given)) or trials[-1])

    def path(data: str) -> str:
        settings, stage = Settings(data_dir=str(tmp_path / data)), Stage(name="large", model=folder, precision="int8")
        return RerankerCache(settings, Scheduler(device)).of(stage)._loaded.result().model.path  # type: ignore[attr-defined]

    monkeypatch.setitem(module.LEAST_SPEARMAN, "int8", -1.0)
    monkeypatch.setattr(module, "LEAST_OVERLAP", 0.0)
    assert path("agrees") == "cross_encoder, int8, packed sequences"
    assert "unlike" not in caplog.text
    monkeypatch.setitem(module.LEAST_SPEARMAN, "int8", 1.1)
    for _ in range(2):
        caplog.clear()
        assert path("disagrees").startswith(
            "cross_encoder, int8, packed sequences; ranks unlike float32 on examples (Spear"
        )
        assert "ranks unlike float32 on examples" in caplog.text
    assert [list(trial) for trial in trials] == [["float32", "int8"]] * 2, "once for each data folder"
    device.close()


def test_a_stage_says_its_own_precision_and_the_setting_dtype_holds_for_the_rest(tmp_path: Path) -> None:
    folder, device = str(write_tiny(tmp_path / "tiny")), Device(Settings(device="cpu", threads=1))

    def path(precision: str, dtype: str) -> str:
        settings = Settings(dtype=dtype, data_dir=str(tmp_path / "data"))
        stage = Stage(name="large", model=folder, precision=precision)
        reranker = load_cross_encoder(stage, settings, Scheduler(device))
        assert isinstance(reranker, LocalReranker)
        return reranker.model.path

    assert "float32" in path("float32", "bfloat16")
    assert "bfloat16" in path("auto", "bfloat16")
    assert "bfloat16" in path("bfloat16", "auto")
    assert not (tmp_path / "data").exists()
    assert path("auto", "auto") == path("auto", "auto")
    device.close()
