"""`/api/judged`: sets for programs. Who may, is `test_access.py`'s matter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.searchd.api.conftest import Client, problem

LINES = {"Content-Type": "application/jsonl"}


def lines(*rows: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in rows)


def test_judgments_are_added_as_a_list_or_as_lines_and_read_back(writer: Client) -> None:
    listed = [{"query": "refunds", "query_id": "q1", "document_id": "d 1", "grade": 3}, {"query": "log in"}]
    first = writer.post("/api/judged/default/faq?complete=true&judge=ann", json=listed)
    assert first.status_code == 200, first.text
    body = first.json()
    assert (body["made"], body["given_queries"], body["given_judgments"], body["unknown_documents"]) == (True, 2, 1, 1)
    assert (body["set"]["complete"], body["set"]["queries"], body["set"]["judged_queries"]) == (True, 2, 1)
    more = lines({"query": "refunds", "document_id": "d2", "grade": 0}, {"query": "refunds", "document_id": "d 1"})
    second = writer.post("/api/judged/default/faq", content=more, headers=LINES).json()
    assert (second["made"], second["new_queries"], second["set"]["judgments"]) == (False, 0, 2)
    exported = writer.get("/api/judged/default/faq")
    assert exported.headers["content-type"].startswith("application/jsonl")
    rows = [json.loads(row) for row in exported.text.splitlines()]
    assert [(row["query_id"], row.get("document_id"), row.get("grade"), row.get("judge")) for row in rows] == [
        ("q1", "d 1", 1, "api"),
        ("q1", "d2", 0, "api"),
        (rows[2]["query_id"], None, None, None),
    ]
    again = writer.post("/api/judged/default/copy", content=exported.content, headers=LINES).json()["set"]
    assert (again["queries"], again["judgments"], again["relevant"]) == (2, 2, 1)
    topics = writer.get("/api/judged/default/faq?format=topics")
    assert topics.text.splitlines()[0] == "q1\trefunds"
    assert topics.headers["content-type"] == "text/plain; charset=utf-8"
    assert "has white space" in problem(writer.get("/api/judged/default/faq?format=trec"))["detail"]


def test_sets_are_listed_and_deleted(writer: Client) -> None:
    writer.post("/api/judged/default/listed?replace=true", json=[{"query": "a", "document_id": "d", "grade": 2}])
    assert writer.get("/api/judged/default/listed?format=trec").text.split()[1:] == ["0", "d", "2"]
    names = {one["name"]: one for one in writer.get("/api/judged?collection=default").json()["sets"]}
    assert names["listed"]["relevant"] == 1
    assert {one["name"] for one in writer.get("/api/judged").json()["sets"]} >= {"listed"}
    assert writer.get("/api/judged?collection=other").json() == {"sets": []}
    gone = writer.delete("/api/judged/default/listed")
    assert (gone.status_code, gone.json()["judgments"]) == (200, 1)
    for method in ("GET", "DELETE"):
        missing = problem(writer.request(method, "/api/judged/default/listed"))
        assert (missing["status"], missing["code"]) == (404, "unknown_set")


@pytest.mark.parametrize(
    ("query", "content", "media_type", "status", "code", "said"),
    [
        ("", b'{"query": "a"}\n{"query": "a", "grade": 4}\n', "application/jsonl", 422, "bad_lines", "line 2: "),
        ("", b'[{"query": "a"}, 5, {"question": "a"}]', "application/json", 422, "bad_lines", "entry 2: "),
        ("", b'{"query": "a"}', "application/json", 422, "invalid_parameter", "has to be a list"),
        ("", b"", "application/json", 400, "invalid_json", "no valid JSON"),
        ("", b"[{", "application/json", 400, "invalid_json", "no valid JSON"),
        ("", b"[]", "application/json", 422, "invalid_input", "there is no query in it"),
        ("", b"[" * 99, "application/json", 422, "json_too_deep", "nested deeper than 32"),
        ("", b"a,b", "text/csv", 415, "unsupported_media_type", "application/jsonl are accepted"),
        ("?judge=", b"[]", "application/json", 422, "invalid_parameter", "judge"),
        ("?strict=true", b'[{"query": "a", "document_id": "gone"}]', "application/json", 422, "bad_lines", "entry 1: "),
        ("", b" " * 1_000_001, "application/json", 413, "too_large", "1,000,000"),
    ],
)
def test_what_is_refused_is_named_and_makes_no_set(
    writer: Client, query: str, content: bytes, media_type: str, status: int, code: str, said: str
) -> None:
    headers = {"Content-Type": media_type}
    found = problem(writer.post(f"/api/judged/default/refused{query}", content=content, headers=headers))
    assert (found["status"], found["code"]) == (status, code)
    assert said in found["detail"]
    assert problem(writer.get("/api/judged/default/refused"))["status"] == 404


def test_sets_of_collections_that_do_not_exist_and_mixed_kinds_are_refused(writer: Client) -> None:
    row = {"query": "a", "document_id": "d"}
    found = problem(writer.post("/api/judged/nowhere/x", json=[row]))
    assert (found["status"], found["code"]) == (404, "unknown_collection")
    assert problem(writer.post("/api/judged/default/a b", json=[row]))["status"] == 422
    assert writer.post("/api/judged/default/weak?judge=clicks", json=[row]).json()["set"]["kind"] == "clicks"
    assert problem(writer.post("/api/judged/default/weak", json=[row]))["status"] == 409
    assert problem(writer.get("/api/judged/default/weak?format=csv"))["code"] == "invalid_parameter"


def test_lines_that_are_cut_off_are_named_however_many_there_are(writer: Client) -> None:
    cut_off = b'{"query": ["a"\n' * 40 + b"[" * 10_000
    refused = problem(writer.post("/api/judged/default/cut-off", content=cut_off, headers=LINES))
    assert (refused["status"], refused["code"]) == (422, "bad_lines")
    assert "41 mistakes\nline 1: " in refused["detail"]
