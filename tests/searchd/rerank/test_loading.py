"""Loading: files are read beside the device's work, and every local kind runs in the precision that proves itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers
import transformers

from indexer.device import Device
from indexer.errors import ConfigError
from searchd.rerank import loading, precision
from searchd.rerank.loading import parameters_of
from searchd.rerank.precision import FILE
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RERANKERS, RerankerCache
from searchd.settings import Settings, Stage
from tests.searchd.rerank.families import write_decoder, write_encoder, write_t5
from tests.searchd.rerank.late_models import write_stanford
from tests.searchd.rerank.models import write_tiny
from tests.searchd.rerank.test_scheduler import SumModel, asked, pairs

KINDS: dict[str, Callable[[Path], Path]] = {
    "cross_encoder": lambda folder: write_encoder(folder, "deberta"),
    "causal": lambda folder: write_decoder(folder, "qwen3"),
    "seq2seq": write_t5,
    "late_interaction": lambda folder: write_stanford(folder, metadata={"query_maxlen": 16}),
}
"""Those that torch runs, none of them packed."""


def stage_of(kind: str, folder: Path, **options: Any) -> Stage:
    prompted = {"prompt": "qwen3"} if kind == "causal" else {}
    return Stage(name="large", kind=kind, model=str(folder), **prompted, **options)


@pytest.fixture
def device() -> Iterator[Device]:
    opened = Device(Settings(device="cpu", threads=1))
    yield opened
    opened.close()


def path_of(kind: str, folder: Path, device: Device, data: Path, **options: Any) -> str:
    settings = Settings(data_dir=str(data))
    reranker: Any = RERANKERS[kind](stage_of(kind, folder, **options), settings, Scheduler(device))
    path: str = reranker.model.path
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_runs_in_the_precision_that_was_fastest_and_ranked_like_float32(
    kind: str, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "precisions_of", lambda device: ("float32", "bfloat16", "int8"))
    folder = KINDS[kind](tmp_path / "model")
    trials: list[Any] = []
    tried = precision.tried
    monkeypatch.setattr(precision, "tried", lambda *given: trials.append(tried(*given)) or trials[-1])
    path = path_of(kind, folder, device, tmp_path / "data")
    (chosen,) = json.loads((tmp_path / "data" / FILE).read_text()).values()
    assert list(trials[0]) == ["float32", "bfloat16"], "there is no int8 of these"
    assert trials[0]["bfloat16"].spearman < 1, "they were no copies of one model"
    assert chosen in path
    assert path_of(kind, folder, device, tmp_path / "data") == path
    assert len(trials) == 1, "the choice is kept"
    other = "bfloat16" if chosen == "float32" else "float32"
    assert other in path_of(kind, folder, device, tmp_path / "data", precision=other)
    assert len(trials) == 1, "what a stage asks for is not tried"


@pytest.mark.parametrize("kind", ["causal", "seq2seq", "late_interaction"])
def test_a_large_model_is_in_memory_once_and_runs_in_dtype(
    kind: str, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = KINDS[kind](tmp_path / "model")
    monkeypatch.setattr(loading, "TRIED_PARAMETERS", parameters_of(folder) - 1)
    path = path_of(kind, folder, device, tmp_path / "data")
    assert str(device.dtype).removeprefix("torch.") in path
    assert not (tmp_path / "data").exists()


def test_why_no_precision_can_be_had_is_told(device: Device, tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / "model", "qwen3")
    stage = Stage(name="large", kind="causal", model=str(folder), prompt="bge-gemma")
    with pytest.raises(
        ConfigError, match=r"cannot be loaded: its tokenizer has no token.*`model` takes a causal language model"
    ):
        RERANKERS["causal"](stage, Settings(data_dir=str(tmp_path / "data")), Scheduler(device))


READERS = {
    "cross_encoder": (transformers.AutoModelForSequenceClassification, "from_pretrained"),
    "causal": (transformers.AutoModelForCausalLM, "from_pretrained"),
    "seq2seq": (transformers.AutoModelForSeq2SeqLM, "from_pretrained"),
    "late_interaction": (sentence_transformers.MultiVectorEncoder, "__init__"),
}


@pytest.mark.parametrize("kind", READERS)
def test_while_a_model_is_read_the_only_worker_scores_for_other_stages(
    kind: str, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = (write_tiny if kind == "cross_encoder" else KINDS[kind])(tmp_path / "model")
    begun, come = threading.Event(), threading.Event()
    owner, name = READERS[kind]
    read = getattr(owner, name)

    def slowly(*given: Any, **options: Any) -> Any:
        begun.set()
        assert come.wait(20)
        return read(*given, **options)

    monkeypatch.setattr(owner, name, slowly)
    scheduler = Scheduler(device)
    cache = RerankerCache(Settings(dtype="float32", data_dir=str(tmp_path / "data")), scheduler)
    with ThreadPoolExecutor(1) as others:
        loaded = cache.of(stage_of(kind, folder))
        assert begun.wait(20)
        found = others.submit(scheduler.score, SumModel(), pairs(3, 4), asked(deadline=time.monotonic() + 5))
        assert found.result(10).tolist() == [3, 4]
        come.set()
        assert loaded.fingerprint
