"""The search page without a browser: what it does for whom, and what it tells of a collection that one may not see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anyio.to_thread
import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from indexer.store import collections, profiles
from searchd.app import create_app
from searchd.profiles import body_of
from searchd.services import Services
from searchd.settings import Key
from tests.searchd.library import opened_library

JUDGE = Key(name="ann", secret="the-secret-key-of-ann", judge=True)
READER = Key(name="reader", secret="the-secret-key-of-reader")
Client = TestClient[Litestar]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Services over the library, with keys."""
    with opened_library(tmp_path_factory.mktemp("pages")) as opened:
        database = opened.engine.database
        with database.session() as session:
            collections.ensure(session, "hidden", "en", 1.0)
            for collection, name in (("hidden", "unseen"), ("default", "applied")):
                body = body_of(opened.settings.profiles["plain"])
                profiles.apply(session, collection, name, body, author="tune", why="", now=2.0)
        settings = msgspec.structs.replace(opened.settings, keys=(JUDGE, READER))
        yield replace(opened, settings=settings)


@pytest.fixture(scope="module")
def client(shelf: Services) -> Iterator[Client]:
    with TestClient(create_app(shelf), base_url="http://127.0.0.1:8000") as opened:
        yield opened


def bearer(key: Key) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.secret}"}


def test_judgments_are_read_for_those_alone_who_may_judge(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = anyio.to_thread.run_sync, []

    async def watched(work: Any, *args: Any, **options: Any) -> Any:
        seen.append(getattr(getattr(work, "func", work), "__name__", ""))
        return await run(work, *args, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", watched)
    assert client.get("/", headers=bearer(READER)).status_code == 200
    assert "_look" in seen and "grading_of" not in seen
    assert client.get("/", headers=bearer(JUDGE)).status_code == 200
    assert "grading_of" in seen


def test_what_was_applied_to_a_collection_is_not_told_to_who_may_not_see_it(client: Client) -> None:
    page = client.get("/?collection=default", headers=bearer(READER))
    assert (page.status_code, "applied" in page.text) == (200, True)
    page = client.get("/?collection=hidden", headers=bearer(READER))
    assert (page.status_code, "unseen" in page.text, "plain" in page.text) == (404, False, True)
    for collection in ("hidden", "default"):
        body = {"q": "x", "collection": collection, "profile": "none"}
        answer = client.post("/api/search", json=body, headers=bearer(READER))
        assert answer.status_code == 404
        assert "plain" in answer.json()["detail"] and "unseen" not in answer.json()["detail"]
