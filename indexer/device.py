"""Where torch work runs: on the workers of one device, fed by a priority queue: cuda, mps or the CPU.

A GPU has one worker; a CPU has one per core, each with one thread of torch. Threads that share an operation wait for
each other at its end, and where anything else runs beside they wait long (4 to 8 times slower than one thread, measured
on two busy cores); workers with work of their own never do. Query embedding goes before reranking, reranking before
ingestion. Work whose caller gave up, or whose deadline has passed, is dropped unrun. torch itself is imported when the
device is first asked what it is.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from indexer.errors import ConfigError, TransientError
from indexer.settings import Settings

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class Priority(IntEnum):
    """What goes first; equal priorities run in the order they came."""

    QUERY = 0
    RERANK = 1
    INGEST = 2


@dataclass(order=True, slots=True)
class _Work:
    priority: int
    number: int
    call: Callable[[], Any] = field(compare=False)
    deadline: float | None = field(compare=False)
    future: Future[Any] = field(compare=False)


CLOSING_S = 5.0
MOST_WORKERS = 16
"""Beyond so many cores, workers have several threads each."""


class Device:
    """Worker threads for torch. Thread-safe. A hung call cannot be killed: callers wait with their own deadline."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted = settings.device
        self._dtype = settings.dtype
        self._threads = settings.threads or os.cpu_count() or 1
        self._clock = clock
        self._queue: list[_Work] = []
        self._numbers = itertools.count()
        self._ready = threading.Condition()
        self._closed = False
        self._busy_since: dict[int, float] = {}
        self._started: list[threading.Thread] = []
        self._own = threading.local()

    def submit(self, call: Callable[[], T], *, priority: Priority, deadline: float | None = None) -> Future[T]:
        """Queue `call`; its future is cancelled if `deadline` (monotonic seconds) passes before it starts.

        Raises: TransientError once the device is closed.
        """
        future: Future[T] = Future()
        with self._ready:
            if self._closed:
                raise TransientError("the models are being shut down")
            self._drop_dead()
            heapq.heappush(self._queue, _Work(priority, next(self._numbers), call, deadline, future))
            if len(self._started) < self.workers and len(self._queue) + len(self._busy_since) > len(self._started):
                self._start(len(self._started))
            self._ready.notify()
        return future

    def _start(self, number: int) -> None:
        thread = threading.Thread(target=self._run, args=(number,), name=f"device-{number}", daemon=True)
        self._started.append(thread)
        thread.start()

    @property
    def workers(self) -> int:
        """How many calls run at once: one on a GPU, and until it is known what the device is."""
        name = self.__dict__.get("name", self._wanted)
        return min(self._threads, MOST_WORKERS) if name == "cpu" else 1

    def run(self, call: Callable[[], T], *, priority: Priority, deadline: float | None = None) -> T:
        """Run `call` and return its value; on a thread of the device's own at once.

        Raises: TimeoutError at the deadline (queued work is then dropped); TransientError if the device is closed.
        """
        if threading.current_thread() in self._started:
            return call()
        return self.wait_for(self.submit(call, priority=priority, deadline=deadline), deadline=deadline)

    def wait_for(self, future: Future[T], *, deadline: float | None = None) -> T:
        """Return the value of submitted work. Raises as `run` does."""
        try:
            return future.result(None if deadline is None else max(0.0, deadline - self._clock()))
        except TimeoutError:
            future.cancel()
            raise
        except CancelledError as error:
            if self._closed:
                raise TransientError("the models are being shut down") from error
            raise TimeoutError("the device was busy until the deadline") from error

    def _drop_dead(self) -> None:
        """Forget what nobody waits for: behind a call that hangs the queue must not grow without end."""
        now = self._clock()
        for work in self._queue:
            if work.deadline is not None and work.deadline <= now:
                work.future.cancel()
        if any(work.future.cancelled() for work in self._queue):
            self._queue = [work for work in self._queue if not work.future.cancelled()]
            heapq.heapify(self._queue)

    def _run(self, number: int) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._closed:
                    self._ready.wait()
                if self._closed:
                    return
                work = heapq.heappop(self._queue)
                self._busy_since[number] = self._clock()
            self._do(work)
            del work  # otherwise its tensors live until the next one comes
            with self._ready:
                del self._busy_since[number]

    def _do(self, work: _Work) -> None:
        self._limit_threads()
        if work.deadline is not None and self._clock() >= work.deadline:
            work.future.cancel()
        if not work.future.set_running_or_notify_cancel():
            return
        try:
            work.future.set_result(work.call())
        except BaseException as error:
            work.future.set_exception(error)

    def health(self) -> dict[str, float]:
        """Return how much waits, and for how long the longest call in hand has run (`busy_for_s`)."""
        with self._ready:
            self._drop_dead()
            busy = self._clock() - min(self._busy_since.values()) if self._busy_since else 0.0
            return {"queued": float(len(self._queue)), "busy_for_s": busy}

    def close(self) -> None:
        """Drop what is queued and end the threads (not waiting for a call that hangs)."""
        with self._ready:
            self._closed = True
            dropped, self._queue = self._queue, []
            self._ready.notify_all()
        for work in dropped:
            work.future.cancel()
        end = time.monotonic() + CLOSING_S
        for thread in self._started:
            if thread is not threading.current_thread():
                thread.join(timeout=max(0.0, end - time.monotonic()))

    # -- what torch is told ---------------------------------------------------------------------------------------

    @cached_property
    def name(self) -> str:
        """The torch device: cuda, cuda:N, mps or cpu. Raises: ConfigError if the one asked for is not there."""
        if self._wanted == "cpu":
            return "cpu"  # without torch: a process whose models are ONNX never loads it
        import torch

        if self._wanted == "auto":
            if torch.cuda.is_available():
                return "cuda"
            return "mps" if torch.backends.mps.is_available() else "cpu"
        if self._wanted.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"device is {self._wanted!r}, but torch finds no CUDA GPU; use `auto` or `cpu`")
        if self._wanted == "mps" and not torch.backends.mps.is_available():
            raise ConfigError("device is 'mps', but this machine has none; use `auto` or `cpu`")
        return self._wanted

    @cached_property
    def dtype(self) -> torch.dtype:
        """The precision of models: the setting, or bfloat16 where the hardware multiplies it fast, else float32."""
        import torch

        if self._dtype != "auto":
            chosen = getattr(torch, self._dtype)
            assert isinstance(chosen, torch.dtype)  # noqa: S101  # narrows the type; the setting's pattern guards it
            return chosen
        if self.name.startswith("cuda"):
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.bfloat16 if self.name == "cpu" and cpu_has_bfloat16() else torch.float32

    def _limit_threads(self) -> None:
        """Tell torch, once it is there, how many threads this worker has; each thread has a figure of its own."""
        if "torch" not in sys.modules or "name" not in self.__dict__:
            return
        wanted = max(1, self._threads // self.workers)
        if getattr(self._own, "threads", None) != wanted:
            sys.modules["torch"].set_num_threads(wanted)
            self._own.threads = wanted

    def prepare(self) -> None:
        """Find out what the device is and how many threads it has; on a thread of its own, before a model runs."""
        _ = self.name
        self._limit_threads()


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import large libraries in this block: Python's cycle collector is off, and never looks at what they made.

    torch and transformers make half a million objects that stay. Looking through them again and again costs 1 s of the
    start, 1.3 s of the end, and 250 ms, with all threads stopped, of every full collection in between. Where all of it
    was imported before, nothing is left out: that would be models which nobody uses any more, and they would stay.
    """
    was_on, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        if was_on:
            gc.enable()


def cpu_has_bfloat16() -> bool:
    """Say whether this CPU has bfloat16 instructions (AVX-512 BF16 or AMX), without which bfloat16 is slower."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        flags = ""
    return "AVX512" in capability and ("avx512_bf16" in flags or "amx_bf16" in flags)
