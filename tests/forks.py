"""Commands in processes of their own, forked from one that has done the slow imports: those take ten seconds of a core each.

What is forked is killed, signalled and waited for like any other process, and shares nothing with its siblings. Tests that
are about the start itself run `sys.executable`.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.crash_program", "tests.imported"])
LOCK = threading.Lock()
"""To start one looks whether others have ended; two threads that read the same end take the second for a failure."""


class Forked:
    """A running `python -m module arguments`. Its methods are those of `subprocess.Popen`."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        stdout: Path,
        stderr: Path,
        cwd: Path | None = None,
    ) -> None:
        become = (module, list(arguments), dict(env), str(stdout), str(stderr), str(cwd or Path.cwd()))
        self._process = FORKS.Process(target=_become, args=become)
        with LOCK:
            self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        atexit.register(self.kill)  # before multiprocessing waits for what a failed test has left running

    def poll(self) -> int | None:
        """Return the exit status, less than 0 for a signal's; None while it runs."""
        with LOCK:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status. Raises: TimeoutExpired."""
        ended = connection.wait([self._process.sentinel], timeout)
        status = self.poll()
        if not ended or status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill at once."""
        self.send_signal(signal.SIGKILL)


def _become(module: str, arguments: list[str], env: dict[str, str], stdout: str, stderr: str, cwd: str) -> None:
    """Run in the fork: take on what a process that is started has of its own, and run the module."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # found out before, from another environment
    for number, path in ((1, stdout), (2, stderr)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # a fork of multiprocessing's ends without them
