"""Real clients of the rerank APIs: the cohere SDK against a daemon of its own, and what other integrations send.

The requests below were recorded from the packages named beside them, pointed at a server that writes down what it gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cohere
import httpx
import pytest
from cohere.core.api_error import ApiError

from tests.daemon import Daemon
from tests.loops import in_loop
from tests.searchd.api.conftest import Client

QUERY = "oil change"
DOCUMENTS = ["Parcels leave every evening.", "Oil is changed every 500 hours.", "The valve is closed slowly."]
KEY = "a-key-of-the-sdk"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a running `searchd serve` over an empty folder, with its packaged models."""
    folder: Path = tmp_path_factory.mktemp("rerank") / "data"
    keys = f'[{{"name": "sdk", "secret": "{KEY}"}}]'
    with Daemon(folder, SEARCHD_KEYS=keys, SEARCHD_THREADS="1") as running:
        yield running


class TestCohere:
    def test_version_1_of_the_api(self, daemon: Daemon) -> None:
        with httpx.Client(trust_env=False) as http:
            client = cohere.Client(api_key=KEY, base_url=daemon.url, httpx_client=http)
            answer = client.rerank(
                query=QUERY, documents=DOCUMENTS, model="large", top_n=2, return_documents=True, max_chunks_per_doc=10
            )
        assert answer.results[0].index == 1
        assert answer.results[0].document is not None
        assert answer.results[0].document.text == DOCUMENTS[1]
        assert 0 <= answer.results[1].relevance_score <= answer.results[0].relevance_score <= 1
        assert answer.meta is not None and answer.meta.api_version is not None and answer.meta.billed_units is not None
        assert (answer.meta.api_version.version, answer.meta.billed_units.search_units) == ("1", 1)

    def test_version_1_with_objects_and_fields(self, daemon: Daemon) -> None:
        documents: list[Any] = [
            {"title": "Mail", "text": DOCUMENTS[0]},
            {"title": "Oil change", "text": "Every 500 h."},
        ]
        with httpx.Client(trust_env=False) as http:
            client = cohere.Client(api_key=KEY, base_url=daemon.url, httpx_client=http)
            answer = client.rerank(
                query=QUERY, documents=documents, rank_fields=["title", "text"], return_documents=True
            )
        assert [one.index for one in answer.results] == [1, 0]
        assert answer.results[0].document is not None
        assert answer.results[0].document.model_dump()["title"] == "Oil change"

    @pytest.mark.parametrize("model", ["large", "default"])
    def test_version_2_of_the_api_with_one_stage_and_with_the_cascade(self, daemon: Daemon, model: str) -> None:
        with httpx.Client(trust_env=False) as http:
            client = cohere.ClientV2(api_key=KEY, base_url=daemon.url, httpx_client=http)
            answer = client.rerank(model=model, query=QUERY, documents=DOCUMENTS, max_tokens_per_doc=4096, priority=0)
        assert sorted(one.index for one in answer.results) == [0, 1, 2]
        assert answer.results[0].index == 1
        assert answer.meta is not None and answer.meta.api_version is not None
        assert answer.meta.api_version.version == "2"
        assert answer.id

    def test_version_2_without_waiting(self, daemon: Daemon) -> None:
        async def ask() -> list[int]:
            async with httpx.AsyncClient(trust_env=False) as http:
                client = cohere.AsyncClientV2(api_key=KEY, base_url=daemon.url, httpx_client=http)
                answers = await asyncio.gather(
                    *(client.rerank(model="small", query=QUERY, documents=DOCUMENTS) for _ in range(4))
                )
            return [answer.results[0].index for answer in answers]

        assert in_loop(ask) == [1] * 4

    def test_a_long_document_is_scored_by_its_best_part(self, daemon: Daemon) -> None:
        long = "Nothing is said here about it. " * 200 + DOCUMENTS[1]
        with httpx.Client(trust_env=False) as http:
            client = cohere.ClientV2(api_key=KEY, base_url=daemon.url, httpx_client=http)
            whole = client.rerank(model="large", query=QUERY, documents=[DOCUMENTS[0], long])
            cut = client.rerank(model="large", query=QUERY, documents=[DOCUMENTS[0], long], max_tokens_per_doc=100)
        assert whole.results[0].index == 1
        assert cut.meta is not None and cut.meta.warnings == ["1 of 2 documents were cut as the request asks"]
        scores = [next(one.relevance_score for one in found.results if one.index == 1) for found in (whole, cut)]
        assert scores[0] > scores[1]

    def test_errors_reach_the_caller_with_their_words(self, daemon: Daemon) -> None:
        with httpx.Client(trust_env=False) as http:
            client = cohere.ClientV2(api_key=KEY, base_url=daemon.url, httpx_client=http)
            with pytest.raises(ApiError) as unknown:
                client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCUMENTS)
            stranger = cohere.ClientV2(api_key="not-configured", base_url=daemon.url, httpx_client=http)
            with pytest.raises(ApiError) as refused:
                stranger.rerank(model="large", query=QUERY, documents=DOCUMENTS)
        assert unknown.value.status_code == 404
        assert "small, large, default" in str(unknown.value.body)
        assert refused.value.status_code == 401


def test_a_long_document_is_cut_to_its_beginning_only_where_vllm_would_be_told_to(daemon: Daemon) -> None:
    beginning = "Nothing is said here about it. " * 60
    documents = [beginning + DOCUMENTS[1], beginning]

    def scores(**options: Any) -> list[float]:
        body = {"model": "large", "query": QUERY, "documents": documents, "use_activation": False, **options}
        key = {"Authorization": f"Bearer {KEY}"}
        found = httpx.post(f"{daemon.url}/v1/rerank", json=body, headers=key, timeout=60, trust_env=False).json()
        return [one["relevance_score"] for one in sorted(found["results"], key=lambda one: one["index"])]

    whole, none = scores()
    assert whole > none + 0.5
    for tokens in (64, -1):
        cut, same = scores(truncate_prompt_tokens=tokens)
        assert cut == pytest.approx(same, abs=0.1)


SENT: dict[str, tuple[str, dict[str, Any]]] = {
    "langchain-cohere 0.6.0, CohereRerank.compress_documents": (
        "/v2/rerank",
        {"model": "large", "query": QUERY, "documents": DOCUMENTS, "top_n": 2, "max_tokens_per_doc": None},
    ),
    "langchain-community 0.4.2, JinaRerank.compress_documents": (
        "/v1/rerank",
        {"query": QUERY, "documents": DOCUMENTS, "model": "large", "top_n": 2},
    ),
    "llama-index-postprocessor-cohere-rerank 0.10.0, CohereRerank": (
        "/v2/rerank",
        {"model": "large", "query": QUERY, "documents": DOCUMENTS, "top_n": 2},
    ),
    "llama-index-postprocessor-jinaai-rerank 0.6.0, JinaRerank": (
        "/v1/rerank",
        {"query": QUERY, "documents": DOCUMENTS, "model": "large", "top_n": 2},
    ),
    "llama-index-postprocessor-tei-rerank 0.6.0, TextEmbeddingInference": (
        "/rerank",
        {"query": QUERY, "texts": DOCUMENTS},
    ),
    "cohere-haystack 11.0.0, CohereRanker": (
        "/v2/rerank",
        {"model": "large", "query": QUERY, "documents": DOCUMENTS, "top_n": 2, "max_tokens_per_doc": 4096},
    ),
    "jina-haystack 2.0.1, JinaRanker": (
        "/v1/rerank",
        {"query": QUERY, "documents": DOCUMENTS, "model": "large", "top_n": 2},
    ),
    "vllm-haystack 3.0.1, VLLMRanker": (
        "/v1/rerank",
        {"model": "large", "query": QUERY, "documents": DOCUMENTS, "top_n": 2},
    ),
    # read from haystack 2's haystack/components/rankers/hugging_face_tei.py
    "haystack-ai 2, HuggingFaceTEIRanker": (
        "/rerank",
        {"query": QUERY, "texts": DOCUMENTS, "raw_scores": False},
    ),
    "haystack-ai 2, HuggingFaceTEIRanker with a truncation_direction": (
        "/rerank",
        {"query": QUERY, "texts": DOCUMENTS, "raw_scores": True, "truncate": True, "truncation_direction": "Left"},
    ),
    "litellm 1.106.2, rerank of cohere": (
        "/v2/rerank",
        {"model": "large", "query": QUERY, "top_n": 2, "documents": DOCUMENTS, "return_documents": True},
    ),
    "litellm 1.106.2, rerank of jina_ai, and of hosted_vllm with /v1 in its address": (
        "/v1/rerank",
        {"model": "large", "query": QUERY, "top_n": 2, "documents": DOCUMENTS, "return_documents": True},
    ),
}
"""Package and class -> path and body."""


@pytest.mark.parametrize("sender", SENT)
def test_what_an_integration_sends_is_answered_with_what_it_reads(client: Client, sender: str) -> None:
    path, body = SENT[sender]
    answer = client.post(path, json=body, headers={"Accept": "*/*", "Authorization": "Bearer its-own-key"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    if path == "/rerank":
        assert [set(one) for one in found] == [{"index", "score"}] * 3
        assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
        return
    assert found["results"][0]["index"] == 1
    assert len(found["results"]) == 2
    assert all(0 <= one["relevance_score"] <= 1 for one in found["results"])
    # Haystack's rankers keep model and usage, LiteLLM reads meta and the documents' text.
    assert found["usage"]["total_tokens"] > 0
    assert found["meta"]["billed_units"]["search_units"] == 1
    if body.get("return_documents"):
        assert found["results"][0]["document"] == {"text": DOCUMENTS[1]}
