"""`/docs`: the API for people, from the OpenAPI document that tools read. Plain HTML, nothing fetched elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from searchd.api.openapi import document
from searchd.services import Services
from web.contexts import FieldView, OperationView, ReferencePage
from web.render import respond
from web.state import SearchState
from web.visitor import visitor_of


@cache
def reference() -> ReferencePage:
    """Return the page of the present API."""
    spec = document()
    topics: dict[str, list[OperationView]] = {}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            topics.setdefault(operation["tags"][0], []).append(_operation(spec, method, path, operation))
    return ReferencePage(
        section="reference",
        state=SearchState(),
        version=spec["info"]["version"],
        description=spec["info"]["description"],
        topics=tuple((name, tuple(views)) for name, views in topics.items()),
    )


def _operation(spec: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> OperationView:
    contents = operation.get("requestBody", {}).get("content", {})
    posted = contents.get("application/json", {})
    form = contents.get("multipart/form-data", {}).get("schema", {}).get("allOf", [])
    good = next(answer for code, answer in operation["responses"].items() if code < "300")
    given = good.get("content", {}).get("application/json", {})
    answered, taken = given.get("schema", {}), posted.get("schema", {})
    return OperationView(
        method=method.upper(),
        path=path,
        anchor=operation["operationId"],
        summary=operation["summary"],
        description=operation["description"],
        parameters=tuple(
            _field(spec, parameter["name"], parameter["schema"], parameter["required"])
            for parameter in operation["parameters"]
        ),
        body=tuple(_fields(spec, taken.get("items", taken))),
        body_example=_example(posted),
        form=tuple(field for schema in form for field in _fields(spec, schema)),
        answer=tuple(_fields(spec, answered.get("items", answered))),
        answer_example=_example(given),
        statuses=tuple((code, answer["description"]) for code, answer in sorted(operation["responses"].items())),
    )


def _example(content: Mapping[str, Any]) -> str:
    return json.dumps(content["example"], indent=2, ensure_ascii=False) if "example" in content else ""


def _fields(spec: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> Iterable[FieldView]:
    """Yield the fields of an object and of the objects in it."""
    resolved = _resolved(spec, schema)
    for name, inner in resolved.get("properties", {}).items():
        yield _field(spec, prefix + name, inner, name in resolved.get("required", ()))
        nested = _resolved(spec, inner)
        array = next((one for one in (nested, *nested.get("anyOf", ())) if one.get("type") == "array"), None)
        if array is not None and isinstance(array.get("items"), Mapping):
            yield from _fields(spec, array["items"], f"{prefix}{name}[].")
        elif "additionalProperties" in nested and isinstance(nested["additionalProperties"], Mapping):
            yield from _fields(spec, nested["additionalProperties"], f"{prefix}{name}.*.")
        else:
            yield from _fields(spec, nested, f"{prefix}{name}.")


def _field(spec: Mapping[str, Any], name: str, schema: Mapping[str, Any], required: bool) -> FieldView:
    resolved = _resolved(spec, schema)
    default = schema.get("default")
    shown = "" if default is None or isinstance(default, dict | list) else json.dumps(default, ensure_ascii=False)
    meaning = schema.get("description") or next(
        (one["description"] for one in schema.get("anyOf", ()) if "description" in one), ""
    )
    return FieldView(name, _kind(spec, resolved), required, shown, meaning)


def _resolved(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference, and the one alternative to null."""
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(options) == 1:
        return _resolved(spec, options[0])
    if "$ref" in schema:
        found: Mapping[str, Any] = spec["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        return found
    return schema


def _kind(spec: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return a type and its bounds in words."""
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {_kind(spec, _resolved(spec, items))}" if isinstance(items, Mapping) else "list"
    words = str(schema.get("type", "any"))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        words += f" {low if low is not None else ''} to {high if high is not None else ''}".rstrip()
    return words


@get("/docs", include_in_schema=False)
async def reference_page(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[str]:
    """Answer with the API's page."""
    return respond(reference(), visitor=visitor_of(request, services.settings))


HANDLERS = [reference_page]
