"""Training beside whatever else runs: at low priority, and in a session of its own.

Where Linux shares the processor among sessions first (autogroups, the default of most distributions), a process's niceness
means nothing to a daemon in another session. A session can be nice as a whole; the owner's terminal shall not be.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

NICENESS = 10
AUTOGROUP = Path("/proc/self/autogroup")
"""The niceness of this process's session."""
WATCH_S, POLL_S = 1.0, 0.1
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that would end a process."""


def be_nice() -> None:
    """Let everything else of this session go first."""
    if hasattr(os, "nice"):
        os.nice(max(0, NICENESS - os.nice(0)))


def step_aside() -> None:
    """Let everything else on this machine go first, for the rest of this process.

    Where there are autogroups the rest is a child's in a session of its own; this process hands signals on to it, and exits
    as it does. No thread may have been started. With daemon and training on one core the daemon got 54 % of what both used
    when the process alone was nice, and 90 % when its session was too.
    """
    be_nice()
    if not AUTOGROUP.is_file():
        return
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until there is somebody to hand them on to
    child = os.fork()
    if child:
        sys.exit(exit_of(child))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    os.setsid()
    with contextlib.suppress(OSError):  # a container may not write it
        AUTOGROUP.write_text(str(NICENESS), encoding="ascii")
    threading.Thread(target=end_after, args=(parent,), name="watch-parent", daemon=True).start()


def exit_of(child: int) -> int:
    """Wait for a child, handing on what would end this process, and return what it exits with."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda given, _frame: os.kill(child, given))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    ended, status = 0, 0
    while not ended:  # waitpid that blocks would keep a signal that came just before it
        time.sleep(POLL_S)
        ended, status = os.waitpid(child, os.WNOHANG)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def end_after(parent: int) -> None:
    """End this process when its parent has gone: a kill cannot be handed on. The run goes on where it was."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os.kill(os.getpid(), signal.SIGKILL)
