"""/api/documents, /api/sources, /api/tasks, /api/collections: what is added is found, what is refused is named."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.searchd.api.conftest import Client, problem


def done(client: Client, accepted: Any, status: int = 202) -> dict[str, Any]:
    """Return the task of an acknowledgement once it has ended."""
    assert accepted.status_code == status, accepted.text
    end = time.monotonic() + 60
    while True:
        task: dict[str, Any] = client.get(f"/api/tasks/{accepted.json()['task_id']}").json()
        if task["state"] not in ("enqueued", "processing"):
            return task
        assert time.monotonic() < end, task
        time.sleep(0.05)


def add(client: Client, *documents: dict[str, Any], collection: str = "default") -> dict[str, Any]:
    task = done(client, client.post("/api/documents", json={"documents": list(documents), "collection": collection}))
    assert task["state"] == "succeeded", task
    return task


def found(client: Client, q: str, **options: Any) -> list[str]:
    answer = client.post("/api/search", json={"q": q, "mode": "lexical", "rerank": {"enabled": False}, **options})
    assert answer.status_code == 200, answer.text
    return [hit["document_id"] for hit in answer.json()["hits"]]


def test_a_posted_document_is_read_found_and_deleted(writer: Client) -> None:
    add(writer, {"id": "a/b c", "title": "Turbines", "text": "The turbine hums.", "uri": "https://example.com/t"})
    answer = writer.get("/api/documents/a/b%20c").json()
    assert (answer["document_id"], answer["title"], answer["text"]) == ("a/b c", "Turbines", "The turbine hums.")
    assert (answer["uri"], answer["access"]) == ("https://example.com/t", ["public"])
    assert found(writer, "turbine") == ["a/b c"]
    gone = writer.delete("/api/documents/a/b%20c")
    assert gone.json()["accepted"] == 1
    assert found(writer, "turbine") == []
    assert problem(writer.get("/api/documents/a/b%20c"))["status"] == 404
    assert problem(writer.delete("/api/documents/a/b%20c"))["status"] == 404
    assert done(writer, gone)["state"] == "succeeded"


def test_html_and_markdown_are_parsed_and_the_same_again_is_unchanged(writer: Client) -> None:
    documents = [
        {"id": "h", "html": "<html><body><h1>Head</h1><p>The condenser cools.</p><script>bad()</script></body></html>"},
        {"id": "m", "markdown": "# Mark\n\nThe condenser *drips*.", "metadata": {"a": {"b": 1}, "tags": ["x", "y"]}},
    ]
    add(writer, *documents)
    assert sorted(found(writer, "condenser")) == ["h", "m"]
    assert writer.get("/api/documents/m").json()["metadata"] == {"a.b": 1, "tags": ["x", "y"]}
    assert "bad()" not in writer.get("/api/documents/h").json()["text"]
    again = writer.post("/api/documents", json={"documents": documents}).json()
    assert (again["accepted"], again["unchanged"]) == (0, 2)


def test_files_of_a_form_are_taken_with_what_stands_beside_them(writer: Client) -> None:
    files = [
        ("files", ("../../etc/one.txt", b"The boiler hisses.", "text/plain")),
        ("files", ("two.md", b"# Two\n\nThe boiler sings.", "text/markdown")),
    ]
    beside = [{"uri": "file:///one.txt", "id": "one"}, {"uri": "file:///two.md", "title": "Second"}]
    fields = {"sources": json.dumps(beside), "metadata": '{"shop": "x"}', "access": ["public", "hr"]}
    task = done(writer, writer.post("/api/documents", files=files, data=fields))
    assert (task["accepted"], task["state"]) == (2, "succeeded")
    assert "one" in found(writer, "boiler", filter='shop = "x"')
    assert writer.get("/api/documents/one").json()["access"] == ["hr", "public"]
    uris = {one["uri"] for one in writer.get("/api/sources?uri_prefix=file:///").json()["sources"]}
    assert {"file:///one.txt", "file:///two.md"} <= uris


def test_a_plain_upload_without_anything_beside_works(writer: Client) -> None:
    task = done(writer, writer.post("/api/documents", files={"files": ("plain.txt", b"The flywheel turns.")}))
    assert task["state"] == "succeeded"
    assert len(found(writer, "flywheel")) == 1


def test_a_file_that_cannot_be_read_is_a_named_failure_that_can_be_tried_again(writer: Client) -> None:
    task = done(writer, writer.post("/api/documents", files={"files": ("bad.pdf", b"%PDF-1.7 and nothing")}))
    assert task["state"] == "failed"
    assert task["errors"][0]["uri"] == "upload:bad.pdf"
    assert task["errors"][0]["code"]
    failures = writer.get("/api/status").json()["failures"]
    assert "upload:bad.pdf" in [failure["uri"] for failure in failures]
    again = writer.post("/api/sources/retry", json={"collection": "default"})
    assert done(writer, again)["state"] == "failed"
    sources = writer.get("/api/sources", params={"uri_prefix": "upload:bad"}).json()["sources"]
    removed = writer.post("/api/sources/delete", json={"source_ids": [one["source_id"] for one in sources]})
    assert done(writer, removed)["state"] == "succeeded"
    assert writer.get("/api/sources", params={"uri_prefix": "upload:bad"}).json()["sources"] == []


def test_lists_go_on_with_a_cursor(writer: Client) -> None:
    add(
        writer,
        *({"id": f"n{i}", "text": f"number {i}", "metadata": {"odd": i % 2 == 1}} for i in range(7)),
        collection="lists",
    )
    seen: list[str] = []
    cursor = None
    while True:
        page = writer.get(
            "/api/documents", params={"collection": "lists", "limit": 3} | ({"cursor": cursor} if cursor else {})
        )
        seen += [one["document_id"] for one in page.json()["documents"]]
        cursor = page.json()["cursor"]
        if cursor is None:
            break
    assert seen == [f"n{i}" for i in range(7)]
    odd = writer.get("/api/documents", params={"collection": "lists", "filter": "odd"}).json()["documents"]
    assert [one["document_id"] for one in odd] == ["n1", "n3", "n5"]


def test_documents_are_deleted_by_filter(writer: Client) -> None:
    add(writer, *({"id": f"f{i}", "text": "some text", "metadata": {"n": i}} for i in range(4)), collection="filters")
    gone = writer.delete("/api/documents", params={"collection": "filters", "filter": "n >= 2"})
    assert gone.json()["accepted"] == 2
    left = writer.get("/api/documents", params={"collection": "filters"}).json()["documents"]
    assert [one["document_id"] for one in left] == ["f0", "f1"]


def test_a_collection_is_made_once_rebuilt_and_deleted(writer: Client) -> None:
    made = writer.put("/api/collections/german", json={"language": "de"})
    assert (made.status_code, made.json()["language"]) == (200, "de")
    assert writer.put("/api/collections/german", content=b"").json()["language"] == "de"
    assert problem(writer.put("/api/collections/german", json={"language": "en"}))["status"] == 409
    add(writer, {"id": "h", "text": "Die Häuser stehen am Fluss."}, collection="german")
    assert found(writer, "Haus", collection="german") == ["h"]
    rebuilt = done(writer, writer.post("/api/collections/german/rebuild", json={"passage_tokens": 64}))
    assert rebuilt["state"] == "succeeded"
    assert "german" in [one["name"] for one in writer.get("/api/collections").json()["collections"]]
    assert writer.delete("/api/collections/german").json()["name"] == "german"
    assert problem(writer.delete("/api/collections/german"))["status"] == 404
    assert problem(writer.get("/api/search?q=Haus&collection=german"))["status"] == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "named"),
    [
        ("POST", "/api/documents", {"documents": []}, 422, "invalid_parameter", "documents"),
        ("POST", "/api/documents", {"documents": [{"id": "x"}]}, 422, "invalid_parameter", "documents[0]"),
        (
            "POST",
            "/api/documents",
            {"documents": [{"text": "a", "html": "b"}]},
            422,
            "invalid_parameter",
            "text and html",
        ),
        ("POST", "/api/documents", {"documents": [{"txt": "a"}]}, 422, "unknown_parameter", "txt"),
        ("POST", "/api/documents", {"documents": [{"text": "a", "id": ""}]}, 422, "invalid_input", "id"),
        ("POST", "/api/documents", {"documents": [{"text": "a", "id": "b\u0007"}]}, 422, "invalid_input", "id"),
        ("POST", "/api/documents", {"documents": [{"text": "a", "access": []}]}, 422, "invalid_input", "access"),
        ("POST", "/api/documents", {"documents": [{"text": "a", "metadata": {"x": [{}]}}]}, 422, "invalid_input", "x"),
        (
            "POST",
            "/api/documents",
            {"documents": [{"text": "a"}], "collection": "a b"},
            422,
            "invalid_parameter",
            "collection",
        ),
        ("GET", "/api/documents?collection=nowhere", None, 404, "not_found", "nowhere"),
        ("GET", "/api/documents?limit=0", None, 422, "invalid_parameter", "limit"),
        ("GET", "/api/documents?cursor=zzz", None, 422, "invalid_cursor", "cursor"),
        ("GET", "/api/documents?page=2", None, 422, "unknown_parameter", "page"),
        ("GET", "/api/documents/none?x=1", None, 422, "unknown_parameter", "x"),
        ("DELETE", "/api/documents", None, 422, "invalid_parameter", "filter"),
        ("DELETE", "/api/documents?filter=%20", None, 422, "invalid_parameter", "filter"),
        ("GET", "/api/sources?prefix=x", None, 422, "unknown_parameter", "prefix"),
        ("POST", "/api/sources/delete", {}, 422, "invalid_parameter", "source_ids"),
        ("POST", "/api/sources/retry", {"collection": "nowhere"}, 404, "not_found", "nowhere"),
        ("GET", "/api/tasks/none", None, 404, "not_found", "none"),
        ("DELETE", "/api/tasks/none", None, 404, "not_found", "none"),
        ("PUT", "/api/collections/a%20b", {}, 422, "invalid_input", "name"),
        ("PUT", "/api/collections/x", {"language": "english"}, 422, "invalid_parameter", "language"),
        ("DELETE", "/api/collections/default", None, 409, "conflict", "default"),
        ("POST", "/api/collections/nowhere/rebuild", {}, 404, "not_found", "nowhere"),
        ("POST", "/api/collections/default/rebuild", {"passage_tokens": 3}, 422, "invalid_parameter", "passage_tokens"),
        ("POST", "/api/collections/default/rebuild", {"tokens": 3}, 422, "unknown_parameter", "tokens"),
    ],
)
def test_what_is_refused_is_named(
    writer: Client, method: str, path: str, body: Any, status: int, code: str, named: str
) -> None:
    answer = writer.request(method, path, **({} if body is None else {"json": body}))
    problem_found = problem(answer)
    assert (problem_found["status"], problem_found["code"]) == (status, code), problem_found
    assert named in problem_found["detail"]


@pytest.mark.parametrize(
    ("files", "fields", "named"),
    [
        ([], {}, "files"),
        ([("files", ("a.txt", b"x"))], {"colection": "x"}, "colection"),
        ([("files", ("a.txt", b"x"))], {"sources": "[{}, {}]"}, "2 entries for 1 files"),
        ([("files", ("a.txt", b"x"))], {"sources": "nonsense"}, "JSON"),
        ([("files", ("a.txt", b"x"))], {"metadata": "[1]"}, "object"),
        ([("files", ("a.txt", b"x")), ("other", ("b.txt", b"x"))], {}, "other"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(writer: Client, files: Any, fields: Any, named: str) -> None:
    files = files or [("collection", (None, "x"))]
    found_problem = problem(writer.post("/api/documents", files=files, data=fields))
    assert found_problem["status"] in (400, 422)
    assert named in found_problem["detail"]


def test_a_form_whose_bytes_are_nonsense_is_a_problem(writer: Client) -> None:
    for body in (
        b"nonsense",
        b"--x\r\n\r\n",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\xfe\r\n--x--\r\n',
    ):
        answer = writer.post(
            "/api/documents", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
        )
        assert problem(answer)["status"] in (400, 422)


def test_documents_over_the_limit_are_refused_with_the_limit(writer: Client) -> None:
    large = b"x" * 1_000_001
    as_file = problem(writer.post("/api/documents", files={"files": ("large.txt", large)}))
    assert (as_file["status"], as_file["code"]) == (413, "too_large")
    assert "1,000,000" in as_file["detail"]
    as_json = problem(writer.post("/api/documents", json={"documents": [{"text": large.decode()}]}))
    assert as_json["status"] == 413
    enormous = problem(writer.post("/api/documents", files={"files": ("large.txt", b"x" * 4_100_000)}))
    assert enormous["status"] == 413
    assert "4,000,000" in enormous["detail"]


def test_a_finished_task_cannot_be_canceled(writer: Client) -> None:
    task = add(writer, {"id": "c1", "text": "some words"})
    assert problem(writer.delete(f"/api/tasks/{task['task_id']}"))["status"] == 409


def test_deep_json_is_refused_everywhere(writer: Client) -> None:
    deep = b'{"documents": [{"text": "a", "metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}]}"
    answer = writer.post("/api/documents", content=deep, headers={"content-type": "application/json"})
    assert problem(answer)["code"] in ("json_too_deep", "too_large")
    nested = json.dumps({"a": "x"}).replace('"x"', "[" * 40 + "]" * 40)
    form = writer.post("/api/documents", files={"files": ("a.txt", b"x")}, data={"metadata": nested})
    assert problem(form)["code"] == "json_too_deep"


def test_two_in_one_request_that_would_take_each_others_place_are_refused(writer: Client) -> None:
    files = [("files", ("readme.txt", b"axolotl north")), ("files", ("readme.txt", b"axolotl south"))]
    for answer in (
        writer.post("/api/documents", files=files),
        writer.post("/api/documents", json={"documents": [{"id": "x", "text": "a"}, {"id": "x", "text": "b"}]}),
    ):
        assert answer.status_code == 422
        assert "[1]" in problem(answer)["detail"]
        assert "[0]" in problem(answer)["detail"]


def test_a_title_has_a_limit_and_an_access_list_is_none_in_one_word(writer: Client) -> None:
    long = writer.post("/api/documents", json={"documents": [{"title": "T" * 501, "text": "a"}]})
    listed = writer.post("/api/documents", files=[("files", ("a.txt", b"a"))], data={"access": "hr,board"})
    assert (long.status_code, listed.status_code) == (422, 422)
    assert "500" in problem(long)["detail"]
    assert "hr,board" in problem(listed)["detail"]


def test_a_rebuild_with_a_model_that_is_not_there_is_the_callers_mistake(
    writer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    answer = writer.post("/api/collections/default/rebuild", json={"embedder": "nobody/no-such-model"})
    assert answer.status_code == 422
    assert "nobody/no-such-model" in problem(answer)["detail"]


def test_a_text_without_a_title_has_none(writer: Client) -> None:
    add(writer, {"id": "untitled", "text": "The turbine hums."})
    assert writer.get("/api/documents/untitled").json()["title"] == ""
