"""The socket that the daemon listens on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from indexer.errors import ConfigError
from searchd.app import bind
from searchd.settings import Settings


def test_the_socket_says_tcp_so_that_no_answer_waits_for_an_acknowledgement(tmp_path: Path) -> None:
    with bind(Settings(data_dir=str(tmp_path), port=0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be bound"):
            bind(Settings(data_dir=str(tmp_path), port=port))
