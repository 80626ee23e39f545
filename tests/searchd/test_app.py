"""The daemon before it serves: the socket it listens on, the models it needs."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from indexer.errors import ConfigError
from searchd.app import bind
from searchd.services import Services
from searchd.settings import Profile, Settings, Stage
from tests.searchd.library import services_over


def test_the_socket_says_tcp_so_that_no_answer_waits_for_an_acknowledgement(tmp_path: Path) -> None:
    with bind(Settings(data_dir=str(tmp_path), port=0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be bound"):
            bind(Settings(data_dir=str(tmp_path), port=port))


def test_a_model_that_any_profile_runs_must_load_before_serving(services: Services) -> None:
    missing = Stage(name="own", model="/no/such/folder")
    profiles = {"default": Profile(stages=()), "other": Profile(stages=(missing,))}
    settings = msgspec.structs.replace(services.settings, profiles=profiles)
    with pytest.raises(ConfigError, match="/no/such/folder"):
        services_over(services.engine, settings).warm_up()
