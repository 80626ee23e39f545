"""SIGKILL of the daemon during ingestion: what was acknowledged is found afterwards, and the three stores agree."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.daemon import Daemon, command

KILLS = 20
FOLDERS = 2
"""Data folders whose daemons live and die side by side: most of the time is Python's start, on one core."""
SEED = 20260
NO_STAGES = '{"default": {"stages": []}}'
"""No reranker is asked for, and none is loaded 22 times."""


@pytest.mark.timeout(900)
def test_twenty_kills_during_ingestion_lose_no_acknowledged_document(tmp_path: Path) -> None:
    with ThreadPoolExecutor(FOLDERS) as pool:
        lives = [pool.submit(live_and_die, tmp_path / str(n), random.Random(SEED + n)) for n in range(FOLDERS)]
        assert sum(life.result() for life in lives) == KILLS


def live_and_die(data_dir: Path, chance: random.Random) -> int:
    """Kill a daemon again and again while it takes documents in; check what is left; return how often it was killed."""
    daemon = Daemon(data_dir, SEARCHD_PROFILES=NO_STAGES)
    acknowledged: set[str] = set()
    kills = 0
    while kills < KILLS // FOLDERS:
        daemon.start(ready=False)
        acknowledge_some(daemon, chance, acknowledged)
        daemon.kill()
        kills += 1
    assert len(acknowledged) > kills
    with daemon:
        with httpx.Client(base_url=daemon.url, timeout=30, trust_env=False) as client:
            wait_until_idle(client)
            look_for(client, acknowledged, chance.sample(sorted(acknowledged), min(40, len(acknowledged))))
        assert daemon.stop() == 0
    sound = command("indexer", "doctor", data_dir=daemon.data_dir)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    return kills


def acknowledge_some(daemon: Daemon, chance: random.Random, acknowledged: set[str]) -> None:
    """Post documents for up to 2.5 s; add the ids of those that were acknowledged."""
    end = time.monotonic() + chance.uniform(0.2, 2.5)
    with httpx.Client(base_url=daemon.url, timeout=20, trust_env=False) as client:
        while time.monotonic() < end:
            batch = [document(len(acknowledged) + i) for i in range(chance.randint(1, 8))]
            answer = client.post("/api/documents", json={"documents": batch})
            assert answer.status_code == 202, answer.text
            acknowledged |= {one["id"] for one in batch}
            time.sleep(chance.uniform(0, 0.2))


def look_for(client: httpx.Client, acknowledged: set[str], sample: list[str]) -> None:
    """Check that every document is there, and that both systems find those of the sample."""
    for document_id in sorted(acknowledged):
        assert client.get(f"/api/documents/{document_id}").status_code == 200, document_id
    for document_id in sample:
        asked = {"q": f"marker{document_id.removeprefix('d')}x", "rerank": {"enabled": False}, "limit": 100}
        found = client.post("/api/search", json=asked | {"mode": "lexical"}).json()
        assert [hit["document_id"] for hit in found["hits"]] == [document_id]
        assert client.post("/api/search", json=asked | {"mode": "semantic"}).json()["hits"]


def document(number: int) -> dict[str, str]:
    """Return a document that one word finds."""
    text = f"Report {number} on valves and pumps. The word marker{number}x stands in it.\n\n" + "Some more words. " * 40
    return {"id": f"d{number}", "title": f"Report {number}", "text": text}


def wait_until_idle(client: httpx.Client, timeout_s: float = 120) -> None:
    """Return once no job is queued or running."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        jobs = client.get("/api/status").json()["jobs"]
        if not jobs.get("queued", 0) + jobs.get("running", 0):
            return
        time.sleep(0.2)
    raise AssertionError("jobs were still open")
