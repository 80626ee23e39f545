"""The workers of torch: what goes first, what is dropped, and what callers see when a call hangs."""

from __future__ import annotations

import gc
import importlib
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import torch

from indexer.device import Device, Priority, importing
from indexer.errors import ConfigError, TransientError
from searchd.settings import Settings


@pytest.fixture
def device() -> Iterator[Device]:
    opened = Device(Settings(threads=1))
    yield opened
    opened.close()


class Blocked:
    """Holds the device's thread in a call until released."""

    def __init__(self, device: Device) -> None:
        self.begun, self.released = threading.Event(), threading.Event()
        device.submit(self.call, priority=Priority.QUERY)
        assert self.begun.wait(5)

    def call(self) -> None:
        self.begun.set()
        self.released.wait(10)


def test_a_call_runs_on_the_device_s_thread_and_its_value_comes_back(device: Device) -> None:
    names = {device.run(lambda: threading.current_thread().name, priority=Priority.INGEST) for _ in range(3)}
    assert names == {"device-0"}


def test_a_cpu_has_as_many_workers_as_threads_each_with_one_thread_of_torch() -> None:
    device = Device(Settings(device="cpu", threads=3))
    together = threading.Barrier(3, timeout=5)

    def call() -> tuple[str, int]:
        device.prepare()
        together.wait()
        return threading.current_thread().name, torch.get_num_threads()

    try:
        found = [device.submit(call, priority=Priority.INGEST) for _ in range(3)]
        assert {one.result(10) for one in found} == {("device-0", 1), ("device-1", 1), ("device-2", 1)}
    finally:
        device.close()


def test_many_cores_are_shared_among_sixteen_workers() -> None:
    device = Device(Settings(device="cpu", threads=40))
    assert device.workers == 16

    def threads() -> int:
        device.prepare()
        return torch.get_num_threads()

    try:
        assert device.run(threads, priority=Priority.QUERY) == 2
    finally:
        device.close()


def test_until_it_is_known_whether_there_is_a_gpu_there_is_one_worker() -> None:
    device = Device(Settings(device="auto", threads=4))
    assert device.workers == 1
    expected = 4 if device.name == "cpu" else 1
    assert device.workers == expected
    assert Device(Settings(device="cuda", threads=4)).workers == 1


def test_queries_go_before_reranking_and_reranking_before_ingestion_each_in_order(device: Device) -> None:
    blocked, ran = Blocked(device), list[str]()
    futures = [
        device.submit(lambda name=f"{priority.name} {i}": ran.append(name), priority=priority)  # type: ignore[misc]
        for i in range(2)
        for priority in (Priority.INGEST, Priority.RERANK, Priority.QUERY)
    ]
    blocked.released.set()
    for future in futures:
        future.result(5)
    assert ran == ["QUERY 0", "QUERY 1", "RERANK 0", "RERANK 1", "INGEST 0", "INGEST 1"]


def test_an_error_comes_back_to_who_asked_and_the_thread_goes_on(device: Device) -> None:
    def fail() -> None:
        raise KeyError("weights")

    with pytest.raises(KeyError, match="weights"):
        device.run(fail, priority=Priority.QUERY)
    assert device.run(lambda: 2, priority=Priority.QUERY) == 2


def test_behind_a_call_that_hangs_callers_get_a_timeout_and_health_says_how_long(device: Device) -> None:
    blocked = Blocked(device)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        device.run(lambda: 1, priority=Priority.QUERY, deadline=started + 0.1)
    assert 0.05 < time.monotonic() - started < 2
    assert device.health()["busy_for_s"] > 0.05
    blocked.released.set()
    assert device.run(lambda: 3, priority=Priority.QUERY, deadline=time.monotonic() + 5) == 3
    assert device.health()["queued"] == 0


def test_what_nobody_waits_for_is_forgotten_behind_a_call_that_hangs(device: Device) -> None:
    blocked, ran = Blocked(device), list[int]()
    for i in range(50):
        with pytest.raises(TimeoutError):
            device.run(lambda i=i: ran.append(i), priority=Priority.RERANK, deadline=time.monotonic() + 0.001)  # type: ignore[misc]
    assert device.health()["queued"] == 0
    blocked.released.set()
    device.run(lambda: None, priority=Priority.INGEST)
    assert ran == []


def test_queued_work_past_its_deadline_or_cancelled_is_not_run(device: Device) -> None:
    blocked, ran = Blocked(device), list[str]()
    late = device.submit(lambda: ran.append("late"), priority=Priority.QUERY, deadline=time.monotonic() + 0.01)
    unwanted = device.submit(lambda: ran.append("unwanted"), priority=Priority.QUERY)
    unwanted.cancel()
    time.sleep(0.02)
    blocked.released.set()
    device.run(lambda: ran.append("wanted"), priority=Priority.QUERY)
    assert ran == ["wanted"]
    with pytest.raises(CancelledError):
        late.result(0)


def test_a_call_may_ask_the_device_again_from_within(device: Device) -> None:
    def outer() -> int:
        return device.run(lambda: 7, priority=Priority.INGEST)

    assert device.run(outer, priority=Priority.QUERY, deadline=time.monotonic() + 5) == 7


def test_a_closed_device_takes_nothing_and_lets_go_of_who_waits() -> None:
    device = Device(Settings())
    blocked, seen = Blocked(device), list[BaseException]()

    def wait() -> None:
        try:
            device.run(lambda: 1, priority=Priority.INGEST)
        except TransientError as error:
            seen.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not device.health()["queued"]:
        time.sleep(0.001)
    threading.Timer(0.05, blocked.released.set).start()
    device.close()
    waiting.join(5)
    assert len(seen) == 1
    with pytest.raises(TransientError, match="shut down"):
        device.submit(lambda: 1, priority=Priority.QUERY)


def test_the_device_and_precision_asked_for_are_taken() -> None:
    device = Device(Settings(device="cpu", dtype="float16"))
    assert (device.name, device.dtype) == ("cpu", torch.float16)


def test_precision_is_chosen_by_what_the_processor_has() -> None:
    assert Device(Settings(device="cpu")).dtype in (torch.float32, torch.bfloat16)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused_by_the_settings_name() -> None:
    with pytest.raises(ConfigError, match=r"device.*no CUDA"):
        Device(Settings(device="cuda:1")).name  # noqa: B018


def test_torch_gets_the_threads_of_the_setting(device: Device) -> None:
    def threads() -> int:
        device.prepare()
        return torch.get_num_threads()

    assert device.run(threads, priority=Priority.QUERY) == 1


def test_the_collector_rests_while_libraries_are_imported_and_never_looks_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_imported_before.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    before = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        importlib.import_module("never_imported_before")
        made = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_no_longer_used_can_be_collected_where_nothing_new_was_imported() -> None:
    class Model:
        def __init__(self) -> None:
            self.itself = self

    gc.disable()
    try:
        model = weakref.ref(Model())
        with importing():
            import json  # noqa: F401  # long there
    finally:
        gc.enable()
    gc.collect()
    assert model() is None
