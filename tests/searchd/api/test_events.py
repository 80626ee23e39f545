"""/api/events: clicks of answers that were given are taken, from whoever got them; everything else is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from indexer.store import searches
from searchd.app import create_app
from searchd.services import Services
from searchd.settings import Key
from tests.searchd.api.conftest import HOST, Client, TestClient, problem
from tests.searchd.library import services_over

HR = "secret-of-the-hr-department"
TEXT = "valve pump xylophone"


@pytest.fixture(scope="module")
def logging_services(services: Services) -> Services:
    keys = (Key(name="hr", secret=HR, principals=("hr",)),)
    settings = msgspec.structs.replace(services.settings, log_queries=True, keys=keys)
    return services_over(services.engine, settings)


@pytest.fixture(scope="module")
def events(logging_services: Services) -> Iterator[Client]:
    with TestClient(create_app(logging_services), base_url=HOST, raise_server_exceptions=False) as opened:
        yield opened


def asked(client: Client, headers: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    answer = client.post("/api/search", json={"q": TEXT, "profile": "plain", **options}, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def event(answer: dict[str, Any], place: int = 0, **more: Any) -> dict[str, Any]:
    hit = answer["hits"][place]
    return {"query_id": answer["query_id"], "document_id": hit["document_id"], "position": hit["rank"], **more}


def written(services: Services, query_id: str) -> tuple[Any, Any]:
    services.query_log.flush()
    with services.engine.database.read() as session:
        pages = searches.first_pages(session, "default")
    return next(((one, opened) for one, opened in pages if one.query_id == query_id), (None, {}))


def test_a_click_is_taken_once_with_its_longest_dwell(events: Client, logging_services: Services) -> None:
    answer = asked(events, limit=3)
    for told in (event(answer), event(answer, dwell_ms=9000), event(answer, dwell_ms=4000), event(answer)):
        taken = events.post("/api/events", json=told)
        assert (taken.status_code, taken.json()) == (202, {"accepted": 1})
    search, clicks = written(logging_services, answer["query_id"])
    assert (search.text, search.profile, search.first_rank) == (TEXT, "plain", 1)
    assert list(search.documents) == [hit["document_id"] for hit in answer["hits"]]
    first = answer["hits"][0]["document_id"]
    assert {name: (click.position, click.dwell_ms) for name, click in clicks.items()} == {first: (1, 9000)}


def test_several_events_come_as_a_list_and_one_that_is_wrong_refuses_all(
    events: Client, logging_services: Services
) -> None:
    answer = asked(events, limit=3)
    right = [event(answer, place) for place in range(3)]
    wrong = [*right, event(answer) | {"position": 2}]
    assert problem(events.post("/api/events", json=wrong))["code"] == "not_shown"
    assert written(logging_services, answer["query_id"])[1] == {}
    assert events.post("/api/events", json=right).json() == {"accepted": 3}
    assert len(written(logging_services, answer["query_id"])[1]) == 3


def test_a_page_further_back_has_the_positions_of_its_hits(events: Client) -> None:
    answer = asked(events, limit=3, offset=3)
    assert event(answer)["position"] == 4
    assert events.post("/api/events", json=event(answer)).status_code == 202
    assert problem(events.post("/api/events", json=event(answer) | {"position": 1}))["code"] == "not_shown"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"query_id": "0123456789abcdef"}, 404, "unknown_query"),
        ({"document_id": "salaries"}, 422, "not_shown"),
        ({"position": 2}, 422, "not_shown"),
        ({"position": 0}, 422, "invalid_parameter"),
        ({"dwell_ms": -1}, 422, "invalid_parameter"),
        ({"dwell_ms": 86_400_001}, 422, "invalid_parameter"),
        ({"document_id": "x" * 513}, 422, "invalid_parameter"),
        ({"query_id": ""}, 422, "invalid_parameter"),
        ({"text": TEXT}, 422, "unknown_parameter"),
    ],
)
def test_what_was_not_shown_or_makes_no_sense_is_refused(
    events: Client, change: dict[str, Any], status: int, code: str
) -> None:
    found = problem(events.post("/api/events", json=event(asked(events, limit=3)) | change))
    assert (found["status"], found["code"]) == (status, code)


@pytest.mark.parametrize("body", [[], [{}] * 101, {}, [[]], "a", [{"query_id": "a", "surprise": 1}]])
def test_a_body_of_another_shape_is_a_problem(events: Client, body: Any) -> None:
    assert problem(events.post("/api/events", json=body))["status"] == 422


def test_a_body_that_is_too_large_or_no_json_is_refused(events: Client) -> None:
    large = events.post("/api/events", content=b"[" + b" " * 70_000 + b"]")
    assert problem(large)["status"] == 413
    plain = events.post("/api/events", content=b"{}", headers={"Content-Type": "text/plain"})
    assert problem(plain)["status"] == 415


def test_another_sites_page_and_an_unknown_key_may_not_tell(events: Client) -> None:
    told = event(asked(events, limit=1))
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.test"}):
        assert problem(events.post("/api/events", json=told, headers=headers))["status"] == 403
    wrong = events.post("/api/events", json=told, headers={"Authorization": "Bearer nobody-has-this-one"})
    assert problem(wrong)["status"] == 401
    same = events.post("/api/events", json=told, headers={"Sec-Fetch-Site": "same-origin"})
    assert same.status_code == 202


def test_only_what_the_caller_was_shown_is_named(events: Client, logging_services: Services) -> None:
    ask = {"mode": "lexical", "limit": 100, "rerank": {"enabled": False}}
    public = asked(events, **ask)
    private = asked(events, {"Authorization": f"Bearer {HR}"}, **ask)
    assert not {"salaries", "board"} & set(written(logging_services, public["query_id"])[0].documents)
    assert {"salaries", "board"} <= set(written(logging_services, private["query_id"])[0].documents)
    spied = event(public) | {"document_id": "salaries"}
    assert problem(events.post("/api/events", json=spied))["code"] == "not_shown"


def test_without_log_queries_events_are_kept_and_no_text(services: Services, client: Client) -> None:
    answer = asked(client, limit=1)
    assert client.post("/api/events", json=event(answer)).status_code == 202
    assert written(services, answer["query_id"]) == (None, {})
    with services.engine.database.read() as session:
        assert searches.kept(session, "default").clicks > 0


def test_the_log_of_the_daemon_names_no_text_and_no_document(
    events: Client, logging_services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = asked(events, limit=1)
        events.post("/api/events", json=event(answer, dwell_ms=1))
        events.post("/api/events", json=event(answer) | {"position": 9})
        logging_services.query_log.flush()
    assert answer["query_id"] in caplog.text
    assert TEXT not in caplog.text
    assert answer["hits"][0]["document_id"] not in caplog.text


def test_clicks_and_drops_are_counted(events: Client) -> None:
    before = counted(events)
    events.post("/api/events", json=event(asked(events, limit=1)))
    assert counted(events) == before + 1
    assert 'searchd_log_drops_total{sort="search"} 0.0' in events.get("/metrics").text


def counted(client: Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("searchd_clicks_total "))
