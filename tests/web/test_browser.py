"""A reader with a browser and the real product: asks, reads, goes back, switches stages, sees what failed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from indexer.store import searches
from searchd.services import Services
from tests.web.conftest import Watch
from tests.web.product import PLANTED, SHELF, index, shelf

Visit = Callable[..., tuple[Page, Watch]]


def get(address: str, path: str, **headers: str) -> httpx.Response:
    return httpx.get(address + path, headers={"accept": "text/html"} | headers, timeout=60, trust_env=False)


def query_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_a_reader_asks_opens_a_passage_and_goes_back(visit: Visit, address: str) -> None:
    page, _ = visit(address)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Search")
    page.get_by_role("searchbox").fill("parse command line options")
    page.keyboard.press("Enter")
    first = page.locator("[data-hit]").first
    expect(first.get_by_role("heading")).to_contain_text("argparse")
    expect(first.locator("mark").first).to_be_visible()
    expect(page.locator(".ran")).to_contain_text("bm25")
    first.get_by_role("heading").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("argparse")
    expect(page.locator("#passage")).to_be_in_viewport()
    page.get_by_role("link", name="Back to").click()
    expect(page.locator("[data-hit]").first).to_be_visible()
    assert query_of(page)["q"] == ["parse command line options"]


def test_everything_works_without_javascript(visit: Visit, address: str) -> None:
    page, _ = visit(address, java_script_enabled=False)
    page.locator(".examples a").first.click()
    expect(page.locator("[data-hit]").first).to_be_visible()
    page.get_by_role("link", name="Lexical").click()
    expect(page.locator("a[aria-current=true]")).to_have_text("Lexical")
    page.locator(".filter summary").click()
    page.locator("#filter").fill("note EXISTS")
    page.get_by_role("button", name="Apply").click()
    assert query_of(page)["mode"] == ["lexical"]
    assert query_of(page)["filter"] == ["note EXISTS"]
    page.goto(address + "/status")
    expect(page.get_by_role("heading", name="Collections")).to_be_visible()


def test_a_stage_can_be_switched_off_and_on_in_the_address(visit: Visit, address: str) -> None:
    page, _ = visit(address + "/?q=command+line+options")
    expect(page.locator(".steps")).to_contain_text(re.compile(r"large \d+/\d+ in"))
    page.get_by_role("link", name="large reranker is on").click()
    assert query_of(page)["no"] == ["large"]
    expect(page.locator(".steps")).to_contain_text("large skipped")
    expect(page.locator(".notice")).to_have_count(0)
    page.get_by_role("link", name="large reranker is off").click()
    assert "no" not in query_of(page)


def test_why_this_result_shows_every_step(visit: Visit, address: str) -> None:
    page, _ = visit(address + "/?q=command+line+options")
    why = page.locator("[data-hit]").first.locator(".why")
    why.get_by_text("Why this result").click()
    names = why.locator("tbody th").all_inner_texts()
    assert names[:3] == ["bm25", "dense", "rrf"]
    assert {"small", "large"} <= set(names)
    page.get_by_role("link", name="Explain all").click()
    page.wait_for_url("**explain=1*")  # and until all of it is there
    assert page.locator(".why[open]").count() == page.locator("[data-hit]").count()


def test_an_exact_code_is_found_and_marked(visit: Visit, address: str) -> None:
    page, _ = visit(address + "/?q=%22ERR_CONN_0x80%22")
    expect(page.locator("[data-hit]").first).to_contain_text("Error codes")
    expect(page.locator("[data-hit]").first.locator("mark").first).to_contain_text("ERR_CONN_0x80")


def test_planted_documents_run_nothing_and_are_shown_as_text(visit: Visit, address: str) -> None:
    page, watch = visit(address + "/?q=planted&explain=1")
    shown = page.locator(".hits").inner_text()
    assert all(text in shown for text in PLANTED)
    links = page.locator(".hits a").evaluate_all("(all) => all.map((link) => link.protocol)")
    assert set(links) == {"http:"}
    for href in page.locator(".hit h2 a").evaluate_all("(all) => all.map((link) => link.href)"):
        page.goto(href)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert watch.dialogs == []


def test_a_document_that_is_not_public_is_nowhere(address: str) -> None:
    assert "Salaries" not in get(address, "/?q=secret+salary+list").text
    assert "salaries" not in get(address, "/").text.lower()


def test_a_wrong_filter_is_told_at_its_field(visit: Visit, address: str) -> None:
    page, _ = visit(address + "/?q=backup&filter=lang+%3D")
    expect(page.locator("#filter")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#filter-error")).to_be_visible()
    assert page.input_value("#q") == "backup"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/?q=backup&filter=lang+%3D%3D", 422),
        ("/?q=" + "x" * 600, 422),
        ("/?q=backup&mode=magic", 422),
        ("/?q=backup&page=0", 422),
        ("/?q=backup&profile=none", 404),
        ("/?collection=none", 404),
        ("/?q=backup&collection=none", 404),
        ("/documents/default/none", 404),
        ("/documents/none/none", 404),
        ("/nowhere", 404),
        ("/?q=backup&page=900", 200),
        ("/?q=-backup", 200),
        ("/?q=%00%01", 200),
        ("/?q=%22%22", 200),
    ],
)
def test_every_error_is_a_page_with_its_status(address: str, path: str, status: int) -> None:
    answer = get(address, path)
    assert answer.status_code == status, answer.text[-2000:]
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<h1" in answer.text


def test_the_status_page_names_what_failed_and_can_try_it_again(visit: Visit, address: str) -> None:
    page, _ = visit(address + "/status")
    failed = page.locator(".failures li")
    expect(failed).to_contain_text("/srv/docs/broken.pdf")
    expect(failed.locator("code").first).to_have_text("malformed")
    failed.get_by_role("button", name="Try again").click()
    expect(page.locator(".notice")).to_contain_text("tried again")
    page.goto(address + "/status")
    expect(page.locator(".figures")).to_contain_text("1 failed", timeout=20_000)


def test_another_site_cannot_make_a_browser_try_again(address: str, services: Services) -> None:
    form = {"collection": "default", "source_id": "anything"}
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
    ):
        answer = httpx.post(
            address + "/status/retry", data=form, headers={"accept": "text/html", **headers}, trust_env=False
        )
        assert answer.status_code == 403, headers


def test_a_caller_who_may_not_write_sees_no_file_names(address: str) -> None:
    page = get(address, "/status", host="searchd.example").text
    assert "broken.pdf" not in page
    assert "indexer status" in page


def test_the_front_page_says_what_is_indexed_and_gives_examples(visit: Visit, address: str) -> None:
    page, _ = visit(address)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"Search \d+ documents"))
    assert page.locator(".examples a").count() >= 3
    page.locator(".examples a").first.click()
    expect(page.locator("[data-hit]").first).to_be_visible()


def test_the_page_fits_a_phone_and_is_dark_where_asked(visit: Visit, address: str) -> None:
    page, _ = visit(address, viewport={"width": 360, "height": 740}, color_scheme="dark")
    for path in ("/", "/?q=command+line&explain=1", "/?q=planted", "/status", "/docs", "/documents/default/none"):
        page.goto(address + path)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 26)"


def test_static_files_may_be_cached_and_are_typed(address: str) -> None:
    page = get(address, "/").text
    for name, kind in (("searchd.css", "text/css"), ("searchd.js", "javascript"), ("icon.svg", "image/svg+xml")):
        (path,) = set(re.findall(rf'"(/static/{name}\?v=[0-9a-f]{{12}})"', page))
        answer = get(address, path)
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_document_of_the_shelf_can_be_read(address: str) -> None:
    listing = httpx.get(address + "/api/documents?limit=100", trust_env=False).json()
    ids = [one["document_id"] for one in listing["documents"]]
    assert len(ids) == len(SHELF) + len(PLANTED)
    for document_id in ids:
        assert get(address, f"/documents/default/{document_id}").status_code == 200


def test_a_system_that_is_down_is_named_and_without_any_the_page_says_so(
    visit: Visit, address: str, services: Services
) -> None:
    index(services, shelf()[:3], "fragile")
    live = services.engine.live("fragile")
    live.vectors.close()
    page, _ = visit(address + "/?q=command+line+options&collection=fragile")
    expect(page.locator(".notice")).to_contain_text("dense failed")
    expect(page.locator("[data-hit]")).to_have_count(2)
    live.lexical.close()
    down = get(address, "/?q=command+line+options&collection=fragile")
    assert down.status_code == 503
    assert "retry-after" in down.headers
    assert "Search is not available at the moment" in down.text
    assert 'value="command line options"' in down.text


def test_what_is_opened_from_an_answer_is_told_and_how_long_it_was_read(
    visit: Visit, address: str, services: Services
) -> None:
    page, _ = visit(address + "/?q=parse+command+line+options")
    first, second = page.locator("[data-hit]").nth(0), page.locator("[data-hit]").nth(1)
    query_id = page.locator("[data-query]").get_attribute("data-query") or ""
    opened = [(hit.get_attribute("data-document"), hit.get_attribute("data-position")) for hit in (first, second)]
    with page.context.expect_page() as tab:
        second.get_by_role("heading").get_by_role("link").click(button="middle")
    tab.value.close()
    first.get_by_role("heading").get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("argparse")
    assert query_id not in page.url
    page.get_by_role("link", name="Back to").click()
    expect(page.locator("[data-hit]").first).to_be_visible()

    def told() -> dict[tuple[str, str], int | None]:
        services.query_log.flush()
        with services.engine.database.read() as session:
            return {
                (click.document_id, str(click.position)): click.dwell_ms
                for click in searches.clicks_of(session, query_id)
            }

    deadline = time.monotonic() + 20
    while set(told()) != set(opened) or told()[opened[0]] is None:
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)
    with services.engine.database.read() as session:
        assert searches.get(session, query_id) is None
