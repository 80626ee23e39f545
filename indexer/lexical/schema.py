"""The fields of the Tantivy index, and one document's passages as rows of it. No passage text is stored there.

Terms come ready from `analysis.py`, joined by spaces, and tantivy's whitespace tokenizer takes them apart again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import tantivy

from indexer.lexical.analysis import Analyzer, Token, words_of
from indexer.lexical.filters import TERMS, terms_of
from indexer.types import IndexedDocument

PASSAGE_ID, DOCUMENT_ID, VERSION, ACCESS = "passage_id", "document_id", "version", "access"
TITLE, HEADING, BODY = "title", "heading", "body"
TITLE_EXACT, HEADING_EXACT, BODY_EXACT = "title_exact", "heading_exact", "body_exact"
EXACT_OF = {TITLE: TITLE_EXACT, HEADING: HEADING_EXACT, BODY: BODY_EXACT}


def build_schema() -> tantivy.Schema:
    """Return the schema; a change here must change ANALYZER_VERSION."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field(PASSAGE_ID, stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field(DOCUMENT_ID, stored=True, fast=True, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field(VERSION, stored=True)
    for field in (*EXACT_OF, *EXACT_OF.values()):
        builder.add_text_field(field, tokenizer_name="whitespace", index_option="position")
    for field in (ACCESS, TERMS):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    return builder.build()


def rows_of(document: IndexedDocument, analyzer: Analyzer) -> Iterator[tantivy.Document]:
    """Yield one row a passage; the title and the headings above a passage are searched with it."""
    title = list(words_of(document.title))
    titles = {TITLE: joined(analyzer.stemmed(title)), TITLE_EXACT: joined(analyzer.exact(title))}
    terms = terms_of(document.metadata)
    for passage in document.passages:
        words = list(words_of(passage.text))
        headings = [list(words_of(h)) for h in passage.heading_path if h != document.title]
        row = tantivy.Document()
        row.add_text(PASSAGE_ID, passage.passage_id)
        row.add_text(DOCUMENT_ID, document.document_id)
        row.add_unsigned(VERSION, document.version)  # `add_integer` would kill the writer thread
        for field, text in titles.items():
            row.add_text(field, text)
        for heading in headings:  # one value each: a phrase does not run from one heading into the next
            row.add_text(HEADING, joined(analyzer.stemmed(heading)))
            row.add_text(HEADING_EXACT, joined(analyzer.exact(heading)))
        row.add_text(BODY, joined(analyzer.stemmed(words)))
        row.add_text(BODY_EXACT, joined(analyzer.exact(words)))
        for principal in document.access:
            row.add_text(ACCESS, principal)
        for term in terms:
            row.add_text(TERMS, term)
        yield row


def joined(tokens: Sequence[Token]) -> str:
    """Return terms as tantivy is given them."""
    return " ".join([token.term for token in tokens])
