"""Tokenizers that are read without their models: those of the loaded models for every kind, and no end of indexing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from indexer.tokens import PassageTokenizer
from searchd.rerank.local import LocalReranker
from searchd.rerank.onnx_export import export_onnx
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.stage_tokenizers import READ, RETRY_S, StageTokenizers, tokenizer_of
from searchd.rerank.table import RERANKERS
from searchd.settings import Profile, Settings, Stage
from tests.searchd.rerank.families import write_decoder, write_encoder, write_t5
from tests.searchd.rerank.models import write_tiny


def write_onnx(folder: Path) -> Path:
    export_onnx(str(write_tiny(folder / "torch")), folder / "onnx", int8=False)
    return folder / "onnx"


WRITERS: dict[tuple[str, str], Callable[[Path], Path | str]] = {
    ("cross_encoder", "packaged"): lambda folder: "rerank-base",
    ("cross_encoder", "bert"): write_tiny,
    ("cross_encoder", "roberta"): lambda folder: write_encoder(folder, "roberta"),
    ("cross_encoder", "modernbert"): lambda folder: write_encoder(folder, "modernbert"),
    ("causal", "qwen3"): lambda folder: write_decoder(folder, "qwen3"),
    ("seq2seq", "t5"): write_t5,
    ("onnx", "bert"): write_onnx,
}


def test_every_kind_that_is_read_is_tried() -> None:
    assert {kind for kind, _ in WRITERS} == set(READ)


@pytest.mark.parametrize(("kind", "family"), WRITERS, ids=str)
def test_a_tokenizer_read_alone_is_that_of_the_loaded_model(
    kind: str, family: str, settings: Settings, scheduler: Scheduler, tmp_path: Path
) -> None:
    model = str(WRITERS[kind, family](tmp_path / "model"))
    stage = Stage(name="a", kind=kind, model=model, prompt="qwen3" if kind == "causal" else "")
    reranker = RERANKERS[kind](stage, settings, scheduler)
    assert isinstance(reranker, LocalReranker)
    assert tokenizer_of(stage, settings).fingerprint == reranker.model.tokenizer.fingerprint


def test_stages_that_are_on_have_theirs_once_and_what_cannot_be_read_is_left_out_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    there, later, off = tmp_path / "there", tmp_path / "later", tmp_path / "off"
    write_tiny(there)
    stages = (
        Stage(name="a", model=str(there), max_length=32),
        Stage(name="b", model=str(there)),
        Stage(name="c", model=str(later)),
        Stage(name="d", model=str(off), enabled=False),
    )
    far = Stage(name="far", kind="listwise", model="m", url="http://127.0.0.1:9")
    profiles = {"default": Profile(stages=stages), "other": Profile(stages=(far,))}
    loaded: list[PassageTokenizer] = []
    found = StageTokenizers(Settings(profiles=profiles), lambda: loaded, clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        assert len(found()) == len(found()) == 1
    assert len(caplog.records) == 1, "each try may take seconds"
    assert str(later) in caplog.text
    (read,) = found()
    loaded.append(PassageTokenizer(Tokenizer.from_file(str(there / "tokenizer.json"))))
    assert found() == [read, *loaded]
    loaded.clear()

    later.mkdir()
    (later / "tokenizer.json").write_text("{")
    now[0] += RETRY_S
    assert len(found()) == 1
    (later / "tokenizer.json").unlink()
    later.rmdir()
    write_encoder(later, "roberta")
    assert len(found()) == 1
    now[0] += RETRY_S
    assert len({one.fingerprint for one in found()}) == 2
