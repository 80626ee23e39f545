"""The golden ranks: `rank_stats.txt` holds what the ranking makes of a fixed corpus, so that a change of it is a diff.

The record is written anew by `python -m tests.golden.test_golden`, and reviewed with the change that asked for it.
"""

from __future__ import annotations

import sys
from difflib import unified_diff

import pytest

from tests.golden.ranking import HERE, Run, corpus, judgments, queries, ranked_corpus, rendered

RECORD = HERE / "rank_stats.txt"
REWRITE = "python -m tests.golden.test_golden"


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return ranked_corpus()


def test_the_ranks_are_those_on_record(runs: dict[str, Run]) -> None:
    recorded, now = RECORD.read_text("utf-8"), rendered(runs)
    diff = "".join(unified_diff(recorded.splitlines(True), now.splitlines(True), RECORD.name, "now"))
    assert not diff, f"the ranking changed; if that was meant, run `{REWRITE}`\n{diff}"


def test_bm25_ranks_documents_with_an_identifier_as_written_before_all_others(runs: dict[str, Run]) -> None:
    exact = {query_id: text.split()[0] for query_id, text in queries().items() if query_id.startswith("exact-")}
    others = 0
    for query_id, identifier in exact.items():
        holding = {i for i, row in corpus().items() if identifier in f"{row['title']}\n{row['text']}"}
        found = runs["bm25"][query_id]
        assert set(found[: len(holding)]) == holding, (identifier, found)
        others += len(found) - len(holding)
    assert others > 50, "documents with parts of the identifiers are what this is measured against"


@pytest.mark.parametrize("query_id", ["exact-01", "exact-02", "exact-04", "exact-06", "exact-07"])
def test_bm25_ranks_the_page_about_an_identifier_first(runs: dict[str, Run], query_id: str) -> None:
    best = max((q for q in judgments() if q.query_id == query_id), key=lambda qrel: qrel.relevance)
    assert runs["bm25"][query_id][0] == best.doc_id


def test_a_quoted_phrase_finds_only_the_document_that_has_it(runs: dict[str, Run]) -> None:
    assert {tuple(run["phrase-01"]) for run in runs.values()} == {("cache-invalidation",)}


def test_what_is_judged_exists_and_no_query_passes_a_limit() -> None:
    assert {qrel.doc_id for qrel in judgments()} <= set(corpus())
    assert {qrel.query_id for qrel in judgments()} == set(queries())
    assert all(len(text) <= 512 and len(text.split()) <= 32 for text in queries().values())


def main() -> None:
    """Write the record anew."""
    RECORD.write_text(rendered(ranked_corpus()), "utf-8")
    sys.stdout.write(f"{RECORD} is written\n")


if __name__ == "__main__":
    main()
