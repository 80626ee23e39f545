"""Relevance in answers: only where a calibration holds, and `min_relevance` cuts on exactly the number that is shown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from msgspec.structs import replace as changed

from indexer.store import calibrations
from searchd.api.schemas import SearchAnswer
from searchd.app import create_app
from searchd.calibration import Cuts, tied_profile
from searchd.rerank.types import Reranker
from searchd.services import Services
from searchd.settings import Profile, Stage
from tests.searchd.api.conftest import HOST, Client, TestClient, problem
from tests.searchd.calibrations import LARGE, SMALL, calibration, put, stage
from tests.searchd.library import MANUALS, PROFILES, CountingReranker, FaultyEngine, services_over
from tests.searchd.test_retrieve import OwnVectors

RATED = PROFILES["plain"]
QUERY = "refund to the card within five, send goods back, money, valve 7 slowly before"


class Failing(CountingReranker):
    """Is down."""

    def score(self, request, passages):  # type: ignore[no-untyped-def]
        raise TimeoutError("the model is down")


def failing_large(one: Stage) -> Reranker:
    return Failing() if one.name == "large" else CountingReranker()


def failing_small(one: Stage) -> Reranker:
    return Failing() if one.name == "small" else CountingReranker()


class HalfDone(CountingReranker):
    """Has time for three passages."""

    def fits(self, request, passages, seconds):  # type: ignore[no-untyped-def]
        return 3 if len(passages) == 6 else 0


def half_large(one: Stage) -> Reranker:
    return HalfDone() if one.name == "large" else CountingReranker()


@pytest.fixture(scope="module")
def rated(services: Services) -> Iterator[Services]:
    """Return services with a calibrated profile `rated` and a profile `bare` that is not."""
    settings = changed(services.settings, profiles={"rated": RATED, "bare": RATED})
    live = services.engine.live("default")
    put(services.engine, calibration(live.generation_id, RATED, "rated"))
    yield services_over(services.engine, settings)
    with services.engine.database.session() as session:
        calibrations.delete(session, "default", "rated")


@pytest.fixture(scope="module")
def client(rated: Services) -> Iterator[Client]:
    with TestClient(create_app(rated), base_url=HOST, raise_server_exceptions=False) as opened:
        yield opened


def post(client: Client, q: str = QUERY, **options: Any) -> dict[str, Any]:
    answer = client.post("/api/search", json={"q": q, "profile": "rated", "limit": 100, "explain": True, **options})
    assert answer.status_code == 200, answer.text
    msgspec.convert(answer.json(), SearchAnswer)
    body: dict[str, Any] = answer.json()
    return body


def names(body: dict[str, Any]) -> list[str]:
    return [hit["document_id"] for hit in body["hits"]]


def test_relevance_is_what_the_curve_makes_of_the_raw_score_of_the_last_stage(client: Client) -> None:
    body = post(client)
    assert body["calibration"] == {
        "judged_set": "valves",
        "fitted_at": 1_767_225_600.0,
        "likely": 0.5,
        "very_likely": 0.75,
    }
    assert body["cut"] is None
    assert [hit["scored_by"] for hit in body["hits"][:12]] == ["large.blend"] * 6 + ["small.blend"] * 6
    for hit in body["hits"]:
        scores, relevance = hit["scores"], hit["relevance"]
        if "large" in scores:
            assert relevance == round(float(LARGE.probabilities(scores["large"]["score"])), 2)
        elif "small" in scores:
            assert relevance == round(float(SMALL.probabilities(scores["small"]["score"])), 2)
        else:
            assert relevance is None
        assert hit["relevance_label"] == (None if relevance is None else Cuts().label(relevance))
    assert len({hit["relevance"] for hit in body["hits"]}) > 3


def test_a_profile_that_is_not_calibrated_shows_no_number(client: Client) -> None:
    body = post(client, profile="bare")
    assert body["calibration"] is None
    assert {hit["relevance"] for hit in body["hits"]} == {None}
    assert names(body) == names(post(client))


def test_a_threshold_keeps_exactly_the_hits_whose_number_reaches_it(client: Client) -> None:
    every = post(client)
    known = [hit for hit in every["hits"] if hit["relevance"] is not None]
    for least in sorted({hit["relevance"] for hit in known}):
        for asked in (least, least + 0.001):
            body = post(client, min_relevance=asked, facets=["kind", "even"])
            kept = [hit for hit in known if hit["relevance"] >= asked]
            below = [hit["relevance"] for hit in known if hit["relevance"] < asked]
            assert names(body) == [hit["document_id"] for hit in kept]
            assert [hit["relevance"] for hit in body["hits"]] == [hit["relevance"] for hit in kept]
            assert [hit["rank"] for hit in body["hits"]] == list(range(1, len(kept) + 1))
            assert body["total"] == {"value": len(kept), "relation": "eq"}
            assert sum(body["facets"]["kind"].values()) == len(kept)
            assert body["cut"] == {
                "min_relevance": asked,
                "applied": True,
                "below": len(below),
                "best_below": max(below, default=None),
                "unscored": {"value": every["total"]["value"] - len(known), "relation": "eq"},
                "reason": None,
            }


def test_pages_of_what_a_threshold_leaves_are_whole_and_end(client: Client) -> None:
    whole = post(client, min_relevance=0.2)
    assert len(whole["hits"]) > 4
    seen: list[str] = []
    asked: dict[str, Any] = {"limit": 2, "min_relevance": 0.2}
    cursor: str | None = None
    while True:
        body = post(client, **asked, **({"cursor": cursor} if cursor else {}))
        assert (body["total"], body["cut"]) == (whole["total"], whole["cut"])
        assert [hit["rank"] for hit in body["hits"]] == list(range(len(seen) + 1, len(seen) + len(body["hits"]) + 1))
        seen += names(body)
        cursor = body["cursor"]
        if cursor is None:
            break
    assert seen == names(whole)
    assert post(client, limit=2, offset=40, min_relevance=0.2)["hits"] == []


def test_a_cursor_of_another_threshold_is_refused(client: Client) -> None:
    cursor = post(client, limit=2, min_relevance=0.2)["cursor"]
    asked = {"q": QUERY, "profile": "rated", "limit": 2, "cursor": cursor}
    assert problem(client.post("/api/search", json=asked))["code"] == "invalid_cursor"
    assert client.post("/api/search", json=asked | {"min_relevance": 0.2}).status_code == 200


def test_nothing_fits_is_an_answer(client: Client) -> None:
    body = post(client, min_relevance=1)
    every = post(client)
    assert (body["hits"], body["total"]["value"], body["degraded"], body["cursor"]) == ([], 0, [], None)
    known = [hit["relevance"] for hit in every["hits"] if hit["relevance"] is not None]
    assert (body["cut"]["below"], body["cut"]["best_below"]) == (len(known), max(known))
    assert body["cut"]["below"] + body["cut"]["unscored"]["value"] == every["total"]["value"]


@pytest.mark.parametrize(
    ("load", "stage", "said"),
    [
        (failing_large, "large", "large failed"),
        (half_large, "large", "large partial"),
        (failing_small, "small", "small"),
    ],
)
def test_a_stage_that_fell_short_cuts_nothing_and_says_so(rated: Services, load: Any, stage: str, said: str) -> None:
    with TestClient(create_app(services_over(rated.engine, rated.settings, load)), base_url=HOST) as client:
        every, body = post(client), post(client, min_relevance=0.9)
    assert names(body) == names(every)
    assert body["total"] == every["total"] and body["total"]["value"] >= MANUALS
    assert stage in body["degraded"]
    cut = body["cut"]
    assert (cut["applied"], cut["below"], cut["unscored"]["value"]) == (False, 0, 0)
    assert cut["reason"].startswith(f"not all was scored: {said}")
    # A hit that a later stage would have read has no number: the curve of the earlier one is of what the later left out.
    for hit in body["hits"]:
        assert (hit["relevance"] is not None) == (
            "large" in hit["scores"] or (stage == "small" and "small" in hit["scores"])
        )


def test_a_system_that_fell_short_cuts_nothing_and_no_number_is_shown(rated: Services) -> None:
    def down(*_: object) -> Any:
        raise RuntimeError("down")

    broken = FaultyEngine(rated.engine, vectors=OwnVectors(down))
    with TestClient(create_app(services_over(broken, rated.settings)), base_url=HOST) as client:
        body = post(client, min_relevance=0.9)
    assert body["degraded"] == ["dense"]
    assert body["calibration"] is None and {hit["relevance"] for hit in body["hits"]} == {None}
    assert (body["cut"]["applied"], body["hits"] != []) == (False, True)
    assert "not all systems answered" in body["cut"]["reason"]


def test_a_stage_before_the_last_that_could_not_be_calibrated_gives_no_number(services: Services) -> None:
    live = services.engine.live("default")
    only = calibration(live.generation_id, RATED, "half", stages={"large": stage(LARGE)}, refused={"small": "noise"})
    put(services.engine, only)
    over = services_over(services.engine, changed(services.settings, profiles={"half": RATED}))
    with TestClient(create_app(over), base_url=HOST) as client:
        every, body = post(client, profile="half"), post(client, profile="half", min_relevance=0.02)
    assert [hit["relevance"] is not None for hit in every["hits"][:12]] == [True] * 6 + [False] * 6
    assert (len(body["hits"]), body["cut"]["below"]) == (6, 0)
    assert body["cut"]["unscored"]["value"] == every["total"]["value"] - 6


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"mode": "lexical"}, "mode"),
        ({"sort": ["number"]}, "sort"),
        ({"weights": {"bm25": 2}}, "weights"),
        ({"rerank": {"enabled": False}}, "rerank.enabled"),
        ({"rerank": {"stages": ["large"]}}, "rerank.stages"),
        ({"rerank": {"depth": 5}}, "rerank.depth"),
    ],
)
def test_a_request_that_changes_the_profile_has_no_number_and_takes_no_threshold(
    client: Client, options: dict[str, Any], named: str
) -> None:
    assert {hit["relevance"] for hit in post(client, **options)["hits"]} == {None}
    found = problem(client.post("/api/search", json={"q": QUERY, "profile": "rated", "min_relevance": 0.5, **options}))
    assert (found["status"], found["code"]) == (422, "not_calibrated")
    assert f"this request changes {named};" in found["detail"]


def test_a_request_that_says_what_the_profile_says_has_its_numbers(client: Client) -> None:
    same = {"weights": {"bm25": 1}, "rerank": {"stages": ["small", "large"], "depth": 12}, "mode": "hybrid"}
    assert post(client, **same)["hits"] == post(client)["hits"]


def test_a_threshold_without_a_calibration_is_refused_with_the_command(client: Client) -> None:
    asked = {"q": QUERY, "profile": "bare", "min_relevance": 0.5}
    found = problem(client.post("/api/search", json=asked))
    assert (found["status"], found["code"]) == (422, "not_calibrated")
    assert "`searchd calibrate SET --collection default --profile bare`" in found["detail"]
    assert problem(client.get("/api/search?q=valve&profile=bare&min_relevance=0.5"))["code"] == "not_calibrated"


def stale(services: Services, **changes: Any) -> str:
    """Return why a threshold is refused when these ties do not hold; no number may be shown then."""
    live = services.engine.live("default")
    made = calibration(live.generation_id, RATED, "old")
    put(services.engine, changed(made, ties=changed(made.ties, **changes)))
    over = services_over(services.engine, changed(services.settings, profiles={"old": RATED}))
    with TestClient(create_app(over), base_url=HOST, raise_server_exceptions=False) as client:
        body = post(client, profile="old")
        assert body["calibration"] is None and {hit["relevance"] for hit in body["hits"]} == {None}
        found = problem(client.post("/api/search", json={"q": QUERY, "profile": "old", "min_relevance": 0.5}))
        shown = client.get("/api/status").json()["calibrations"]
    assert found["code"] == "not_calibrated"
    assert "`searchd calibrate valves --collection default --profile old` fits it anew" in found["detail"]
    assert [one["holds"] for one in shown if one["profile"] == "old"] == [False]
    detail: str = found["detail"]
    return detail


def test_another_generation_makes_it_stale(services: Services) -> None:
    assert "is stale: the index was rebuilt;" in stale(services, generation_id="before")


def test_another_model_makes_it_stale(services: Services) -> None:
    models = {"small": "count-words", "large": "count-words in bfloat16"}
    assert "is stale: stage large runs another model, or in another precision;" in stale(services, models=models)


def test_another_profile_makes_it_stale(services: Services) -> None:
    small, large = RATED.stages
    before = Profile(depth=30, stages=(small, changed(large, max_length=64, blend=0.5)))
    said = stale(services, profile=tied_profile(before))
    assert "is stale: the profile changed: depth, large.max_length, large.blend;" in said


def test_budgets_and_stages_that_are_off_are_not_tied(services: Services) -> None:
    small, large = RATED.stages
    off = Stage(name="huge", enabled=False, on_request=True)
    after = Profile(depth=20, stages=(changed(small, budget_ms=50), changed(large, on_request=True), off))
    assert tied_profile(after) == tied_profile(RATED)


def text_of(client: Client, url: str, status: int = 200) -> str:
    """Return the words of a page."""
    answer = client.get(url, headers={"accept": "text/html"})
    assert answer.status_code == status, answer.text
    body = re.sub(r"<style.*?</style>|<script.*?</script>", "", answer.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def page(client: Client, status: int = 200, **changes: str) -> str:
    return text_of(
        client, f"/?{urlencode({'q': QUERY, 'profile': 'rated', 'collection': 'default'} | changes)}", status
    )


def test_the_page_shows_percent_and_label_and_what_they_rest_on(client: Client) -> None:
    every = post(client, limit=10)
    shown = page(client)
    for hit in every["hits"]:
        assert f"{hit['relevance']:.0%} {hit['relevance_label']}" in shown
    assert "large calibrated on valves; likely from 50%, very likely from 75%" in shown
    assert "Relevance any 50% or more: likely 75% or more: very likely" in shown
    bare = page(client, profile="bare")
    assert "or more: likely" not in bare and "calibrated on" not in bare


def test_the_page_cuts_as_the_api_does_and_says_what_it_left_out(client: Client) -> None:
    body = post(client, min_relevance=0.5, limit=10)
    shown = page(client, min_relevance="0.5")
    assert f"Left out: {body['cut']['below']} documents below 50%, the best of them" in shown
    assert f"{body['cut']['unscored']['value']} documents that no reranker read, so without a number. Show all" in shown
    assert re.findall(r"(\d+)% (?:unlikely|likely|very likely) [A-Z]", shown) == [
        f"{100 * hit['relevance']:.0f}" for hit in body["hits"]
    ]


def test_nothing_fits_is_a_page_that_offers_to_show_them(client: Client) -> None:
    answer = client.get(
        f"/?{urlencode({'q': QUERY, 'profile': 'rated', 'collection': 'default', 'min_relevance': '1'})}"
    )
    shown = page(client, min_relevance="1")
    assert f"Nothing fits “ {QUERY} ” well enough Left out:" in shown
    assert "Show them all the same" in shown
    (again,) = re.findall(r'<a href="([^"]+)">Show them all the same', answer.text)
    assert "min_relevance" not in again
    assert "% " in text_of(client, html.unescape(again))
    assert "Nothing found for" in page(client, q="zzzyqx +zzzyqx", min_relevance="1")


def test_a_threshold_that_cannot_be_asked_for_is_an_error_on_the_page(client: Client) -> None:
    shown = page(client, 422, profile="bare", min_relevance="0.5")
    assert "is not calibrated, so there is no relevance to ask for" in shown
    assert "Relevance any 50% or more" in shown
    assert "min_relevance must be a number from 0 to 1" in page(client, 422, min_relevance="many")


def test_a_threshold_that_was_not_applied_is_told_on_the_page(rated: Services) -> None:
    with TestClient(create_app(services_over(rated.engine, rated.settings, failing_large)), base_url=HOST) as client:
        shown = page(client, min_relevance="0.9")
    assert "Relevance of 90% or more could not be asked for: not all was scored: large failed" in shown
    assert "Nothing was left out." in shown


def test_the_status_says_what_is_calibrated(client: Client) -> None:
    (found,) = [one for one in client.get("/api/status").json()["calibrations"] if one["profile"] == "rated"]
    assert (found["collection"], found["judged_set"], found["holds"]) == ("default", "valves", True)
    assert found["said"] == "calibrated, fitted 2026-01-01 on valves"
    assert "relevance in default, profile rated calibrated, fitted 2026-01-01 on valves" in text_of(client, "/status")


def pasted(client: Client, profile: str) -> str:
    form = {
        "query": "how is a refund paid",
        "passages": "A refund is paid how it is.\nParcels leave.",
        "profile": profile,
    }
    answer = client.post("/playground", data=form)
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_the_playground_shows_labels_where_a_calibration_fits_and_says_whose(client: Client) -> None:
    shown = pasted(client, "rated")
    assert "A refund is paid how it is. 80% very likely" in shown  # five words of the query
    assert "Parcels leave. 2% unlikely" in shown
    assert "had it been found in collection default: large is calibrated there on valves" in shown
    bare = pasted(client, "bare")
    assert "% very likely" not in bare and "not calibrated; those of different stages" in bare
