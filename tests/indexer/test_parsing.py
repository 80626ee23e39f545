"""The parser pool: warm children, named deaths, deadlines, many threads, a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from indexer.errors import ParseFailure, TransientError
from indexer.parsing import FILES_PER_CHILD, ParserPool
from indexer.settings import Settings

ROOT = Path(__file__).parents[2]


def settings(**changes: int) -> Settings:
    quick = Settings(parser_processes=1, parser_memory_mb=400, parser_cpu_s=20, parser_wall_s=20)
    return msgspec.structs.replace(quick, **changes)


@pytest.fixture
def pool() -> Iterator[ParserPool]:
    made = ParserPool(settings())
    yield made
    made.close()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "indexer.parsing_child" in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def test_a_child_is_kept_and_used_again(pool: ParserPool) -> None:
    pool.parse("a.txt", b"one")
    (first,) = children()
    assert pool.parse("b.md", b"# Two\n\ntext")[0].title == "Two"
    assert [child.pid for child in children()] == [first.pid]


def test_a_declared_format_goes_before_the_name(pool: ParserPool) -> None:
    assert pool.parse("a.txt", b"# Head\n\ntext", "markdown")[0].title == "Head"


def test_a_file_over_the_limit_of_time_is_named_and_the_child_replaced() -> None:
    for limits in ({"parser_wall_s": 1}, {"parser_cpu_s": 1}):
        pool = ParserPool(settings(**limits))
        try:
            with pytest.raises(ParseFailure) as failed:
                pool.parse("a.html", b"<div>" * 400_000 + b"x")
            assert failed.value.code == "timeout"
            assert pool.parse("a.txt", b"fine")[0].text == "fine"
        finally:
            pool.close()


def test_a_child_that_is_killed_amid_a_file_is_named_and_replaced() -> None:
    pool = ParserPool(settings())
    try:
        pool.parse("a.txt", b"warm")
        with ThreadPoolExecutor(1) as threads:
            parsing = threads.submit(pool.parse, "a.html", b"<div>" * 400_000 + b"x")
            time.sleep(0.3)
            os.kill(children()[0].pid, signal.SIGSEGV)
            with pytest.raises(ParseFailure) as failed:
                parsing.result(timeout=10)
        assert failed.value.code == "crashed"
        assert pool.parse("a.txt", b"fine")[0].text == "fine"
    finally:
        pool.close()


def test_a_child_that_died_while_idle_is_replaced_unseen(pool: ParserPool) -> None:
    pool.parse("a.txt", b"warm")
    (child,) = children()
    os.kill(child.pid, signal.SIGKILL)
    psutil.wait_procs([child], timeout=5)
    assert pool.parse("a.txt", b"fine")[0].text == "fine"


def test_memory_is_bounded() -> None:
    pool = ParserPool(settings(parser_memory_mb=160))
    try:
        with pytest.raises(ParseFailure) as failed:
            pool.parse("a.html", b"<p><b>x" * 3_000_000)
        assert failed.value.code in ("out_of_memory", "crashed")
        assert pool.parse("a.txt", b"fine")[0].text == "fine"
    finally:
        pool.close()


def test_several_threads_share_the_children() -> None:
    pool = ParserPool(settings(parser_processes=2))
    try:
        with ThreadPoolExecutor(6) as threads:
            found = list(threads.map(lambda n: pool.parse(f"{n}.txt", f"text {n}".encode())[0].text, range(60)))
        assert found == [f"text {n}" for n in range(60)]
        assert len(children()) <= 2
    finally:
        pool.close()


def test_a_file_over_the_size_limit_is_not_even_sent(pool: ParserPool) -> None:
    with pytest.raises(ParseFailure, match="at most 25 MB"):
        pool.parse("a.txt", b"x" * 25_000_001)
    assert not children()


def test_closing_ends_the_children_and_files_amid_parsing() -> None:
    pool = ParserPool(settings())
    pool.parse("a.txt", b"warm")
    with ThreadPoolExecutor(1) as threads:
        parsing = threads.submit(pool.parse, "a.html", b"<div>" * 400_000 + b"x")
        time.sleep(0.3)
        pool.close()
        with pytest.raises(TransientError):
            parsing.result(timeout=10)
    assert not children()
    with pytest.raises(TransientError):
        pool.parse("a.txt", b"late")


def test_children_end_with_their_parent() -> None:
    script = (
        "from indexer.parsing import ParserPool\nfrom indexer.settings import Settings\nimport psutil, time\n"
        "pool = ParserPool(Settings(parser_processes=1))\npool.parse('a.txt', b'x')\n"
        "print(psutil.Process().children()[0].pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone


def test_the_child_loads_no_torch_and_sees_no_secrets(pool: ParserPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCHD_QDRANT_API_KEY", "secret")
    pool.parse("a.txt", b"x")
    (child,) = children()
    assert "SEARCHD_QDRANT_API_KEY" not in child.environ()
    assert not any("libtorch" in mapped.path for mapped in child.memory_maps())
    assert child.memory_info().rss < 200_000_000


def test_a_child_is_replaced_after_many_files(pool: ParserPool) -> None:
    pool.parse("a.txt", b"x")
    (first,) = children()
    for _ in range(FILES_PER_CHILD + 1):
        pool.parse("a.txt", b"x")
    assert [child.pid for child in children()] != [first.pid]
