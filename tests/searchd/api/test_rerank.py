"""The drop-in rerank routes: shapes, parameters and their effects, refusals, limits, and what happens when stages fail."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from msgspec.structs import replace as changed
from numpy.typing import NDArray

from searchd.api.rerank import MAX_BODY_BYTES
from searchd.app import create_app
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.table import RerankerCache
from searchd.rerank.types import LongInstruction, PassageText, Reranker, ScoreRequest
from searchd.services import Services
from searchd.settings import Key, Profile, Stage
from tests.loops import in_loop
from tests.searchd.api.conftest import HOST, Client, TestClient, problem
from tests.searchd.library import CountingReranker, counting, services_over
from tests.searchd.rerank.http_server import service
from tests.searchd.rerank.late_models import write_pylate, write_stanford
from tests.searchd.rerank.provider_servers import KEY as PROVIDER_KEY
from tests.searchd.rerank.provider_servers import SERVERS, share
from tests.web.product import running

QUERY = "oil filter pump"
DOCUMENTS = ["the pump has an oil filter", "nothing of it", "oil", "pump and oil"]
ORDER = [0, 3, 2, 1]
SIGMOIDS = [0.9525741, 0.880797, 0.7310586, 0.5]
ROUTES = ("/v1/rerank", "/v2/rerank")


def post(client: Client, path: str = "/v1/rerank", **body: Any) -> Any:
    texts = {"texts" if path == "/rerank" else "documents": DOCUMENTS}
    return client.post(path, json={"query": QUERY} | texts | body)


@pytest.mark.parametrize(("path", "version"), [("/v1/rerank", "1"), ("/v2/rerank", "2")])
def test_documents_come_back_best_first_in_the_shape_of_cohere_jina_and_vllm(
    client: Client, path: str, version: str
) -> None:
    answer = post(client, path, model="large")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"id", "model", "results", "usage", "meta"}
    assert [set(one) for one in body["results"]] == [{"index", "relevance_score"}] * 4
    assert [one["index"] for one in body["results"]] == ORDER
    assert [one["relevance_score"] for one in body["results"]] == pytest.approx(SIGMOIDS, abs=1e-6)
    assert body["meta"] == {"api_version": {"version": version}, "billed_units": {"search_units": 1}}
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] == 4 * 3 + 6 + 3 + 1 + 3
    assert body["model"] == "large"
    assert len(body["id"]) == 36


def test_tei_gets_a_bare_list(client: Client) -> None:
    body = post(client, "/rerank").json()
    assert [set(one) for one in body] == [{"index", "score"}] * 4
    assert [one["index"] for one in body] == ORDER
    assert [one["score"] for one in body] == pytest.approx(SIGMOIDS, abs=1e-6)
    with_text = post(client, "/rerank", raw_scores=True, return_text=True, truncate=True, truncation_direction="Left")
    assert with_text.json()[0] == {"index": 0, "score": 3.0, "text": DOCUMENTS[0]}


def test_top_n_cuts_and_nought_or_too_many_means_all(client: Client) -> None:
    assert [one["index"] for one in post(client, top_n=2).json()["results"]] == ORDER[:2]
    for top_n in (0, 4, 99, None):
        assert len(post(client, top_n=top_n).json()["results"]) == 4


def test_documents_are_returned_as_they_were_sent(client: Client) -> None:
    documents = ["oil", {"text": "the oil pump", "id": 7, "tags": ["a"]}]
    results = post(client, documents=documents, return_documents=True).json()["results"]
    assert [one["document"] for one in results] == [documents[1], {"text": "oil"}]
    assert all("document" not in one for one in post(client, documents=documents).json()["results"])


def test_rank_fields_say_what_of_an_object_is_read_and_in_which_order(client: Client) -> None:
    documents = [{"title": "oil", "text": "nothing", "year": 1999}, {"title": "none", "text": "oil pump"}, "oil"]
    assert [one["index"] for one in post(client, documents=documents).json()["results"]] == [1, 2, 0]
    by_title = post(client, documents=documents, query="oil 1999", rank_fields=["year", "title"])
    assert [one["index"] for one in by_title.json()["results"]] == [0, 2, 1]


@pytest.mark.parametrize("path", ROUTES)
def test_every_optional_parameter_may_be_null_as_clients_send_it(client: Client, path: str) -> None:
    nothing = dict.fromkeys(
        ("model", "top_n", "return_documents", "rank_fields", "max_chunks_per_doc", "max_tokens_per_doc", "user",
         "truncate_prompt_tokens", "use_activation", "request_id", "priority", "instruction", "stages")
    )  # fmt: skip
    assert post(client, path, **nothing).status_code == 200


def test_a_request_may_bring_its_id_and_a_user(client: Client) -> None:
    assert post(client, request_id="mine", user="somebody", priority=0).json()["id"] == "mine"


def test_raw_scores_come_where_they_are_asked_for(client: Client) -> None:
    assert [one["relevance_score"] for one in post(client, use_activation=False).json()["results"]] == [3, 2, 1, 0]
    for answer in (post(client, use_activation=False, model="default"),
                   post(client, "/rerank", raw_scores=True, stages=["small", "large"])):  # fmt: skip
        assert problem(answer)["status"] == 422
        assert "several stages" in problem(answer)["detail"]


def test_a_profile_runs_its_cascade_and_return_stages_shows_each(client: Client) -> None:
    documents = [f"{'oil ' * (n % 2)}{'pump ' * (n % 3 > 0)}{n}" for n in range(9)]
    body = post(client, documents=documents, model="plain", return_stages=True).json()
    assert body["model"] == "plain"
    assert [(one["name"], one["status"], one["scored"], one["of"]) for one in body["stages"]] == [
        ("small", "full", 9, 9),
        ("large", "full", 6, 6),
    ]
    shown = [one["stages"] for one in body["results"]]
    assert [one["large"]["rank"] for one in shown] == list(range(1, 10))
    assert [one["large"]["score"] is None for one in shown] == [False] * 6 + [True] * 3
    assert all(one["small"]["score"] is not None for one in shown)
    scores = [one["relevance_score"] for one in body["results"]]
    assert scores == sorted(scores, reverse=True)
    assert "stages" not in post(client, model="plain").json()


def test_stages_may_be_named_on_every_route(client: Client) -> None:
    for path in ROUTES:
        assert post(client, path, stages=["small", "large"]).json()["model"] == "small+large"
    ranks = post(client, "/rerank", stages=["large", "small"], return_stages=True).json()
    assert set(ranks[0]["stages"]) == {"small", "large"}


def test_a_long_document_is_read_whole_unless_the_request_asks_to_cut_it(client: Client) -> None:
    long = "word " * 3000 + "oil pump filter"
    documents = ["oil", long]
    whole = post(client, documents=documents).json()
    assert [one["index"] for one in whole["results"]] == [1, 0]
    assert "warnings" not in whole["meta"]
    for cut in ({"max_tokens_per_doc": 100}, {"max_chunks_per_doc": 2}):
        body = post(client, documents=documents, **cut).json()
        assert [one["index"] for one in body["results"]] == [0, 1]
        assert body["meta"]["warnings"] == ["1 of 2 documents were cut as the request asks"]
        assert body["usage"]["total_tokens"] < whole["usage"]["total_tokens"]
    for uncut in ({"max_tokens_per_doc": 4096}, {"max_tokens_per_doc": 0}, {"max_chunks_per_doc": 100}):
        assert [one["index"] for one in post(client, documents=documents, **uncut).json()["results"]] == [1, 0]


def test_a_query_longer_than_a_stage_reads_is_said_of_those_stages_alone(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COHERE_API_KEY", PROVIDER_KEY)
    colbert = write_stanford(tmp_path / "colbert", metadata={"query_maxlen": 32})
    said = {"small": "the query was read to 32 of its 60 tokens", "late": "the query was read to 29 of its 60 tokens"}
    with service(SERVERS["cohere"]) as server:
        stages = (
            Stage(name="far", kind="remote", provider="cohere", model="m", url=server.url, budget_ms=20_000),
            Stage(name="small", model="rerank-small", max_length=64, budget_ms=20_000),
            Stage(name="late", kind="late_interaction", model=str(colbert), budget_ms=20_000),
        )
        settings = changed(services.settings, dtype="float32", profiles={"default": Profile(stages=stages)})
        cache = RerankerCache(settings, Scheduler(services.engine.device))
        cache.check(stages)
        opened = replace(services_over(services.engine, settings, cache.of), rerankers=cache)
        with TestClient(create_app(opened), base_url=HOST) as client:
            long = "oilcan " * 30
            metas = {name: post(client, query=long, model=name).json()["meta"] for name in ("far", *said)}
            assert {name: meta.get("warnings") for name, meta in metas.items()} == {
                "far": None, "small": [f"small: {said['small']}"], "late": [f"late: {said['late']}"]
            }  # fmt: skip
            whole = post(client, query=long, model="default", return_stages=True).json()
            assert [one["reason"] for one in whole["stages"]] == [None, *said.values()]
            assert "warnings" not in post(client, query="oil " * 29, model="default").json()["meta"]
            page = client.post("/playground", data={"query": long, "passages": "oil\npump"}).text
            assert all(f"<li>{name}: {words}</li>" in page for name, words in said.items())
            found = client.post("/api/search", json={"q": long.strip()}).json()
        cache.close()
    by_name = {one["name"]: (one["status"], one["reason"]) for one in found["stages"]}
    assert {name: by_name[name] for name in ("far", *said)} == {
        "far": ("full", None), "small": ("full", said["small"]), "late": ("full", said["late"])
    }  # fmt: skip
    assert found["degraded"] == []


def test_units_are_counted_by_hundreds(client: Client) -> None:
    for count, units in ((100, 1), (101, 2), (1000, 10)):
        assert post(client, documents=["oil"] * count).json()["meta"]["billed_units"] == {"search_units": units}


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/v1/rerank", {"top_k": 3}, 422, "'top_k'"),
        ("/v1/rerank", {"texts": ["a"]}, 422, "'texts'"),
        ("/v2/rerank", {"return_embeddings": True}, 422, "'return_embeddings'"),
        ("/v2/rerank", {"relevant_spans": {"mode": "enabled"}}, 422, "'relevant_spans'"),
        ("/rerank", {"documents": ["a"]}, 422, "'documents'"),
        ("/rerank", {"model": "large"}, 422, "'model'"),
        ("/v1/rerank", {"documents": []}, 422, "'documents'"),
        ("/v1/rerank", {"documents": ["a"] * 1001}, 422, "1000"),
        ("/v1/rerank", {"documents": [{"title": "a"}]}, 422, "documents[0]"),
        ("/v1/rerank", {"documents": ["a", {"text": ["b"]}]}, 422, "documents[1].text"),
        ("/v1/rerank", {"documents": [3]}, 422, "documents"),
        ("/v1/rerank", {"documents": [{"a": 1}], "rank_fields": ["b", "c"]}, 422, "b or c"),
        ("/v1/rerank", {"query": "  "}, 422, "query"),
        ("/v1/rerank", {"query": "a" * 4001}, 422, "4000"),
        ("/v1/rerank", {"top_n": -1}, 422, "top_n"),
        ("/v1/rerank", {"priority": 3}, 422, "priority"),
        ("/v1/rerank", {"truncate_prompt_tokens": 5}, 422, "truncate_prompt_tokens"),
        ("/v1/rerank", {"max_chunks_per_doc": 0}, 422, "max_chunks_per_doc"),
        ("/v1/rerank", {"instruction": "find laws"}, 422, "instruction"),
        ("/v1/rerank", {"stages": ["none"]}, 422, "'none'"),
        ("/rerank", {"truncation_direction": "up"}, 422, "truncation_direction"),
        ("/rerank", {"texts": [{"text": "a"}]}, 422, "texts"),
        ("/rerank", {"instruction": "find laws"}, 422, "instruction"),
        ("/v2/rerank", {"model": "rerank-english-v3.0"}, 404, "small, large, default, plain"),
    ],
)  # fmt: skip
def test_refusals_name_the_parameter_and_what_is_taken(
    client: Client, path: str, body: dict[str, Any], status: int, named: str
) -> None:
    found = problem(post(client, path, **body))
    assert (found["status"], named in found["detail"]) == (status, True)


@pytest.mark.parametrize("path", [*ROUTES, "/rerank"])
def test_bodies_are_bounded_in_size_and_depth_and_must_be_json(client: Client, path: str) -> None:
    large = client.post(path, content=b'{"query": "' + b"a" * MAX_BODY_BYTES + b'"}')
    assert (problem(large)["status"], "4,000,000" in problem(large)["detail"]) == (413, True)
    parts = iter([b"[" * 100_000] * 50)
    assert problem(client.post(path, content=parts))["status"] == 413
    deep = client.post(path, content=b'{"documents": ' + b"[" * 50_000)
    assert problem(deep)["code"] == "json_too_deep"
    assert problem(client.post(path, content=b"{"))["status"] == 400
    assert problem(client.post(path, data={"query": "a"}))["status"] == 415
    assert problem(client.get(path))["status"] == 405


def test_without_configured_keys_any_key_is_taken_and_with_them_only_those(services: Services) -> None:
    keys = (Key(name="reader", secret="a-reader-of-texts"),)
    locked = services_over(services.engine, changed(services.settings, keys=keys))
    for held, secret, status in (
        (services, "whatever-the-sdk-needs", 200),
        (services, None, 200),
        (locked, "whatever-the-sdk-needs", 401),
        (locked, None, 401),
        (locked, "", 401),
        (locked, "a-reader-of-texts", 200),
    ):
        with TestClient(create_app(held), base_url=HOST) as client:
            for path in (*ROUTES, "/rerank"):
                if secret is not None:
                    client.headers["authorization"] = f"Bearer {secret}"
                answer = post(client, path)
                assert answer.status_code == status
                assert status == 200 or problem(answer)["code"] == "invalid_key"


def test_the_playground_ranks_what_is_pasted_for_who_may_use_the_rerank_routes_alone(services: Services) -> None:
    keys = (Key(name="reader", secret="a-reader-of-texts"),)
    locked = services_over(services.engine, changed(services.settings, keys=keys))
    form = {"query": QUERY, "passages": "\n".join(DOCUMENTS)}
    for held, headers, status in (
        (services, {}, 200),
        (locked, {}, 401),
        (locked, {"Authorization": "Bearer wrong"}, 401),
        (locked, {"Authorization": "Bearer a-reader-of-texts"}, 200),
    ):
        with TestClient(create_app(held), base_url=HOST) as client:
            answer = client.post("/playground", data=form, headers=headers)
            assert answer.status_code == status
            assert ("cannot be ranked on this page" in answer.text) is (status == 401)
            assert DOCUMENTS[0] in answer.text
            assert client.get("/playground").status_code == 200


class Cramped(CountingReranker):
    """Has no room for an instruction."""

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        if request.instruction:
            raise LongInstruction("instruction: too long; max_length 64 is too small")
        return super().score(request, passages)


def test_an_instruction_that_no_stage_has_room_for_is_the_callers_mistake_on_every_route(services: Services) -> None:
    stage = Stage(name="judge", kind="causal", prompt="chat", model="m")
    settings = changed(services.settings, profiles={"default": Profile(stages=(stage,))})
    long = {"instruction": "find laws"}
    with TestClient(
        create_app(services_over(services.engine, settings, lambda stage: Cramped())), base_url=HOST
    ) as client:
        answers = [post(client, path, **long) for path in (*ROUTES, "/rerank")]
        answers.append(client.post("/api/search", json={"q": "valve", "rerank": long}))
        for answer in answers:
            assert (problem(answer)["status"], problem(answer)["code"]) == (422, "invalid_parameter")
            assert "instruction: too long" in problem(answer)["detail"]
        page = client.post("/playground", data={"query": "oil", "passages": "oil pump", **long})
        assert (page.status_code, "instruction: too long" in page.text) == (422, True)
        assert client.post("/api/search", json={"q": "valve"}).json()["degraded"] == []


def test_it_works_without_a_collection_of_documents_and_is_counted(client: Client) -> None:
    before = client.get("/metrics").text
    assert post(client).status_code == 200
    after = client.get("/metrics").text
    name = 'searchd_reranks_total{outcome="complete"} '
    assert float(after.split(name)[1].split()[0]) >= 1
    assert before != after


# -- when stages fail, take long, or the caller leaves --------------------------------------------------------------


class Faulty(CountingReranker):
    """Scores until told to raise, or waits for the deadline, or until its caller is gone."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.begun, self.ended = threading.Event(), threading.Event()

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        self.begun.set()
        if self.how == "raises":
            raise RuntimeError("in /secret/folder")
        while self.how == "hangs" and not request.cancelled():
            if request.deadline is not None and time.monotonic() >= request.deadline:
                raise TimeoutError
            time.sleep(0.01)
        self.ended.set()
        return super().score(request, passages)


def faulty(services: Services, how: str) -> Client:
    """Return a client of services in which the stage `large` is faulty in this way, and 300 ms are the most."""

    def load(stage: Stage) -> Reranker:
        return Faulty(how) if stage.name == "large" else counting(stage)

    settings = changed(services.settings, max_timeout_ms=300)
    return TestClient(create_app(services_over(services.engine, settings, load)), base_url=HOST)


@pytest.mark.parametrize("path", [*ROUTES, "/rerank"])
@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_if_not_every_document_was_scored_it_is_503_and_says_why(services: Services, path: str, how: str) -> None:
    with faulty(services, how) as client:
        answer = post(client, path)
    found = problem(answer)
    assert (found["status"], found["code"]) == (503, "degraded")
    assert "4 of 4 texts got no score" in found["detail"]
    assert "large failed" in found["detail"] or "large skipped" in found["detail"]
    assert "/secret" not in found["detail"]
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_later_stage_that_fails_is_named_and_the_order_before_it_is_answered(services: Services, how: str) -> None:
    with faulty(services, how) as client:
        answer = post(client, model="default", return_stages=True)
    assert answer.status_code == 200
    body = answer.json()
    assert [one["index"] for one in body["results"]] == ORDER
    assert [one["status"] == "full" for one in body["stages"]] == [True, False]
    assert answer.headers["x-search-degraded"] == "large"
    assert any(said.startswith("large ") for said in body["meta"]["warnings"])


def test_no_scale_is_squeezed_through_anothers_sigmoid(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cohere's probabilities come through as they are, and a ColBERT's sums of cosines do not all become 1."""
    monkeypatch.setenv("COHERE_API_KEY", PROVIDER_KEY)
    colbert = write_stanford(tmp_path / "colbert", metadata={"query_maxlen": 32})
    with service(SERVERS["cohere"]) as server:
        stages = (
            Stage(name="far", kind="remote", provider="cohere", model="m", url=server.url),
            Stage(name="late", kind="late_interaction", model=str(colbert)),
        )
        settings = changed(services.settings, dtype="float32", profiles={"default": Profile(stages=stages)})
        cache = RerankerCache(settings, Scheduler(services.engine.device))
        opened = replace(services_over(services.engine, settings, cache.of), rerankers=cache)
        with TestClient(create_app(opened), base_url=HOST) as client:
            far = [one["relevance_score"] for one in post(client, model="far").json()["results"]]
            late = [one["relevance_score"] for one in post(client, model="late").json()["results"]]
            raw = [one["score"] for one in post(client, "/rerank", raw_scores=True, stages=["late"]).json()]
    assert far == pytest.approx(sorted((share(QUERY, text) for text in DOCUMENTS), reverse=True), abs=1e-6)
    assert late == pytest.approx([(score / 32 + 1) / 2 for score in raw], abs=1e-6)
    assert 1 > late[0] > late[-1] > 0


class CountingTokenizer:
    """A tokenizer that counts how often it is given each text."""

    def __init__(self, tokenizer: Any, given: Counter[str]) -> None:
        self._tokenizer, self._given = tokenizer, given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self._given.update(texts)
        return self._tokenizer.encode_batch_fast(texts, **options)

    def encode_batch(self, texts: list[str], **options: Any) -> Any:
        self._given.update(texts)
        return self._tokenizer.encode_batch(texts, **options)


def test_each_text_is_tokenised_once_a_request_whatever_stages_ask(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By both stages of the packaged model, whose tokenizer is the embedder's; once more by another's."""
    pieces = write_pylate(tmp_path / "colbert")
    stages = (
        Stage(name="small", depth=9, keep=9, max_length=32),
        Stage(name="large", depth=9, keep=9, max_length=64),
        Stage(name="late", kind="late_interaction", model=str(pieces), depth=9, keep=9, max_length=64),
    )
    settings = changed(services.settings, dtype="float32", score_cache=0, profiles={"default": Profile(stages=stages)})
    cache = RerankerCache(settings, Scheduler(services.engine.device))
    cache.check(stages)
    embedder, given = services.engine.embedder, Counter[str]()
    assert embedder.passages.fingerprint in {one.fingerprint for one in cache.tokenizers(stages[:1])}
    monkeypatch.setattr(embedder, "tokenizer", CountingTokenizer(embedder.tokenizer, given))
    for tokenizer in cache.tokenizers(stages):
        monkeypatch.setattr(tokenizer, "_tokenizer", CountingTokenizer(tokenizer._tokenizer, given))
    texts = [f"{text} {number}" for number, text in enumerate(DOCUMENTS)]
    opened = replace(services_over(services.engine, settings, cache.of), rerankers=cache)
    with TestClient(create_app(opened), base_url=HOST) as client:
        for names, times in ((["small", "large"], 1), (["small", "large", "late"], 2), (["late"], 2)):
            given.clear()
            answer = post(client, documents=texts, stages=names)
            assert answer.status_code == 200, answer.text
            assert {text: given[text] for text in texts} == dict.fromkeys(texts, times)


def test_a_caller_who_leaves_stops_the_work(services: Services) -> None:
    reranker = Faulty("hangs")
    with running(services_over(services.engine, services.settings, lambda stage: reranker)) as address:

        async def leave() -> None:
            async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False) as client:
                asking = asyncio.create_task(client.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS}))
                assert await asyncio.to_thread(reranker.begun.wait, 30)
                asking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asking  # its connection is closed by then

        in_loop(leave)
        assert reranker.ended.wait(10), "well before the deadline, at which it would raise"


def test_so_many_wait_and_the_next_is_refused_while_searches_go_on(services: Services) -> None:
    def load(stage: Stage) -> Reranker:
        return Faulty("hangs") if stage.name == "alone" else counting(stage)

    profiles = {**services.settings.profiles, "slow": Profile(stages=(Stage(name="alone"),))}
    settings = changed(services.settings, profiles=profiles, max_timeout_ms=6000)

    async def crowd(address: str) -> list[tuple[int, str]]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False, limits=limits) as client:

            async def ask() -> tuple[int, str]:
                body = {"query": QUERY, "documents": DOCUMENTS, "model": "slow"}
                answer = await client.post("/v1/rerank", json=body)
                return answer.status_code, answer.json()["code"]

            asking = [asyncio.create_task(ask()) for _ in range(80)]
            await asyncio.wait(
                asking, return_when=asyncio.FIRST_COMPLETED
            )  # the first to be refused: all places are taken
            search = await client.get("/api/search?q=valve&profile=plain")
            assert search.status_code == 200
            return await asyncio.gather(*asking)

    with running(services_over(services.engine, settings, load)) as address:
        codes = in_loop(lambda: crowd(address))
    assert {code for code, _ in codes} == {503}
    assert sum(code == "busy" for _, code in codes) >= 8
