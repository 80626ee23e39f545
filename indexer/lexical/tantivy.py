"""Tantivy behind the LexicalIndex protocol: passages in, BM25 rankings out. User text never reaches tantivy's parsers.

Text is analysed by `analysis.py` and handed over as ready terms, so index, query and highlights agree to the letter.
The writer is open only between the first change and the flush, so that several processes may write in turn.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import tantivy

from indexer.errors import Busy, StaleIndex
from indexer.filters import Filter
from indexer.lexical import Clause, LexicalQuery, LexicalRanking
from indexer.lexical.analysis import Stemmer, Word, words_of
from indexer.lexical.filters import TERMS, compile_filter, terms_of
from indexer.scope import Scope
from indexer.types import IndexedDocument, IndexedPassage, RankedPassage

T = TypeVar("T")

HEAP_BYTES = 64_000_000
LOCK_WAIT_S = 60.0
MATCHES_KEPT = 10_000
SCAN_AT_ONCE = 5000
MANIFEST = "searchd-checksums.json"
TITLE_BOOST, HEADING_BOOST, EXACT_BOOST, IDENTIFIER_BOOST = 1.5, 1.0, 0.3, 3.0


def build_schema() -> tantivy.Schema:
    """Return the schema; a change here must change ANALYZER_VERSION."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("passage_id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("document_id", stored=True, fast=True, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("version", stored=True, fast=True)
    for name in ("title", "title_exact", "heading", "body", "body_exact", "identifiers"):
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    builder.add_text_field("access", tokenizer_name="raw", index_option="basic")
    builder.add_text_field(TERMS, tokenizer_name="raw", index_option="basic")
    return builder.build()


class TantivyIndex:
    """BM25 index in one folder. See `LexicalIndex` for the verbs."""

    def __init__(self, path: Path, language: str) -> None:
        """Open the folder, made if missing. Raises: StaleIndex if it is damaged."""
        self.path = path
        self.schema = build_schema()
        self.stem = Stemmer(language)
        self._lock = threading.RLock()
        self._writer: tantivy.IndexWriter | None = None
        path.mkdir(parents=True, exist_ok=True)
        self._index = self._guarded(self._open)

    def _open(self) -> tantivy.Index:
        index = tantivy.Index(self.schema, str(self.path), reuse=True)
        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
        index.register_tokenizer("whitespace", builder.build())
        index.config_reader(reload_policy="manual")
        return index

    def _guarded(self, call: Callable[[], T]) -> T:
        """Run `call`; what tantivy raises on damaged files (a BaseException among it) becomes StaleIndex."""
        try:
            return call()
        except (ValueError, OSError) as error:
            raise StaleIndex(f"the Tantivy index in {self.path} is damaged ({error}); run: indexer rebuild") from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise StaleIndex(f"the Tantivy index in {self.path} is damaged ({error}); run: indexer rebuild") from None

    # -- writing --------------------------------------------------------------------------------------------------

    def _open_writer(self) -> tantivy.IndexWriter:
        """Return the writer, waiting for another process's turn to end. Raises: Busy after LOCK_WAIT_S."""
        end = time.monotonic() + LOCK_WAIT_S
        while self._writer is None:
            try:
                self._writer = self._index.writer(HEAP_BYTES, 1)
            except ValueError as error:
                if "lock" not in str(error).lower():
                    raise StaleIndex(f"the Tantivy index in {self.path} cannot be written ({error}); run: indexer rebuild") from error
                if time.monotonic() > end:
                    raise Busy(f"another process has been writing {self.path} for {LOCK_WAIT_S:.0f} s") from None
                time.sleep(0.05)
        return self._writer

    def replace(self, documents: Sequence[IndexedDocument]) -> None:
        """Delete by document id, then add the passages."""
        with self._lock:
            writer = self._open_writer()
            for document in documents:
                writer.delete_documents_by_term("document_id", document.document_id)
                for row in self._rows(document):
                    writer.add_document(row)

    def _rows(self, document: IndexedDocument) -> Iterator[tantivy.Document]:
        title = list(words_of(document.title))
        terms = terms_of(document.metadata)
        for passage in document.passages:
            words = list(words_of(passage.text))
            heading = [w for h in passage.heading_path if h != document.title for w in words_of(h)]
            row = tantivy.Document()
            row.add_text("passage_id", passage.passage_id)
            row.add_text("document_id", document.document_id)
            row.add_unsigned("version", document.version)
            row.add_text("title", self._stemmed(title))
            row.add_text("title_exact", exact(title))
            row.add_text("heading", self._stemmed(heading))
            row.add_text("body", self._stemmed(words))
            row.add_text("body_exact", exact(words))
            row.add_text("identifiers", " ".join(w.text for w in (*title, *heading, *words) if w.is_identifier))
            for principal in document.access:
                row.add_text("access", principal)
            for term in terms:
                row.add_text(TERMS, term)
            yield row

    def _stemmed(self, words: Sequence[Word]) -> str:
        return " ".join(self.stem(part.text) for word in words for part in word.parts)

    def delete(self, document_ids: Sequence[str]) -> None:
        """Delete all passages of these documents."""
        with self._lock:
            for document_id in document_ids:
                self._open_writer().delete_documents_by_term("document_id", document_id)

    def flush(self) -> None:
        """Commit, let the writer go, record checksums, and show it to searches here."""
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.commit()
                writer.wait_merging_threads()
                del writer
                write_manifest(self.path)
            self._index.reload()

    # -- reading --------------------------------------------------------------------------------------------------

    def search(self, query: LexicalQuery, scope: Scope, filter: Filter | None, depth: int) -> LexicalRanking:
        """Return the best `depth` passages within scope and filter, and the documents of all matches."""
        text = self.compile(query)
        if text is None:
            return LexicalRanking((), frozenset(), True)
        return self._guarded(lambda: self._search(text, scope, filter, depth))

    def _search(self, text: tantivy.Query, scope: Scope, filter: Filter | None, depth: int) -> LexicalRanking:
        must = tantivy.Occur.Must
        principals = [
            (tantivy.Occur.Should, tantivy.Query.term_query(self.schema, "access", principal, "basic"))
            for principal in sorted(scope.principals)
        ]
        clauses = [(must, text), (must, unscored(tantivy.Query.boolean_query(principals)))]
        if filter is not None:
            clauses.append((must, unscored(compile_filter(filter, self.schema))))
        query = tantivy.Query.boolean_query(clauses)
        searcher = self._index.searcher()
        if searcher.num_docs == 0:
            return LexicalRanking((), frozenset(), True)
        hits = searcher.search(query, depth + 16, count=False).hits
        ranked = []
        for score, address in hits:
            stored = searcher.doc(address)
            ranked.append(RankedPassage(stored["passage_id"][0], stored["document_id"][0], float(score)))
        ranked.sort(key=lambda passage: (-passage.score, passage.passage_id))
        terms = {"field": "document_id", "size": MATCHES_KEPT + 1, "segment_size": MATCHES_KEPT + 1}
        buckets = searcher.aggregate(query, {"documents": {"terms": terms}})["documents"]["buckets"]
        ids = frozenset(bucket["key"] for bucket in buckets[:MATCHES_KEPT])
        return LexicalRanking(tuple(ranked[:depth]), ids, len(buckets) <= MATCHES_KEPT)

    def compile(self, query: LexicalQuery) -> tantivy.Query | None:
        """Build the Query of a user's clauses; None if it can match nothing (no clause, or only forbidden ones)."""
        clauses = [(occur(clause), compiled) for clause in query.clauses if (compiled := self._clause(clause)) is not None]
        if all(kind == tantivy.Occur.MustNot for kind, _ in clauses):
            return None
        if any(kind == tantivy.Occur.Must for kind, _ in clauses):
            return tantivy.Query.boolean_query(clauses)
        should = [pair for pair in clauses if pair[0] == tantivy.Occur.Should]
        rest = [pair for pair in clauses if pair[0] == tantivy.Occur.MustNot]
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, tantivy.Query.boolean_query(should)), *rest])

    def _clause(self, clause: Clause) -> tantivy.Query | None:
        words = list(words_of(clause.text))
        if not words:
            return None
        if clause.phrase:
            fields = ["title_exact"] if clause.title_only else ["title_exact", "body_exact"]
            return any_of([self._phrase(field, words) for field in fields])
        return any_of([query for word in words for query in self._word(word, clause.title_only)])

    def _phrase(self, field: str, words: Sequence[Word]) -> tantivy.Query:
        terms: list[str | tuple[int, str]] = [part.text for word in words for part in word.parts]
        if len(terms) == 1:
            return tantivy.Query.term_query(self.schema, field, terms[0])
        return tantivy.Query.phrase_query(self.schema, field, terms)

    def _word(self, word: Word, title_only: bool) -> Iterator[tantivy.Query]:
        """Yield what a plain word matches: its stems in each field, itself unstemmed a little, an identifier whole."""
        fields = [("title", TITLE_BOOST)] if title_only else [("body", 1.0), ("title", TITLE_BOOST), ("heading", HEADING_BOOST)]
        for part in word.parts:
            for field, boost in fields:
                yield boosted(tantivy.Query.term_query(self.schema, field, self.stem(part.text)), boost)
            exact_field = "title_exact" if title_only else "body_exact"
            yield boosted(tantivy.Query.term_query(self.schema, exact_field, part.text), EXACT_BOOST)
        if word.is_identifier:
            yield boosted(tantivy.Query.term_query(self.schema, "identifiers", word.text), IDENTIFIER_BOOST)
            if len(word.parts) > 1:
                yield boosted(self._phrase("title_exact" if title_only else "body_exact", [word]), IDENTIFIER_BOOST)

    def matched_terms(self, query: LexicalQuery, text: str) -> tuple[tuple[int, int, str], ...]:
        """Return (start, end, query word) in characters of what the query matches in `text`, in order."""
        stems: dict[str, str] = {}
        phrases: list[tuple[list[str], str]] = []
        for clause in query.clauses:
            words = list(words_of(clause.text))
            if clause.forbidden or not words:
                continue
            if clause.phrase:
                phrases.append(([part.text for word in words for part in word.parts], clause.text))
                continue
            for word in words:
                for part in word.parts:
                    stems.setdefault(self.stem(part.text), word.text)
        parts = [part for word in words_of(text) for part in word.parts]
        found = {(p.start, p.end): stems[s] for p in parts if (s := self.stem(p.text)) in stems}
        for terms, shown in phrases:
            for i in range(len(parts) - len(terms) + 1):
                if [part.text for part in parts[i : i + len(terms)]] == terms:
                    found[(parts[i].start, parts[i + len(terms) - 1].end)] = shown
        return tuple((start, end, word) for (start, end), word in sorted(found.items()))

    def scan(self) -> Iterator[IndexedPassage]:
        """Yield every passage held."""
        searcher = self._guarded(self._index.searcher)
        offset = 0
        while True:
            hits = self._guarded(
                lambda offset=offset: searcher.search(  # type: ignore[misc]  # a default argument binds the loop variable
                    tantivy.Query.all_query(), SCAN_AT_ONCE, count=False, offset=offset
                ).hits
            )
            for _, address in hits:
                stored = self._guarded(lambda address=address: searcher.doc(address))  # type: ignore[misc]  # as above
                yield IndexedPassage(stored["passage_id"][0], stored["document_id"][0], int(stored["version"][0]))
            if len(hits) < SCAN_AT_ONCE:
                return
            offset += SCAN_AT_ONCE

    def verify(self) -> list[str]:
        """Return a sentence per file that is missing or differs from its checksum."""
        with self._lock:
            return check_manifest(self.path)

    def refresh(self) -> None:
        """See what other processes have committed."""
        self._guarded(self._index.reload)

    def close(self) -> None:
        """Drop unflushed changes and let the lock go."""
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is not None:
                with contextlib.suppress(ValueError):
                    writer.rollback()


def exact(words: Sequence[Word]) -> str:
    """Return the unstemmed parts of words, for the whitespace tokenizer."""
    return " ".join(part.text for word in words for part in word.parts)


def occur(clause: Clause) -> tantivy.Occur:
    """Return how a clause counts; phrases and `+` are musts."""
    if clause.forbidden:
        return tantivy.Occur.MustNot
    return tantivy.Occur.Must if clause.required or clause.phrase or clause.title_only else tantivy.Occur.Should


def any_of(queries: Sequence[tantivy.Query]) -> tantivy.Query:
    """Return a query that matches where any of these does, scores added."""
    return queries[0] if len(queries) == 1 else tantivy.Query.boolean_query([(tantivy.Occur.Should, q) for q in queries])


def boosted(query: tantivy.Query, boost: float) -> tantivy.Query:
    """Return the query with its score multiplied."""
    return query if boost == 1.0 else tantivy.Query.boost_query(query, boost)


def unscored(query: tantivy.Query) -> tantivy.Query:
    """Return the query so that it restricts and adds nothing to a score."""
    return tantivy.Query.const_score_query(query, 0.0)


def index_files(path: Path) -> list[Path]:
    """Return the files that tantivy never changes once written, and the list of them it commits."""
    return sorted(f for f in path.iterdir() if f.is_file() and f.name != MANIFEST and not f.name.startswith("."))


def write_manifest(path: Path) -> None:
    """Record the checksum of every index file; unchanged ones (same name, size, time) are not read again."""
    known = read_manifest(path)
    entries = {}
    for file in index_files(path):
        stat = file.stat()
        old = known.get(file.name)
        if old is not None and old[:2] == [stat.st_size, stat.st_mtime_ns]:
            entries[file.name] = old
        else:
            entries[file.name] = [stat.st_size, stat.st_mtime_ns, digest_of(file)]
    draft = path / f"{MANIFEST}.{os.getpid()}"
    with draft.open("w", encoding="utf-8") as opened:
        json.dump(entries, opened)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(path / MANIFEST)


def read_manifest(path: Path) -> dict[str, list[int | str]]:
    """Return the recorded checksums; none if there is no readable manifest."""
    try:
        loaded: dict[str, list[int | str]] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded


def check_manifest(path: Path) -> list[str]:
    """Compare every file with its recorded checksum."""
    wrong = []
    for name, (size, _, digest) in read_manifest(path).items():
        file = path / name
        if not file.is_file():
            if name.endswith(".json") or name.endswith(".lock"):
                wrong.append(f"{file} is missing")
            elif name.split(".")[0] in (path / "meta.json").read_text(encoding="utf-8").replace("-", ""):
                wrong.append(f"{file} is missing")
        elif not name.endswith(".lock") and (file.stat().st_size != size or digest_of(file) != digest):
            wrong.append(f"{file} is damaged: its checksum differs")
    return wrong


def digest_of(file: Path) -> str:
    """Return the hex sha256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
