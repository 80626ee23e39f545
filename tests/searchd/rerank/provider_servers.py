"""What each provider's API takes and gives, written from its reference; extra and missing fields are refused.

A text's score is how many of the query's words it has, a share of them; TEI, vLLM and Infinity give logits if asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.searchd.rerank.http_server import Asked

KEY = "sk-0123456789-not-to-be-seen"
MODEL = "some-model-1"


def share(query: str, text: str) -> float:
    """Return the share of the query's words that a text has."""
    words = set(re.findall(r"\w+", query.lower()))
    return len(words & set(re.findall(r"\w+", text.lower()))) / len(words)


def ranked(query: str, texts: list[str], *, raw: bool = False) -> list[tuple[int, float]]:
    """Return (index, score), best first, as every provider sorts them."""
    assert texts and all(isinstance(text, str) and text for text in texts), "texts are strings, none empty"
    scores = [(place, share(query, text) * (20 if raw else 1) - (10 if raw else 0)) for place, text in enumerate(texts)]
    return sorted(scores, key=lambda one: -one[1])


def fields(asked: Asked, path: str, needed: set[str], allowed: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]  # an empty set
    """Return the body, once path and names of fields are as documented."""
    assert asked.path == path, f"the path is {path}"
    assert needed <= set(asked.body) <= needed | allowed, f"fields are {sorted(needed | allowed)}"
    return asked.body


def bearer(asked: Asked) -> None:
    assert asked.headers.get("authorization") == f"Bearer {KEY}", "a bearer key"


def cohere(asked: Asked) -> Any:
    """docs.cohere.com/reference/rerank, version 2."""
    bearer(asked)
    body = fields(asked, "/v2/rerank", {"model", "query", "documents"}, {"top_n", "max_tokens_per_doc", "priority"})
    found = ranked(body["query"], body["documents"])[: body.get("top_n")]
    results = [{"index": index, "relevance_score": score} for index, score in found]
    units = {"search_units": 1}
    return {"id": "07734bd2", "results": results, "meta": {"api_version": {"version": "2"}, "billed_units": units}}


def voyage(asked: Asked) -> Any:
    """docs.voyageai.com/reference/reranker-api."""
    bearer(asked)
    body = fields(asked, "/v1/rerank", {"query", "documents", "model"}, {"top_k", "return_documents", "truncation"})
    assert len(body["documents"]) <= 1000, "1,000 documents at most"
    found = ranked(body["query"], body["documents"])[: body.get("top_k")]
    data = [{"relevance_score": score, "index": index} for index, score in found]
    return {"object": "list", "data": data, "model": body["model"], "usage": {"total_tokens": 26}}


def jina(asked: Asked) -> Any:
    """jina.ai/reranker; `return_documents` is true unless told otherwise."""
    bearer(asked)
    body = fields(asked, "/v1/rerank", {"model", "query", "documents"}, {"top_n", "return_documents"})
    results = [
        {"index": index, "relevance_score": score}
        | ({"document": {"text": body["documents"][index]}} if body.get("return_documents", True) else {})
        for index, score in ranked(body["query"], body["documents"])[: body.get("top_n")]
    ]
    return {"model": body["model"], "usage": {"total_tokens": 815}, "results": results}


def zeroentropy(asked: Asked) -> Any:
    """docs.zeroentropy.dev/api-reference/models/rerank."""
    bearer(asked)
    body = fields(asked, "/v1/models/rerank", {"model", "query", "documents"}, {"top_n", "latency"})
    sizes = [150 + len(body["query"].encode()) + len(text.encode()) for text in body["documents"]]
    assert sum(sizes) <= 5_000_000, "5,000,000 bytes at most"
    found = ranked(body["query"], body["documents"])[: body.get("top_n")]
    results = [{"index": index, "relevance_score": score} for index, score in found]
    told = {"actual_latency_mode": "fast", "e2e_latency": 0.1, "inference_latency": 0.05, "total_bytes": sum(sizes)}
    return {"results": results, "total_tokens": 99} | told


def tei(asked: Asked) -> Any:
    """huggingface.github.io/text-embeddings-inference, POST /rerank."""
    body = fields(
        asked, "/rerank", {"query", "texts"}, {"raw_scores", "return_text", "truncate", "truncation_direction"}
    )
    assert len(body["texts"]) <= 32, "--max-client-batch-size is 32"
    found = ranked(body["query"], body["texts"], raw=body.get("raw_scores", False))
    return [{"index": index, "score": score} for index, score in found]


def vllm(asked: Asked) -> Any:
    """docs.vllm.ai, rerank API: /rerank, /v1/rerank and /v2/rerank; it gives documents whether asked or not."""
    extra = {"top_n", "truncate_prompt_tokens", "use_activation", "instruction", "chat_template_kwargs", "priority"}
    body = fields(asked, "/v1/rerank", {"model", "query", "documents"}, extra)
    found = ranked(body["query"], body["documents"], raw=not body.get("use_activation", True))
    results = [
        {"index": index, "document": {"text": body["documents"][index], "multi_modal": None}, "relevance_score": score}
        for index, score in found[: body.get("top_n") or None]
    ]
    usage = {"prompt_tokens": 56, "total_tokens": 56}
    return {"id": "rerank-fae51b2b", "model": body["model"], "usage": usage, "results": results}


def infinity(asked: Asked) -> Any:
    """michaelfeil.github.io/infinity, POST /rerank."""
    body = fields(asked, "/rerank", {"query", "documents"}, {"model", "return_documents", "raw_scores", "top_n"})
    assert len(body["documents"]) <= 2048 and body.get("top_n", 1) > 0, "2,048 documents at most"
    found = ranked(body["query"], body["documents"], raw=body.get("raw_scores", False))
    results = [{"relevance_score": score, "index": index, "document": None} for index, score in found]
    told = {"object": "rerank", "id": "infinity-1", "created": 1, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    return {"results": results[: body.get("top_n")], "model": body["model"]} | told


SERVERS: dict[str, Callable[[Asked], Any]] = {
    "cohere": cohere,
    "voyage": voyage,
    "jina": jina,
    "zeroentropy": zeroentropy,
    "tei": tei,
    "vllm": vllm,
    "infinity": infinity,
}
