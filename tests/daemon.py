"""A `searchd serve` in its own process, for tests that kill it, race it, or look at it from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import httpx

from tests.forks import Forked

READY_S = 180.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return this process's environment with only these searchd settings in it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEARCHD_")}
    # A precision that is given is not tried out first, which takes seconds in every new data folder.
    return inherited | {"SEARCHD_DATA_DIR": str(data_dir), "SEARCHD_DTYPE": "float32"} | settings


def command(
    module: str,
    *arguments: str,
    data_dir: Path,
    timeout: float = 120,
    cwd: Path | None = None,
    fresh: bool = False,
    **settings: str,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments` on the data folder; return the completed process with its text output.

    `fresh` starts a new Python, as a user does: what it imports by and by is then not there already.
    """
    if fresh:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments], env=environment(data_dir, **settings), cwd=cwd,
            timeout=timeout, capture_output=True, text=True, check=False,
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder) / "stdout", Path(folder) / "stderr"
        process = Forked(module, arguments, environment(data_dir, **settings), stdout, stderr, cwd)
        try:
            status = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess([module, *arguments], status, stdout.read_text(), stderr.read_text())


class Daemon:
    """Starts on entry and is ready then; is gone on exit. `kill` is SIGKILL, `stop` is SIGTERM.

    `fresh` starts a new Python, as a user does, which takes ten seconds longer.
    """

    def __init__(self, data_dir: Path, *, fresh: bool = False, **settings: str) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.fresh = fresh
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.log = data_dir.parent / f"{data_dir.name}.log"

    def start(self, *, ready: bool = True) -> None:
        """Start; with `ready`, return once `/readyz` says so."""
        arguments, env = ["serve", "--port", str(self.port)], environment(self.data_dir, **self.settings)
        if self.fresh:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "searchd", *arguments], env=env, stdout=log, stderr=log
                )
        else:
            self.process = Forked("searchd", arguments, env, self.log, self.log)
        try:
            self.wait_for("/readyz" if ready else "/healthz")
        except BaseException:
            self.kill()
            raise

    def wait_for(self, path: str) -> None:
        """Return once `path` answers 200."""
        assert self.process is not None
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.poll()}:\n{self.log.read_text()[-3000:]}")
            try:
                if httpx.get(self.url + path, timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{path} was not ready in {READY_S} s:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """Kill at once, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask to end; return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
