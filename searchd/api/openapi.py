"""The OpenAPI 3.1 document, built from the same structs that validate, and served at /openapi.json.

Takes the handlers with their `Operation`; `web/reference.py` shows the same document to people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from searchd.api import (
    collections,
    documents,
    events,
    judged,
    maintenance,
    rankings,
    rerank,
    search,
    sources,
    status,
    tasks,
)
from searchd.api.operation import Operation
from searchd.api.problems import MEDIA_TYPE, Problem
from searchd.api.reading import read_query
from searchd.api.schemas import NoParameters

API_VERSION = "1"
REFERENCE = "#/components/schemas/{name}"
WRITE_ERRORS = (401, 403)
ERRORS = {
    400: "The body is not JSON.",
    401: "The key is not configured.",
    403: "The caller may not do this.",
    404: "No such thing, or none that the caller may see.",
    409: "It contradicts what exists.",
    413: "The body is too large.",
    415: "The body is of a type that is not taken.",
    422: "A parameter is unknown or refused; the detail names it.",
    503: "Not available now; Retry-After says when to come again.",
}
PROBLEM_EXAMPLE = {
    "type": "about:blank", "title": "Unprocessable Content", "status": 422,
    "detail": "parameter 'limt' is not known; accepted: q, collection, limit", "code": "unknown_parameter",
}  # fmt: skip
TOPICS: tuple[Any, ...] = (
    search, events, rerank, documents, sources, tasks, collections, rankings, judged, maintenance, status,
)  # fmt: skip
DESCRIBED: tuple[HTTPRouteHandler, ...] = tuple(handler for topic in TOPICS for handler in topic.HANDLERS)


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    operations = [(handler, operation_of(handler)) for handler in DESCRIBED]
    structs = {Problem} | {
        struct for _, one in operations for struct in (one.query, one.body, one.files, one.answer) if struct is not None
    }
    ordered = sorted(structs, key=lambda struct: struct.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for handler, operation in operations:
        for path in sorted(handler.paths):
            shown = re.sub(r"\{(\w+):\w+\}", r"{\1}", path)
            for method in sorted(handler.http_methods):
                described = describe(handler, operation, shown, schemas)
                paths.setdefault(shown, {})[str(method).lower()] = described
    for struct in {one.query for _, one in operations}:
        schemas.pop(struct.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "searchd",
            "version": API_VERSION,
            "description": "Hybrid search with a reranking stage. Times are milliseconds, scores higher-is-better, "
            "errors application/problem+json; unknown parameters are refused by name.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "The secret of a key in the setting `keys`."}
            },
        },
    }


def operation_of(handler: HTTPRouteHandler) -> Operation:
    """Return what a handler says of itself."""
    found = handler.opt.get("operation")
    if isinstance(found, Operation):
        return found
    return Operation(handler.summary or handler.handler_name, (handler.tags or ["operations"])[0], writes=True)


def describe(handler: HTTPRouteHandler, operation: Operation, path: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Operation Object of a handler."""
    statuses = sorted({422, *operation.errors, *(WRITE_ERRORS if operation.writes else (401,))})
    found: dict[str, Any] = {
        "operationId": operation_id(handler, path),
        "summary": operation.summary,
        "description": (handler.fn.__doc__ or "").strip(),
        "tags": [operation.topic],
        "parameters": [*_in_path(path), *_in_query(operation, schemas)],
        "responses": {str(handler.status_code): _answer(operation)} | {str(code): _problem(code) for code in statuses},
        "security": [{"key": []}, {}],
    }
    if operation.body is not None:
        found["requestBody"] = _body(operation)
    return found


def operation_id(handler: HTTPRouteHandler, path: str) -> str:
    """Return a name of an operation that is unique and stays: method and path in snake_case."""
    words = re.sub(r"[^a-z0-9]+", "_", path.lower()).strip("_")
    return f"{str(next(iter(handler.http_methods))).lower()}_{words}"


def _in_path(path: str) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(operation: Operation, schemas: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    schema = schemas[operation.query.__name__]
    for name, described in schema["properties"].items():
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": name in schema.get("required", ())}
        parameter["schema"] = described
        if name in operation.query_example:
            parameter["example"] = operation.query_example[name]
        if described.get("type") == "array" or any(one.get("type") == "array" for one in described.get("anyOf", ())):
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _body(operation: Operation) -> dict[str, Any]:
    json_body: dict[str, Any] = {"schema": _listed(_ref(operation.body), operation.body_is_list)}
    if operation.body_may_be_list:
        one = _ref(operation.body)
        json_body["schema"] = {"anyOf": [one, _listed(one, True)]}
    if operation.body_example is not None:
        json_body["example"] = operation.body_example
    content = {"application/json": json_body}
    if operation.body_lines:
        content["application/jsonl"] = {"schema": {"type": "string", "description": "One entry a line"}}
    if operation.files is not None:
        files = {"type": "array", "items": {"type": "string", "format": "binary"}}
        beside = {"type": "object", "properties": {"files": files}, "required": ["files"]}
        content["multipart/form-data"] = {"schema": {"allOf": [beside, _ref(operation.files)]}}
    return {"required": True, "content": content}


def _answer(operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "The answer."}
    if operation.answer is not None:
        content = {"schema": _listed(_ref(operation.answer), operation.answer_is_list)}
        if operation.answer_example is not None:
            content["example"] = operation.answer_example
        answer["content"] = {"application/json": content}
    if operation.answer_text:
        answer["content"] = {media_type: {"schema": {"type": "string"}} for media_type in operation.answer_text}
    return answer


def _listed(schema: dict[str, Any], is_list: bool) -> dict[str, Any]:
    return {"type": "array", "items": schema} if is_list else schema


def _problem(code: int) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": _ref(Problem)}
    if code == PROBLEM_EXAMPLE["status"]:
        content["example"] = PROBLEM_EXAMPLE
    return {"description": ERRORS[code], "content": {MEDIA_TYPE: content}}


def _ref(struct: type[msgspec.Struct] | None) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(name=struct.__name__ if struct else "")}


@get("/openapi.json", opt={})
async def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answer with the OpenAPI document."""
    read_query(request, NoParameters)
    return Response(msgspec.json.encode(document()), media_type="application/json")


HANDLERS: list[HTTPRouteHandler] = [*DESCRIBED, openapi_json]
