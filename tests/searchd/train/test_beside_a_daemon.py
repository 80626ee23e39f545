"""Promotions and rollbacks while a daemon serves: it keeps the model that it has, and takes the one in use when it starts."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from searchd.settings import Settings
from searchd.train import registry
from searchd.train.registry import Card, Figures
from tests.daemon import Daemon, command
from tests.searchd.rerank.models import write_tiny

NONE = Figures(queries=0, fused=0.0, alone=0.0, blended=0.0)
PROFILES = '{"default": {"stages": [{"name": "large", "model": "rerank-base", "max_length": 64, "budget_ms": 60000}]}}'


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with two versions of rerank-base that score unlike each other and unlike the packaged one."""
    folder = tmp_path / "data"
    for seed in (3, 4):
        card = Card(
            name="rerank-base", version="v0", made_at=1.0, base="x", collection="default", groups=20, kinds={},
            settings={}, before=NONE, after=NONE, took_s=1.0,
        )  # fmt: skip
        registry.store(Settings(data_dir=str(folder)), write_tiny(tmp_path / f"tiny-{seed}", seed=seed), card)
    return folder


def score(daemon: Daemon) -> float:
    asked = {"query": "what is a pump", "texts": ["A pump moves water."], "raw_scores": True}
    answer = httpx.post(f"{daemon.url}/rerank", json=asked, timeout=60, trust_env=False)
    return round(float(answer.json()[0]["score"]), 4)


def models(data_dir: Path, *arguments: str, fresh: bool = False) -> str:
    done = command("searchd", "models", *arguments, data_dir=data_dir, fresh=fresh, SEARCHD_PROFILES=PROFILES)
    assert done.returncode == 0, done.stderr
    return " ".join(str(done.stdout).split())


def test_what_is_promoted_or_rolled_back_serves_from_the_next_start_and_not_before(data_dir: Path) -> None:
    daemon = Daemon(data_dir, SEARCHD_PROFILES=PROFILES)

    def kept_until_the_next_start(*asked: tuple[str, ...]) -> float:
        """Run commands, see that the daemon goes on as before, start it again, and return its score then."""
        before = score(daemon)
        for arguments in asked:
            assert f"It serves when the daemon at {daemon.url} is started again, in default.large." in models(
                data_dir, *arguments
            )
        assert score(daemon) == before
        assert daemon.stop() == 0
        daemon.start()
        return score(daemon)

    with daemon:
        packaged = score(daemon)
        promotions = (("promote", "rerank-base", version, "--force") for version in ("v1", "v2"))
        second = kept_until_the_next_start(*promotions)
        first = kept_until_the_next_start(("rollback", "rerank-base"))
        assert len({packaged, first, second}) == 3
        assert "rerank-base packaged is in use." in models(data_dir, "rollback", "rerank-base", fresh=True)
        assert score(daemon) == first
    with daemon:
        assert score(daemon) == packaged
