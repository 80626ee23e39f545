"""The server profile in processes of its own: four `indexer run` workers and a replica over PostgreSQL and Qdrant's API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from tests.daemon import Daemon, command, environment
from tests.forks import Forked
from tests.postgres import PostgresServer
from tests.qdrant_server import qdrant_server

WORKERS = 4
DOCUMENTS = 400


@pytest.fixture
def profile(postgres: PostgresServer) -> Iterator[dict[str, str]]:
    """Yield the settings of the server profile."""
    with postgres.database() as url, qdrant_server() as qdrant:
        yield {
            "SEARCHD_DATABASE_URL": url,
            "SEARCHD_VECTOR_BACKEND": "server",
            "SEARCHD_QDRANT_URL": qdrant.url,
            "SEARCHD_DTYPE": "float32",
            "SEARCHD_THREADS": "1",
        }


def document(number: int, word: str = "marker") -> dict[str, str]:
    text = f"Report {number} on valves. The word {word}{number}x stands in it.\n\n" + "Some more words. " * 30
    return {"id": f"d{number}", "title": f"Report {number}", "text": text}


def post(client: httpx.Client, documents: list[dict[str, str]]) -> None:
    for start in range(0, len(documents), 50):
        answer = client.post("/api/documents", json={"documents": documents[start : start + 50]})
        assert answer.status_code == 202, answer.text


def wait_until_idle(client: httpx.Client, timeout_s: float = 400) -> None:
    end = time.monotonic() + timeout_s
    while True:
        jobs = client.get("/api/status").json()["jobs"]
        if not jobs.get("queued", 0) + jobs.get("running", 0):
            return
        assert time.monotonic() < end, jobs
        time.sleep(0.2)


def found(client: httpx.Client, word: str) -> list[str]:
    body = {"q": word, "mode": "lexical", "rerank": {"enabled": False}}
    return [hit["document_id"] for hit in client.post("/api/search", json=body).json()["hits"]]


def start_worker(data_dir: Path, log: Path, settings: dict[str, str]) -> Forked:
    return Forked("indexer", ["run"], environment(data_dir, **settings), log, log)


def jobs_done(url: str) -> list[Any]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT kind, state, attempts, claimed_by FROM jobs")).all()
    engine.dispose()
    return list(rows)


@pytest.mark.timeout(600)
def test_four_workers_do_every_job_once_and_outlive_one_of_them(tmp_path: Path, profile: dict[str, str]) -> None:
    data = tmp_path / "data"
    logs = [tmp_path / f"worker-{number}.log" for number in range(WORKERS)]
    replica = Daemon(data, SEARCHD_RUN_WORKER="false", **profile)
    workers: list[Forked] = []
    try:
        with replica, httpx.Client(base_url=replica.url, timeout=30, trust_env=False) as client:
            workers += [start_worker(data, log, profile) for log in logs]
            post(client, [document(number) for number in range(DOCUMENTS)])
            wait_until_idle(client)
            done = jobs_done(profile["SEARCHD_DATABASE_URL"])
            assert Counter((row.kind, row.state, row.attempts) for row in done) == {
                ("parse", "succeeded", 1): DOCUMENTS,
                ("index", "succeeded", 1): DOCUMENTS,
            }
            assert len({row.claimed_by for row in done}) > 1

            post(client, [document(number, "second") for number in range(0, DOCUMENTS, 2)])
            workers[0].kill()
            client.delete("/api/documents/d1")
            wait_until_idle(client)
            time.sleep(3)
            for number in range(0, DOCUMENTS, 40):
                assert found(client, f"second{number}x") == [f"d{number}"]
                assert found(client, f"marker{number}x") == []
                assert found(client, f"marker{number + 3}x") == [f"d{number + 3}"]
            assert found(client, "marker1x") == []
        for worker in workers[1:]:
            worker.terminate()
            assert worker.wait(60) == 0, [log.read_text()[-2000:] for log in logs]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    sound = command("indexer", "doctor", data_dir=data, **profile)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert not [log.read_text() for log in logs if "Traceback" in log.read_text()]
