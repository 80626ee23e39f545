"""What the pages say: contexts built from the pipeline's values, and the markup they become."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from indexer.errors import InputError
from searchd.profiles import Profiles
from searchd.settings import Profile, Settings, Stage
from searchd.types import Highlight, StageReport
from tests.web import samples
from web.answer import Piece, answer_of, crumbs_of, date_of, pieces_of
from web.asking import request_of
from web.choices import stage_choices, suggestions
from web.contexts import FieldErrors
from web.explain import why_of
from web.links import document_path, link_of
from web.render import markup
from web.state import SearchState
from web.words import duration, in_ms


def text_of(page: str) -> str:
    return re.sub(r" (?=[:,])", "", " ".join(re.sub(r"<[^>]+>", " ", page).split()))


class TestState:
    def test_a_state_reads_back_from_its_own_pairs(self) -> None:
        state = SearchState(
            q='a "b c" -d', collection="demo", filter='x = "y"', mode="lexical", profile="fast", page=3,
            off=("small",), on=("huge",), rerank=False, explain=True,
        )  # fmt: skip
        assert SearchState.read(state.pairs()) == state

    def test_an_untouched_state_is_the_bare_address(self) -> None:
        assert SearchState().url() == "/"

    def test_changing_anything_goes_back_to_the_first_page(self) -> None:
        assert SearchState(q="a", page=4).url(mode="lexical") == "/?q=a&mode=lexical"

    def test_unknown_parameters_are_ignored(self) -> None:
        assert SearchState.read([("q", "a"), ("utm_source", "mail")]) == SearchState(q="a")

    @pytest.mark.parametrize(
        "pair", [("mode", "magic"), ("page", "0"), ("page", "-1"), ("page", "9" * 5000), ("page", "²")]
    )
    def test_a_known_parameter_that_makes_no_sense_is_refused(self, pair: tuple[str, str]) -> None:
        with pytest.raises(InputError):
            SearchState.read([pair])

    def test_switching_a_stage_off_and_on_again_leaves_the_state_as_it_was(self) -> None:
        stages = {"small": True, "large": True}
        off = SearchState(q="a").switched("large", False, stages)
        assert off.off == ("large",)
        assert off.switched("large", True, stages) == SearchState(q="a")

    def test_switching_one_stage_on_after_rerank_off_leaves_the_others_off(self) -> None:
        on = SearchState(q="a", rerank=False).switched("small", True, {"small": True, "large": True})
        assert (on.rerank, on.off) == (True, ("large",))

    def test_a_stage_that_its_profile_leaves_out_can_be_switched_on(self) -> None:
        choices = stage_choices(SearchState(q="a"), [Stage(name="slow", enabled=False, on_request=True)])
        assert (choices[0].chosen, choices[0].href) == (False, "/?q=a&with=slow")
        assert stage_choices(SearchState(q="a"), [Stage(name="off", enabled=False)]) == ()

    def test_the_page_asks_for_no_stage_that_is_off_whatever_its_address_says(self) -> None:
        stages = (Stage(name="small"), Stage(name="off", enabled=False))
        settings = Settings(profiles={"default": Profile(stages=stages)})
        asked = request_of(Profiles(settings), SearchState(q="a", on=("off",)))
        assert asked.rerank.stages == ("small",)


class TestWords:
    def test_times_are_in_ms(self) -> None:
        assert [in_ms(t) for t in (0.2, 1, 12.4, 1234)] == ["<1 ms", "1 ms", "12 ms", "1,234 ms"]

    def test_a_duration_has_its_two_largest_units(self) -> None:
        assert [duration(s) for s in (0, 8, 3661, 100_000)] == ["0 s", "8 s", "1 h 1 min", "1 d 3 h"]


class TestLinks:
    @pytest.mark.parametrize(
        ("uri", "label"),
        [
            ("https://example.org/a%20b/", "example.org/a b"),
            ("http://example.org", "example.org"),
            ("mailto:a@b.c", "a@b.c"),
        ],
    )
    def test_safe_addresses_are_links(self, uri: str, label: str) -> None:
        assert link_of(uri).href == uri
        assert link_of(uri).label == label

    @pytest.mark.parametrize(
        "uri",
        [
            "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)",
            "data:text/html,<script>alert(1)</script>", "vbscript:x", "file:///etc/passwd", "//example.org/x",
            "http:x:1", "https://example.org/a b", "http://[broken", "ftp://example.org", "", "relative/path.md",
        ],
    )  # fmt: skip
    def test_everything_else_is_text(self, uri: str) -> None:
        assert link_of(uri).href is None

    def test_a_file_is_shown_as_its_path(self) -> None:
        assert link_of("file:///srv/my%20docs/a.pdf").label == "/srv/my docs/a.pdf"

    def test_a_document_path_keeps_slashes_and_quotes_the_rest(self) -> None:
        assert document_path("de mo", "a/b?c#d%") == "/documents/de%20mo/a/b%3Fc%23d%25"


class TestHits:
    def test_ranges_become_pieces(self) -> None:
        assert pieces_of(Highlight("one two three", ((4, 7),))) == (
            Piece("one ", False), Piece("two", True), Piece(" three", False),
        )  # fmt: skip

    @pytest.mark.parametrize("ranges", [((0, 99),), ((2, 5), (3, 7)), ((-3, 2),), ((5, 2),), ((4, 7), (0, 2))])
    def test_odd_ranges_never_lose_text(self, ranges: tuple[tuple[int, int], ...]) -> None:
        assert "".join(piece.text for piece in pieces_of(Highlight("one two", ranges))) == "one two"

    def test_crumbs_leave_out_the_title_that_is_shown_anyway(self) -> None:
        assert crumbs_of(("Guide", "Install", " "), "guide") == ("Install",)

    def test_a_date_is_a_day_from_the_usual_fields(self) -> None:
        assert date_of({"lang": "en", "modified": "2025-03-01T10:00:00Z"}) == "2025-03-01"
        assert date_of({"date": "soon", "created": 7}) == ""

    def test_a_hit_without_highlights_shows_the_start_of_its_passage(self) -> None:
        page = markup(samples.search_page(samples.response(samples.hit(1, highlights=()))))
        assert "The argparse module makes it easy" in text_of(page)

    def test_a_hit_without_a_title_is_called_by_its_id(self) -> None:
        page = markup(samples.search_page(samples.response(samples.hit(1, candidate=samples.candidate(1, title=" ")))))
        assert "library/argparse-1" in text_of(page)

    def test_a_hit_links_to_its_passage_and_keeps_the_search(self) -> None:
        answer = answer_of(samples.response(samples.hit(1)), samples.STATE, samples.FUSION)
        assert answer.hits[0].href == (
            "/documents/demo/library/argparse-1?passage=passage-1&q=parse+command+line+options#passage"
        )

    def test_relevance_is_shown_only_if_there_is_one(self) -> None:
        known = samples.hit(1, relevance=0.873, relevance_label="very likely")
        assert "87% very likely" in text_of(markup(samples.search_page(samples.response(known))))
        assert "%" not in text_of(markup(samples.search_page(samples.response(samples.hit(1)))))

    def test_a_threshold_stays_in_every_link_and_is_left_out_on_request(self) -> None:
        state = SearchState.read([("q", "x"), ("min_relevance", "0.75")])
        assert state.url(page=2) == "/?q=x&min_relevance=0.75&page=2"
        assert state.url(min_relevance=None) == "/?q=x"
        assert SearchState.read([("min_relevance", "")]).min_relevance is None
        for text in ("1.5", "-0.1", "nan", "many"):
            with pytest.raises(InputError, match="number from 0 to 1"):
                SearchState.read([("min_relevance", text)])


class TestWhy:
    def test_rows_follow_the_order_in_which_things_ran(self) -> None:
        why = why_of(samples.hit(1), samples.response(), samples.FUSION)
        assert [row.name for row in why.rows] == [
            "bm25", "dense", "rrf", "small", "small blend", "large", "large blend",
        ]  # fmt: skip

    def test_moves_are_counted_from_the_order_before(self) -> None:
        why = why_of(samples.hit(1), samples.response(), samples.FUSION)
        assert {row.name: row.moved for row in why.rows if row.moved is not None} == {
            "small blend": -1,
            "large blend": 2,
        }

    def test_the_rrf_parts_are_spelled_out(self) -> None:
        why = why_of(samples.hit(1), samples.response(), samples.FUSION)
        assert next(row.note for row in why.rows if row.name == "rrf") == "1 / (60 + 3) + 1 / (60 + 1)"

    def test_a_system_that_did_not_find_it_says_so(self) -> None:
        alone = samples.candidate(1, scores={"dense": 0.5, "rrf": 0.016}, ranks={"dense": 2, "rrf": 5})
        why = why_of(samples.hit(1, candidate=alone, scored_by="rrf"), samples.response(), samples.FUSION)
        assert why.rows[0].note == "did not find this passage"
        assert why.sentence == "Found by dense (rank 2); ordered by reciprocal rank fusion."


class TestAnswers:
    def test_the_line_says_what_ran_and_how_long(self) -> None:
        shown = text_of(markup(samples.search_page(samples.response(samples.hit(1)))))
        assert "1 document in 408 ms bm25 3 ms dense 8 ms small 50/50 in 210 ms large 20/20 in 180 ms" in shown

    def test_an_inexact_total_says_at_least(self) -> None:
        page = markup(samples.search_page(samples.response(samples.hit(1), total=143, total_is_exact=False)))
        assert "At least 143 documents" in text_of(page)

    def test_a_degraded_answer_names_what_is_missing_and_why(self) -> None:
        dense = StageReport("dense", "failed", 0, 100, 0.0, "Qdrant refuses connections")
        systems = (samples.response().systems[0], dense)
        page = markup(samples.search_page(samples.response(samples.hit(1), systems=systems, degraded=("dense",))))
        assert "dense failed: Qdrant refuses connections" in text_of(page)

    def test_a_complete_answer_carries_no_notice(self) -> None:
        assert "not complete" not in markup(samples.search_page(samples.response(samples.hit(1))))

    def test_a_stage_switched_off_is_no_degradation(self) -> None:
        stages = (StageReport("small", "skipped", 0, 50, 0.0, "switched off"),)
        page = markup(samples.search_page(samples.response(samples.hit(1), stages=stages)))
        assert "not complete" not in page
        assert "small skipped" in text_of(page)

    def test_paging_leads_on_while_there_is_more(self) -> None:
        hits = [samples.hit(number) for number in range(1, 11)]
        first = answer_of(samples.response(*hits, total=25), samples.STATE, samples.FUSION)
        assert first.previous is None
        assert first.next is not None and first.next.endswith("page=2")
        last = answer_of(samples.response(*hits[:5], total=25), replace(samples.STATE, page=3), samples.FUSION)
        assert last.next is None
        assert last.previous is not None and last.previous.endswith("page=2")

    def test_no_hits_lead_to_concrete_suggestions(self) -> None:
        state = SearchState(q='"exit code 137" -docker', filter='lang = "de"', mode="lexical")
        assert [choice.label for choice in suggestions(state)] == [
            "Search without the filter",
            "Search for the words without the quotes",
            "Search by words and by meaning",
        ]

    def test_required_and_forbidden_words_can_be_dropped(self) -> None:
        (choice,) = suggestions(SearchState(q="+oom -docker title:kill"))
        assert choice.hint == "oom kill"

    def test_a_wrong_filter_is_told_at_its_field(self) -> None:
        page = markup(samples.search_page(None, errors=FieldErrors(filter="expected a value")))
        assert 'aria-describedby="filter-help filter-error" aria-invalid=true' in page
        assert '<p class="error" id="filter-error" role="alert">expected a value</p>' in page

    def test_bars_stay_within_the_line(self) -> None:
        late = (StageReport("small", "partial", 10, 50, 9000.0, "out of time"),)
        answer = answer_of(samples.response(samples.hit(1), stages=late), samples.STATE, samples.FUSION)
        assert all(0 <= step.start and step.start + step.width <= 1000.001 for step in answer.steps)


class TestWelcome:
    def test_it_says_how_much_there_is_and_how_to_ask(self) -> None:
        shown = text_of(markup(samples.search_page(None, SearchState(collection="demo"))))
        assert "Search 1,234 documents 5,678 passages" in shown
        assert "argparse tutorial" in shown

    def test_an_empty_collection_says_how_to_fill_it(self) -> None:
        shown = text_of(markup(samples.search_page(None, SearchState(collection="default"))))
        assert "Nothing is indexed yet" in shown
        assert "indexer add ./docs" in shown
