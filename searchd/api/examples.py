"""Examples that the OpenAPI document shows, as plain JSON; a test holds them against the structs."""

from __future__ import annotations

from typing import Any

SEARCH_BODY: dict[str, Any] = {
    "q": "how do refunds work",
    "collection": "default",
    "limit": 3,
    "filter": 'product = "shop" AND NOT draft',
    "facets": ["product"],
    "explain": True,
}
SEARCH_ANSWER: dict[str, Any] = {
    "hits": [
        {
            "document_id": "faq-1",
            "collection": "default",
            "title": "Refunds",
            "uri": "https://example.com/faq/refunds",
            "rank": 1,
            "score": 1.31,
            "scored_by": "large.blend",
            "relevance": 0.87,
            "relevance_label": "very likely",
            "metadata": {"product": "shop"},
            "passage": {
                "passage_id": "5c1f4a6e-6a4b-5f0e-8c55-1d7a3d0f9b11",
                "text": "Refunds take five days.",
                "heading_path": ["Refunds"],
                "page": None,
                "start": 0,
                "end": 23,
            },
            "highlights": [{"text": "Refunds take five days.", "ranges": [[0, 7]]}],
            "more_passages": [],
            "scores": {
                "bm25": {"rank": 1, "score": 7.2, "terms": ["refunds"]},
                "dense": {"rank": 2, "score": 0.71},
                "rrf": {"rank": 1, "score": 0.0325, "parts": {"bm25": 0.0164, "dense": 0.0161}},
                "small": {"rank": 1, "score": 4.1, "blend": 1.2},
                "large": {"rank": 1, "score": 5.0, "blend": 1.31},
            },
            "moved": {"small": {"from": 1, "to": 1}, "large": {"from": 1, "to": 1}},
        }
    ],
    "total": {"value": 1, "relation": "eq"},
    "facets": {"product": {"shop": 1}},
    "systems": [
        {"name": "bm25", "status": "full", "scored": 1, "of": 100, "ms": 1.2, "reason": None},
        {"name": "dense", "status": "full", "scored": 12, "of": 100, "ms": 7.9, "reason": None},
    ],
    "stages": [
        {"name": "small", "status": "full", "scored": 12, "of": 12, "ms": 60.1, "reason": None},
        {"name": "large", "status": "full", "scored": 12, "of": 12, "ms": 120.4, "reason": None},
    ],
    "degraded": [],
    "calibration": {"judged_set": "support", "fitted_at": 1767225600.0, "likely": 0.5, "very_likely": 0.75},
    "cut": None,
    "cursor": None,
    "timings_ms": {"wait": 0.1, "retrieve": 8.3, "fuse": 0.1, "load": 2.2, "rerank": 181.0, "present": 0.6},
    "took_ms": 193.1,
    "query_id": "9f4c2b7a1d3e5f60",
    "profile": "default",
}
DOCUMENTS_BODY: dict[str, Any] = {
    "documents": [
        {
            "id": "faq-1",
            "title": "Refunds",
            "text": "Refunds take five days.",
            "uri": "https://example.com/faq/refunds",
            "metadata": {"product": "shop"},
            "access": ["public"],
        }
    ]
}
ACCEPTED: dict[str, Any] = {"task_id": "0b6f3c1e-58f5-4b53-9f0c-6c2d1a3e4f50", "accepted": 1, "unchanged": 0}
RERANK_BODY: dict[str, Any] = {
    "model": "large",
    "query": "how do refunds work",
    "documents": ["Parcels leave every evening.", "Refunds take five days."],
    "top_n": 1,
    "return_documents": True,
}
RERANK_ANSWER: dict[str, Any] = {
    "id": "7a5f6f6e-3d0c-4b56-9d7b-0c0f3f4f1a2b",
    "model": "large",
    "results": [{"index": 1, "relevance_score": 0.993, "document": {"text": "Refunds take five days."}}],
    "usage": {"total_tokens": 19, "prompt_tokens": 19},
    "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
}
TEI_BODY: dict[str, Any] = {
    "query": "how do refunds work",
    "texts": ["Parcels leave every evening.", "Refunds take five days."],
}
TEI_ANSWER: list[dict[str, Any]] = [{"index": 1, "score": 0.993}, {"index": 0, "score": 0.002}]
