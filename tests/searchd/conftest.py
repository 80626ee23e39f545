"""The real product on a small library: documents of several kinds, some of them restricted, indexed once a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from searchd.services import Services
from tests.searchd.library import opened_library


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Return services over the library; tests do not change its documents."""
    with opened_library(tmp_path_factory.mktemp("library")) as opened:
        yield opened
