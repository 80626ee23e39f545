"""/api/search: what it takes, what it refuses by name, and what it answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace as changed

from searchd.api.schemas import SearchAnswer
from searchd.app import create_app
from searchd.profiles import Profiles
from searchd.rerank.types import Reranker
from searchd.services import Services
from searchd.settings import Profile, Stage
from tests.searchd.api.conftest import HOST, Client, TestClient, problem
from tests.searchd.library import MANUALS, FaultyEngine, counting, services_over
from tests.searchd.test_pipeline import FailingDeep
from tests.searchd.test_retrieve import OwnLexical, OwnVectors

PLAIN = {"profile": "plain"}


def post(client: Client, q: str, **options: Any) -> dict[str, Any]:
    answer = client.post("/api/search", json={"q": q, **PLAIN, **options})
    assert answer.status_code == 200, answer.text
    msgspec.convert(answer.json(), SearchAnswer)
    body: dict[str, Any] = answer.json()
    return body


def test_an_answer_has_the_shape_that_is_promised(client: Client) -> None:
    body = post(client, "refund paid to the card", limit=2)
    hit = body["hits"][0]
    assert (hit["document_id"], hit["collection"], hit["title"], hit["rank"]) == ("refunds", "default", "Refunds", 1)
    assert (hit["relevance"], hit["relevance_label"]) == (None, None)
    assert hit["metadata"] == {"kind": "faq", "lang": "en"}
    assert set(hit["passage"]) == {"passage_id", "text", "heading_path", "page", "start", "end"}
    assert body["total"]["relation"] == "eq"
    assert [one["name"] for one in body["systems"] + body["stages"]] == ["bm25", "dense", "small", "large"]
    assert (body["degraded"], body["profile"]) == ([], "plain")
    assert {"retrieve", "fuse", "load", "rerank", "present", "bm25", "dense", "small", "large"} <= set(
        body["timings_ms"]
    )
    assert "scores" not in hit
    highlight = hit["highlights"][0]
    assert {highlight["text"][a:b].lower() for a, b in highlight["ranges"]} >= {"refund", "card"}


def test_one_search_looks_its_profile_up_once(services: Services) -> None:
    looked: list[float] = []

    def now() -> float:
        """Return a time at which what was read is still fresh; every look asks for it."""
        looked.append(0.0)
        return 0.0

    own = services_over(services.engine, services.settings)
    own.pipeline.profiles = Profiles(services.settings, services.engine.database, clock=now)
    own.profiles.get("default", "plain")
    looked.clear()
    with TestClient(create_app(own), base_url=HOST) as client:
        post(client, "refund paid to the card", explain=True)
    assert len(looked) == 1


def test_get_and_post_answer_alike(client: Client) -> None:
    posted = post(client, "valve pump", limit=5, filter="even", facets=["kind", "even"], fields=["number"])
    query = "q=valve%20pump&limit=5&filter=even&facets=kind,even&fields=number&profile=plain"
    got = client.get(f"/api/search?{query}").json()
    assert got["hits"] == posted["hits"]
    assert (got["facets"], got["total"]) == (posted["facets"], posted["total"])


def test_explain_gives_every_score_by_name_and_what_moved(client: Client) -> None:
    hit = post(client, "refund paid to the card", explain=True)["hits"][0]
    scores = hit["scores"]
    assert list(scores) == ["bm25", "dense", "rrf", "small", "large"]
    assert "refund" in scores["bm25"]["terms"]
    assert abs(sum(scores["rrf"]["parts"].values()) - scores["rrf"]["score"]) < 1e-9
    assert {"rank", "score", "blend"} <= set(scores["small"])
    assert set(hit["moved"]) == {"small", "large"}
    assert hit["moved"]["large"] == {"from": hit["moved"]["small"]["to"], "to": 1}


def test_a_cursor_walks_all_pages_and_ends(client: Client) -> None:
    asked: dict[str, Any] = {"limit": 25, "mode": "lexical", "rerank": {"enabled": False}}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        body = post(client, "valve", **asked, **({"cursor": cursor} if cursor else {}))
        seen += [hit["document_id"] for hit in body["hits"]]
        cursor = body["cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == MANUALS


def test_marked_fragments_are_escaped_and_only_on_request(client: Client) -> None:
    plain = post(client, "refund")["hits"][0]["highlights"][0]
    assert "marked" not in plain
    marked = post(client, "refund", highlight={"pre": "<b>", "post": "</b>"})["hits"][0]["highlights"][0]
    assert "<b>refund</b>" in marked["marked"]


def test_a_filter_and_weights_and_sort_do_what_they_say(client: Client) -> None:
    body = post(client, "valve", filter="number >= 50 AND NOT even", sort=["number:desc"], limit=3, mode="lexical")
    assert [hit["metadata"]["number"] for hit in body["hits"]] == [59, 57, 55]
    assert body["total"] == {"value": 5, "relation": "eq"}
    alone = post(client, "refund card", weights={"dense": 0}, rerank={"enabled": False}, explain=True, limit=1)
    assert alone["hits"][0]["scores"]["rrf"]["parts"].get("dense", 0) == 0


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({}, "invalid_parameter", "q"),
        ({"q": "  "}, "empty_query", "q"),
        ({"q": "x", "limt": 3}, "unknown_parameter", "limt"),
        ({"q": "x", "rerank": {"dept": 3}}, "unknown_parameter", "rerank.dept"),
        ({"q": "x", "highlight": {"max": 3}}, "unknown_parameter", "highlight.max"),
        ({"q": "x", "limit": 101}, "invalid_parameter", "limit"),
        ({"q": "x", "limit": "10"}, "invalid_parameter", "limit"),
        ({"q": "x", "offset": -1}, "invalid_parameter", "offset"),
        ({"q": "x", "offset": 10_000}, "limit_exceeded", "10,000"),
        ({"q": "x", "mode": "fuzzy"}, "invalid_parameter", "mode"),
        ({"q": "x", "profile": "fast"}, "unknown_profile", "fast"),
        ({"q": "x", "collection": "../x"}, "invalid_parameter", "collection"),
        ({"q": "x", "filter": "a ="}, "invalid_query", "filter"),
        ({"q": "x", "filter": "(" * 100 + "a"}, "limit_exceeded", "8"),
        ({"q": "x", "sort": ["a:up:"]}, "invalid_parameter", "sort"),
        ({"q": "x" * 513}, "limit_exceeded", "512"),
        ({"q": "a " * 40}, "limit_exceeded", "32"),
        ({"q": "x", "cursor": "nonsense"}, "invalid_cursor", "cursor"),
        ({"q": "x", "rerank": {"stages": ["huge"]}}, "unknown_stage", "huge"),
        ({"q": "x", "rerank": {"stages": ["small", "small"]}}, "invalid_parameter", "twice"),
        ({"q": "x", "rerank": {"instruction": "be nice"}}, "no_instruction", "instruction"),
        ({"q": "x", "min_relevance": 0.5}, "not_calibrated", "min_relevance"),
        ({"q": "x", "min_relevance": 2}, "invalid_parameter", "min_relevance"),
        ({"q": "x", "timeout_ms": 0}, "invalid_parameter", "timeout_ms"),
        ({"q": "x", "timeout_ms": 49}, "invalid_parameter", "timeout_ms"),
        ({"q": "x", "weights": {"bm52": 1}}, "unknown_parameter", "weights.bm52"),
    ],
)
def test_what_is_refused_is_named(client: Client, body: dict[str, Any], code: str, named: str) -> None:
    answer = client.post("/api/search", json=body)
    found = problem(answer)
    assert answer.status_code == (404 if code == "unknown_profile" else 422)
    assert found["code"] == code
    assert named in found["detail"]


def test_an_instruction_that_no_stage_of_this_search_reads_is_refused(services: Services) -> None:
    asked = Stage(name="asked", kind="causal", model="m", prompt="qwen3", enabled=False, on_request=True)
    headed = Stage(name="headed", kind="causal", model="m", prompt="rankllama")
    settings = changed(services.settings, profiles={"default": Profile(stages=(Stage(name="small"), headed, asked))})
    with TestClient(create_app(services_over(services.engine, settings, counting)), base_url=HOST) as client:
        for stages, status in ((None, 422), ([], 422), (["small", "headed"], 422), (["small", "asked"], 200)):
            rerank = {"instruction": "find laws"} | ({} if stages is None else {"stages": stages})
            answer = client.post("/api/search", json={"q": "valve", "rerank": rerank})
            assert answer.status_code == status, (stages, answer.text)
            assert status == 200 or problem(answer)["code"] == "no_instruction"


def test_a_stage_that_is_off_is_refused_by_name_and_its_model_never_loaded(services: Services) -> None:
    stages = (Stage(name="small"), Stage(name="shut", model="nowhere", enabled=False))
    settings = changed(services.settings, profiles={"default": Profile(stages=stages)})
    asked: list[str] = []

    def load(stage: Stage) -> Reranker:
        asked.append(stage.name)
        return counting(stage)

    with TestClient(create_app(services_over(services.engine, settings, load)), base_url=HOST) as client:
        for names in (["shut"], ["small", "shut"]):
            found = problem(client.post("/api/search", json={"q": "valve", "rerank": {"stages": names}}))
            assert (found["status"], found["code"]) == (422, "stage_off")
        found = problem(client.post("/v1/rerank", json={"query": "a", "documents": ["b"], "model": "shut"}))
        assert (found["status"], found["code"]) == (404, "unknown_model")
        assert client.post("/api/search", json={"q": "valve"}).status_code == 200
    assert "shut" not in asked


@pytest.mark.parametrize(
    ("query", "code", "named"),
    [
        ("", "invalid_parameter", "q"),
        ("q=x&limt=3", "unknown_parameter", "limt"),
        ("q=x&limit=many", "invalid_parameter", "limit"),
        ("q=x&limit=1&limit=2", "invalid_parameter", "limit"),
        ("q=x&highlight=1", "unknown_parameter", "highlight"),
        ("q=x&rerank=maybe", "invalid_parameter", "rerank"),
        ("q=x&stages=huge", "unknown_stage", "huge"),
        ("&".join(f"facets=f{i}" for i in range(101)), "limit_exceeded", "100"),
    ],
)
def test_a_url_refuses_by_name_too(client: Client, query: str, code: str, named: str) -> None:
    found = problem(client.get(f"/api/search?{query}"))
    assert (found["status"], found["code"]) == (422, code)
    assert named in found["detail"]


def test_parameters_in_the_url_of_a_post_are_refused(client: Client) -> None:
    assert problem(client.post("/api/search?limit=3", json={"q": "x"}))["code"] == "unknown_parameter"


def test_a_cursor_of_another_search_is_refused(client: Client) -> None:
    cursor = post(client, "valve", limit=5)["cursor"]
    assert cursor
    assert (
        problem(client.post("/api/search", json={"q": "pump", "cursor": cursor, **PLAIN}))["code"] == "invalid_cursor"
    )
    both = {"q": "valve", "limit": 5, "cursor": cursor, "offset": 5, **PLAIN}
    assert problem(client.post("/api/search", json=both))["code"] == "invalid_parameter"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[" * 100_000, 422, "json_too_deep"),
        (b'{"q": ' + b'{"a":' * 100_000, 413, "too_large"),
        (b'{"q": ' + b"[" * 20_000, 422, "json_too_deep"),
        (b'{"q": "' + b"x" * 64_000 + b'"}', 413, "too_large"),
        (b'{"q": ', 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"null", 422, "invalid_parameter"),
        (b"[]", 422, "invalid_parameter"),
        (b'{"q": "\\ud800"}', 400, "invalid_json"),
    ],
)
def test_a_hostile_body_is_a_problem_and_never_a_fault(client: Client, body: bytes, status: int, code: str) -> None:
    if body.startswith(b"[["):
        body = body[:60_000]
    found = problem(client.post("/api/search", content=body, headers={"content-type": "application/json"}))
    assert (found["status"], found["code"]) == (status, code)


def test_a_body_without_length_is_counted_while_it_streams(client: Client) -> None:
    def parts() -> Any:
        for _ in range(100):
            yield b" " * 10_000

    found = problem(client.post("/api/search", content=parts(), headers={"content-type": "application/json"}))
    assert (found["status"], found["code"]) == (413, "too_large")
    assert "64,000" in found["detail"]


def test_a_body_of_another_type_is_refused(client: Client) -> None:
    answer = client.post("/api/search", content=b"q=x", headers={"content-type": "application/x-www-form-urlencoded"})
    assert problem(answer)["status"] == 415


def test_an_unknown_collection_is_404(client: Client) -> None:
    answer = client.get("/api/search?q=x&collection=nowhere")
    assert (problem(answer)["status"], problem(answer)["code"]) == (404, "not_found")


def failing() -> Any:
    raise RuntimeError("out of order")


def test_a_degraded_answer_says_so_in_a_header_and_strict_makes_it_503(services: Services) -> None:
    faulty = services_over(FaultyEngine(services.engine, lexical=OwnLexical(failing)), services.settings)
    with TestClient(create_app(faulty), base_url=HOST) as client:
        answer = client.post("/api/search", json={"q": "refund", **PLAIN})
        assert answer.status_code == 200
        assert answer.headers["x-search-degraded"] == "bm25"
        assert answer.json()["degraded"] == ["bm25"]
        assert answer.json()["total"]["relation"] == "gte"
        strict = client.post("/api/search", json={"q": "refund", "strict": True, **PLAIN})
        assert problem(strict)["code"] == "degraded"
        assert strict.status_code == 503
        assert int(strict.headers["retry-after"]) >= 1


def test_a_cursor_goes_on_where_a_page_was_cut_short(services: Services) -> None:
    lexical = FailingDeep(services.engine.live("default").lexical, TimeoutError())
    faulty = services_over(FaultyEngine(services.engine, lexical=lexical), services.settings)
    body = {"q": "valve pump", "mode": "lexical", "limit": 50, **PLAIN}
    with TestClient(create_app(faulty), base_url=HOST) as client:
        lexical.deepest = 20
        cut = client.post("/api/search", json=body).json()
        lexical.deepest = 100_000
        rest = client.post("/api/search", json=body | {"cursor": cut["cursor"]}).json()
    first, second = ([hit["document_id"] for hit in page["hits"]] for page in (cut, rest))
    assert 0 < len(first) < 50
    assert cut["degraded"] == ["bm25"]
    assert len({*first, *second}) == len(first) + len(second) == cut["total"]["value"] == MANUALS


def test_with_both_systems_down_it_is_503_with_a_time_to_come_again(services: Services) -> None:
    down = FaultyEngine(services.engine, lexical=OwnLexical(failing), vectors=OwnVectors(failing))
    with TestClient(create_app(services_over(down, services.settings)), base_url=HOST) as client:
        answer = client.get("/api/search?q=refund")
        assert problem(answer)["code"] == "retrieval_down"
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1


def test_a_fault_of_our_own_is_500_without_inner_words_and_with_a_log(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    broken = FaultyEngine(services.engine)
    broken.database = None  # type: ignore[assignment]  # the fault
    with TestClient(
        create_app(services_over(broken, services.settings)), base_url=HOST, raise_server_exceptions=False
    ) as c:
        answer = c.get("/api/search?q=refund")
    assert problem(answer)["code"] == "internal_error"
    assert "NoneType" not in answer.text
    assert any(record.exc_info for record in caplog.records)
