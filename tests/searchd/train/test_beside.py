"""Training goes last on its machine, and the terminal that it was begun in does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from searchd.train.beside import AUTOGROUP, NICENESS

ASIDE = "from searchd.train.beside import AUTOGROUP, be_nice, step_aside; import os, sys, time; step_aside(); "
needs_autogroups = pytest.mark.skipif(not AUTOGROUP.is_file(), reason="this kernel has no autogroups")


LISTENING = """
try:
    print(1, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("stopped")
    sys.exit(130)
"""


def begun(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", ASIDE + program], stdout=subprocess.PIPE, text=True)


def test_the_process_is_nice_once_however_often_it_is_told() -> None:
    with begun("be_nice(); print(os.nice(0))") as process:
        assert process.stdout is not None
        assert int(process.stdout.read()) == NICENESS


@needs_autogroups
def test_its_session_is_nice_too_and_the_one_it_was_begun_in_stays_as_it_was() -> None:
    before = AUTOGROUP.read_text()
    with begun("print(os.getsid(0) == os.getpid(), AUTOGROUP.read_text())") as process:
        assert process.stdout is not None
        own, *session = process.stdout.read().split()
    assert own == "True"
    assert session[-2:] == ["nice", str(NICENESS)]
    assert AUTOGROUP.read_text() == before


def test_it_exits_as_the_rest_does() -> None:
    with begun("sys.exit(7)") as process:
        pass
    assert process.returncode == 7


def test_an_interrupt_reaches_the_rest() -> None:
    with begun(LISTENING) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "stopped\n"
    assert process.returncode == 130


def test_a_kill_ends_the_rest_too(tmp_path: Path) -> None:
    with begun("print(os.getpid(), flush=True); time.sleep(120)") as process:
        assert process.stdout is not None
        rest = int(process.stdout.readline())
        process.kill()
        end = time.monotonic() + 60
        while psutil.pid_exists(rest) and time.monotonic() < end:
            time.sleep(0.1)
        assert not psutil.pid_exists(rest)
