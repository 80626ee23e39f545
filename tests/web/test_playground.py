"""The playground: contexts, limits and errors of its form, and a reader with a browser and the packaged models."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from playwright.sync_api import Page, expect

from indexer.errors import InputError
from searchd.rerank.texts import RankedText, TextRanking
from searchd.settings import Profile, Settings, Stage
from searchd.types import StageReport
from tests.web import samples
from tests.web.conftest import Watch
from tests.web.test_escaping import PAYLOADS
from web.moves import MAX_DRAWN, moves_of
from web.playground import MAX_PASSAGES, MAX_TEXT_BYTES, Pasted, job_of, page_of
from web.playground_examples import EXAMPLES, Example
from web.render import markup

Visit = Callable[..., tuple[Page, Watch]]
PASSAGES = ("Parcels leave every evening.", "The valve is closed slowly.", "Oil is changed every 500 hours.")


class TestMoves:
    def test_a_row_says_where_its_passage_went_and_what_it_got(self) -> None:
        moves = moves_of(samples.text_ranking(), samples.SCALES, PASSAGES, 12.4, (), 2)
        first, second, third = moves.rows
        assert (first.rank, first.given, first.text, first.right) == (1, 3, PASSAGES[2], True)
        assert [(cell.rank, cell.moved, cell.score) for cell in first.cells] == [(2, 1, 1.5), (1, 1, 4.0)]
        assert [(cell.rank, cell.moved, cell.score) for cell in second.cells] == [(1, 1, 2.5), (2, -1, -1.0)]
        assert [(cell.rank, cell.moved, cell.score) for cell in third.cells] == [(3, -2, -0.5), (3, 0, None)]
        assert moves.verdict == "The passage that answers this stood at 3, 2 after small, 1 after large."
        assert [stage.words for stage in moves.stages] == ["3 of 3 in 11 ms", "2 of 2 in 7 ms"]
        assert [stage.scale for stage in moves.stages] == ["logits", "cosines"]

    def test_a_stage_that_scored_nothing_has_no_column_and_is_still_named(self) -> None:
        text = RankedText(0, "small", {"small": 1.0}, {"small": 1})
        reports = (StageReport("small", "full", 1, 1, 3.0), StageReport("large", "failed", 0, 1, 2.0, "it broke"))
        moves = moves_of(
            TextRanking((text,), reports), samples.SCALES, PASSAGES[:1], 9.0, ("large failed: it broke",), None
        )
        assert [stage.name for stage in moves.columns] == ["small"]
        page = markup(page_of(Settings(), Pasted("q", PASSAGES[0]), moves=moves))
        assert "large failed: it broke" in page
        assert moves.verdict == ""

    def test_lines_run_from_the_place_as_pasted_to_the_last_one_while_they_can_be_told_apart(self) -> None:
        drawing = moves_of(samples.text_ranking(), samples.SCALES, PASSAGES, 1.0, (), None).drawing
        assert drawing is not None
        assert [name for _, name in drawing.columns] == ["as pasted", "small", "large"]
        assert len({line.start for line in drawing.lines}) == len({line.end for line in drawing.lines}) == 3
        many = tuple(RankedText(n, "small", {"small": -n}, {"small": n + 1}) for n in range(MAX_DRAWN + 1))
        report = (StageReport("small", "full", len(many), len(many), 3.0),)
        assert moves_of(TextRanking(many, report), samples.SCALES, ["a"] * len(many), 1.0, (), None).drawing is None


class TestForm:
    settings = Settings(profiles={"off": Profile(stages=(Stage(name="asleep", enabled=False),))})

    def test_passages_are_the_lines_that_are_not_empty(self) -> None:
        assert Pasted("q", " one \r\n\r\ntwo\rthree\n  \n").lines == ("one", "two", "three")

    @pytest.mark.parametrize(
        ("pasted", "said"),
        [
            (Pasted("", "a"), "Say what to look for"),
            (Pasted("q" * 4001, "a"), "4,000"),
            (Pasted("q", " \n "), "1 to 100"),
            (Pasted("q", "a\n" * (MAX_PASSAGES + 1)), "these are 101"),
            (Pasted("q", "ü" * MAX_TEXT_BYTES), "64,000 bytes"),
            (Pasted("q", "a", "off"), "switched on"),
            (Pasted("q", "a", "none"), "default, off"),
        ],
    )
    def test_every_limit_is_told(self, pasted: Pasted, said: str) -> None:
        with pytest.raises(Exception, match=said):
            job_of(self.settings, pasted)

    def test_an_instruction_is_asked_for_and_passed_on_only_where_a_stage_takes_one(self) -> None:
        told = Pasted("q", "a", instruction="find laws")
        assert job_of(self.settings, told).instruction is None
        assert 'name="instruction"' not in markup(page_of(self.settings, told))
        takes = Settings(profiles={"default": Profile(stages=(Stage(name="big", kind="causal", model="m"),))})
        assert job_of(takes, told).instruction == "find laws"
        assert 'value="find laws"' in markup(page_of(takes, told))
        with pytest.raises(InputError, match=r"2,000 characters at most; this one has 2,001"):
            job_of(takes, replace(told, instruction="a" * 2001))
        assert job_of(takes, replace(told, instruction="a" * 2000)).instruction == "a" * 2000

    def test_the_answer_to_the_film_question_shares_fewer_words_with_it_than_the_passage_above_all(self) -> None:
        film = next(example for example in EXAMPLES if example.name == "film")
        asked = set(re.findall(r"\w+", film.query.lower())) - {"a", "in", "is", "by", "which"}
        shared = [asked & set(re.findall(r"\w+", passage.lower())) for passage in film.passages]
        assert shared[film.right] == set()
        assert shared[0] == {"man"}


def post(address: str, **form: str) -> httpx.Response:
    return httpx.post(address + "/playground", data=form, headers={"accept": "text/html"}, timeout=60, trust_env=False)


def test_a_reader_pastes_and_sees_the_order_without_javascript(visit: Visit, address: str) -> None:
    page, _ = visit(address, java_script_enabled=False)
    page.get_by_role("link", name="Playground").click()
    page.get_by_label("Query").fill("oil change")
    page.get_by_label("Passages").fill("\n".join(PASSAGES))
    page.get_by_role("button", name="Rerank").click()
    rows = page.locator(".moves tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text(PASSAGES[2])
    expect(rows.first.locator(".cell").first).to_contain_text("▲ 2")
    expect(page.locator(".order .ran")).to_contain_text(re.compile(r"small 3 of 3 in (?:<1|[\d,]+) ms"))
    expect(page.locator(".order .ran")).to_contain_text(re.compile(r"large 3 of 3 in (?:<1|[\d,]+) ms"))
    expect(page.locator(".order")).to_contain_text("on the scale that its column names, and not calibrated")
    assert page.get_by_label("Query").input_value() == "oil change"
    assert page.get_by_label("Passages").input_value() == "\n".join(PASSAGES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_ready_made_example_moves_its_answer_up(visit: Visit, address: str, example: Example) -> None:
    page, _ = visit(address + "/playground")
    page.get_by_role("link", name=example.label).click()
    expect(page.locator(".moves tbody tr")).to_have_count(len(example.passages))
    said = page.locator(".verdict").inner_text()
    stood, *after = [int(number) for number in re.findall(r"\d+", said)]
    assert stood == example.right + 1
    assert after[-1] < stood
    expect(page.locator(".moves tr.right")).to_contain_text(example.passages[example.right][:30])
    expect(page.locator("svg.ways .right polyline")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(visit: Visit, address: str, scheme: str) -> None:
    page, _ = visit(address, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for path in ("/playground", "/playground?example=film"):
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    expect(page.locator("svg.ways")).to_be_hidden()
    expect(page.locator(".moves tr").nth(1).locator(".cell").first).to_contain_text("small")


def test_what_is_pasted_stays_text(visit: Visit, address: str) -> None:
    page, watch = visit(address + "/playground")
    page.get_by_label("Query").fill(PAYLOADS[0])
    page.get_by_label("Passages").fill("\n".join((*PAYLOADS, "</textarea><script>alert(1)</script>")))
    page.get_by_role("button", name="Rerank").click()
    expect(page.locator(".moves tbody tr")).to_have_count(len(PAYLOADS) + 1)
    shown = page.locator(".moves").inner_text()
    assert all(text in shown for text in PAYLOADS)
    assert watch.dialogs == []


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"query": "", "passages": "a"}, 422, "Say what to look for"),
        ({"query": "q", "passages": ""}, 422, "1 to 100"),
        ({"query": "q", "passages": "a\n" * 101}, 422, "these are 101"),
        ({"query": "q", "passages": "a", "profile": "none"}, 404, "There is no profile"),
        ({"query": "q", "passages": "a" * 300_000}, 413, "192,000"),
        ({}, 422, "Say what to look for"),
    ],
)
def test_what_cannot_be_ranked_is_told_on_the_page(address: str, form: dict[str, str], status: int, said: str) -> None:
    answer = post(address, **form)
    assert (answer.status_code, said in answer.text) == (status, True)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_an_unknown_example_is_a_page_that_names_the_known_ones(address: str) -> None:
    answer = httpx.get(address + "/playground?example=none", headers={"accept": "text/html"}, trust_env=False)
    assert answer.status_code == 404
    assert "film, charges, coffee, git" in answer.text


def test_a_sample_of_the_page_keeps_what_was_typed() -> None:
    page = samples.playground_page("typed text")
    assert "typed text" in markup(replace(page, moves=None))
