"""One device and one queue for the tests of each module of rerankers, in float32 on one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from indexer.device import Device
from searchd.rerank.scheduler import Scheduler
from searchd.settings import Settings


@pytest.fixture(scope="module")
def settings() -> Settings:
    """Return what is exact and quiet."""
    return Settings(dtype="float32", threads=1)


@pytest.fixture(scope="module")
def scheduler(settings: Settings) -> Iterator[Scheduler]:
    """Open a device with a queue before it."""
    device = Device(settings)
    yield Scheduler(device)
    device.close()
