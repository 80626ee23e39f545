"""Tantivy behind the LexicalIndex protocol: passages in, BM25 rankings out. User text never reaches tantivy's parsers.

The writer is open only between the first change and the flush, so that several processes may write in turn. BM25's
statistics count replaced passages until tantivy merges their files; a rebuilt index starts without any.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import tantivy
from filelock import FileLock, Timeout

from indexer.errors import Busy, StaleIndex, TransientError
from indexer.filters import Filter
from indexer.lexical import LexicalQuery, LexicalRanking
from indexer.lexical.filters import FilterCompiler
from indexer.lexical.manifest import COMMAND, META, damage, write_manifest
from indexer.lexical.matching import Matcher, Must, unscored
from indexer.lexical.schema import ACCESS, DOCUMENT_ID, PASSAGE_ID, VERSION, build_schema, rows_of
from indexer.scope import Scope
from indexer.types import IndexedDocument, IndexedPassage, RankedPassage

HEAP_BYTES = 64_000_000
THREADS = 1
LOCK = "searchd-writer.lock"
LOCK_WAIT_S = 60.0
MATCHES_KEPT = 10_000
SCAN_AT_ONCE = 5000
TIES_ALLOWED = 28
MOST_TIED = 4096
"""With more passages of one score than this, which of them comes first depends on the index files."""


class TantivyIndex:
    """BM25 index in one folder. See `LexicalIndex` for the verbs."""

    def __init__(self, path: Path, language: str, *, lock_wait_s: float = LOCK_WAIT_S) -> None:
        """Open the folder, made if missing. Raises: StaleIndex if it is damaged or of another schema."""
        self.path = path
        self.schema = build_schema()
        self.matcher = Matcher(self.schema, language)
        self._lock = threading.RLock()
        self._writer: tantivy.IndexWriter | None = None
        path.mkdir(parents=True, exist_ok=True)
        self._turn = FileLock(path / LOCK, timeout=lock_wait_s, thread_local=False)
        self._seen = self._commit_seen()
        self._index: tantivy.Index | None = self._open()

    def _open(self) -> tantivy.Index:
        self._refuse_damage()
        with self._reading():
            index = tantivy.Index(self.schema, str(self.path), reuse=True)
            builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
            index.register_tokenizer("whitespace", builder.build())
            index.config_reader(reload_policy="manual")
            index.searcher()
            return index

    @property
    def _opened(self) -> tantivy.Index:
        if self._index is None:
            raise TransientError(f"the lexical index in {self.path} is closed")
        return self._index

    # -- what can go wrong ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what tantivy raises on damaged files (a panic, which is a BaseException, among it) into StaleIndex."""
        try:
            yield
        except (ValueError, OSError) as error:
            raise self._stale(str(error)) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise self._stale(str(error)) from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Drop all that is unflushed when writing fails: StaleIndex on damaged files, else TransientError."""
        try:
            yield
        except BaseException as error:
            self._let_go()
            if not isinstance(error, ValueError | OSError) and type(error).__name__ != "PanicException":
                raise
            found = damage(self.path, read=True)
            if found:
                raise self._stale(found[0]) from None
            raise TransientError(f"the lexical index in {self.path} cannot be written: {error}") from None

    def _stale(self, reason: str) -> StaleIndex:
        return StaleIndex(f"the lexical index in {self.path} cannot be used ({reason}); {COMMAND}")

    def _refuse_damage(self) -> None:
        """Compare sizes: reading past the end of a mapped file would kill the process."""
        found = damage(self.path, read=False)
        if found:
            raise self._stale(found[0])

    # -- writing --------------------------------------------------------------------------------------------------

    def _writable(self) -> tantivy.IndexWriter:
        """Return the writer, waiting for other processes' turns to end. Raises: Busy."""
        if self._writer is None:
            index = self._opened
            try:
                self._turn.acquire()
            except Timeout:
                raise Busy(f"another process has been writing {self.path} for {self._turn.timeout:.0f} s") from None
            self._writer = index.writer(HEAP_BYTES, THREADS)
        return self._writer

    def _let_go(self) -> None:
        self._writer = None
        self._turn.release(force=True)

    def replace(self, documents: Sequence[IndexedDocument]) -> None:
        """Delete by document id, then add the passages; of a document given twice the last counts."""
        with self._lock, self._writing():
            for document in {document.document_id: document for document in documents}.values():
                writer = self._writable()
                writer.delete_documents_by_term(DOCUMENT_ID, document.document_id)
                for row in rows_of(document, self.matcher.analyzer):
                    writer.add_document(row)

    def delete(self, document_ids: Sequence[str]) -> None:
        """Delete all passages of these documents; unknown ids are ignored."""
        with self._lock, self._writing():
            for document_id in document_ids:
                self._writable().delete_documents_by_term(DOCUMENT_ID, document_id)

    def flush(self) -> None:
        """Commit, record checksums, let the writer go, and show it all to searches here."""
        with self._lock:
            if self._writer is not None:
                with self._writing():
                    self._writer.commit()
                    self._writer.wait_merging_threads()
                    self._writer = None
                    write_manifest(self.path)
                self._let_go()
            self.refresh()

    # -- reading --------------------------------------------------------------------------------------------------

    def search(self, query: LexicalQuery, scope: Scope, filter: Filter | None, depth: int) -> LexicalRanking:
        """Return the best `depth` passages within scope and filter, and the documents of all matches."""
        wanted = self.matcher.compile(query)
        if wanted is None or not scope.principals or depth < 1:
            return LexicalRanking((), frozenset(), True)
        with self._reading():
            searcher = self._opened.searcher()
            bounded = self._bounded(wanted, scope, filter, searcher)
            if searcher.num_docs == 0:
                return LexicalRanking((), frozenset(), True)
            terms = {"field": DOCUMENT_ID, "size": MATCHES_KEPT + 1, "segment_size": MATCHES_KEPT + 1}
            buckets = searcher.aggregate(bounded, {"documents": {"terms": terms}})["documents"]["buckets"]
            ids = frozenset(bucket["key"] for bucket in buckets[:MATCHES_KEPT])
            return LexicalRanking(best(searcher, bounded, depth), ids, len(buckets) <= MATCHES_KEPT)

    def _bounded(
        self, wanted: tantivy.Query, scope: Scope, filter: Filter | None, searcher: tantivy.Searcher
    ) -> tantivy.Query:
        """Return the query within scope and filter, which restrict before the best are taken and add to no score."""
        readable = tantivy.Query.term_set_query(self.schema, ACCESS, sorted(scope.principals))
        clauses = [(Must, wanted), (Must, unscored(readable))]
        if filter is not None:
            clauses.append((Must, unscored(FilterCompiler(self.schema, searcher).compile(filter))))
        return tantivy.Query.boolean_query(clauses)

    def matched_terms(self, query: LexicalQuery, text: str) -> tuple[tuple[int, int, str], ...]:
        """Return (start, end, query word) in characters of what the query matches in `text`, in order, apart."""
        return self.matcher.matched_terms(query, text)

    def scan(self) -> Iterator[IndexedPassage]:
        """Yield every passage held."""
        with self._reading():
            searcher = self._opened.searcher()
            every, total = tantivy.Query.all_query(), searcher.num_docs
            for offset in range(0, total, SCAN_AT_ONCE):
                for _, address in searcher.search(every, SCAN_AT_ONCE, count=False, offset=offset).hits:
                    row = searcher.doc(address)
                    yield IndexedPassage(row[PASSAGE_ID][0], row[DOCUMENT_ID][0], int(row[VERSION][0]))

    def verify(self) -> list[str]:
        """Return a sentence per file that is missing or differs from its checksum."""
        return damage(self.path, read=True)

    def refresh(self) -> None:
        """See what other processes have committed; costs one stat if there is nothing new."""
        seen = self._commit_seen()
        if seen == self._seen:
            return
        self._refuse_damage()
        with self._reading():
            self._opened.reload()
        self._seen = seen

    def _commit_seen(self) -> tuple[int, int, int] | None:
        """Return what changes with every commit: tantivy replaces its list of files whole."""
        try:
            stat = (self.path / META).stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def close(self) -> None:
        """Drop unflushed changes, let files and lock go."""
        with self._lock:
            self._let_go()
            self._index = None


def best(searcher: tantivy.Searcher, query: tantivy.Query, depth: int) -> tuple[RankedPassage, ...]:
    """Return the best `depth` passages, ties by passage id: as many are fetched as tie with the last one.

    Where more than MOST_TIED tie they stay as the index has them, at every depth: a deeper look only appends.
    Scores keep five digits: tantivy adds up float32 in an order that depends on the files, and must not decide ties.
    """
    limit = depth + TIES_ALLOWED
    while True:
        hits = [(rounded(score), address) for score, address in searcher.search(query, limit, count=False).hits]
        if len(hits) < limit or hits[depth - 1][0] > hits[-1][0]:
            break
        if sum(score == hits[-1][0] for score, _ in hits) > MOST_TIED:
            break
        limit *= 4
    ranked: list[RankedPassage] = []
    for score, tied in itertools.groupby(hits, key=lambda hit: hit[0]):
        if len(ranked) >= depth:
            break
        addresses = [address for _, address in tied]
        if len(addresses) > MOST_TIED:
            ranked += [ranked_passage(searcher, address, score) for address in addresses[: depth - len(ranked)]]
        else:
            group = [ranked_passage(searcher, address, score) for address in addresses]
            ranked += sorted(group, key=lambda passage: passage.passage_id)
    return tuple(ranked[:depth])


def ranked_passage(searcher: tantivy.Searcher, address: tantivy.DocAddress, score: float) -> RankedPassage:
    """Return the passage at an address."""
    row = searcher.doc(address)
    return RankedPassage(row[PASSAGE_ID][0], row[DOCUMENT_ID][0], score)


def rounded(score: float) -> float:
    """Return a score to five significant digits."""
    return float(f"{score:.5g}")
