"""Evaluations of a small set: what is measured, that it is what the cascade does, and that ir-measures agrees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ir_measures
import msgspec
import pytest
from ir_measures import RR, Judged, R, nDCG

from indexer.errors import TransientError
from indexer.scope import Scope
from searchd.evaluate.evaluation import Evaluation
from searchd.evaluate.measuring import Measured, measure
from searchd.evaluate.sentences import caveats, stage_sentences, warnings
from searchd.evaluate.sources import FolderSource
from searchd.evaluate.trace import document_order, follow
from searchd.evaluate.trec import write_runs
from searchd.evaluate.types import JudgedData, first_queries
from searchd.evaluate.workbench import Workbench, fused_candidates, of_services
from searchd.rerank.table import RERANKERS, RerankerCache
from searchd.services import Services
from searchd.settings import Profile, Stage
from searchd.train import registry
from tests.searchd.evaluate.small_set import QUERIES, small_set
from tests.searchd.library import COUNT_WORDS, PROFILES, CountingReranker
from tests.searchd.train.test_registry import card

NAMED = {
    "nDCG@10": nDCG @ 10,
    "MRR@10": RR @ 10,
    "Recall@10": R @ 10,
    "Recall@50": R @ 50,
    "judged@10": Judged @ 10,
}
PLAIN = PROFILES["plain"]


def quietly(step: str, done: int, whole: int) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def bench(services: Services, counting_rerankers: None) -> Iterator[Workbench]:
    rerankers = RerankerCache(services.settings, services.rerankers.scheduler)
    yield replace(of_services(services, Scope.of("default")), rerankers=rerankers)
    rerankers.close()


def measured(bench: Workbench, data: JudgedData, profile: Profile) -> Measured:
    (found,) = measure(data, bench, {"plain": profile}, quietly, lambda: 100.0)
    return found


@pytest.fixture(scope="module")
def plain(bench: Workbench) -> Measured:
    return measured(bench, small_set(), PLAIN)


def test_every_system_and_prefix_is_measured_and_default_is_the_last(plain: Measured) -> None:
    names = [one.name for one in plain.evaluation.systems]
    assert names == ["bm25", "dense", "rrf", "rrf_tuned", "linear", "rrf + small", "rrf + small + large", "default"]
    assert list(plain.runs) == names
    assert plain.runs["default"] == plain.runs["rrf + small + large"]
    small, large = plain.evaluation.systems[5:7]
    assert (small.after, large.after) == ("rrf", "rrf + small")
    assert (small.pairs, large.pairs) == (12, 18)
    assert plain.evaluation.models == {"small": COUNT_WORDS, "large": COUNT_WORDS}
    assert large.p50_ms >= small.p50_ms > 0
    assert "held-out" in plain.evaluation.systems[3].note


def test_figures_are_those_of_ir_measures_on_the_exported_files(plain: Measured, tmp_path: Path) -> None:
    write_runs(tmp_path, plain.runs, small_set())
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels.txt")))
    for system in plain.evaluation.systems:
        run = ir_measures.read_trec_run(str(tmp_path / f"{system.name.replace(' ', '')}.run"))
        theirs = ir_measures.calc_aggregate(list(NAMED.values()), qrels, list(run))
        assert system.metrics == {name: pytest.approx(theirs[one], abs=1e-6) for name, one in NAMED.items()}
        low, high = system.ci["nDCG@10"]
        assert low <= system.metrics["nDCG@10"] <= high


def test_a_prefix_is_what_the_cascade_does_with_these_stages_alone(bench: Workbench) -> None:
    stages = (
        Stage(name="a", depth=14, keep=9, blend=0.7, early_stop_margin=0.5),
        Stage(name="b", depth=9, keep=4, blend=0.2),
        Stage(name="c", depth=4, keep=4, blend=1.0),
    )
    for topic in small_set().topics:
        question = bench.ask(topic, 20)
        trace = follow(bench, question, Profile(depth=20, stages=stages))
        fused = fused_candidates(question, Profile(depth=20))
        for count in range(1, 4):
            ordered, reports = bench.rerank(question, fused, stages[:count])
            assert trace.steps[count].documents == document_order(ordered)
            assert trace.steps[count].pairs == reports[-1].of - reports[-1].saved


def test_a_profile_that_fuses_otherwise_is_measured_over_its_own_order(bench: Workbench) -> None:
    profile = msgspec.structs.replace(PLAIN, fusion="linear", weights={"bm25": 0.9, "dense": 0.1})
    found = measured(bench, small_set(), profile)
    names = [one.name for one in found.evaluation.systems]
    assert names[5:] == ["fused", "fused + small", "fused + small + large", "default"]
    assert found.evaluation.systems[5].note == "as the profile fuses: linear, bm25 0.9, dense 0.1"
    question = bench.ask(small_set().topics[0], 20)
    assert found.runs["fused"]["q1"] == document_order(fused_candidates(question, profile))
    assert found.runs["rrf"]["q1"] == document_order(fused_candidates(question, Profile(depth=20)))
    assert any("the whole profile, against plain rrf," in one for one in stage_sentences(found.evaluation))


def test_a_profile_without_stages_is_plain_fusion(bench: Workbench) -> None:
    found = measured(bench, small_set(), Profile(depth=20, stages=()))
    assert [one.name for one in found.evaluation.systems][-1] == "default"
    assert found.runs["default"] == found.runs["rrf"]
    assert found.evaluation.reliability == () and found.evaluation.flows == ()
    assert stage_sentences(found.evaluation) == []


def test_unjudged_documents_count_for_reliability_only_where_the_set_is_complete(
    bench: Workbench, plain: Measured
) -> None:
    (judged,) = plain.evaluation.reliability
    (whole,) = measured(bench, small_set(complete=True), PLAIN).evaluation.reliability
    assert judged.name == whole.name == "sigmoid of large"
    assert (judged.unjudged_as_irrelevant, whole.unjudged_as_irrelevant) == (False, True)
    assert 0 < judged.pairs < whole.pairs <= 6 * 6


def test_grades_from_clicks_are_said_to_be_weak(bench: Workbench, plain: Measured) -> None:
    clicks = measured(bench, small_set(kind="clicks"), PLAIN).evaluation
    assert caveats(clicks)[0] == "weak grades from clicks"
    assert "weak grades from clicks" not in caveats(plain.evaluation)


def test_a_stage_whose_model_learned_from_the_set_is_in_the_evaluation(
    services: Services, bench: Workbench, plain: Measured, tmp_path: Path
) -> None:
    data = small_set()
    made = msgspec.structs.replace(card(0.5, 0.6, "taught"), learned_from=((data.collection, data.name),))
    registry.promote(services.settings, "taught", registry.store(services.settings, tmp_path, made).version)
    taught = msgspec.structs.replace(PLAIN.stages[0], model="taught")
    found = measured(bench, data, msgspec.structs.replace(PLAIN, stages=(taught,))).evaluation
    assert found.learned_from == {taught.name: ("taught v1", "set")}
    assert plain.evaluation.learned_from == {}


def test_queries_without_a_relevant_document_are_counted_and_said(bench: Workbench, plain: Measured) -> None:
    data = small_set()
    bare = replace(data, qrels={**data.qrels, "q1": dict.fromkeys(data.qrels["q1"], 0)})
    found = measured(bench, bare, Profile(depth=20, stages=())).evaluation
    assert (found.first_queries, found.principals) == (0, ())
    assert "1 of 6 queries has no relevant document: each counts as 0" in warnings(found)
    assert not any("no relevant document" in one for one in warnings(plain.evaluation))


def test_an_evaluation_says_as_whom_it_read_and_if_it_asked_the_first_queries_alone(
    services: Services, bench: Workbench
) -> None:
    scope = Scope.of("default", ("hr", "it"))
    reading = replace(bench, scope=scope, source=FolderSource(services, scope))
    found = measured(reading, first_queries(small_set(), 2), Profile(depth=20, stages=())).evaluation
    assert (found.principals, found.first_queries, len(found.queries)) == (("hr", "it"), 2, 2)
    assert first_queries(small_set(), 6) == small_set()


def test_an_evaluation_is_the_same_after_it_was_written_and_read(plain: Measured) -> None:
    text = msgspec.json.encode(plain.evaluation)
    assert msgspec.json.decode(text, type=Evaluation) == plain.evaluation
    assert msgspec.convert(msgspec.to_builtins(plain.evaluation), Evaluation) == plain.evaluation


def test_queries_that_moved_have_a_flow_of_the_documents_that_were_among_the_first(plain: Measured) -> None:
    flows = {flow.query_id: flow for flow in plain.evaluation.flows}
    moved = {
        one.query_id
        for one in plain.evaluation.queries
        if one.ndcg["default"] != pytest.approx(one.ndcg["rrf"], abs=1e-9)
    }
    assert set(flows) == moved
    for flow in flows.values():
        assert flow.columns == ("rrf", "small", "large")
        for place in flow.places:
            for rank, system in zip(place.ranks, ("rrf", "rrf + small", "default"), strict=True):
                order = plain.runs[system][flow.query_id]
                assert rank == (order.index(place.document_id) + 1 if place.document_id in order else None)


class Failing(CountingReranker):
    """Cannot score one query."""

    def score(self, request, passages):  # type: ignore[no-untyped-def]
        if request.query == QUERIES["q3"]:
            raise TransientError("the model is away")
        return super().score(request, passages)


def test_queries_in_which_a_stage_did_not_do_its_work_are_counted_and_said(
    services: Services, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RERANKERS, "cross_encoder", lambda *_: Failing())
    rerankers = RerankerCache(services.settings, services.rerankers.scheduler)
    found = measured(replace(bench, rerankers=rerankers), small_set(), PLAIN).evaluation
    rerankers.close()
    said = "small did not do all of its work in 1 of 6 queries (failed:"
    assert said in found.systems[5].note
    assert any(said in one for one in caveats(found))
    assert found.systems[5].pairs == 10


class Away(FolderSource):
    """Does not answer one query."""

    def retrieve(self, text: str, depth: int):  # type: ignore[no-untyped-def]
        if text == QUERIES["q4"]:
            raise TransientError("the vectors are away")
        return super().retrieve(text, depth)


def test_a_query_that_is_not_answered_ends_the_evaluation_and_is_named(services: Services, bench: Workbench) -> None:
    away = replace(bench, source=Away(services, bench.scope))
    with pytest.raises(TransientError, match="query 'q4': the vectors are away"):
        measure(small_set(), away, {"plain": PLAIN}, quietly)
