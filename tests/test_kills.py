"""SIGKILL of the daemon during ingestion: what was acknowledged is found afterwards, and the three stores agree."""

from __future__ import annotations

import random
import time
from pathlib import Path

import httpx
import pytest

from tests.daemon import Daemon, command

KILLS = 20
NO_STAGES = '{"default": {"stages": []}}'
"""No reranker is asked for, and none is loaded 21 times."""
SEED = 20260


@pytest.mark.timeout(900)
def test_twenty_kills_during_ingestion_lose_no_acknowledged_document(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    daemon = Daemon(tmp_path / "data", SEARCHD_PROFILES=NO_STAGES)
    acknowledged: set[str] = set()
    number = 0
    for _ in range(KILLS):
        daemon.start(ready=False)
        end = time.monotonic() + chance.uniform(0.2, 2.5)
        with httpx.Client(base_url=daemon.url, timeout=20, trust_env=False) as client:
            while time.monotonic() < end:
                batch = [document(number + i) for i in range(chance.randint(1, 8))]
                answer = client.post("/api/documents", json={"documents": batch})
                assert answer.status_code == 202, answer.text
                acknowledged |= {one["id"] for one in batch}
                number += len(batch)
                time.sleep(chance.uniform(0, 0.2))
        daemon.kill()

    with daemon:
        with httpx.Client(base_url=daemon.url, timeout=30, trust_env=False) as client:
            wait_until_idle(client)
            for document_id in sorted(acknowledged):
                assert client.get(f"/api/documents/{document_id}").status_code == 200, document_id
            for document_id in chance.sample(sorted(acknowledged), min(60, len(acknowledged))):
                for mode in ("lexical", "semantic"):
                    asked = {"q": f"marker{document_id.removeprefix('d')}x", "mode": mode, "rerank": {"enabled": False}}
                    found = client.post("/api/search", json=asked | {"limit": 100}).json()
                    if mode == "lexical":
                        assert [hit["document_id"] for hit in found["hits"]] == [document_id]
                    else:
                        assert found["hits"]
        assert daemon.stop() == 0
    sound = command("indexer", "doctor", data_dir=daemon.data_dir)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert len(acknowledged) > KILLS


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
