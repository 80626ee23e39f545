"""The report of an evaluation: what it says, that it stands alone, that no text in it runs, that any size can be drawn."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Page

from searchd.evaluate.evaluation import Evaluation, Flow, FlowPlace, Reliability, ReliabilityBin, SystemFigures
from tests.web import evaluations
from tests.web.conftest import Watch
from tests.web.test_escaping import PAYLOADS, Seen
from web import words
from web.report import NARROW, WIDE, page_of, render
from web.report_axes import next_step, time_axis, value_axis
from web.report_failures import causes_of
from web.report_flows import GAP, HEAD, MOST_RELEVANT, ROW, flow_drawing, heights_of
from web.report_labels import HEIGHT, Box, width_of
from web.report_queries import changes_of
from web.report_reliability import reliability_drawing
from web.report_systems import gains_of
from web.report_tradeoff import Label, Tradeoff, better_in_less, pareto_front, tradeoff_of

Visit = Callable[..., tuple[Page, Watch]]
MINUS = "\N{MINUS SIGN}"
VOID = {"meta", "link", "br"}


class Nested(Seen):
    """Checks that every element is closed where it should be, besides what `Seen` collects."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.classes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        assert len(dict(attrs)) == len(attrs), f"an attribute of <{tag}> stands twice"
        self.classes += (dict(attrs).get("class") or "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def nested(html: str) -> Nested:
    seen = Nested()
    seen.feed(html)
    seen.close()
    assert seen.open == []
    return seen


def text_of(html: str) -> str:
    """Return what a reader sees, in one line, minus signs as hyphens."""
    body = re.sub(r"(?s)<style>.*?</style>|<title>.*?</title>|<[^>]+>", " ", html)
    return " ".join(body.replace(MINUS, "-").split())


def with_text(text: str) -> Evaluation:
    """Return an evaluation with a text wherever one from outside can be."""
    made = evaluations.evaluation(12, (text,), text)
    systems = tuple(msgspec.structs.replace(one, note=text) for one in made.systems)
    return msgspec.structs.replace(
        made,
        set_name=text,
        collection=text,
        profile=text,
        embedder=text,
        generation_id=text,
        models={"small": text},
        systems=(*systems, evaluations.system(text)),
        reliability=(evaluations.reliability(text),),
    )


@pytest.mark.parametrize("text", PAYLOADS)
def test_text_from_outside_stays_text(text: str) -> None:
    seen, expected = nested(render(with_text(text))), nested(render(with_text("harmless")))
    assert seen.tags == expected.tags
    assert seen.handlers == []
    assert seen.inline_scripts == 0
    assert seen.styles == 1
    assert {one for one in seen.addresses if not one.startswith("#")} == {"data:,"}
    assert set(seen.classes) == set(expected.classes)


def test_control_characters_of_ids_titles_and_queries_are_shown_as_pictures() -> None:
    html = render(with_text("a\x1b[2J\x08\x7f\x9bb"))
    assert html.count("a\u241b[2J\u2408\u2421\ufffdb") > 20
    assert not words.CONTROL.search(html)


def test_it_needs_nothing_from_outside_and_no_script() -> None:
    html = render(evaluations.evaluation())
    assert not re.search(r"https?:|\bsrc=|url\(|@import|<script|srcset|//[a-z]", html)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    seen = nested(html)
    assert len(seen.ids) == len(set(seen.ids))
    assert {address[1:] for address in seen.addresses if address.startswith("#")} <= set(seen.ids)


def test_every_part_stands_in_its_place() -> None:
    html = render(evaluations.evaluation())
    ids = [one for one in nested(html).ids if one != "main"]
    assert ids == ["verdict", "quality", "systems", "gains", "queries", "flows", "reliability", "failures", "how"]


def test_verdicts_say_what_each_stage_adds_and_at_what_cost() -> None:
    text = text_of(render(evaluations.evaluation()))
    assert "small adds nothing that 225 queries can show: -0.005 [-0.025, 0.015] for 245 ms" in text
    assert "large adds +0.046 [0.026, 0.066] for 629 ms" in text
    page = page_of(evaluations.evaluation())
    assert [kind for kind, _ in page.verdicts] == ["noise", "better", "better"]


def test_weak_grades_and_a_serving_daemon_are_told_before_any_figure() -> None:
    text = text_of(render(evaluations.evaluation(kind="clicks", beside_daemon=True)))
    assert text.index("Weak grades from clicks") < text.index("0.477")
    assert text.index("a daemon was serving meanwhile") < text.index("0.477")
    assert "which makes them longer" in text
    assert "Weak grades" not in text_of(render(evaluations.evaluation()))


def test_differences_are_real_or_noise_in_words() -> None:
    row = re.search(r"(?s)<tr>\s*<th scope=\"row\">linear.*?</tr>", render(evaluations.evaluation()))
    assert row is not None
    assert "+0.008 [-0.012, 0.028] within noise" in text_of(row[0])
    kinds = {bar.name: bar.difference.word for bar in gains_of(evaluations.evaluation())}
    assert kinds == {"small": "within noise", "large": "real gain", "the whole profile": "real gain"}


def test_gain_bars_share_one_scale_and_start_at_zero() -> None:
    small, large, whole = gains_of(evaluations.evaluation())
    assert small.zero == large.zero == whole.zero
    assert small.start + small.width == pytest.approx(small.zero, abs=0.02)
    assert large.start == large.zero < large.low < large.high == 98
    assert small.low == 2 < small.high
    assert large.width / whole.width == pytest.approx(0.046 / 0.041, abs=0.01)


class TestTradeoff:
    def test_the_front_is_what_nothing_equals_in_less_time(self) -> None:
        by_hand = {"a": (10, 0.30), "b": (20, 0.25), "c": (30, 0.40), "d": (30, 0.38), "e": (40, 0.40), "f": (50, 0.41)}
        systems = [evaluations.system(name, ndcg, ms) for name, (ms, ndcg) in by_hand.items()]
        assert [one.name for one in pareto_front(systems)] == ["a", "c", "f"]
        drawing = tradeoff_of(systems, *WIDE)
        assert drawing is not None
        kinds = {mark.said.split(":")[0]: mark.kind for mark in drawing.marks}
        assert kinds == {"a": "front", "b": "plain", "c": "front", "d": "plain", "e": "plain", "f": "front"}
        assert len(drawing.front.split()) == 6  # three points, two corners, and on to the edge

    def test_what_does_as_well_as_the_default_in_less_time_is_named(self) -> None:
        served = evaluations.system("default", 0.40, 900.0)
        for other, named in (
            ((0.40, 20.0), "linear"),
            ((0.41, 900.0), "linear"),
            ((0.40, 900.0), ""),
            ((0.39, 1.0), ""),
        ):
            found = better_in_less((evaluations.system("linear", *other), served))
            assert (found.name if found else "") == named
        text = text_of(render(evaluations.evaluation(2, systems=(evaluations.system("linear", 0.4, 20.0), served))))
        assert "What serves is below it: linear reaches 0.400 in 20 ms" in text
        assert "What serves is on it." in text_of(render(evaluations.evaluation(2)))

    @pytest.mark.parametrize("size", [WIDE, NARROW])
    def test_labels_stay_inside_and_apart_however_close_the_points(self, size: tuple[int, int]) -> None:
        draw = random.Random(3)
        for count in (1, 2, 8, 12):
            systems = [
                evaluations.system(f"rrf + stage{number}", 0.4 + draw.random() / 50, 10 ** draw.uniform(1, 1.1))
                for number in range(count)
            ]
            drawing = tradeoff_of(systems, *size)
            assert drawing is not None
            boxes = label_boxes(drawing)
            assert len(boxes) == count
            assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
            assert all(box.within(Box(0, 0, *size)) for box in boxes)
            for mark in drawing.marks:
                point = Box(mark.x - 4, mark.y - 4, mark.x + 4, mark.y + 4)
                assert not [box for box in boxes if box.overlaps(point)]

    def test_the_default_and_its_equal_are_one_point_with_both_names(self) -> None:
        drawing = tradeoff_of(evaluations.systems(), *WIDE)
        assert drawing is not None
        (default,) = [mark for mark in drawing.marks if mark.kind == "default"]
        assert default.label is not None
        assert default.label.text == "default = rrf + small + large"
        assert default.said.endswith("nDCG@10 0.477 [0.447, 0.507], 891 ms at the median")

    def test_times_far_apart_are_drawn_by_their_logarithm_and_zero_never(self) -> None:
        assert time_axis((2.0, 900.0), 0, 100).is_log
        assert not time_axis((100.0, 300.0), 0, 100).is_log
        assert not time_axis((0.0, 300.0), 0, 100).is_log
        assert time_axis((0.0,), 0, 100).at(0.0) == 0
        axis = time_axis((10.0, 1000.0), 0, 100)
        assert axis.at(100.0) == pytest.approx(50)

    def test_ticks_are_round(self) -> None:
        assert value_axis((0.391, 0.487), 100, 0).ticks == (0.35, 0.4, 0.45, 0.5)
        assert [next_step(one) for one in (0.01, 0.011, 0.03, 0.06, 7)] == [0.01, 0.02, 0.05, 0.1, 10]
        assert value_axis((0.5, 0.5), 100, 0).at(0.5) == pytest.approx(50)


def label_boxes(drawing: Tradeoff) -> list[Box]:
    """Return where labels are written, as wide as they may become."""
    return [_box(mark.label) for mark in drawing.marks if mark.label is not None]


def _box(label: Label) -> Box:
    width = width_of(label.text)
    left = label.x - {"start": 0, "middle": width / 2, "end": width}[label.anchor]
    return Box(left + 0.1, label.y + 4 - HEIGHT, left + width - 0.1, label.y + 4 - 0.2)


class TestQueries:
    @pytest.mark.parametrize("count", [1, 9, 300])
    def test_every_query_is_named_once(self, count: int) -> None:
        html = render(evaluations.evaluation(count, ("query number",), flows=(), failures=()))
        rows = re.findall(r"(?s)<table class=\"cards asked\">.*?</table>", html)
        named = re.findall(r"<th scope=\"row\" dir=\"auto\">query number (\d+)</th>", " ".join(rows))
        assert sorted(map(int, named)) == list(range(count))

    def test_wins_and_losses_are_sorted_and_ten_of_each_are_shown(self) -> None:
        changes = changes_of(evaluations.evaluation(300).queries)
        assert changes is not None
        assert len(changes.wins) == len(changes.losses) == 10
        assert [row.change for row in changes.wins] == sorted((row.change for row in changes.wins), reverse=True)
        assert [row.change for row in changes.losses] == sorted(row.change for row in changes.losses)
        assert changes.won + changes.lost + changes.same == 300 == len(changes.rest) + 20
        assert changes.most == changes.wins[0].change
        assert (changes.width, changes.share) == (300, 100)
        first, last = changes.bars[0], changes.bars[-1]
        assert (first.y, first.height) == (0, pytest.approx(changes.zero, abs=0.1))
        assert last.y == changes.zero
        assert last.y + last.height == pytest.approx(changes.height, abs=0.1)

    def test_without_both_systems_there_is_nothing_to_compare_and_queries_are_named_still(self) -> None:
        made = evaluations.evaluation(3, ("alone",))
        queries = tuple(msgspec.structs.replace(one, ndcg={"bm25": 0.5}, first={"bm25": 1}) for one in made.queries)
        assert changes_of(queries) is None
        text = text_of(render(msgspec.structs.replace(made, queries=queries, systems=made.systems[:1])))
        assert "not both measured" in text
        assert all(f"alone {number}" in text for number in range(3))


class TestFlows:
    def test_the_first_ten_have_rows_and_the_rest_stand_below_in_order(self) -> None:
        below = HEAD + 10 * ROW + GAP + ROW // 2
        assert heights_of([1, None, 10, 57, 12]) == [
            HEAD + ROW // 2, below + 2 * ROW, HEAD + 9 * ROW + ROW // 2, below + ROW, below,
        ]  # fmt: skip

    def test_no_two_documents_share_a_place(self) -> None:
        for flow in evaluations.evaluation().flows:
            drawing = flow_drawing(flow)
            assert drawing is not None
            places = [(node.x, node.y) for way in drawing.ways for node in way.nodes]
            assert len(places) == len(set(places)) == 3 * len(drawing.ways)
            assert [way.y for way in drawing.ways] == sorted(way.y for way in drawing.ways)
            assert all(0 <= x <= 100 and 0 < y < drawing.height for x, y in places)

    def test_relevant_documents_and_the_last_ten_are_drawn_and_others_are_counted(self) -> None:
        drawing = flow_drawing(evaluations.evaluation().flows[0])
        assert drawing is not None
        assert {way.document_id for way in drawing.ways if way.is_relevant} == {"d0", "d1", "d2"}
        assert drawing.left_out == 24 - len(drawing.ways) > 0

    def test_of_very_many_relevant_ones_those_that_stood_highest_are_drawn(self) -> None:
        places = tuple(
            FlowPlace(document_id=f"d{rank}", title="", grade=1, ranks=(rank, rank + 40)) for rank in range(1, 41)
        )
        drawing = flow_drawing(Flow(query_id="q", text="q", columns=("rrf", "large"), places=places))
        assert drawing is not None
        assert [way.document_id for way in drawing.ways] == [f"d{rank}" for rank in range(1, MOST_RELEVANT + 1)]
        assert flow_drawing(Flow(query_id="q", text="q", columns=("rrf",), places=())) is None


def test_a_reliability_diagram_puts_points_where_said_and_so_meet() -> None:
    half = ReliabilityBin(low=0.5, high=0.6, pairs=8, said=0.5, so=0.25)
    full = ReliabilityBin(low=0.9, high=1.0, pairs=2, said=1.0, so=1.0)
    none = ReliabilityBin(low=0.0, high=0.1, pairs=0, said=0.0, so=0.0)
    drawing = reliability_drawing(
        Reliability(name="calibrated", pairs=10, ece=0.2, bins=(none, half, full), unjudged_as_irrelevant=False)
    )
    first, last = drawing.marks
    assert first.x == pytest.approx((drawing.left + drawing.right) / 2)
    assert first.due == pytest.approx((drawing.top + drawing.bottom) / 2)
    assert first.y == pytest.approx(drawing.top + 0.75 * (drawing.bottom - drawing.top))
    assert (last.x, last.y) == (drawing.right, drawing.top)
    assert first.bar_height == pytest.approx(4 * last.bar_height, abs=0.1)
    assert first.said == "8 pairs said to be 0.50 on average: 0.25 are relevant"


def test_failures_stand_by_cause_in_the_order_of_a_documents_way() -> None:
    causes = causes_of(evaluations.evaluation())
    assert [cause.words for cause in causes] == [
        "not retrieved", "fused too low for any stage to see it", "hurt by small", "hurt by large",
        "seen by stages, none of which brought it up",
    ]  # fmt: skip
    assert sum(len(cause.rows) for cause in causes) == 48
    assert causes[0].columns == ()
    assert dict(zip(causes[2].columns, causes[2].rows[0].ranks, strict=True)) == {
        "bm25": 3, "dense": 9, "rrf": 5, "small": 14, "large": 16,
    }  # fmt: skip
    assert max(cause.width for cause in causes) == 100


ODD: dict[str, dict[str, Any]] = {
    "one system": {"systems": (evaluations.system("bm25"),), "flows": (), "reliability": ()},
    "no system": {"systems": (), "queries": (), "flows": (), "failures": (), "reliability": ()},
    "no stage": {
        "systems": (evaluations.system("rrf"), evaluations.system("default", note="the same as rrf")),
        "models": {},
        "flows": (),
        "reliability": (),
    },
    "zero times": {"systems": (evaluations.system("rrf", ms=0.0), evaluations.system("default", ms=0.0))},
    "zero quality": {"systems": (evaluations.system("rrf", ndcg=0.0), evaluations.system("default", ndcg=0.0))},
    "nothing failed": {"failures": ()},
    "complete": {"complete": True, "profile_version": 3},
    "no interval": {"systems": (msgspec.structs.replace(evaluations.system("rrf"), ci={}, vs_rrf={}),)},
}
SAID = {
    "one system": "No reranking stage ran",
    "no system": "No system was measured",
    "no stage": "No stage ran",
    "zero times": "<1 ms",
    "zero quality": "0.000",
    "nothing failed": "None: every query has a document of its best grade among the first ten",
    "complete": "version 3 as applied to the collection",
    "no interval": "No reranking stage ran",
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_evaluations_can_be_reported(kind: str) -> None:
    html = render(msgspec.structs.replace(evaluations.evaluation(2), **ODD[kind]))
    nested(html)
    assert SAID[kind] in text_of(html).replace("&lt;", "<")
    assert not re.search(r"\bnan\b|\binf\b|None[^:]", text_of(html))


def test_words_have_true_minus_signs_and_leave_names_alone() -> None:
    assert words.minus("rerank-2 adds -0.012 [-0.03, 0.01]") == f"rerank-2 adds {MINUS}0.012 [{MINUS}0.03, 0.01]"
    assert words.signed(-0.0004) == f"{MINUS}0.000"
    assert [words.cut(text, 5) for text in ("abcde", "abcdef", "abc def")] == ["abcde", "abcd…", "abc…"]


def test_a_reader_with_a_phone_sees_all_of_it(visit: Visit, tmp_path: Path) -> None:
    wordy = "a_very_long_word_without_any_place_to_break_it." * 9
    names = tuple(evaluations.system(wordy, 0.3 + number / 50, 10.0**number) for number in range(3))
    made = evaluations.evaluation(30, (wordy, "مرحبا بالعالم"), wordy, set_name=wordy, collection=wordy)
    made = msgspec.structs.replace(made, systems=made.systems + names)
    file = tmp_path / "report.html"
    file.write_text(render(made), encoding="utf-8")
    grounds = []
    for width, scheme in ((390, "light"), (390, "dark"), (1280, "light")):
        page, _ = visit(f"file://{file}", viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg.tradeoff:visible").count() == 1
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] == grounds[2] != grounds[1]


def test_a_systems_figures_are_those_of_the_evaluation() -> None:
    made = evaluations.evaluation()
    shown: dict[str, SystemFigures] = {one.name: one for one in made.systems}
    for row in page_of(made).systems:
        assert row.main.mean == shown[row.name].metrics["nDCG@10"]
        assert [figure.measure for figure in row.figures] == list(shown[row.name].metrics)
