"""Remote rerankers against servers that answer in each provider's documented shape, and that misbehave on command."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.device import Device
from indexer.errors import Busy, ConfigError, TransientError
from indexer.settings import load_settings
from searchd import settings as searchd_settings
from searchd.rerank.address import address
from searchd.rerank.breaker import FAILURES, PAUSE_S, Breaker
from searchd.rerank.cached import CachedReranker
from searchd.rerank.cascade import Cascade
from searchd.rerank.http import ATTEMPTS, FAIR_S, Endpoint, Refused, seconds_to_wait
from searchd.rerank.providers import PROVIDERS
from searchd.rerank.remote import LEAST_PART_BYTES, SHORT_KEPT_S, RemoteReranker, load_remote, text_parts
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.score_cache import ScoreCache
from searchd.rerank.table import RERANKERS, RerankerCache
from searchd.rerank.types import BadScores, PartScores, PassageText, Reranker, ScoreRequest
from searchd.services import build_services
from searchd.settings import INSTRUCTED_PROVIDERS, Profile, Settings, Stage
from searchd.types import Candidate, RerankRequest
from tests.searchd.rerank.http_server import TRUNCATED, Fault, Service, service, spoilt
from tests.searchd.rerank.provider_servers import KEY, MODEL, SERVERS, share

QUERY = "how do I lubricate a turbine"
PASSAGES = [
    PassageText(text)
    for text in (
        "A cat sat on a mat.",
        "Do lubricate a turbine with oil.",
        "How the turbine was built.",
        "",
        "I do know how to lubricate a turbine: I asked.",
    )
]
EXPECTED = [share(QUERY, passage.text) for passage in PASSAGES]
WORST = Fault(500)


def asks(**wishes: Any) -> ScoreRequest:
    return ScoreRequest(QUERY, 256, **wishes)


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


@contextmanager
def remote(
    name: str, server: Service, breaker: Breaker | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[RemoteReranker]:
    """Give a reranker that waits no longer before a retry than the service asks it to."""
    provider = PROVIDERS[name]
    url = address(server.url, provider.path)
    endpoint = Endpoint(url, KEY, breaker=breaker, uniform=lambda low, high: low)
    reranker = RemoteReranker(provider, name, MODEL, endpoint, clock=clock)
    try:
        yield reranker
    finally:
        reranker.close()


@pytest.fixture
def cohere() -> Iterator[tuple[RemoteReranker, Service]]:
    with service(SERVERS["cohere"]) as server, remote("cohere", server) as reranker:
        yield reranker, server


# -- each provider's shape ------------------------------------------------------------------------------------------


@pytest.fixture(params=PROVIDERS)
def named(request: pytest.FixtureRequest) -> Iterator[tuple[RemoteReranker, Service, str]]:
    with service(SERVERS[request.param]) as server, remote(request.param, server) as reranker:
        yield reranker, server, request.param


def test_scores_come_back_in_the_order_of_the_passages(named: tuple[RemoteReranker, Service, str]) -> None:
    reranker, server, name = named
    scores = reranker.score(asks(deadline=soon()), PASSAGES)
    assert scores.dtype == np.float32
    logits = name in ("tei", "vllm", "infinity")
    np.testing.assert_allclose(scores, np.asarray(EXPECTED) * (20 if logits else 1) - (10 if logits else 0), rtol=1e-6)
    assert len(server.asked) == 1
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.asked[0].body.get("model") == (None if name == "tei" else MODEL)


def test_neither_order_nor_company_moves_a_score(named: tuple[RemoteReranker, Service, str]) -> None:
    reranker, _, _ = named
    together = reranker.score(asks(), PASSAGES)
    np.testing.assert_array_equal(reranker.score(asks(), PASSAGES[::-1])[::-1], together)
    np.testing.assert_array_equal([reranker.score(asks(), [passage])[0] for passage in PASSAGES], together)


def test_no_passages_give_no_scores_and_no_call(named: tuple[RemoteReranker, Service, str]) -> None:
    reranker, server, _ = named
    scores = reranker.score(asks(), [])
    assert scores.dtype == np.float32
    assert (scores.shape, server.asked) == ((0,), [])
    assert reranker.fits(asks(), PASSAGES, 0.001) == len(PASSAGES)
    assert reranker.at_once(asks(), PASSAGES) == len(PASSAGES)


def test_an_instruction_goes_where_the_provider_takes_one_and_nowhere_else(
    named: tuple[RemoteReranker, Service, str],
) -> None:
    reranker, server, name = named
    reranker.score(asks(instruction="Prefer manuals."), PASSAGES)
    body = server.asked[0].body
    found = {
        "voyage": {"query": f"Prefer manuals.\nQuery: {QUERY}"},
        "zeroentropy": {"query": f"<query>\n{QUERY}\n</query>\n<instructions>\nPrefer manuals.\n</instructions>"},
        "vllm": {"query": QUERY, "instruction": "Prefer manuals."},
    }.get(name, {"query": QUERY})
    assert {field: value for field, value in body.items() if field in ("query", "instruction")} == found
    assert ("manuals" in str(body)) is PROVIDERS[name].takes_instruction


def test_providers_are_told_not_to_cut_where_they_can_be(named: tuple[RemoteReranker, Service, str]) -> None:
    reranker, server, name = named
    reranker.score(asks(), PASSAGES)
    reranker.score(asks(parts=False), PASSAGES)
    flags = {"voyage": "truncation", "tei": "truncate", "vllm": "truncate_prompt_tokens"}
    told = [asked.body.get(flags.get(name, "none")) for asked in server.asked]
    assert told == {"voyage": [False, True], "tei": [False, True], "vllm": [None, -1]}.get(name, [None, None])


def test_providers_in_settings_that_take_an_instruction_are_those_of_the_table() -> None:
    assert set(INSTRUCTED_PROVIDERS) == {name for name, provider in PROVIDERS.items() if provider.takes_instruction}
    assert set(SERVERS) == set(PROVIDERS)


# -- long and many passages -----------------------------------------------------------------------------------------


def test_more_texts_than_a_call_may_have_go_in_several_and_are_merged() -> None:
    passages = [PassageText(f"{'turbine ' if n % 3 else ''}number {n}") for n in range(70)]
    with service(SERVERS["tei"]) as server, remote("tei", server) as reranker:
        scores = reranker.score(asks(), passages)
    assert [len(asked.body["texts"]) for asked in server.asked] == [32, 32, 6]
    np.testing.assert_allclose(scores, [20 * share(QUERY, passage.text) - 10 for passage in passages], rtol=1e-6)


def test_more_bytes_than_a_call_may_have_go_in_several() -> None:
    passages = [PassageText("oil " * 1400 + ("turbine" if n == 150 else "")) for n in range(300)]
    with service(SERVERS["voyage"]) as server, remote("voyage", server) as reranker:
        scores = reranker.score(asks(), passages)
    assert [len(asked.body["documents"]) for asked in server.asked] == [103, 103, 94]
    assert int(np.argmax(scores)) == 150


def test_a_long_passage_scores_as_its_best_part_or_by_its_beginning_if_that_is_asked(
    named: tuple[RemoteReranker, Service, str],
) -> None:
    reranker, server, name = named
    long = PassageText("nothing of it here " * 900 + " how do I lubricate a turbine " + "nor here " * 900)
    best, short = reranker.score(asks(), [long, PASSAGES[0]])
    assert best == (10.0 if name in ("tei", "vllm", "infinity") else 1.0) > short
    sent = server.asked[0].body["texts" if name == "tei" else "documents"]
    assert max(len(text) for text in sent) <= PROVIDERS[name].part_bytes
    server.asked.clear()
    assert reranker.score(asks(parts=False), [long, PASSAGES[0]])[0] < best
    assert len(server.asked[0].body["texts" if name == "tei" else "documents"]) == 2


@given(st.text(st.sampled_from("ab c\u4e2d\u00e4\U0001f600 "), max_size=400), st.integers(4, 60))
def test_parts_of_a_text_have_every_character_and_overlap(text: str, most: int) -> None:
    parts = text_parts(text, most)
    end = 0
    for part in parts:
        start = next(place for place in range(end, -1, -1) if text.startswith(part, place) and place + len(part) >= end)
        end = start + len(part)
    assert end == len(text)
    assert len(parts) == 1 or all(len(part) <= most for part in parts)


def test_what_a_service_refuses_as_too_long_goes_in_shorter_parts_and_the_length_is_kept_for_a_while() -> None:
    def short_only(asked: Any) -> Any:
        if max(len(text) for text in asked.body["texts"]) > 700:
            server.plan.append(Fault(413))  # TEI's status for more tokens than the model reads
        return SERVERS["tei"](asked)

    passages = [PassageText("nothing of it " * 90 + "turbine"), PASSAGES[1]]
    now = [100.0]
    with service(SERVERS["tei"]) as server, remote("tei", server, clock=lambda: now[0]) as reranker:
        server.plan = [Fault(413)]
        first = reranker.score(asks(), passages)
        sent = [max(len(text) for text in asked.body["texts"]) for asked in server.asked]
        assert sent[0] > 700 > sent[1]
        server.proper = short_only
        np.testing.assert_array_equal(reranker.score(asks(), passages), first)
        assert len(server.asked) == 3
        now[0] += SHORT_KEPT_S
        reranker.score(asks(), passages)
        sent = [max(len(text) for text in asked.body["texts"]) for asked in server.asked]
        assert [length > 700 for length in sent] == [True, False, False, True], "tried in full again"


def test_a_service_that_refuses_whatever_the_length_is_asked_a_few_times_only(
    cohere: tuple[RemoteReranker, Service],
) -> None:
    reranker, server = cohere
    server.plan = [Fault(400)] * 10
    with pytest.raises(Refused, match=r"^127\.0\.0\.1 answered 400: it refuses the request$"):
        reranker.score(asks(), [PassageText("word " * 300)])
    assert [len(asked.body["documents"][0]) <= 1500 for asked in server.asked] == [True] * 3
    assert 1500 // 2 // 2 // 2 < LEAST_PART_BYTES


# -- misbehaviour ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault(wait_s=30), Fault(drip=True)], ids=["silent", "dripping"])
def test_a_slow_answer_is_waited_for_until_the_deadline_and_the_connection_closed(
    named: tuple[RemoteReranker, Service, str], fault: Fault
) -> None:
    reranker, server, _ = named
    server.plan = [fault]
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        reranker.score(asks(deadline=started + 0.3), PASSAGES)
    assert 0.3 <= time.monotonic() - started < 1.5
    assert server.hung_up.wait(5)
    assert len(server.asked) == 1


def test_a_caller_who_goes_away_is_noticed_while_it_waits(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    server.plan = [Fault(wait_s=30)]
    gone = threading.Event()
    threading.Timer(0.2, gone.set).start()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        reranker.score(asks(deadline=soon(), cancelled=gone.is_set), PASSAGES)
    assert time.monotonic() - started < 2
    assert server.hung_up.wait(5)


def test_nothing_is_sent_past_the_deadline(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    with pytest.raises(TimeoutError):
        reranker.score(asks(deadline=time.monotonic() - 1), PASSAGES)
    assert server.asked == []


def test_what_was_scored_before_the_deadline_counts() -> None:
    passages = [PassageText(f"turbine {n}") for n in range(50)]
    with service(SERVERS["tei"]) as server, remote("tei", server) as reranker:
        server.plan = [Fault(), Fault(wait_s=30)]
        scores = reranker.score(asks(deadline=soon(1.0)), passages)
    assert np.isfinite(scores[:32]).all()
    assert np.isnan(scores[32:]).all()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(500), "TransientError; the daemon's log says more"),
        (Fault(429, {"Retry-After": "900"}), "the reranking service has too much to do (429)"),
    ],
)
def test_what_was_scored_before_the_service_went_away_counts_and_the_report_says_why(fault: Fault, said: str) -> None:
    candidates = [
        Candidate(f"{n:02}", "", {"rrf": 1 / (60 + n)}, {}, text=f"turbine{' oil' * (n < 9)} {n}") for n in range(50)
    ]
    stage = Stage(name="far", kind="remote", provider="tei", model=MODEL, budget_ms=20000, blend=1.0)
    passages = [PassageText(candidate.text) for candidate in candidates]
    with service(SERVERS["tei"]) as server, remote("tei", server) as reranker:
        server.plan = [Fault(), *[fault] * ATTEMPTS]
        cascade = Cascade(lambda stage: reranker)
        ordered, (report,) = cascade.rerank("turbine oil", candidates, [stage], RerankRequest(), soon())
        assert (report.status, report.scored, report.of, report.reason) == ("partial", 32, 50, said)
        assert [one.passage_id for one in ordered] == [f"{n:02}" for n in range(50)]
        assert [("far" in one.scores) for one in ordered] == [True] * 32 + [False] * 18
        reranker._endpoint.breaker = Breaker()
        server.plan = [Fault(), *[fault] * ATTEMPTS]
        with pytest.raises(TransientError) as caught:
            reranker.score(asks(deadline=soon(), whole=True), passages)
        assert not isinstance(caught.value, PartScores)


def test_scores_that_came_before_the_service_went_away_are_kept_for_the_next_query() -> None:
    passages = [PassageText(f"turbine {n}") for n in range(50)]
    with service(SERVERS["tei"]) as server, remote("tei", server) as reranker:
        cached = CachedReranker(reranker, ScoreCache(100), lambda hits, misses: None)
        server.plan = [Fault(), *[WORST] * ATTEMPTS]
        with pytest.raises(PartScores) as caught:
            cached.score(asks(deadline=soon()), passages)
        assert np.isfinite(caught.value.scores).tolist() == [True] * 32 + [False] * 18
        server.plan = [WORST] * ATTEMPTS
        with pytest.raises(PartScores) as again:
            cached.score(asks(deadline=soon()), passages)
        np.testing.assert_array_equal(again.value.scores, caught.value.scores)
        reranker._endpoint.breaker = Breaker()
        server.plan.clear()
        server.asked.clear()
        assert np.isfinite(cached.score(asks(deadline=soon()), passages)).all()
        assert [len(asked.body["texts"]) for asked in server.asked] == [18]


def test_a_service_that_asks_to_wait_is_asked_again_after_that(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    server.plan = [Fault(429, {"Retry-After": "1"})]
    np.testing.assert_allclose(reranker.score(asks(deadline=soon()), PASSAGES), EXPECTED, rtol=1e-6)
    first, second = server.asked
    assert second.at - first.at >= 1.0


def test_a_wait_that_cannot_end_in_time_is_not_begun_and_holds_for_all(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    server.plan = [Fault(429, {"Retry-After": "30"})]
    started = time.monotonic()
    with pytest.raises(Busy, match=r"^the reranking service has too much to do \(429\)$"):
        reranker.score(asks(deadline=started + 5), PASSAGES)
    with pytest.raises(Busy, match=r"^the reranking service asks to wait; tried again in (30|29) s$"):
        reranker.score(asks(deadline=soon()), PASSAGES)
    assert time.monotonic() - started < 2
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 424, 429, 500, 502, 503, 529])
def test_what_fails_once_is_tried_again(cohere: tuple[RemoteReranker, Service], status: int) -> None:
    reranker, server = cohere
    server.plan = [Fault(status)]
    np.testing.assert_allclose(reranker.score(asks(deadline=soon()), PASSAGES), EXPECTED, rtol=1e-6)
    assert len(server.asked) == 2


def test_a_connection_that_breaks_is_tried_again(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    server.plan = [Fault(hang_up=True), Fault(hang_up=True)]
    np.testing.assert_allclose(reranker.score(asks(deadline=soon()), PASSAGES), EXPECTED, rtol=1e-6)


def test_a_retry_waits_any_time_up_to_a_bound_that_doubles() -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    with service(SERVERS["jina"]) as server:
        server.plan = [WORST] * ATTEMPTS
        endpoint = Endpoint(address(server.url, "/v1/rerank"), KEY, uniform=uniform)
        reranker = RemoteReranker(PROVIDERS["jina"], "jina", MODEL, endpoint)
        with pytest.raises(TransientError):
            reranker.score(asks(), PASSAGES)
        reranker.close()
    assert bounds == [(0, 0.1), (0, 0.2), (0, 0.4)]


def test_a_retry_that_would_take_too_long_by_what_calls_took_is_not_begun(
    cohere: tuple[RemoteReranker, Service],
) -> None:
    reranker, server = cohere
    server.plan = [Fault(wait_s=0.6)]
    reranker.score(asks(), PASSAGES)
    server.plan = [WORST]
    with pytest.raises(TransientError, match="answered 500"):
        reranker.score(asks(deadline=soon(0.5)), PASSAGES)
    assert len(server.asked) == 2


def test_a_service_that_always_fails_is_left_alone_for_a_while_then_tried_once() -> None:
    now = [100.0]
    breaker = Breaker(clock=lambda: now[0])
    with service(SERVERS["cohere"]) as server, remote("cohere", server, breaker) as reranker:
        server.plan = [WORST] * (FAILURES + 1)
        with pytest.raises(TransientError, match="answered 500"):
            reranker.score(asks(), PASSAGES)
        opened = f"^the reranking service failed {FAILURES} times; tried again in 15 s$"
        with pytest.raises(Busy, match=opened):
            reranker.score(asks(), PASSAGES)
        assert len(server.asked) == FAILURES
        now[0] += PAUSE_S - 2.5
        with pytest.raises(Busy, match=r"tried again in 3 s$"):
            reranker.score(asks(), PASSAGES)
        now[0] += 2.5
        with pytest.raises(Busy, match=f"failed {FAILURES + 1} times; tried again in 15 s"):
            reranker.score(asks(), PASSAGES)  # the trial fails
        assert len(server.asked) == FAILURES + 1
        now[0] += PAUSE_S
        np.testing.assert_allclose(reranker.score(asks(), PASSAGES), EXPECTED, rtol=1e-6)
        server.plan = [WORST]
        np.testing.assert_allclose(reranker.score(asks(), PASSAGES), EXPECTED, rtol=1e-6)  # closed: retried


@pytest.mark.parametrize("status", [400, 413, 422])
def test_queries_that_are_too_long_do_not_switch_the_service_off_for_others(
    cohere: tuple[RemoteReranker, Service], status: int
) -> None:
    reranker, server = cohere
    server.plan = [Fault(status)] * (2 * FAILURES)
    while server.plan:
        with pytest.raises(Refused):
            reranker.score(asks(deadline=soon()), PASSAGES)
    np.testing.assert_allclose(reranker.score(asks(deadline=soon()), PASSAGES), EXPECTED, rtol=1e-6)


def test_a_key_that_is_refused_again_and_again_is_not_sent_for_a_while(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    server.plan = [Fault(401)] * FAILURES
    for _ in range(FAILURES):
        with pytest.raises(Refused):
            reranker.score(asks(deadline=soon()), PASSAGES)
    with pytest.raises(Busy):
        reranker.score(asks(deadline=soon()), PASSAGES)


@pytest.mark.parametrize(("budget_s", "opens"), [(0.02, False), (FAIR_S + 0.05, True)])
def test_only_calls_that_had_a_fair_time_count_when_no_answer_came(
    cohere: tuple[RemoteReranker, Service], budget_s: float, opens: bool
) -> None:
    reranker, server = cohere
    server.plan = [Fault(wait_s=30)] * FAILURES
    for _ in range(FAILURES):
        with pytest.raises(TimeoutError):
            reranker.score(asks(deadline=time.monotonic() + budget_s), PASSAGES)
    server.plan = []
    if opens:
        with pytest.raises(Busy):
            reranker.score(asks(deadline=soon()), PASSAGES)
    else:
        np.testing.assert_allclose(reranker.score(asks(deadline=soon()), PASSAGES), EXPECTED, rtol=1e-6)


def test_while_one_call_tries_others_are_told_so() -> None:
    now = [0.0]
    breaker = Breaker(failures=1, clock=lambda: now[0])
    late, first = breaker.enter(), breaker.enter()
    assert breaker.failed(first)
    now[0] = PAUSE_S
    trial = breaker.enter()
    breaker.abandoned(late)
    assert not breaker.failed(late)
    breaker.succeeded(late)
    with pytest.raises(Busy, match=r"^the reranking service failed 1 times; it is being tried again$"):
        breaker.enter()
    breaker.hold(late, 60.0)  # while one tries, it is heard no more
    breaker.abandoned(trial)
    breaker.succeeded(breaker.enter())
    breaker.enter()
    breaker.hold(late, 60.0)
    breaker.enter()


def test_the_longest_wait_that_calls_of_one_round_were_asked_for_is_kept() -> None:
    now = [0.0]
    breaker = Breaker(failures=1, clock=lambda: now[0])
    one, other = breaker.enter(), breaker.enter()
    assert breaker.failed(one)
    breaker.hold(one, PAUSE_S + 5)
    breaker.hold(other, PAUSE_S + 9)
    now[0] = PAUSE_S + 8
    with pytest.raises(Busy, match="asks to wait; tried again in 1 s"):
        breaker.enter()
    now[0] += 1
    breaker.enter()


NOT_DOCUMENTED = {
    "truncated": (TRUNCATED, "not the JSON that it documents"),
    "a page": (Fault(spoil=lambda answer: b"<html>Welcome!</html>"), "not the JSON that it documents"),
    "too few": (spoilt(lambda one: one | {"results": one["results"][1:]}), "4 scores came back for 5 passages"),
    "too many": (spoilt(lambda one: one | {"results": one["results"] * 2}), "10 scores came back for 5 passages"),
    "repeated": (
        spoilt(lambda one: one | {"results": one["results"][1:] + one["results"][-1:]}),
        "wrong or repeated indexes",
    ),
    "out of range": (
        spoilt(lambda one: one | {"results": [*one["results"][1:], {"index": 7, "relevance_score": 0.5}]}),
        "wrong or repeated indexes",
    ),
    "no score": (spoilt(lambda one: one | {"results": [{"index": 0}] * 5}), "not the JSON that it documents"),
    "text": (
        spoilt(lambda one: one | {"results": [entry | {"relevance_score": "0.5"} for entry in one["results"]]}),
        "not the JSON that it documents",
    ),
    "not a number": (Fault(spoil=lambda answer: answer.replace(b"1.0", b"NaN")), "not the JSON that it documents"),
    "huge": (
        spoilt(lambda one: one | {"results": [entry | {"relevance_score": 1e300} for entry in one["results"]]}),
        "a score is not a number",
    ),
    "no bytes": (Fault(spoil=lambda answer: b""), "not the JSON that it documents"),
    "endless": (Fault(spoil=lambda answer: b" " * 16_000_001 + answer), "longer than 16,000,000 bytes"),
}


@pytest.mark.parametrize("fault, said", NOT_DOCUMENTED.values(), ids=NOT_DOCUMENTED)
def test_an_answer_that_is_not_as_documented_is_refused_and_not_asked_for_again(
    cohere: tuple[RemoteReranker, Service], fault: Fault, said: str
) -> None:
    reranker, server = cohere
    server.plan = [fault]
    with pytest.raises(BadScores, match=said):
        reranker.score(asks(deadline=soon()), PASSAGES)
    assert len(server.asked) == 1


def test_each_providers_answer_is_refused_if_cut_or_of_wrong_length(named: tuple[RemoteReranker, Service, str]) -> None:
    reranker, server, name = named

    def shorter(answer: Any) -> Any:
        if name == "tei":
            return answer[:-1]
        field = "data" if name == "voyage" else "results"
        return answer | {field: answer[field][:-1]}

    server.plan = [TRUNCATED, spoilt(shorter)]
    with pytest.raises(BadScores, match="not the JSON that it documents"):
        reranker.score(asks(), PASSAGES)
    with pytest.raises(BadScores, match="4 scores came back for 5 passages"):
        reranker.score(asks(), PASSAGES)


def test_a_service_that_is_not_there_is_a_passing_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        url = address(f"http://127.0.0.1:{taken.getsockname()[1]}", "/rerank")
        reranker = RemoteReranker(PROVIDERS["tei"], "tei", "", Endpoint(url, uniform=lambda low, high: low))
        with pytest.raises(TransientError, match=r"^127\.0\.0\.1 cannot be asked: ConnectError"):
            reranker.score(asks(deadline=soon()), PASSAGES)
        reranker.close()


def test_redirects_are_not_followed(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    server.plan = [Fault(307, {"Location": server.url + "/elsewhere"})]
    with pytest.raises(Refused, match="answered 307"):
        reranker.score(asks(), PASSAGES)
    assert [asked.path for asked in server.asked] == ["/v2/rerank"]


def test_many_queries_at_once_get_their_own_scores(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    server.plan = [Fault(wait_s=0.2)] * 12
    found: dict[int, Any] = {}

    def score(number: int) -> None:
        found[number] = reranker.score(replace(asks(deadline=soon()), query=f"turbine {number}"), PASSAGES)

    threads = [threading.Thread(target=score, args=(number,)) for number in range(12)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert time.monotonic() - started < 2
    for number in range(12):
        expected = [share(f"turbine {number}", passage.text) for passage in PASSAGES]
        np.testing.assert_allclose(found[number], expected, rtol=1e-6)


def test_a_date_is_as_good_as_seconds_to_wait() -> None:
    now = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
    headers = {"12": 12.0, "Tue, 14 Nov 2023 22:13:50 GMT": 30.0, "Tue, 14 Nov 2023 22:00:00 GMT": 0.0, "": 0.0}
    assert {header: seconds_to_wait(header, now) for header in headers} == headers
    assert [seconds_to_wait(header, now) for header in ("soon", "-3", "inf", "nan", "\u00b2", "9" * 400 + "x")] == [
        0.0
    ] * 6


# -- the key --------------------------------------------------------------------------------------------------------


def test_the_key_is_seen_in_no_error_log_or_repr(
    cohere: tuple[RemoteReranker, Service], caplog: pytest.LogCaptureFixture
) -> None:
    reranker, server = cohere
    caplog.set_level(logging.DEBUG)
    said: list[str] = [repr(reranker), repr(vars(reranker)), repr(reranker.fingerprint)]
    for status in (401, 403, 404, 422):
        server.plan = [Fault(status)]
        with pytest.raises(Refused) as refused:
            reranker.score(asks(), PASSAGES[:1])
        said += [str(refused.value), repr(refused.value)]
    server.plan = [WORST] * ATTEMPTS
    with pytest.raises((TransientError, Busy)) as failed:
        reranker.score(asks(), PASSAGES)
    said += [repr(failed.value), repr(failed.value.__cause__)]
    assert "the key is wrong or missing" in said[3]
    assert "********" in caplog.text, "what the service said is logged, its echo of the key masked"
    assert KEY not in caplog.text + "".join(said)


def test_no_text_is_logged_above_debug(
    cohere: tuple[RemoteReranker, Service], caplog: pytest.LogCaptureFixture
) -> None:
    reranker, server = cohere
    caplog.set_level(logging.INFO)
    server.plan = [WORST, Fault(400)]
    with pytest.raises(Refused):
        reranker.score(asks(), PASSAGES)
    assert "127.0.0.1 answered 500; tried again in 0.00 s" in caplog.text
    assert "turbine" not in caplog.text


# -- loading --------------------------------------------------------------------------------------------------------


def load(**options: Any) -> RemoteReranker:
    stage = Stage(name="far", kind="remote", **{"model": MODEL, **options})
    loaded = load_remote(stage, Settings(), None)  # type: ignore[arg-type]  # nothing runs on the device
    assert isinstance(loaded, RemoteReranker)
    loaded.close()
    return loaded


def test_all_of_a_query_is_sent_however_long(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    asked = ScoreRequest("turbine " * 1000, 16)
    reranker.score(asked, PASSAGES)
    assert server.asked[-1].body["query"] == asked.query
    assert reranker.query_cut(asked) is None


def test_a_usual_address_and_key_need_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, provider in PROVIDERS.items():
        if provider.url:
            monkeypatch.setenv(provider.key_variable, KEY)
            assert len(load(provider=name).fingerprint) == 64


def test_fingerprints_name_provider_address_and_model() -> None:
    own = {"provider": "vllm", "url": "http://127.0.0.1:8001"}
    others: list[dict[str, str]] = [{}, {"url": "http://127.0.0.1:8002"}, {"model": "other"}, {"provider": "infinity"}]
    prints = [load(**(own | other)).fingerprint for other in others]
    assert len(set(prints)) == 4
    assert load(**own).fingerprint == prints[0]
    assert all(int(digest, 16) for digest in prints)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"provider": ""}, "one of cohere, voyage, jina, zeroentropy, tei, vllm, infinity; it is ''"),
        ({"provider": "acme"}, "`provider` of a remote stage is one of cohere, .*; it is 'acme'"),
        ({"provider": "vllm"}, "`url` of the stage is needed: vllm runs on a server of your own"),
        ({"provider": "tei"}, "`url` of the stage is needed"),
        ({"provider": "cohere"}, "environment variable COHERE_API_KEY is not set"),
        ({"provider": "cohere", "key_variable": "MY_KEY"}, "environment variable MY_KEY is not set"),
        ({"provider": "tei", "url": "http://h", "key_variable": "MY_KEY"}, "environment variable MY_KEY is not set"),
        ({"provider": "cohere", "key_variable": "BAD_KEY"}, "BAD_KEY holds no key: .* no header can carry"),
        ({"provider": "cohere", "model": "rerank-base"}, "`model` of a remote stage is the name that cohere has"),
        ({"provider": "tei", "url": "ftp://h"}, "begins with http:// or https://"),
        ({"provider": "tei", "url": "localhost:80"}, "begins with http:// or https://"),
        ({"provider": "tei", "url": "http://me:pass@h"}, "no user or password in it"),
    ],
)
def test_what_cannot_work_is_refused_at_load(
    options: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for provider in PROVIDERS.values():
        monkeypatch.delenv(provider.key_variable or "NONE", raising=False)
    monkeypatch.setenv("BAD_KEY", "not\u2013ascii\u2013key")
    with pytest.raises(ConfigError, match=said) as refused:
        load(**options)
    assert "ascii" not in str(refused.value)


def test_a_key_may_end_with_a_line_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY + "\n")
    with service(SERVERS["cohere"]) as server:
        stage = Stage(name="far", kind="remote", provider="cohere", model=MODEL, url=server.url)
        reranker = load_remote(stage, Settings(), None)  # type: ignore[arg-type]  # nothing runs on the device
        assert isinstance(reranker, RemoteReranker)
        assert len(reranker.score(asks(), PASSAGES)) == 5
        reranker.close()


def test_an_instruction_for_a_provider_that_takes_none_is_refused_with_the_settings() -> None:
    def profile(provider: str) -> dict[str, Any]:
        stage = {
            "name": "far",
            "kind": "remote",
            "provider": provider,
            "model": MODEL,
            "instruction": "Prefer manuals.",
        }
        return {"profiles": {"default": {"stages": [stage]}}}

    with pytest.raises(
        ConfigError, match="no instruction goes to 'cohere'; of providers voyage, zeroentropy, vllm take"
    ):
        load_settings(searchd_settings.Settings, environ={}, overrides=profile("cohere"))
    loaded = load_settings(searchd_settings.Settings, environ={}, overrides=profile("voyage"))
    assert loaded.profiles["default"].stages[0].takes_instruction
    assert not Stage(name="far", kind="remote", provider="jina").takes_instruction
    with pytest.raises(ValueError, match="provider is for stages of kind remote"):
        Profile(stages=(Stage(name="near", provider="cohere"),))


# -- closing --------------------------------------------------------------------------------------------------------


def connections() -> int:
    """Return how many threads hold connections to services."""
    return sum(thread.name == "rerank-http" for thread in threading.enumerate())


def test_services_close_the_connections_of_their_rerankers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    before = connections()
    with service(SERVERS["cohere"]) as server:
        far = Stage(name="far", kind="remote", provider="cohere", model=MODEL, url=server.url)
        chat = Stage(name="chat", kind="listwise", model="m", url=f"{server.url}/v1", enabled=False)
        settings = Settings(data_dir=str(tmp_path), profiles={"default": Profile(stages=(far, chat))})
        services = build_services(settings, worker=False)
        try:
            assert len(services.rerankers.of(far).score(asks(), PASSAGES)) == len(PASSAGES)
            assert len(services.rerankers.of(chat).fingerprint) == 64
            assert connections() == before + 2
        finally:
            services.close()
        assert connections() == before
        with pytest.raises(TransientError, match="shut down"):
            services.rerankers.of(far)
        services.close()


def test_a_reranker_that_is_still_loading_when_all_is_closed_is_closed_when_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", KEY)
    before, come = connections(), threading.Event()

    def slowly(*given: Any) -> Reranker:
        come.wait(10)
        return load_remote(*given)

    monkeypatch.setitem(RERANKERS, "remote", slowly)
    cache = RerankerCache(Settings(), Scheduler(Device(Settings())))
    loading = cache.of(Stage(name="far", kind="remote", provider="cohere", model=MODEL))
    cache.close()
    come.set()
    with pytest.raises(TransientError, match="shut down"):
        _ = loading.fingerprint
    assert connections() == before


def test_a_call_in_hand_ends_when_its_connection_is_closed(cohere: tuple[RemoteReranker, Service]) -> None:
    reranker, server = cohere
    server.plan = [Fault(wait_s=30)]
    threading.Timer(0.2, reranker.close).start()
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(TransientError, match="shut down"):
            reranker.score(asks(deadline=soon()), PASSAGES)
    assert time.monotonic() - started < 5


# -- in the cascade -------------------------------------------------------------------------------------------------


def test_the_answer_names_a_service_that_is_left_alone_and_no_host() -> None:
    candidates = [
        Candidate(f"p{n}", f"d{n}", {"rrf": 1 / (60 + n)}, {}, text=passage.text) for n, passage in enumerate(PASSAGES)
    ]
    stage = Stage(name="far", kind="remote", provider="cohere", model=MODEL, budget_ms=20000, blend=1.0)
    with service(SERVERS["cohere"]) as server, remote("cohere", server) as reranker:
        cascade = Cascade(lambda stage: reranker)
        server.plan = [WORST] * FAILURES
        reports = [cascade.rerank(QUERY, candidates, [stage], RerankRequest(), soon())[1][0] for _ in range(2)]
        assert (reports[0].status, reports[0].reason) == ("failed", "TransientError; the daemon's log says more")
        assert reports[1].status == "skipped"
        assert reports[1].reason == f"the reranking service failed {FAILURES} times; tried again in 15 s"
        reranker._endpoint.breaker = Breaker()
        ordered, (report,) = cascade.rerank(QUERY, candidates, [stage], RerankRequest(), soon())
    assert report.status == "full"
    assert ordered[0].passage_id == "p4"
