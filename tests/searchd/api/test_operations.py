"""Alive, ready, metrics, OpenAPI, headers, and errors that belong to no handler."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from searchd.api.openapi import DESCRIBED, document, operation_of
from searchd.app import create_app
from searchd.services import Services
from tests.searchd.api.conftest import HOST, Client, TestClient, problem
from tests.searchd.library import FaultyEngine, services_over
from tests.searchd.test_retrieve import OwnVectors


def test_alive_and_ready_with_every_part_named(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200, ready.text
    parts = ready.json()["parts"]
    assert {"database", "lexical", "vectors", "embedder", "device", "rerankers", "worker"} == set(parts)
    assert parts["worker"] == "off in this process"


def test_a_part_that_is_down_makes_it_not_ready_and_says_why(services: Services) -> None:
    def failing() -> Any:
        raise ConnectionError("refused")

    down = services_over(FaultyEngine(services.engine, vectors=OwnVectors(failing)), services.settings)
    with TestClient(create_app(down), base_url=HOST) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "refused" in answer.json()["parts"]["vectors"]
        assert answer.json()["parts"]["database"] == "ok"
        assert client.get("/healthz").status_code == 200


def test_metrics_count_searches_parts_and_jobs(client: Client) -> None:
    client.get("/api/search?q=valve&profile=plain")
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    parts = {sample.labels.get("part") for sample in families["searchd_part_seconds"].samples}
    assert {"bm25", "dense", "small", "large", "retrieve", "fuse", "load", "rerank", "present"} <= parts
    assert {sample.labels["state"] for sample in families["searchd_jobs"].samples} >= {"queued", "running", "failed"}
    assert {"searchd_searches", "searchd_search_seconds", "searchd_documents", "searchd_passages"} <= set(families)


def test_status_shows_counts_and_where_models_run(client: Client) -> None:
    body = client.get("/api/status").json()
    assert "default" in {one["name"] for one in body["collections"]}
    assert body["device"]["name"]
    assert body["models"]["embedder"] == "all-minilm-l6-v2"


def test_readiness_status_and_metrics_say_which_path_a_reranker_runs_on(writing: Services, writer: Client) -> None:
    writing.warm_up()
    texts = ["The valve is closed slowly.", "Parcels leave every evening."]
    for _ in range(2):
        assert writer.post("/rerank", json={"query": "close the valve", "texts": texts}).status_code == 200
    ready = writer.get("/readyz").json()
    assert ready["parts"]["rerankers"] == "ok"
    assert sorted(ready["paths"]) == ["rerank-base", "rerank-small"]
    assert all(path.startswith("cross_encoder, ") for path in ready["paths"].values())
    assert writer.get("/api/status").json()["models"]["paths"] == ready["paths"]
    families = {family.name: family for family in text_string_to_metric_families(writer.get("/metrics").text)}
    told = {sample.labels["model"]: sample.labels["path"] for sample in families["searchd_reranker_path"].samples}
    assert told == ready["paths"]
    scored = {sample.labels["model"]: sample.value for sample in families["searchd_rerank_pairs"].samples}
    assert scored["rerank-base"] >= 2
    costs = [
        sample for sample in families["searchd_rerank_token_ms"].samples if sample.labels["model"] == "rerank-base"
    ]
    assert {sample.labels["kind"] for sample in costs} == {"cross_encoder"}
    assert all(sample.value > 0 and int(sample.labels["up_to_tokens"]) >= 48 for sample in costs)
    lookups = {sample.labels["outcome"]: sample.value for sample in families["searchd_score_cache_lookups"].samples}
    assert lookups["hit"] >= 2
    assert families["searchd_score_cache_entries"].samples[0].value >= 2
    assert families["searchd_rerank_waiting_pairs"].samples[0].value == 0


def test_doctor_finds_the_library_sound(client: Client) -> None:
    findings = client.get("/api/doctor").json()["findings"]
    assert [one for one in findings if one["collection"] == "default"] == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/api/search?q=valve"])
def test_head_answers_as_get_does(client: Client, path: str) -> None:
    assert client.head(path).status_code == 200
    assert client.head("/nothing").status_code == 404


@pytest.mark.parametrize(
    "path", ["/api/search?q=valve", "/healthz", "/nothing", "/api/nothing", "/docs", "/", "/static/searchd.css"]
)
def test_every_answer_carries_the_security_headers(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "referrer-policy" in headers
    assert len(headers.get_list("content-security-policy")) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/api/nothing", 404, "not_found"),
        ("PUT", "/api/search", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/healthz?x=1", 422, "unknown_parameter"),
        ("GET", "/metrics?x=1", 422, "unknown_parameter"),
        ("GET", "/openapi.json?x=1", 422, "unknown_parameter"),
        ("GET", "/api/collections?x=1", 422, "unknown_parameter"),
        ("GET", "/api/status?x=1", 422, "unknown_parameter"),
    ],
)
def test_errors_of_no_handler_are_problems_too(client: Client, method: str, path: str, status: int, code: str) -> None:
    found = problem(client.request(method, path))
    assert (found["status"], found["code"]) == (status, code)


def test_a_browser_gets_a_page_for_an_error_and_a_program_a_problem(client: Client) -> None:
    page = client.get("/nothing", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "there is nothing at /nothing" in page.text
    assert problem(client.get("/api/nothing", headers={"Accept": "text/html"}))["status"] == 404


# -- OpenAPI --------------------------------------------------------------------------------------------------------


def test_the_document_describes_every_operation_with_its_bodies_and_errors(client: Client) -> None:
    spec = client.get("/openapi.json").json()
    assert spec == json.loads(json.dumps(document()))
    assert spec["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, methods in spec["paths"].items() for method in methods}
    assert {("POST", "/api/search"), ("GET", "/api/search"), ("GET", "/api/documents/{document_id}")} <= described
    identifiers = [operation["operationId"] for methods in spec["paths"].values() for operation in methods.values()]
    assert len(identifiers) == len(set(identifiers)) == len(DESCRIBED)


def test_every_reference_in_the_document_leads_somewhere() -> None:
    def references(value: Any) -> Any:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from references(inner)

    spec = document()
    for reference in references(spec["paths"]):
        assert reference.rsplit("/", 1)[-1] in spec["components"]["schemas"], reference
    for reference in references(spec["components"]):
        assert reference.rsplit("/", 1)[-1] in spec["components"]["schemas"], reference


@pytest.mark.parametrize("handler", DESCRIBED, ids=lambda handler: f"{handler.handler_name}-{sorted(handler.paths)[0]}")
def test_examples_are_what_the_structs_take_and_give(handler: Any) -> None:
    operation = operation_of(handler)
    if operation.body_example is not None:
        assert operation.body is not None
        taken: Any = list[operation.body] if operation.body_is_list else operation.body  # type: ignore[name-defined]
        msgspec.convert(operation.body_example, taken)
    if operation.answer_example is not None:
        assert operation.answer is not None
        kind: Any = list[operation.answer] if operation.answer_is_list else operation.answer  # type: ignore[name-defined]
        msgspec.convert(operation.answer_example, kind)
    if operation.query_example:
        msgspec.convert(dict(operation.query_example), operation.query)


def test_the_examples_of_search_are_answered(client: Client) -> None:
    spec = document()
    example = spec["paths"]["/api/search"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/api/search", json=example).status_code == 200


@pytest.mark.parametrize("path", sorted(document()["paths"]))
def test_every_operation_refuses_an_unknown_parameter_by_name(client: Client, path: str) -> None:
    for method in document()["paths"][path]:
        filled = path.replace("{document_id}", "none").replace("{task_id}", "none").replace("{name}", "none")
        answer = client.request(method.upper(), f"{filled}?surprise=1")
        assert problem(answer)["code"] == "unknown_parameter", (method, path)
        assert "surprise" in problem(answer)["detail"]


def test_the_page_for_people_shows_every_operation_and_fetches_nothing(client: Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    for path in document()["paths"]:
        assert path in page.text
    assert "http://" not in page.text.replace("http://127.0.0.1", "")
    assert "https://" not in page.text.replace("https://example.com", "")
    assert "<style" not in page.text
