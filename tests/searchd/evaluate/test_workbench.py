"""The workbench over the library: it ranks, reads and reranks as the pipeline does, and scores each pair once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from litestar.testing import TestClient
from sqlalchemy import update

from indexer.client import RemoteIndexer
from indexer.errors import TransientError
from indexer.scope import Scope
from indexer.store.tables import DocumentRow
from searchd.api.schemas import SearchRequest
from searchd.api.search import query_from_request
from searchd.app import create_app
from searchd.evaluate.scores import ScoreTable
from searchd.evaluate.sources import DaemonSource, FolderSource
from searchd.evaluate.types import Topic
from searchd.evaluate.workbench import Workbench, fused_candidates, of_services
from searchd.present import by_document
from searchd.rerank.cascade import Cascade
from searchd.rerank.types import Reranker
from searchd.services import Services
from searchd.settings import Profile, Stage
from searchd.types import Candidate, RerankRequest
from tests.searchd.library import PROFILES, CountingReranker

QUERIES = ("valve of pump number 7", "how is the motor stopped", '"pump number 3" -slowly', "papers")


@pytest.fixture
def bench(services: Services) -> Workbench:
    return of_services(services, Scope.of("default"))


def in_pipeline(services: Services, text: str, scope: Scope) -> list[str]:
    query, _ = query_from_request(SearchRequest(q=text, profile="plain", limit=100), services.settings)
    return list(by_document(services.pipeline.search(query, scope).candidates))


def documents(candidates: Sequence[Candidate]) -> list[str]:
    return list(by_document(candidates))


@pytest.mark.parametrize("text", QUERIES)
def test_it_orders_as_the_pipeline_does(services: Services, bench: Workbench, text: str) -> None:
    profile = PROFILES["plain"]
    question = bench.ask(Topic("1", text))
    cascade = Cascade(lambda stage: CountingReranker())
    ordered, reports = cascade.rerank(
        question.meaning, fused_candidates(question, profile), profile.stages, RerankRequest(), float("inf")
    )
    assert {report.status for report in reports} == {"full"}
    assert documents(ordered) == in_pipeline(services, text, bench.scope)


def test_a_smaller_depth_is_the_beginning_of_a_larger_one(bench: Workbench) -> None:
    text = "valve of pump number 7"
    deep, shallow = bench.ask(Topic("1", text), 60), bench.ask(Topic("1", text), 20)
    cut = Profile(depth=20, stages=())
    assert documents(fused_candidates(deep, cut)) == documents(fused_candidates(shallow, cut))
    assert len(fused_candidates(deep, Profile(stages=()))) > len(fused_candidates(deep, cut))


def test_what_a_reader_may_not_read_is_in_no_ranking(services: Services) -> None:
    everybody = of_services(services, Scope.of("default"))
    board = of_services(services, Scope.of("default", ["board"]))
    seen = {name.document_id for name in everybody.ask(Topic("1", "board papers about the budget")).passages.values()}
    more = {name.document_id for name in board.ask(Topic("1", "board papers about the budget")).passages.values()}
    assert seen < more


def test_a_rebuild_meanwhile_is_told_and_not_measured_as_nothing_found(bench: Workbench) -> None:
    with pytest.raises(TransientError, match="was rebuilt meanwhile"):
        replace(bench, generation_id="the one before").ask(Topic("1", "valve of pump number 7"))


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[TestClient]:  # type: ignore[type-arg]
    with TestClient(create_app(services), base_url="http://127.0.0.1") as opened:
        yield opened


def test_a_daemon_gives_the_same_rankings_as_its_folder(services: Services, client: TestClient) -> None:  # type: ignore[type-arg]
    remote = RemoteIndexer("http://127.0.0.1")
    remote.client = client  # its server, in this process
    for text in QUERIES:
        there = DaemonSource(remote, "default").retrieve(text, 30)
        here = FolderSource(services, Scope.of("default")).retrieve(text, 30)
        assert (there.meaning, there.rankings, there.excluded) == (here.meaning, here.rankings, here.excluded)
        assert set(there.ms) == {"bm25", "dense"}


def test_rankings_are_for_who_may_write(services: Services, client: TestClient) -> None:  # type: ignore[type-arg]
    answer = client.post("/api/rankings", json={"q": "pump"}, headers={"X-Forwarded-For": "10.0.0.1"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    answer = client.post("/api/rankings", json={"q": "pump", "depth": 0})
    assert answer.status_code == 422
    answer = client.post("/api/rankings", json={"q": "pump", "collection": "nowhere"})
    assert answer.status_code == 404


def test_a_daemon_tells_no_document_that_sql_withholds_though_the_index_still_has_it(
    services: Services,
    client: TestClient,  # type: ignore[type-arg]
) -> None:
    def told() -> dict[str, set[str]]:
        answer = client.post("/api/rankings", json={"q": "valve of pump number 7", "depth": 100}).json()
        return {system: {row[1] for row in rows} for system, rows in answer["rankings"].items()}

    def let_read(*principals: str) -> None:
        row = (DocumentRow.collection == "default", DocumentRow.document_id == "manual-07")
        with services.engine.database.session() as session:
            session.execute(update(DocumentRow).where(*row).values(access=list(principals)))

    assert all("manual-07" in documents for documents in told().values())
    let_read("board")
    try:
        assert set(told()) == {"bm25", "dense"}
        assert not any("manual-07" in documents for documents in told().values())
    finally:
        let_read("public")


class Noting(CountingReranker):
    """Notes how many passages it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score(self, request, passages):  # type: ignore[no-untyped-def]
        self.asked.append(len(passages))
        return super().score(request, passages)


def test_a_pair_is_scored_once_however_many_cascades_ask_for_it(bench: Workbench) -> None:
    noting = Noting()

    def load(stage: Stage) -> Reranker:
        return noting

    table = ScoreTable(load)
    question = bench.ask(Topic("1", "valve of pump number 7"))
    fused = fused_candidates(question, Profile(depth=20, stages=()))
    deep, narrow = Stage(name="a", depth=20, keep=10), Stage(name="b", depth=8, keep=4, blend=1.0)
    orders = []
    for stages in ((deep,), (narrow,), (narrow, deep)):
        cascade = Cascade(table.remembered(question))
        orders.append(cascade.rerank(question.meaning, fused, stages, RerankRequest(), float("inf"))[0])
    assert noting.asked == [20]
    assert table.pairs(deep) == 20 and table.ms_per_pair(deep) > 0
    plain = Cascade(lambda stage: CountingReranker())
    for stages, order in zip(((deep,), (narrow,), (narrow, deep)), orders, strict=True):
        expected, _ = plain.rerank(question.meaning, fused, stages, RerankRequest(), float("inf"))
        assert documents(order) == documents(expected)
    asked_otherwise = Stage(name="c", max_length=64)
    assert len(table.missing(question, asked_otherwise, [one.passage_id for one in fused])) == len(fused)
