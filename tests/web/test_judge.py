"""A judge with a browser and the real product: a whole query by keyboard, undo, skip, next; without JavaScript; signed in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import msgspec
import pytest
from playwright.sync_api import Page, expect

from indexer.scope import Scope
from indexer.store import judged
from indexer.store.judged import CLICKS, JudgedSet, Judgment
from searchd.judge import judging, proposals, wording
from searchd.services import Services
from searchd.settings import Key
from tests.web.conftest import Watch
from tests.web.product import running

Visit = Callable[..., tuple[Page, Watch]]
QUERIES = ("parse command line options", "rotate log files", "where are backups copied to")
ANN = Key(name="ann", secret="the-secret-key-of-ann", principals=("hr",), judge=True)
READER = Key(name="reader", secret="the-secret-key-of-reader")


@pytest.fixture
def fresh(services: Services) -> Iterator[JudgedSet]:
    """A set of three queries that nobody has judged."""
    database = services.engine.database
    with database.session() as session:
        made, _ = judging.extend(session, "default", "faq", [wording.query_of(q, "file") for q in QUERIES], 9, 1.0)
    yield made
    with database.session() as session:
        judged.delete(session, made.set_id)


@pytest.fixture(scope="module")
def keyed(services: Services) -> Iterator[str]:
    """Where the same product answers with configured keys."""
    settings = msgspec.structs.replace(services.settings, keys=(ANN, READER))
    with running(replace(services, settings=settings)) as address:
        yield address


def judgments(services: Services, one: JudgedSet) -> list[Judgment]:
    with services.engine.database.read() as session:
        return judged.judgments(session, one.set_id)


def queries(services: Services, one: JudgedSet) -> dict[str, judged.JudgedQuery]:
    with services.engine.database.read() as session:
        return {query.text: query for query in judged.queries(session, one.set_id)}


def ready(page: Page) -> None:
    expect(page.locator("[data-judge-keys]")).to_be_visible()


def test_a_whole_query_is_graded_by_keyboard_alone(
    visit: Visit, address: str, services: Services, fresh: JudgedSet
) -> None:
    page, _ = visit(f"{address}/judge?collection=default&set=faq")
    ready(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(QUERIES[0])
    cards = page.locator("[data-card]")
    names = cards.evaluate_all("(all) => all.map((card) => card.dataset.document)")
    assert "bm25" not in page.content()
    given = [str(number % 4) for number in range(len(names))]
    for grade in given:
        page.keyboard.press(grade)
    expect(page.locator("[data-said]")).to_contain_text("Every document here has a grade")
    expect(page.locator(".how-far")).to_have_text(f"Query 1 of 3, 1 judged; {len(names)} of {len(names)} here")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_have_text(QUERIES[1])
    kept = {judgment.document_id: str(judgment.grade) for judgment in judgments(services, fresh)}
    assert kept == dict(zip(names, given, strict=True))
    assert {judgment.judge for judgment in judgments(services, fresh)} == {"local"}


def test_undo_skip_and_next_by_keyboard(visit: Visit, address: str, services: Services, fresh: JudgedSet) -> None:
    page, _ = visit(f"{address}/judge?collection=default&set=faq")
    ready(page)
    first = page.locator("[data-card]").first
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("3")
    expect(first.locator("[aria-pressed=true]")).to_have_text("3 answers it")
    page.keyboard.press("u")
    expect(first.locator("[aria-pressed=true]")).to_have_count(0)
    expect(first).to_be_focused()
    assert judgments(services, fresh) == []
    page.keyboard.press("2")
    page.keyboard.press("s")
    expect(page.get_by_role("heading", level=1)).to_have_text(QUERIES[1])
    assert queries(services, fresh)[QUERIES[0]].skipped_at is not None
    ready(page)
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_have_text(QUERIES[2])
    ready(page)
    page.keyboard.press("u")  # the last grade was given in another query
    expect(page.get_by_role("heading", level=1)).to_have_text(QUERIES[0])
    assert judgments(services, fresh) == []
    expect(page.get_by_text("This query was put aside")).to_be_visible()
    ready(page)
    page.keyboard.press("?")
    expect(page.locator("[data-judge-keys]")).to_be_hidden()
    page.keyboard.press("u")
    expect(page.locator("[data-said]")).to_contain_text("no grade of yours")
    page.get_by_role("button", name="Take it up again").click()
    expect(page.get_by_role("button", name="Skip this query")).to_be_visible()
    assert queries(services, fresh)[QUERIES[0]].skipped_at is None


def test_a_grade_that_cannot_be_saved_stays_marked_until_it_is(
    visit: Visit, address: str, services: Services, fresh: JudgedSet
) -> None:
    page, _ = visit(f"{address}/judge?collection=default&set=faq")
    ready(page)
    page.route("**/judge/grade", lambda route: route.abort())
    page.keyboard.press("3")
    page.keyboard.press("1")
    expect(page.locator("[data-alert]")).to_contain_text("2 grades are not saved: the daemon does not answer")
    expect(page.locator(".unsaved")).to_have_count(2)
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_have_text(QUERIES[0])
    page.unroute("**/judge/grade")
    page.get_by_role("button", name="Send again").click()
    expect(page.locator("[data-alert]")).to_be_hidden()
    expect(page.locator(".unsaved")).to_have_count(0)
    assert sorted(judgment.grade for judgment in judgments(services, fresh)) == [1, 3]


def test_everything_is_done_without_javascript_too(
    visit: Visit, address: str, services: Services, fresh: JudgedSet
) -> None:
    page, _ = visit(f"{address}/judge", java_script_enabled=False)
    page.get_by_label("Name").fill("typed")
    page.get_by_label("these lines").check()
    page.get_by_label("Queries, one per line").fill("disk is full\n\nDisk is  full\nnightly backup")
    page.get_by_role("button", name="Make the set").click()
    expect(page.get_by_role("status")).to_have_text("2 queries added.")
    page.get_by_role("link", name="Judge the next query").click()
    first = page.locator("[data-card]").first
    name = first.get_attribute("data-document")
    first.get_by_role("button", name="2 relevant").click()
    expect(page.locator(".how-far")).to_contain_text("Query 1 of 2, 1 judged; 1 of")
    expect(page.locator("[data-card]").last.locator("[aria-pressed=true]")).to_have_text("2 relevant")
    assert page.locator("[data-card]").last.get_attribute("data-document") == name
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("[aria-pressed=true]")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("no grade of yours in this set")).to_be_visible()
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("nightly backup")
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_text("No query waits")).to_be_visible()
    page.get_by_role("button", name="Add them").click()
    expect(page.get_by_role("status").first).to_contain_text("queries added.")
    with services.engine.database.session() as session:
        judged.delete(session, judged.get(session, "default", "typed").set_id)


def test_hits_are_graded_where_they_are_shown(visit: Visit, address: str, services: Services, fresh: JudgedSet) -> None:
    page, _ = visit(f"{address}/?q=option+flags&mode=lexical")
    expect(page.locator("[data-grades]")).to_have_count(0)
    page.get_by_label("Judge into").select_option("faq")
    expect(page.locator("[data-grades]").first).to_be_visible()
    page.wait_for_load_state("load")  # before the script is there, a grade is a form that is sent
    hit = page.locator("[data-hit]").first
    hit.get_by_role("button", name="3 answers it").click()
    expect(hit.locator("[aria-pressed=true]")).to_have_text(re.compile("3"))
    page.keyboard.press("1")
    expect(hit.locator("[aria-pressed=true]")).to_have_text(re.compile("1"))
    page.reload()
    expect(hit.locator("[aria-pressed=true]")).to_have_text(re.compile("1"))
    query = queries(services, fresh)["option flags"]
    assert query.origin == "page"
    assert [(one.query_id, one.grade) for one in judgments(services, fresh)] == [(query.query_id, 1)]
    plain, _ = visit(page.url, java_script_enabled=False)
    plain.locator("[data-hit]").last.get_by_role("button", name="0 not relevant").click()
    expect(plain.locator("[data-hit]").last.locator("[aria-pressed=true]")).to_have_text(re.compile("0"))


def test_one_signs_in_judges_and_signs_out(visit: Visit, keyed: str, services: Services, fresh: JudgedSet) -> None:
    page, _ = visit(f"{keyed}/judge?collection=default&set=faq")
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    page.get_by_label("Your key").fill("not-a-key-of-anybody")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not a key of this daemon.")
    page.get_by_label("Your key").fill(ANN.secret)
    page.keyboard.press("Enter")
    ready(page)
    page.keyboard.press("2")
    expect(page.locator("[aria-pressed=true]")).to_have_count(1)
    page.goto(f"{keyed}/?q=secret+salary+list&mode=lexical")
    expect(page.locator(".hits")).to_contain_text("Salaries")
    assert [one.judge for one in judgments(services, fresh)] == ["ann"]
    page.get_by_role("button", name="Sign out (ann)").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    page.goto(f"{keyed}/?q=secret+salary+list&mode=lexical")
    expect(page.locator(".found")).not_to_contain_text("Salaries")


def test_a_phone_shows_all_of_it(visit: Visit, address: str, keyed: str, fresh: JudgedSet) -> None:
    phone = {"width": 390, "height": 844}
    page, _ = visit(address, viewport=phone)
    for path in ("/judge", "/judge?set=faq", "/judge?set=faq&list=1", "/?q=command+line&judge=faq"):
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page, _ = visit(f"{keyed}/sign-in?next=/judge", viewport=phone)
    page.get_by_label("Your key").fill(ANN.secret)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Judge")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def post(address: str, path: str, **form: str) -> httpx.Response:
    return httpx.post(address + path, data=form, timeout=60, trust_env=False)


def test_what_makes_no_sense_is_refused_in_words(address: str, services: Services, fresh: JudgedSet) -> None:
    query = queries(services, fresh)[QUERIES[0]].query_id
    with services.engine.database.session() as session:
        clicks = judged.create(session, "default", "seen", 1.0, kind=CLICKS)
    whole = {"collection": "default", "set": "faq", "query": query, "document": "none", "grade": "2"}
    for change, status, said in (
        ({}, 404, "no document 'none'"),
        ({"grade": "4"}, 422, "a grade is 0 to 3"),
        ({"grade": "\u0661"}, 422, "a grade is 0 to 3"),
        ({"query": "nothing"}, 404, "no query 'nothing'"),
        ({"set": "other"}, 404, "there are: faq"),
        ({"set": "seen"}, 422, "never mixed"),
        ({"collection": "other"}, 404, "no collection 'other'"),
        ({"set": ""}, 422, "names a set"),
        ({"text": "x" * 20_000}, 413, "bytes"),
    ):
        answer = post(address, "/judge/grade", **(whole | change))
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), (change, answer.text)
    for form, said in (
        ({"set": "../x", "origin": "headings"}, "a name has 1 to 64 characters"),
        ({"set": "new", "origin": "log"}, "only where the owner opted in"),
        ({"set": "new", "origin": "lines", "lines": "good\n" + "x" * 600}, "line 2: the query has 600"),
        ({"set": "new", "origin": "file", "lines": "/etc/passwd"}, "queries come from"),
        ({"set": "new", "origin": "headings", "count": "5000"}, "1 to 1,000 queries"),
        ({"set": "new", "origin": "headings", "collection": "other"}, "no collection"),
    ):
        answer = post(address, "/judge/sets", **({"collection": "default"} | form))
        assert answer.status_code == 422
        assert said in answer.text, (form, answer.text[-3000:])
    with services.engine.database.session() as session:
        assert [one.name for one in judged.of_collection(session, "default")] == ["faq", "seen"]
        judged.delete(session, clicks.set_id)
    assert judgments(services, fresh) == []


def test_a_mere_reader_sees_no_buttons_and_may_send_nothing(keyed: str, fresh: JudgedSet) -> None:
    for headers in ({}, {"Authorization": f"Bearer {READER.secret}"}):
        page = httpx.get(f"{keyed}/?q=backup&mode=lexical&judge=faq", headers=headers, timeout=60, trust_env=False)
        assert "data-grades" not in page.text
        assert "Judge into" not in page.text
        for path in ("/judge/grade", "/judge/undo", "/judge/skip", "/judge/sets"):
            form = {"collection": "default", "set": "faq", "origin": "headings"}
            answer = httpx.post(keyed + path, data=form, headers=headers, timeout=60, trust_env=False)
            assert answer.status_code == (403 if headers else 401), path


def test_queries_that_all_judges_see_come_from_public_documents_and_from_no_log_of_others(
    services: Services, keyed: str
) -> None:
    headers = {"Authorization": f"Bearer {ANN.secret}"}
    form = {"collection": "default", "set": "shared", "origin": "headings", "count": "1000"}
    answer = httpx.post(f"{keyed}/judge/sets", data=form, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 303
    with services.engine.database.session() as session:
        one = judged.get(session, "default", "shared")
        texts = " ".join(query.text.lower() for query in judged.queries(session, one.set_id))
        judged.delete(session, one.set_id)
        own = proposals.of_headings(session, Scope.of("default", ["hr"]), 1000)
    assert "argparse" in texts and "salar" not in texts
    assert "salar" in " ".join(query.text.lower() for query in own)
    refused = httpx.post(
        f"{keyed}/judge/sets", data=form | {"origin": "log"}, headers=headers, timeout=60, trust_env=False
    )
    assert (refused.status_code, "a key that may write" in refused.text) == (422, True)
