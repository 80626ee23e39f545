"""Who may read and write: keys, anonymous callers on this machine, other sites' pages, rebound names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from litestar.testing import TestClient

from searchd.app import create_app
from searchd.services import Services
from searchd.settings import Key, Settings
from tests.searchd.api.conftest import HOST, Client, problem

HR = "secret-of-the-hr-department"
ADMIN = "secret-of-the-administrator"
KEYS = (Key(name="hr", secret=HR, principals=("hr",)), Key(name="admin", secret=ADMIN, write=True))
WRITES = [
    ("POST", "/api/documents"),
    ("DELETE", "/api/documents?filter=a"),
    ("DELETE", "/api/documents/refunds"),
    ("GET", "/api/sources"),
    ("POST", "/api/sources/delete"),
    ("POST", "/api/sources/retry"),
    ("GET", "/api/tasks/x"),
    ("DELETE", "/api/tasks/x"),
    ("PUT", "/api/collections/x"),
    ("DELETE", "/api/collections/x"),
    ("POST", "/api/collections/default/rebuild"),
    ("GET", "/api/judged"),
    ("GET", "/api/judged/default/x"),
    ("POST", "/api/judged/default/x"),
    ("DELETE", "/api/judged/default/x"),
    ("GET", "/api/doctor"),
    ("POST", "/api/doctor"),
]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def client_under(services: Services, settings: Settings) -> Client:
    return TestClient(create_app(replace(services, settings=settings)), base_url=HOST, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def keyed(services: Services) -> Iterator[Client]:
    with client_under(services, msgspec.structs.replace(services.settings, keys=KEYS)) as client:
        yield client


def ids(client: Client, headers: dict[str, str] | None = None) -> set[str]:
    answer = client.get("/api/search?q=valve&mode=lexical&limit=100&rerank=false", headers=headers)
    assert answer.status_code == 200, answer.text
    return {hit["document_id"] for hit in answer.json()["hits"]}


def test_a_key_reads_what_its_principals_may_and_anonymous_callers_what_is_public(keyed: Client) -> None:
    assert not {"salaries", "board"} & ids(keyed)
    assert {"salaries", "board"} <= ids(keyed, bearer(HR))
    assert keyed.get("/api/documents/salaries").status_code == 404
    assert keyed.get("/api/documents/salaries", headers=bearer(HR)).status_code == 200
    listed = {one["document_id"] for one in keyed.get("/api/documents?limit=1000").json()["documents"]}
    assert not {"salaries", "board"} & listed


def test_only_a_writer_sees_who_may_read_a_document(keyed: Client) -> None:
    assert "access" not in keyed.get("/api/documents/refunds").json()
    assert keyed.get("/api/documents/refunds", headers=bearer(ADMIN)).json()["access"] == ["public"]


@pytest.mark.parametrize("header", ["Bearer wrong-wrong-wrong-wrong", "Basic abc", "Bearer", "Bearer \u00e4\u00f6"])
def test_a_wrong_key_is_401_and_not_anonymous(keyed: Client, header: str) -> None:
    answer = keyed.get("/api/search?q=valve", headers={"Authorization": header.encode()})  # type: ignore[dict-item]  # httpx takes bytes
    assert problem(answer)["code"] == "invalid_key"
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_writing_needs_a_key_that_may_write_once_there_are_keys(keyed: Client, method: str, path: str) -> None:
    for headers in ({}, bearer(HR)):
        answer = keyed.request(method, path, headers=headers)
        assert problem(answer)["code"] == "forbidden"
        assert answer.status_code == 403


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8000"},
        {"Origin": "http://[bad"},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Via": "1.1 proxy"},
    ],
)
def test_another_sites_page_or_a_rebound_name_cannot_write(
    client: Client, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client.request(method, path, headers=headers)
    assert problem(answer)["code"] == "forbidden"
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:8000"},
        {"Host": "[::1]:8000"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_the_user_of_this_machine_may_write_without_a_key(client: Client, headers: dict[str, str]) -> None:
    assert client.get("/api/sources", headers=headers).status_code == 200


def test_a_daemon_that_others_can_reach_takes_nothing_without_a_key(services: Services) -> None:
    with client_under(services, msgspec.structs.replace(services.settings, host="0.0.0.0")) as client:
        answer = client.get("/api/sources")
        assert problem(answer)["code"] == "forbidden"
        assert "keys" in problem(answer)["detail"]


def test_failures_and_tasks_are_for_writers(keyed: Client) -> None:
    anonymous = keyed.get("/api/status").json()
    assert (anonymous["failures"], anonymous["tasks"]) == ([], [])
    assert keyed.get("/api/status", headers=bearer(ADMIN)).json()["tasks"]


def test_a_key_never_comes_back(keyed: Client) -> None:
    for path in ("/api/status", "/metrics", "/openapi.json", "/readyz"):
        text = keyed.get(path, headers=bearer(ADMIN)).text
        assert ADMIN not in text
        assert HR not in text


def test_another_machine_cannot_name_a_folder_as_embedder(services: Services) -> None:
    app = create_app(replace(services, settings=msgspec.structs.replace(services.settings, keys=KEYS)))
    with TestClient(app, base_url=HOST) as client:
        for name in ("/etc", "../x", "~/m", "a/b/c", "x"):
            answer = client.post("/api/collections/default/rebuild", json={"embedder": name}, headers=bearer(ADMIN))
            assert problem(answer)["code"] == "forbidden", name


def test_counts_and_lists_tell_a_reader_only_of_what_is_there_for_it(keyed: Client) -> None:
    def seen(headers: dict[str, str] | None) -> tuple[int, int, str]:
        status = keyed.get("/api/status", headers=headers).json()["collections"]
        listed = keyed.get("/api/collections", headers=headers).json()["collections"]
        lines = keyed.get("/metrics", headers=headers).text.splitlines()
        metric = next(line for line in lines if line.startswith('searchd_documents{collection="default"}'))
        counts = [{one["name"]: one["documents"] for one in found}["default"] for found in (status, listed)]
        return counts[0], counts[1], metric.split()[-1]

    everything, public = seen(bearer(ADMIN)), seen(None)
    assert everything[0] == everything[1] == float(everything[2])
    assert public[0] == public[1] == float(public[2]) < everything[0]
    assert public[0] < seen(bearer(HR))[0] <= everything[0]
