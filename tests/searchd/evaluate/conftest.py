"""Rerankers that count words, wherever a stage's model would be loaded: no evaluation here is about a model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from searchd.rerank import table
from tests.searchd.library import CountingReranker


@pytest.fixture(scope="module")
def counting_rerankers() -> Iterator[None]:
    """Have every cross-encoder stage count words."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(table.RERANKERS, "cross_encoder", lambda *_: CountingReranker())
        yield
