"""Calls an HTTP API within a deadline: retries, a breaker, and cancellation that closes the connection.

Takes a JSON body and a reader of the answer; gives what the reader makes of it. `remote.py` and `listwise.py` stand on it.
The key is in the header alone: no error, log line or repr has it, nor a text of a query or passage above DEBUG.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import email.utils
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import msgspec

from indexer.errors import Busy, ConfigError, SearchdError, TransientError
from indexer.settings import MASK
from searchd.rerank.address import is_loopback
from searchd.rerank.breaker import Breaker
from searchd.rerank.types import BadScores, ScoreRequest

log = logging.getLogger(__name__)

T = TypeVar("T")
ATTEMPTS = 3
FIRST_WAIT_S = 0.1
"""Most of the wait before the first retry; doubled for the next. The wait is any time up to it, so that many do not
come back at once."""
MOST_S = 120.0
"""For a call without a deadline."""
MOST_ANSWER_BYTES = 16_000_000
POLL_S = 0.02
NEW_SHARE = 0.2
"""Weight of the newest call in the running figure of how long one takes."""
FAIR_S = 0.25
"""Shortest time after which a call without an answer is the service's failure, and not that of a caller in a hurry."""
TOO_LONG = (400, 413, 422)
"""How services refuse texts that are too long; none of them has one of its own for it."""
PASSING = (408, 424, 425, 429)
"""Statuses under 500 that may be another one in a moment; 424 is a failed batch of TEI."""


CLOSED = "the reranking service is asked nothing more: this daemon is being shut down"


class Refused(ConfigError):
    """The service said that key, address or request is wrong: asked again it says the same."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: str
    body: bytes


class _Passing(Exception):
    """A failure that may be gone in a moment; `error` is what it is if it stays."""

    def __init__(self, error: SearchdError, wait_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait_s = wait_s
        self.entered = 0
        """The breaker's round of the call."""


class _Gone(TimeoutError):
    """Who asked went away."""


class Endpoint:
    """One address that takes JSON by POST. Thread-safe; calls run on one thread of its own.

    There no call blocks another, and one that nobody waits for is closed at once, which stops most servers' work.
    """

    def __init__(
        self,
        url: httpx.URL,
        key: str = "",
        *,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.url = url
        self.breaker = breaker or Breaker()
        self._key = key
        self._clock = clock
        self._uniform = uniform
        self._usual_s = 0.0
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        self._client = httpx.AsyncClient(
            headers=headers | ({"authorization": f"Bearer {key}"} if key else {}),
            timeout=None,  # noqa: S113  # the whole call has a deadline; httpx's timeouts are for its steps
            trust_env=not is_loopback(url.host),  # the proxies of the environment
        )
        self._closed = False
        self._lock = threading.Lock()
        """Nothing is sent after, or while, it is closed."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rerank-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give up calls in hand, close connections and end the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._client.aclose()

    def post(self, body: Any, read: Callable[[bytes], T], request: ScoreRequest) -> T:
        """Send a body and return what `read` makes of the answer; try again if that can end in time.

        Raises: TimeoutError at the deadline or if the caller goes away; Busy while the service is left alone or says
        that it has too much to do; TransientError, Refused, and BadScores from `read`.
        """
        content = msgspec.json.encode(body)
        end = self._clock() + MOST_S if request.deadline is None else request.deadline
        attempt = 1
        while True:
            try:
                return self._attempt(content, read, end, request.cancelled)
            except _Passing as passing:
                wait_s = passing.wait_s + self._uniform(0, FIRST_WAIT_S * 2 ** (attempt - 1))
                if attempt == ATTEMPTS or self._clock() + wait_s + self._usual_s >= end:
                    if passing.wait_s:
                        self.breaker.hold(passing.entered, wait_s)
                    raise passing.error from passing.__cause__
                log.info("%s: %s; tried again in %.2f s", self.url.host, passing, wait_s)
                self._sleep(wait_s, request.cancelled)
                attempt += 1

    def _attempt(self, content: bytes, read: Callable[[bytes], T], end: float, cancelled: Callable[[], bool]) -> T:
        """Call once and tell the breaker."""
        entered = self.breaker.enter()
        started = self._clock()
        try:
            value = read(self._accepted(self._answer(content, end, cancelled)))
        except BaseException as error:
            self._tell_failure(entered, error, end - started)
            if isinstance(error, _Passing):
                error.entered = entered
            raise
        self.breaker.succeeded(entered)
        took = self._clock() - started
        self._usual_s = self._usual_s + NEW_SHARE * (took - self._usual_s) if self._usual_s else took
        return value

    def _tell_failure(self, entered: int, error: BaseException, given_s: float) -> None:
        """Tell the breaker of a call that gave nothing: not every one says that the service is in a bad way."""
        hurried = isinstance(error, TimeoutError) and given_s < max(self._usual_s, FAIR_S)
        if isinstance(error, _Gone) or hurried:
            self.breaker.abandoned(entered)
        elif isinstance(error, Refused) and error.status in TOO_LONG:
            self.breaker.succeeded(entered)  # it answered: others may ask
        elif self.breaker.failed(entered):
            log.warning("%s failed too often and is left alone for a while", self.url.host)

    def _answer(self, content: bytes, end: float, cancelled: Callable[[], bool]) -> _Answer:
        """Wait for the answer, whatever its status, until the deadline or the caller goes away."""
        if self._clock() >= end:
            raise _Gone  # never sent: it tells nothing of the service
        with self._lock:
            if self._closed:
                raise TransientError(CLOSED)
            sent = asyncio.run_coroutine_threadsafe(self._send(content), self._loop)
        try:
            while not sent.done():
                left = end - self._clock()
                if left <= 0:
                    raise TimeoutError
                if cancelled():
                    raise _Gone
                concurrent.futures.wait([sent], min(POLL_S, left))
            return sent.result()
        except concurrent.futures.CancelledError as error:
            raise TransientError(CLOSED) from error
        except httpx.HTTPError as error:
            said = f"{self.url.host} cannot be asked: {type(error).__name__}: {error}"
            raise _Passing(TransientError(said)) from error
        finally:
            sent.cancel()

    async def _send(self, content: bytes) -> _Answer:
        async with self._client.stream("POST", self.url, content=content) as answer:
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MOST_ANSWER_BYTES:
                    raise BadScores(f"the reranking service's answer is longer than {MOST_ANSWER_BYTES:,} bytes")
        return _Answer(answer.status_code, answer.headers.get("retry-after", ""), bytes(body))

    def _accepted(self, answer: _Answer) -> bytes:
        """Return the body of an answer that is one. Raises: _Passing, Refused."""
        if answer.status == 200:
            return answer.body
        if log.isEnabledFor(logging.DEBUG):
            text = answer.body[:500].decode(errors="replace")
            log.debug("%s said: %s", self.url.host, text.replace(self._key, MASK) if self._key else text)
        wait_s = seconds_to_wait(answer.retry_after, time.time())
        if answer.status == 429:
            raise _Passing(Busy("the reranking service has too much to do (429)"), wait_s)
        said = f"{self.url.host} answered {answer.status}"
        if answer.status in PASSING or answer.status >= 500:
            raise _Passing(TransientError(said), wait_s)
        hint = {401: "the key is wrong or missing", 403: "the key may not do this", 404: "wrong url or model"}
        raise Refused(f"{said}: {hint.get(answer.status, 'it refuses the request')}", answer.status)

    def _sleep(self, seconds: float, cancelled: Callable[[], bool]) -> None:
        """Wait, unless the caller goes away."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            if cancelled():
                raise _Gone
            time.sleep(min(POLL_S, left))


def seconds_to_wait(header: str, now: float) -> float:
    """Return what a Retry-After header asks for: seconds, or a date; 0 if it asks for nothing. `now` is Unix time."""
    try:
        return max(0.0, float(header) if header.strip().isdigit() else _seconds_until(header, now))
    except (ValueError, OverflowError):
        return 0.0


def _seconds_until(date: str, now: float) -> float:
    return email.utils.parsedate_to_datetime(date).timestamp() - now
