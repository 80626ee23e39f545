"""No passage is tokenised by a search: rerankers read the ids that were stored when it was indexed.

Seen by what is stored: where the ids in SQL are exchanged for those of other texts, scores are the other texts'.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, func, select, update

from indexer import ingest
from indexer.apply import embedded_text
from indexer.housekeeping import keep_house
from indexer.scope import Scope
from indexer.store import tokens
from indexer.store.database import Database, open_database
from indexer.store.tables import DocumentRow, TokensRow, TokenVectorRow
from indexer.types import Passage
from searchd.rerank.text import passage_text
from searchd.rerank.types import PassageText, ScoreRequest
from searchd.services import Services, build_services
from searchd.settings import Profile, Settings, Stage
from searchd.types import Candidate, SearchResponse
from tests.daemon import command
from tests.searchd.library import ask, index, source
from tests.searchd.rerank.families import write_decoder, write_encoder
from tests.searchd.rerank.late_models import write_stanford
from tests.searchd.rerank.models import write_tiny

EVERYONE = Scope.of("default")
DEPTH = 8


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Services]:
    """Return the product with rerankers of three tokenizers, and a dozen documents."""
    write_tiny(tmp_path / "tiny")
    write_encoder(tmp_path / "bpe", "roberta")
    write_decoder(tmp_path / "asked", "qwen3")
    stages = {
        "tiny": Stage(name="tiny", model=str(tmp_path / "tiny"), depth=DEPTH, max_length=96, budget_ms=20_000),
        "bpe": Stage(name="bpe", model=str(tmp_path / "bpe"), depth=DEPTH, max_length=96, budget_ms=20_000),
        "asked": Stage(name="asked", kind="causal", prompt="qwen3", model=str(tmp_path / "asked"), depth=DEPTH,
                       max_length=320, budget_ms=20_000),
    }  # fmt: skip
    settings = Settings(
        data_dir=str(tmp_path / "data"), parser_processes=1, timeout_ms=30_000, dtype="float32", threads=1, score_cache=0,
        profiles={"default": Profile(stages=(stages["tiny"],))} | {name: Profile(stages=(stages[name],)) for name in stages},
    )  # fmt: skip
    services = build_services(settings, worker=False)
    try:
        services.warm_up()
        index(
            services.engine, [source(f"m{n}", f"# Manual {n}\n\nThe valve of pump {n} is closed.") for n in range(12)]
        )
        yield services
    finally:
        services.close()


def search(services: Services, profile: str, q: str = "valve of a pump", **options: object) -> SearchResponse:
    response = services.pipeline.search(ask(services, q, profile=profile, **options), EVERYONE)
    assert [report.status for report in response.stages] == ["full"]
    return response


def scores(response: SearchResponse, stage: str) -> dict[str, float]:
    return {one.document_id: one.scores[stage] for one in response.candidates if stage in one.scores}


def exchange(services: Services, fingerprint: str, text: str) -> None:
    """Put the ids of another text in place of those of every passage."""
    tokenizer = next(one for one in services.rerankers.tokenizers() if one.fingerprint == fingerprint)
    (ids,) = tokenizer.encode([text])
    with services.engine.database.session() as session:
        session.execute(update(TokensRow).where(TokensRow.tokenizer == fingerprint).values(ids=tokens.packed(ids)))


@pytest.mark.parametrize("name", ["tiny", "bpe", "asked"])
def test_all_that_a_stage_scores_comes_with_its_ids(served: Services, name: str) -> None:
    stage = served.settings.profiles[name].stages[0]
    (tokenizer,) = served.rerankers.tokenizers([stage])
    before = scores(search(served, name), name)
    assert len(before) == DEPTH
    assert len(set(before.values())) > 1

    exchange(served, tokenizer.fingerprint, "oil")
    reranker = served.rerankers.of(stage)
    request = ScoreRequest("valve of a pump", stage.max_length)
    (expected,) = reranker.score(request, [PassageText("oil")])
    after = scores(search(served, name), name)
    assert set(after) == set(before)
    np.testing.assert_allclose(list(after.values()), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "bpe", "asked"])
def test_stored_ids_give_the_scores_of_the_texts(served: Services, name: str) -> None:
    stored = scores(search(served, name), name)
    with served.engine.database.session() as session:
        session.execute(delete(TokensRow))
    assert scores(search(served, name), name) == pytest.approx(stored, abs=1e-5)


def test_under_a_new_title_nothing_stored_is_used_before_it_is_indexed_again(served: Services) -> None:
    (tokenizer,) = served.rerankers.tokenizers(served.settings.profiles["tiny"].stages)
    before = scores(search(served, "tiny"), "tiny")
    exchange(served, tokenizer.fingerprint, "oil")
    (same,) = {round(score, 4) for score in scores(search(served, "tiny"), "tiny").values()}
    name = next(iter(before))
    with served.engine.database.session() as session:
        session.execute(update(DocumentRow).where(DocumentRow.document_id == name).values(title="Another title"))
    after = scores(search(served, "tiny"), "tiny")
    assert {document for document, score in after.items() if round(score, 4) != same} == {name}


def test_each_tokenizer_has_a_row_a_passage_and_only_first_candidates_are_given_theirs(served: Services) -> None:
    with served.engine.database.read() as session:
        rows = dict(session.execute(select(TokensRow.tokenizer, func.count()).group_by(TokensRow.tokenizer)).all())
    assert set(rows.values()) == {12}
    assert set(rows) == {one.fingerprint for one in served.rerankers.tokenizers()}
    assert len(rows) == 3
    assert served.engine.embedder.passages.fingerprint in rows
    (tokenizer,) = served.rerankers.tokenizers(served.settings.profiles["bpe"].stages)
    for options, given in (({}, DEPTH), ({"rerank": {"depth": 3}}, 3), ({"rerank": {"enabled": False}}, 0)):
        query = ask(served, "valve of a pump", profile="bpe", **options)
        found = served.pipeline.search(query, EVERYONE).candidates
        assert sorted(set(one.tokens) for one in found if one.tokens) == [{tokenizer.fingerprint}] * given


def test_what_is_indexed_before_any_reranker_is_loaded_has_its_ids_too(tmp_path: Path) -> None:
    write_encoder(tmp_path / "bpe", "roberta")
    stage = Stage(name="bpe", model=str(tmp_path / "bpe"))
    settings = Settings(
        data_dir=str(tmp_path / "data"), parser_processes=1, dtype="float32", threads=1,
        profiles={"default": Profile(stages=(stage,))},
    )  # fmt: skip
    services = build_services(settings, worker=False)
    try:
        index(services.engine, [source("a", "# A\n\nA document.")])
        assert services.rerankers.names() == []
        assert ids_stored(services.engine.database) == 2, "the embedder's and the stage's"
    finally:
        services.close()


def test_a_command_that_indexes_without_a_daemon_stores_the_ids_of_the_stages(tmp_path: Path) -> None:
    write_encoder(tmp_path / "bpe", "roberta")
    stages = f"[[profiles.default.stages]]\nname = 'bpe'\nmodel = {str(tmp_path / 'bpe')!r}\n"
    with added_without_a_daemon(tmp_path, stages) as database:
        assert ids_stored(database) == 2


@contextlib.contextmanager
def added_without_a_daemon(folder: Path, options: str) -> Iterator[Database]:
    """Add a document by the command, under these settings; return the database it is in."""
    data = folder / "data"
    (folder / "searchd.toml").write_text(f"parser_processes = 1\n{options}")
    (folder / "a.md").write_text("# A\n\nA document.")
    done = command("indexer", "add", "a.md", data_dir=data, cwd=folder)
    assert done.returncode == 0, done.stderr
    with contextlib.closing(open_database(Settings(data_dir=str(data)).resolved_database_url)) as database:
        yield database


def ids_stored(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(TokensRow)) or 0


def test_a_model_that_is_not_loaded_yet_has_no_tokenizer_and_is_not_loaded_for_it(served: Services) -> None:
    other = Stage(name="other", model="/nowhere")
    assert served.rerankers.tokenizers([other]) == []
    assert "/nowhere" not in served.rerankers.names()


@pytest.mark.parametrize("headings", [(), ("Title",), ("Part", "Title", "Chapter")])
def test_rerankers_read_exactly_what_the_embedder_saw(headings: tuple[str, ...]) -> None:
    for title, text in (("Title", "words"), ("", " words\n"), ("Title", "")):
        candidate = Candidate("id", "d", {}, {}, title=title, text=text, heading_path=headings)
        passage = Passage("id", "d", 0, text, 0, len(text), headings, None)
        assert passage_text(candidate) == embedded_text(title, passage)


# -- token vectors --------------------------------------------------------------------------------------------------


def late_settings(folder: Path, **options: object) -> Settings:
    stage = Stage(name="late", kind="late_interaction", model=str(folder / "colbert"), depth=DEPTH, max_length=96,
                  budget_ms=20_000)  # fmt: skip
    given = {"token_vectors": stage.model} | options
    return Settings(
        data_dir=str(folder / "data"), parser_processes=1, timeout_ms=30_000, dtype="float32", threads=1, score_cache=0,
        profiles={"late": Profile(stages=(stage,))}, **given,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Services]:
    """Return the product with a late-interaction stage whose token vectors are stored."""
    write_stanford(tmp_path / "colbert", metadata={"query_maxlen": 32})
    services = build_services(late_settings(tmp_path), worker=False)
    try:
        index(
            services.engine, [source(f"m{n}", f"# Manual {n}\n\nThe valve of pump {n} is closed.") for n in range(12)]
        )
        yield services
    finally:
        services.close()


def test_a_late_interaction_stage_scores_the_token_vectors_that_were_stored(late: Services) -> None:
    before = scores(search(late, "late"), "late")
    with late.engine.database.session() as session:
        assert session.scalar(select(func.count()).select_from(TokenVectorRow)) == 12
        stored = next(iter(session.execute(select(TokenVectorRow.tokens, TokenVectorRow.vectors))))
        session.execute(update(TokenVectorRow).values(tokens=stored.tokens, vectors=stored.vectors))
    after = scores(search(late, "late"), "late")
    assert set(after) == set(before)
    assert len({round(score, 4) for score in before.values()}) > 1
    assert len({round(score, 4) for score in after.values()}) == 1
    with late.engine.database.session() as session:
        session.execute(delete(TokenVectorRow))
    assert scores(search(late, "late"), "late") == pytest.approx(before, abs=0.02)


def test_token_vectors_of_texts_that_are_gone_are_forgotten(late: Services) -> None:
    ingest.remove(late.engine.database, "default", ["m1", "m2"], late.engine.clock())
    index(late.engine, [source("new", "# New\n\nA new document.")])
    assert keep_house(late.engine) == (0, 2)
    with late.engine.database.read() as session:
        assert session.scalar(select(func.count()).select_from(TokenVectorRow)) == 11


def test_without_the_setting_none_are_stored(tmp_path: Path) -> None:
    write_stanford(tmp_path / "colbert", metadata={"query_maxlen": 32})
    services = build_services(late_settings(tmp_path, token_vectors=""), worker=False)
    try:
        index(services.engine, [source("a", "# A\n\nA document.")])
        with services.engine.database.read() as session:
            assert session.scalar(select(func.count()).select_from(TokenVectorRow)) == 0
    finally:
        services.close()


def test_the_command_line_without_a_daemon_stores_them_too(tmp_path: Path) -> None:
    write_stanford(tmp_path / "colbert", metadata={"query_maxlen": 32})
    model = str(tmp_path / "colbert")
    stage = f"[[profiles.late.stages]]\nname = 'late'\nkind = 'late_interaction'\nmodel = {model!r}\n"
    with (
        added_without_a_daemon(tmp_path, f"token_vectors = {model!r}\n{stage}") as database,
        database.read() as session,
    ):
        assert session.scalar(select(func.count()).select_from(TokenVectorRow)) == 1


def test_a_model_without_a_late_interaction_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="token_vectors names the model of a stage of kind late_interaction"):
        late_settings(tmp_path, token_vectors="another")
