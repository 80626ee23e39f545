"""Vectors of a run: kept for exactly these texts and this embedder, made anew for any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.device import Device
from indexer.embedder import Embedder, load_embedder
from searchd.settings import Settings
from searchd.train import vectors
from searchd.train.types import Material
from searchd.train.vectors import vectors_of
from tests.searchd.train.documents import material


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    device = Device(Settings(device="cpu", threads=1))
    yield load_embedder(Settings(), device)
    device.close()


def parts(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "vectors").iterdir()}


def ignore(step: str, done: int, whole: int) -> None:
    """Take progress."""


def test_the_same_texts_are_encoded_once(embedder: Embedder, tmp_path: Path) -> None:
    first = vectors_of(material(), None, embedder, tmp_path, ignore)
    before = parts(tmp_path)
    assert np.array_equal(vectors_of(material(), None, embedder, tmp_path, ignore), first)
    assert parts(tmp_path) == before


def test_a_changed_document_is_encoded_anew_though_there_are_as_many_passages(
    embedder: Embedder, tmp_path: Path
) -> None:
    found = material()
    before = vectors_of(found, None, embedder, tmp_path, ignore)
    first = found.documents[0]
    text = replace(first.passages[0], text="Ladders lean against walls, and nobody stands on the last rung of one.")
    changed = Material((replace(first, passages=(text, *first.passages[1:])), *found.documents[1:]))
    after = vectors_of(changed, None, embedder, tmp_path, ignore)
    assert after.shape == before.shape
    assert float(after[0] @ before[0]) < 0.9
    assert np.allclose(after[1:], before[1:], atol=0.01)
    (whole,) = embedder.encode_passages([f"{first.title}\n{text.text}"])
    assert float(after[0] @ whole) > 0.99


def test_another_embedder_has_vectors_of_its_own(embedder: Embedder, tmp_path: Path) -> None:
    vectors_of(material(), None, embedder, tmp_path, ignore)
    device = Device(Settings(device="cpu", threads=1))
    other = load_embedder(Settings(passage_prompt="passage: "), device)
    vectors_of(material(), None, other, tmp_path, ignore)
    device.close()
    assert len(parts(tmp_path)) == 2


def test_what_was_encoded_before_a_stop_is_not_encoded_again(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "ENCODED_AT_ONCE", 2)

    def stop(step: str, done: int, whole: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vectors_of(material(), None, embedder, tmp_path, stop)
    before = parts(tmp_path)
    assert len(before) == 1
    found = vectors_of(material(), None, embedder, tmp_path, ignore)
    assert before.items() <= parts(tmp_path).items()
    assert len(found) == len(material().passages)
