"""Exported cross-encoders score like torch, load no torch, and are refused by name where they cannot be right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import TensorProto, helper
from prometheus_client import CollectorRegistry
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from indexer.device import Device
from indexer.errors import ConfigError, InputError
from searchd.__main__ import cli
from searchd.api.status import count_rerankers
from searchd.rerank.cross_encoder import load_cross_encoder
from searchd.rerank.local import LocalReranker
from searchd.rerank.onnx import load_onnx
from searchd.rerank.onnx_export import export_onnx
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.rerank.types import PassageText, Reranker, ScoreRequest
from searchd.settings import Settings, Stage
from tests.searchd.rerank.models import TOKENIZER, scored, write_tiny
from tests.searchd.rerank.test_scheduler import Held

SETTINGS = Settings(device="cpu", dtype="float32", threads=1)
QUERY = "how are command line options parsed"
PASSAGES = [
    "The argparse module parses command line options and writes usage messages.",
    "Oil",
    "",
    "The turbine is lubricated by oil under pressure. " * 60,
    "Ünïcödé 漢字 🙂",
    "A longer passage about something else, " * 6,
]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Scheduler]:
    device = Device(SETTINGS)
    yield Scheduler(device)
    device.close()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Return each model as an ordinary folder, and exported."""
    root = tmp_path_factory.mktemp("onnx")
    plain = {
        "one label": write_tiny(root / "one"),
        "two labels": write_tiny(root / "two", labels=2),
        "roberta": write_roberta(root / "roberta"),
    }
    for name, folder in plain.items():
        export_onnx(str(folder), root / f"{name} exported", int8=name == "one label")
    return {name: (folder, root / f"{name} exported") for name, folder in plain.items()}


def write_roberta(folder: Path) -> Path:
    """Write a model that numbers positions by its padding id, and has no segments."""
    torch.manual_seed(5)
    config = RobertaConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=130, type_vocab_size=1, pad_token_id=0, initializer_range=0.2, num_labels=1,
    )  # fmt: skip
    RobertaForSequenceClassification(config).save_pretrained(folder)
    for file in TOKENIZER:
        shutil.copyfile(write_tiny(folder.parent / "words") / file, folder / file)
    return folder


def loaded(model: Path | str, scheduler: Scheduler) -> Reranker:
    return load_onnx(Stage(name="s", kind="onnx", model=str(model)), SETTINGS, scheduler)


def scores(reranker: Reranker, passages: Sequence[str], max_length: int, *, parts: bool = False) -> NDArray[np.float32]:
    request = ScoreRequest(QUERY, max_length, parts=parts)
    return reranker.score(request, [PassageText(passage) for passage in passages])


def plainly(folder: Path, passages: Sequence[str], max_length: int) -> list[float]:
    """Compute the logits one pair at a time with transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for passage in passages:
        pair = tokenizer([QUERY], [passage], truncation="only_second", max_length=max_length, return_tensors="pt")
        if model.config.type_vocab_size == 1:
            pair.pop("token_type_ids")
        with torch.inference_mode():
            logits = model(**pair).logits[0]
        found.append(float(logits[0] if len(logits) == 1 else logits[1] - logits[0]))
    return found


# -- scores ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["one label", "two labels", "roberta"])
def named(
    request: pytest.FixtureRequest, folders: dict[str, tuple[Path, Path]], scheduler: Scheduler
) -> tuple[Reranker, Path]:
    plain, exported = folders[request.param]
    return loaded(exported / "onnx" / "model.onnx", scheduler), plain


@pytest.mark.parametrize("max_length", [24, 128])
def test_scores_are_the_logits_that_plain_transformers_gives(named: tuple[Reranker, Path], max_length: int) -> None:
    np.testing.assert_allclose(
        scores(named[0], PASSAGES, max_length), plainly(named[1], PASSAGES, max_length), atol=1e-4
    )


def test_neither_padding_nor_order_nor_batch_size_moves_a_score(named: tuple[Reranker, Path]) -> None:
    together = scores(named[0], PASSAGES, 96)
    alone = [scores(named[0], [passage], 96)[0] for passage in PASSAGES]
    backwards = scores(named[0], PASSAGES[::-1], 96)[::-1]
    repeated = scores(named[0], PASSAGES * 5, 96)[: len(PASSAGES)]
    for other in (alone, backwards, repeated):
        np.testing.assert_allclose(other, together, atol=1e-4)
    assert len({round(float(score), 3) for score in together}) > 4


def test_a_long_passage_scores_as_its_best_part(named: tuple[Reranker, Path]) -> None:
    words = [f"{word} turbine" for word in ("oil", "cat", "getopt", "options", "parsed", "line", "mat", "river")] * 12
    whole = scores(named[0], [" ".join(words)], 64, parts=True)[0]
    beginning = scores(named[0], [" ".join(words)], 64)[0]
    assert whole >= beginning - 1e-4


def test_int8_scores_are_close_and_its_graph_a_third(
    folders: dict[str, tuple[Path, Path]], scheduler: Scheduler
) -> None:
    graphs = folders["one label"][1] / "onnx"
    exact = scores(loaded(graphs / "model.onnx", scheduler), PASSAGES, 96)
    small = scores(loaded(graphs / "model_int8.onnx", scheduler), PASSAGES, 96)
    assert 0 < np.abs(exact - small).max() < 0.25 * (exact.max() - exact.min())
    assert (graphs / "model_int8.onnx").stat().st_size < (graphs / "model.onnx").stat().st_size / 2.5


def test_stored_token_ids_of_the_torch_kind_serve_it_too(
    folders: dict[str, tuple[Path, Path]], scheduler: Scheduler
) -> None:
    plain, exported = folders["one label"]
    torchs = load_cross_encoder(Stage(name="s", model=str(plain)), SETTINGS, scheduler)
    ours = loaded(exported / "onnx" / "model.onnx", scheduler)
    assert isinstance(torchs, LocalReranker)
    assert isinstance(ours, LocalReranker)
    assert ours.model.tokenizer.fingerprint == torchs.model.tokenizer.fingerprint
    assert ours.fingerprint != torchs.fingerprint


def test_beside_a_gpu_it_runs_by_the_rules_of_the_cpu(
    folders: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers with a thread each, a batch each of what is asked, and never a turn of the GPU's only worker."""
    settings = Settings(device="cuda", threads=2)
    gpu, before = Device(settings), set(threading.enumerate())
    monkeypatch.setitem(gpu.__dict__, "name", "cuda")  # what torch would say where there is one
    cache = RerankerCache(settings, Scheduler(gpu))
    stages = [Stage(name="far", kind="onnx", model=str(folders[name][1])) for name in ("two labels", "roberta")]
    with Held(gpu):
        for stage in stages:
            assert np.isfinite(scored(cache.of(stage), QUERY, PASSAGES * 200, 64, deadline=time.monotonic() + 30)).all()
    assert {path for _, path in cache.paths()} == {"onnx, model.onnx, 1 threads, padded batches"}
    counted = CollectorRegistry()
    count_rerankers(cache, counted)
    assert {sample.labels["kind"] for family in counted.collect() for sample in family.samples
            if sample.name == "searchd_rerank_token_ms"} == {"onnx"}  # fmt: skip
    workers = [one for one in threading.enumerate() if one.name.startswith("device-") and one not in before]
    assert len(workers) == 3, "one of the GPU, two of the CPU, which both models share"
    cache.close()
    gpu.close()
    assert not any(one.is_alive() for one in workers)


def test_scoring_loads_no_torch(folders: dict[str, tuple[Path, Path]]) -> None:
    program = f"""
import sys
from indexer.device import Device
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RERANKERS
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.settings import Settings, Stage
settings = Settings(device="cpu")
device = Device(settings)
stage = Stage(name="s", kind="onnx", model={str(folders["two labels"][1])!r})
found = RERANKERS["onnx"](stage, settings, Scheduler(device)).score(ScoreRequest("oil", 64), [PassageText("oil")] * 3)
device.close()
print(len(found), sorted({{"torch", "transformers", "sentence_transformers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3 []"


@pytest.mark.parametrize("file", ["onnx/model.onnx", "onnx/model_int8.onnx"])
def test_of_a_hub_repository_with_several_graphs_and_code_of_its_own_the_named_graph_runs_and_no_code(
    folders: dict[str, tuple[Path, Path]],
    scheduler: Scheduler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    name, commit = "jinaai/jina-reranker-v2-base-multilingual", "0" * 40
    repository = tmp_path / f"models--{name.replace('/', '--')}"
    snapshot = shutil.copytree(folders["one label"][1], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (snapshot / "modeling_xlm_roberta.py").write_text("raise SystemExit")
    config = json.loads((snapshot / "config.json").read_text())
    own = {
        "auto_map": {"AutoModelForSequenceClassification": "modeling_xlm_roberta.XLMRobertaForSequenceClassification"}
    }
    (snapshot / "config.json").write_text(json.dumps(config | own))
    reranker = loaded(f"{name}/{file}", scheduler)
    assert PurePosixPath(file).name in reranker.model.path
    same = loaded(folders["one label"][1] / file, scheduler)
    request, passages = ScoreRequest("oil", 64), [PassageText("oil"), PassageText("a turbine")]
    assert reranker.score(request, passages).tolist() == same.score(request, passages).tolist()


# -- what is refused ------------------------------------------------------------------------------------------------


def refused(model: Path | str, scheduler: Scheduler, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        loaded(model, scheduler)
    assert f"stage model {str(model)!r} cannot be loaded" in str(caught.value)
    assert "tokenizer.json, config.json and one .onnx file" in str(caught.value)


def test_between_several_graphs_it_does_not_guess(folders: dict[str, tuple[Path, Path]], scheduler: Scheduler) -> None:
    folder = folders["one label"][1]
    refused(folder, scheduler, r"it has 2 ONNX files \(onnx/model.onnx, onnx/model_int8.onnx\); name one: model = ")
    refused(folder, scheduler, f'model = "{folder}/onnx/model_int8.onnx"')
    assert isinstance(loaded(folders["two labels"][1], scheduler), LocalReranker)


def test_files_that_are_missing_are_named(
    folders: dict[str, tuple[Path, Path]], scheduler: Scheduler, tmp_path: Path
) -> None:
    refused(tmp_path / "nothing", scheduler, "there is no folder or file")
    refused(folders["one label"][0], scheduler, "there is no .onnx file in it, nor in its folder `onnx`")
    refused(folders["one label"][0] / "config.json", scheduler, "config.json is no .onnx file")
    graph = shutil.copyfile(folders["two labels"][1] / "onnx" / "model.onnx", tmp_path / "alone.onnx")
    refused(graph, scheduler, "tokenizer.json and config.json are neither beside alone.onnx")


def test_a_hub_name_that_cannot_be_fetched_is_refused(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused("nobody/no-such-model", scheduler, "cannot be loaded")
    refused("nobody/no-such-model/onnx/model.onnx@12ab", scheduler, "cannot be loaded")
    refused("nobody/no-such-model/weights.bin", scheduler, "weights.bin is no .onnx file")


def write_graph(
    folder: Path, inputs: Sequence[str], *, labels: int = 1, sizes: Sequence[str | int] = ("b", "s")
) -> Path:
    """Write a graph that gives as many labels as it likes, with a tiny model's tokenizer."""
    write_tiny(folder)
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, list(sizes)) for name in inputs]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    tiles = helper.make_tensor("tiles", TensorProto.INT64, [2], [1, labels])
    nodes = [
        helper.make_node("ReduceSum", [inputs[0], "axis"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Tile", ["float", "tiles"], ["logits"]),
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", given, [logits], [axis, tiles])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )
    return folder


def test_graphs_that_are_no_cross_encoders_are_refused(scheduler: Scheduler, tmp_path: Path) -> None:
    refused(write_graph(tmp_path / "p", ["input_ids", "pixels"]), scheduler, "it wants 'pixels'")
    refused(write_graph(tmp_path / "l", ["input_ids"], labels=3), scheduler, r"1 or 2 labels for each")
    refused(write_graph(tmp_path / "s", ["input_ids"], sizes=("b", 128)), scheduler, "both sizes must be dynamic")
    folder = write_graph(tmp_path / "cut", ["input_ids"])
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-40])
    refused(folder, scheduler, "model.onnx cannot be run")


def test_the_packaged_model_has_to_be_exported_first(scheduler: Scheduler) -> None:
    with pytest.raises(ConfigError, match="run: searchd models export rerank-base FOLDER --onnx"):
        loaded("rerank-base", scheduler)


def test_without_the_runtime_the_extra_is_named(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'searchd\[onnx\]'"):
        loaded("any", scheduler)


# -- writing --------------------------------------------------------------------------------------------------------


def test_the_command_line_writes_both_and_says_how_they_compare(
    folders: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    source, into = str(folders["one label"][0]), str(tmp_path / "out")
    done = CliRunner().invoke(cli, ["models", "export", source, into, "--onnx", "--int8"])
    assert done.exit_code == 0, done.output
    assert f'model = "{into}/onnx/model.onnx"' in done.output
    assert f'model = "{into}/onnx/model_int8.onnx"' in done.output
    assert done.output.count("Spearman") == 2
    assert CliRunner().invoke(cli, ["models", "export", source, into, "--int8"]).exit_code == 2


def test_what_cannot_be_exported_is_refused(folders: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a packaged model"):
        export_onnx("nobody/no-such-model", tmp_path / "a", int8=False)
    with pytest.raises(InputError, match="not empty"):
        export_onnx(str(folders["one label"][0]), folders["two labels"][0], int8=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no cross-encoder that can be exported"):
        export_onnx(str(tmp_path / "empty"), tmp_path / "b", int8=False)


def test_without_what_writes_graphs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"onnxscript.*pip install 'searchd\[onnx-export\]'"):
        export_onnx("rerank-base", tmp_path / "a", int8=False)
