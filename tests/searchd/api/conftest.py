"""Clients of the real application over the library, and over an empty folder with a worker for what writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from searchd.app import create_app
from searchd.services import Services, build_services
from searchd.settings import Settings

HOST = "http://127.0.0.1:8000"
Client = TestClient[Litestar]


@pytest.fixture(scope="session")
def client(services: Services) -> Iterator[Client]:
    """Return a client of the library; tests do not write through it."""
    with TestClient(create_app(services), base_url=HOST, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture(scope="session")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Return services with a worker over an empty folder."""
    folder = tmp_path_factory.mktemp("writing")
    settings = Settings(data_dir=str(folder), parser_processes=1, timeout_ms=20_000, max_document_mb=1)
    opened = build_services(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def writer(writing: Services) -> Iterator[Client]:
    """Return a client that may write."""
    with TestClient(create_app(writing), base_url=HOST, raise_server_exceptions=False) as opened:
        yield opened


def problem(answer: Any) -> dict[str, Any]:
    """Return an error answer's body, its form checked."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert body["status"] == answer.status_code
    assert body["code"] == body["code"].lower().replace(" ", "_")
    return body
