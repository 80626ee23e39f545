"""Tuning on judged sets made by hand: it recommends what helps, leaves what does not, and says when it cannot tell."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from indexer.errors import InputError
from searchd.evaluate.advice import notes
from searchd.evaluate.scores import asking
from searchd.evaluate.search import Search
from searchd.evaluate.select import chosen
from searchd.evaluate.space import Space, distinct, families_of, running
from searchd.evaluate.trial import Trials, family_of, key_of
from searchd.evaluate.tuned import Tuning
from searchd.evaluate.tuning import TuneOptions, tune
from searchd.settings import Profile, Stage
from tests.searchd.evaluate.tuning_sets import CHEAP, DEAR, MadeSet, Says, knowing, made_set

OFF, BOTH = Profile(stages=()), Profile(stages=(CHEAP, DEAR))
MODELS = distinct([CHEAP, DEAR])
GOOD, BETTER, BAD, NONE = knowing(1.5), knowing(4.0, 5), knowing(-3.0), knowing(0.0, 6)


def tuned(made: MadeSet, present: Profile, **options: float) -> Tuning:
    wanted = TuneOptions(**{"configurations": 40, **options})  # type: ignore[arg-type]
    return tune(made.questions, made.data, present, MODELS, made.table, wanted, lambda *_: None, clock=lambda: 0.0)


@cache
def on_set(cheap: Says, dear: Says, reranks: bool, count: int = 30, budget_ms: float = 1e9) -> Tuning:
    return tuned(made_set(count, cheap=cheap, dear=dear), BOTH if reranks else OFF, budget_ms=budget_ms)


def test_a_model_that_helps_is_recommended_and_one_that_does_not_is_left_out() -> None:
    found = on_set(NONE, BETTER, False)
    assert found.verdict == "change"
    assert [stage.model for stage in found.recommended.profile.stages] == ["dear"]
    gain = found.gains.tuned_over_present
    assert gain.real and gain.low > 0.2
    (cheap,) = (one.over_off for one in found.cascades if one.models == ("cheap",))
    assert cheap is not None and cheap.low < 0
    assert "dear alone adds +0." in found.sentence and "cheap alone adds +" not in found.sentence
    assert "recommended: rrf (100 of each, k 60), then dear over " in found.sentence


def test_where_reranking_hurts_off_is_best() -> None:
    found = on_set(BAD, BAD, True)
    assert found.verdict == "off" and found.recommended.profile.stages == ()
    assert "rerank off is best here" in found.sentence and "makes it worse" in found.sentence
    assert found.present.p95_ms - found.recommended.p95_ms > 100


def test_where_reranking_is_noise_it_is_off_whether_or_not_it_is_on_now() -> None:
    assert on_set(NONE, NONE, True).verdict == "off"
    found = on_set(NONE, NONE, False)
    assert (found.verdict, found.recommended.profile) == ("keep", OFF)


def test_a_good_cascade_stays() -> None:
    found = on_set(GOOD, BETTER, True)
    good = found.recommended.profile
    again = tuned(made_set(30, cheap=GOOD, dear=BETTER), good)
    assert again.verdict == "keep" and again.recommended.profile == good
    assert "the present profile stays" in again.sentence


def test_twelve_judged_queries_are_too_few() -> None:
    found = on_set(GOOD, BETTER, True, 12)
    assert (found.verdict, found.more_judgments, found.recommended.profile) == ("too_few", 8, BOTH)
    assert "too few judgments to tell; about 8 more would be needed" in found.sentence


def test_what_does_not_fit_the_budget_is_not_recommended() -> None:
    found = on_set(NONE, BETTER, False, budget_ms=50.0)
    assert found.verdict == "keep"
    assert {model for one in found.cascades for model in one.models} == {"cheap"}
    assert any("too slow for the budget of 50 ms in every cascade: dear" in note for note in notes(found))
    slow = on_set(GOOD, BETTER, True, budget_ms=40.0)
    assert slow.present.p95_ms > 40 >= slow.recommended.p95_ms
    assert slow.verdict == "change" and "over the budget" in slow.sentence
    with pytest.raises(InputError, match="retrieval alone takes about"):
        on_set(GOOD, BETTER, True, budget_ms=2.0)


def test_each_pair_is_scored_once_and_every_configuration_counts() -> None:
    made = made_set(30, cheap=GOOD, dear=BETTER)
    found = tuned(made, BOTH)
    assert sum(made.models["cheap"].asked) == 30 * 30 == next(one.pairs for one in found.models if one.name == "cheap")
    assert 30 <= found.configurations <= 45 and found.configurations_in_all >= found.configurations
    assert [round(one.ms_per_pair, 6) for one in found.models] == [1.0, 10.0]


def test_estimated_times_are_retrieval_and_pairs_times_their_cost() -> None:
    found = on_set(GOOD, BETTER, True)
    # 5 ms for the slower system, 3 ms of loading; 20 cheap pairs and 10 dear ones
    assert found.present.p95_ms == pytest.approx(5 + 3 + 20 * 1 + 10 * 10)
    assert found.present.pairs == 30


def test_the_answer_is_the_same_again_and_goes_through_json() -> None:
    found = on_set(GOOD, BETTER, True)
    again = tuned(made_set(30, cheap=GOOD, dear=BETTER), BOTH)
    assert again.recommended.profile == found.recommended.profile
    assert again.gains == found.gains
    assert msgspec.json.decode(msgspec.json.encode(found), type=Tuning) == found


def test_grades_from_clicks_are_called_weak() -> None:
    made = made_set(25, cheap=GOOD, dear=BETTER)
    clicks = replace(made.data, kind="clicks")
    found = tuned(MadeSet(made.questions, clicks, made.table, made.models), BOTH)
    assert found.sentence.startswith("weak grades from clicks, not judgments: ")
    assert any("weak grades from clicks" in note for note in notes(found))


def test_queries_without_a_relevant_document_are_left_out_and_counted() -> None:
    made = made_set(25, cheap=GOOD, dear=BETTER)
    nothing = {query_id: {"d00": 0} for query_id in list(made.data.qrels)[:3]}
    data = replace(made.data, qrels={**made.data.qrels, **nothing})
    found = tuned(MadeSet(made.questions, data, made.table, made.models), BOTH)
    assert (found.queries, found.without_relevant) == (22, 3)
    none = {query_id: {"d00": 0} for query_id in made.data.qrels}
    data = replace(made.data, qrels=none)
    with pytest.raises(InputError, match="no query of judged set 'made' has a relevant document"):
        tuned(MadeSet(made.questions, data, made.table, made.models), BOTH)


def test_a_recommended_stage_has_time_for_what_it_does() -> None:
    found = on_set(NONE, BETTER, False)
    (stage,) = found.recommended.profile.stages
    assert stage.budget_ms >= 3 * 10 * stage.depth


def test_a_search_does_not_look_at_what_is_held_out() -> None:
    made, rows = made_set(30, cheap=GOOD, dear=BETTER), np.arange(20)
    turned = {topic.query_id: {f"d{number:02}": 3} for number, topic in enumerate(made.data.topics) if number >= 20}
    found = []
    for qrels in (made.data.qrels, {**made.data.qrels, **turned}):
        trials = Trials(made.questions, qrels, made.table)
        costs = {asking(model): 1.0 for model in MODELS}
        search = Search(trials, Space(BOTH, MODELS, families_of(MODELS, costs, family_of(BOTH))), 60, 1e9)
        tried = search.run(rows)
        found.append(([key_of(one.profile) for one in tried], key_of(chosen(tried, rows, BOTH).profile)))
    assert found[0] == found[1]
    assert len(found[0][0]) > 40


def test_stages_that_are_off_are_not_what_is_to_be_beaten() -> None:
    off = msgspec.structs.replace(CHEAP, enabled=False)
    assert running(Profile(stages=(off, DEAR))).stages == (DEAR,)
    listwise = Stage(name="order", kind="listwise", model="m", url="http://127.0.0.1:1")
    with pytest.raises(InputError, match="switch it off"):
        running(Profile(stages=(listwise,)))
