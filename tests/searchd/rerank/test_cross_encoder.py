"""Loading cross-encoders: the packaged one, folders, and every way in which one is refused; shared and in the background."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sentence_transformers import CrossEncoder

from indexer.device import Device, Priority
from indexer.errors import ConfigError, InputError
from searchd.__main__ import cli
from searchd.rerank import house, table
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.loading import refusals
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RETRY_S, RerankerCache
from searchd.rerank.types import PassageText, Reranker, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank.models import scored, write_tiny

SETTINGS = Settings(dtype="float32", threads=1)
QUERY = "how do I lubricate a turbine"
PASSAGES = ["The turbine is lubricated by oil under pressure.", "A cat sat on a mat.", "Oil " * 400]


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    opened = Device(SETTINGS)
    yield opened
    opened.close()


def loaded(name: str, device: Device) -> Reranker:
    return load_cross_encoder(Stage(name="large", model=name), SETTINGS, Scheduler(device))


@pytest.fixture(scope="module", params=house.HOUSE_MODELS)
def packaged(request: pytest.FixtureRequest) -> str:
    """The name of a packaged model."""
    return str(request.param)


@pytest.fixture(scope="module")
def exported(packaged: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    house.export(packaged, folder)
    return folder


# -- the packaged model ---------------------------------------------------------------------------------------------


def test_the_packaged_model_prefers_what_answers(packaged: str, device: Device) -> None:
    scores = scored(loaded(packaged, device), QUERY, PASSAGES, 128)
    assert scores[0] > scores[1] + 1


def test_exported_it_is_an_ordinary_cross_encoder_with_equal_logits(
    packaged: str, exported: Path, device: Device
) -> None:
    ours = scored(loaded(packaged, device), QUERY, PASSAGES, 512)
    theirs = CrossEncoder(str(exported), device="cpu", local_files_only=True)
    predicted = theirs.predict([(QUERY, passage) for passage in PASSAGES], show_progress_bar=False)
    np.testing.assert_allclose(ours, predicted, atol=1e-4)
    again = scored(loaded(str(exported), device), QUERY, PASSAGES, 512)
    np.testing.assert_allclose(ours, again, atol=1e-4)


def test_bfloat16_gives_float32_logits_close_to_float32s(packaged: str, device: Device) -> None:
    full = scored(loaded(packaged, device), QUERY, PASSAGES, 128)
    other = Device(Settings(dtype="bfloat16", threads=1))
    half = scored(loaded(packaged, other), QUERY, PASSAGES, 128)
    other.close()
    assert half.dtype == np.float32
    assert np.abs(full - half).max() < 0.1


def test_it_is_exported_only_where_nothing_is(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not empty"):
        house.export("rerank-base", exported)
    with pytest.raises(InputError, match="no packaged model 'other'; there are: rerank-base, rerank-small"):
        house.export("other", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        house.export("rerank-base", tmp_path / "file" / "base")


def test_the_command_line_exports_it(tmp_path: Path) -> None:
    folder = tmp_path / "of[b]:bug:"
    done = CliRunner().invoke(cli, ["models", "export", "rerank-base", str(folder)])
    assert done.exit_code == 0, done.output
    assert f"was written to {folder};" in done.output
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]


def test_packaged_weights_that_are_not_the_known_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    content = bytearray(house.weights_path("rerank-base").read_bytes())
    content[-1] ^= 1
    (tmp_path / "rerank-base.safetensors").write_bytes(content)
    monkeypatch.setattr(house, "_FOLDER", tmp_path)
    with pytest.raises(ConfigError, match="'rerank-base' is missing or damaged"):
        loaded("rerank-base", device)


# -- what is refused ------------------------------------------------------------------------------------------------


def refused(name: str, device: Device, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        loaded(name, device)
    assert f"stage model {name!r} cannot be loaded" in str(caught.value)
    assert "`model` takes a packaged name (rerank-base, rerank-small)" in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(device: Device, tmp_path: Path) -> None:
    refused(str(tmp_path / "nothing"), device, "there is no folder")


def test_a_hub_name_that_cannot_be_fetched_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused("nobody/no-such-model@1234", device, "the hub must be reachable")


def test_pickled_weights_are_never_read(device: Device, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    refused(str(folder), device, "safetensors")


def test_truncated_weights_are_refused(device: Device, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "cut")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    refused(str(folder), device, "cannot be loaded")


def test_a_model_with_more_labels_than_two_is_refused(device: Device, tmp_path: Path) -> None:
    refused(str(write_tiny(tmp_path / "three", labels=3)), device, "1 or 2 labels, this model has 3")


def test_code_of_the_models_own_is_refused_and_does_not_run(device: Device, tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "own")
    trace = tmp_path / "it-ran"
    (folder / "mine.py").write_text(f"open({str(trace)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.C", "AutoModelForSequenceClassification": "mine.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    refused(str(folder), device, "trust_remote_code")
    assert not trace.exists()


# -- shared, and loaded in the background ---------------------------------------------------------------------------


def test_stages_with_one_model_share_it(device: Device, tmp_path: Path) -> None:
    cache = RerankerCache(SETTINGS, Scheduler(device))
    tiny = str(write_tiny(tmp_path / "tiny"))
    small, large = Stage(name="small", model=tiny, max_length=32), Stage(name="large", model=tiny, max_length=64)
    assert cache.of(small) is cache.of(large)
    assert cache.of(small) is not cache.of(Stage(name="other"))
    cache.check([small, large])
    assert "tiny" in cache.names()
    assert not any(str(tmp_path) in name for name in cache.names())


def test_a_model_that_cannot_be_loaded_is_found_at_start(device: Device, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        RerankerCache(SETTINGS, Scheduler(device)).check([Stage(name="small", model=str(tmp_path / "nothing"))])


def test_who_asks_while_it_loads_waits_until_the_deadline_only(
    device: Device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    come = threading.Event()

    def slowly(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
        come.wait(10)
        return load_cross_encoder(stage, settings, scheduler)

    monkeypatch.setitem(table.RERANKERS, "cross_encoder", slowly)
    cache = RerankerCache(SETTINGS, Scheduler(device))
    stage = Stage(name="small", model=str(write_tiny(tmp_path / "tiny")))
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="still being loaded"):
        scored(cache.of(stage), QUERY, PASSAGES, 32, deadline=started + 0.05)
    with pytest.raises(TimeoutError, match="still being loaded"):  # whoever has gone away waits for nothing
        cache.of(stage).score(ScoreRequest(query=QUERY, max_length=32, cancelled=lambda: True), [PassageText("a")])
    assert time.monotonic() - started < 2
    assert cache.names() == []
    come.set()
    assert len(scored(cache.of(stage), QUERY, PASSAGES, 32, deadline=time.monotonic() + 20)) == 3


def test_an_error_of_loading_keeps_nobody_who_was_told_of_it(device: Device, tmp_path: Path) -> None:
    cache, depths = RerankerCache(SETTINGS, Scheduler(device)), []
    stage = Stage(name="small", model=str(tmp_path / "nothing"))
    for _ in range(20):
        with pytest.raises(ConfigError, match="there is no folder") as caught:
            scored(cache.of(stage), QUERY, PASSAGES, 32)
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


def test_an_error_of_loading_keeps_nothing_of_the_model_that_was_half_there(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves: list[weakref.ref[torch.Tensor]] = []

    def on_device() -> None:
        weights = torch.ones(8)
        halves.append(weakref.ref(weights))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    def failing(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
        read = torch.ones(8)
        halves.append(weakref.ref(read))
        with refusals(stage, settings, "a cross-encoder"):
            scheduler.device.run(on_device, priority=Priority.RERANK)
        raise AssertionError(read)

    monkeypatch.setitem(table.RERANKERS, "cross_encoder", failing)
    cache, stage = RerankerCache(SETTINGS, Scheduler(device)), Stage(name="small", model="m")
    with pytest.raises(ConfigError, match="CUDA out of memory"):
        cache.check([stage])
    gc.collect()
    assert [half() for half in halves] == [None, None]


def test_a_model_that_could_not_be_loaded_is_tried_again_after_a_while(device: Device, tmp_path: Path) -> None:
    now = [100.0]
    cache = RerankerCache(SETTINGS, Scheduler(device), clock=lambda: now[0])
    stage = Stage(name="small", model=str(tmp_path / "later"))
    for _ in range(2):
        with pytest.raises(ConfigError, match="there is no folder"):
            scored(cache.of(stage), QUERY, PASSAGES, 32)
    write_tiny(tmp_path / "later")
    with pytest.raises(ConfigError, match="there is no folder"):
        scored(cache.of(stage), QUERY, PASSAGES, 32)
    now[0] += RETRY_S
    assert len(scored(cache.of(stage), QUERY, PASSAGES, 32)) == 3
