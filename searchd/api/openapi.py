"""The API described: an OpenAPI 3.1 document built from the same structs that validate, and a page that shows it.

`/openapi.json` is for tools; `/docs` is plain HTML from this process, without scripts and without a CDN.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import MediaType, Response, get

from searchd.api.schemas import (
    CollectionChoices,
    PostedDocuments,
    RebuildChoices,
    SearchRequest,
    SourceIds,
)

REFERENCE = "#/components/schemas/{name}"
BODIES = (SearchRequest, PostedDocuments, SourceIds, CollectionChoices, RebuildChoices)


@dataclass(frozen=True, slots=True)
class Route:
    """One route: what it does, what it takes, an example that works, and the errors it can give."""

    method: str
    path: str
    summary: str
    tag: str
    body: type[Any] | None = None
    example: Any = None
    query: tuple[str, ...] = ()
    answers: tuple[int, ...] = (200,)
    errors: tuple[int, ...] = ()
    write: bool = False


SEARCH_EXAMPLE = {
    "q": 'how do refunds work "store credit" -tax',
    "filter": 'product = "shop" AND NOT draft',
    "limit": 5,
    "explain": True,
    "rerank": {"enabled": True, "budget_ms": 400},
}
DOCUMENT_EXAMPLE = {
    "collection": "default",
    "documents": [
        {
            "id": "faq-1",
            "title": "Refunds",
            "text": "Refunds take five working days.",
            "metadata": {"product": "shop", "version": 2},
            "access": ["public"],
        }
    ],
}
URL_PARAMETERS = ("q", "collection", "limit", "offset", "cursor", "filter", "facets", "sort", "fields", "mode", "profile",
                  "rerank", "explain", "timeout_ms", "strict")  # fmt: skip

ROUTES: tuple[Route, ...] = (
    Route("get", "/api/search", "Search by URL parameters", "search", query=URL_PARAMETERS, errors=(404, 422, 503)),
    Route("post", "/api/search", "Search with all parameters", "search", SearchRequest, SEARCH_EXAMPLE, errors=(404, 413, 422, 503)),
    Route("post", "/api/documents", "Add documents as JSON, or files as multipart field `files`", "documents",
          PostedDocuments, DOCUMENT_EXAMPLE, answers=(202,), errors=(403, 413, 422), write=True),
    Route("get", "/api/documents", "List documents", "documents", query=("collection", "cursor", "limit", "filter"), errors=(404, 422)),
    Route("delete", "/api/documents", "Delete by filter", "documents", query=("collection", "filter"), answers=(202,), errors=(403, 422), write=True),
    Route("get", "/api/documents/{document_id}", "Read a document", "documents", query=("collection",), errors=(404,)),
    Route("delete", "/api/documents/{document_id}", "Delete a document", "documents", query=("collection",), answers=(202,), errors=(403, 404), write=True),
    Route("get", "/api/sources", "List accepted sources", "documents", query=("collection", "uri_prefix", "cursor"), errors=(403, 422), write=True),
    Route("post", "/api/sources/delete", "Delete sources with their documents", "documents", SourceIds,
          {"collection": "default", "source_ids": ["00000000-0000-0000-0000-000000000000"]}, answers=(202,), errors=(403, 422), write=True),
    Route("post", "/api/sources/retry", "Try failed sources again", "documents", SourceIds, {"collection": "default"}, answers=(202,), errors=(403, 422), write=True),
    Route("get", "/api/tasks/{task_id}", "Follow a task", "documents", errors=(403, 404), write=True),
    Route("delete", "/api/tasks/{task_id}", "Cancel what of a task has not begun", "documents", errors=(403, 404, 409), write=True),
    Route("get", "/api/collections", "List collections", "collections"),
    Route("put", "/api/collections/{name}", "Make a collection", "collections", CollectionChoices, {"language": "en"}, errors=(403, 409, 422), write=True),
    Route("delete", "/api/collections/{name}", "Delete a collection", "collections", errors=(403, 404, 409), write=True),
    Route("post", "/api/collections/{name}/rebuild", "Rebuild its indexes, then switch", "collections", RebuildChoices, {"passage_tokens": 200}, answers=(202,), errors=(403, 404, 422), write=True),
    Route("get", "/api/doctor", "Compare SQL, Tantivy and Qdrant", "operations", errors=(403,), write=True),
    Route("post", "/api/doctor", "Compare, and mend what differs", "operations", answers=(202,), errors=(403,), write=True),
    Route("get", "/api/status", "Counts, queued work, failures", "operations"),
    Route("get", "/healthz", "Is the process alive", "operations"),
    Route("get", "/readyz", "Is every part ready", "operations", errors=(503,)),
    Route("get", "/metrics", "Prometheus metrics", "operations"),
)  # fmt: skip


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    _, components = msgspec.json.schema_components(BODIES, ref_template=REFERENCE)
    components["Problem"] = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            name: {"type": "integer" if name == "status" else "string"} for name in ("type", "title", "status", "detail", "code")
        },
    }
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "searchd", "version": "1", "description": "Hybrid search with a reranking stage."},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def operation(route: Route) -> dict[str, Any]:
    """Return one route's operation object."""
    named = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, Any]] = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in named]
    properties = msgspec.json.schema_components([SearchRequest], ref_template=REFERENCE)[1]["SearchRequest"]["properties"]
    for name in route.query:
        simple = properties.get(name, {}).get("type") in ("string", "integer", "boolean")
        schema = {k: v for k, v in properties[name].items() if k != "default"} if simple else {"type": "string"}
        parameters.append({"name": name, "in": "query", "required": False, "schema": schema})
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    found: dict[str, Any] = {
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": parameters,
        "responses": {str(status): {"description": "the answer"} for status in route.answers}
        | {str(status): {"description": "an error", "content": problem} for status in route.errors},
        "security": [{"key": []}] if route.write else [{}, {"key": []}],
    }
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body.__name__}"}
        found["requestBody"] = {"content": {"application/json": {"schema": schema, "example": route.example}}}
    return found


@get("/openapi.json", include_in_schema=False, media_type=MediaType.JSON)
async def openapi_json() -> Response[bytes]:
    """Answer with the OpenAPI document."""
    return Response(json.dumps(document(), indent=1).encode(), media_type=MediaType.JSON)


@get("/docs", include_in_schema=False, media_type=MediaType.HTML)
async def docs() -> Response[str]:
    """Answer with the API's page."""
    return Response(page(), media_type="text/html; charset=utf-8")


def page() -> str:
    """Return the page: each route with its parameters and an example to copy."""
    sections = "".join(section(route) for route in ROUTES)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>searchd API</title><link rel="stylesheet" href="/static/searchd.css"></head><body><main class="docs">'
        '<h1>searchd API</h1><p>Machine-readable: <a href="/openapi.json">/openapi.json</a>. Errors are '
        "<code>application/problem+json</code>; unknown parameters are refused by name.</p>" + sections + "</main></body></html>"
    )


def section(route: Route) -> str:
    """Return one route's part of the page."""
    parts = [f"<section><h2><code>{route.method.upper()} {html.escape(route.path)}</code></h2><p>{html.escape(route.summary)}.</p>"]
    if route.write:
        parts.append("<p>For callers who may write.</p>")
    if route.query:
        parts.append("<p>Parameters: " + ", ".join(f"<code>{name}</code>" for name in route.query) + "</p>")
    if route.example is not None:
        parts.append(f"<pre>{html.escape(json.dumps(route.example, indent=2))}</pre>")
    if route.errors:
        parts.append("<p>Errors: " + ", ".join(map(str, route.errors)) + "</p>")
    return "".join(parts) + "</section>"


HANDLERS = [openapi_json, docs]
