"""What a file says of queries and documents, before it is a set's: checked line by line, its mistakes gathered.

Readers (`beir.py`, `trec.py`, `jsonl.py`, `click_lines.py`) fill a Draft; `intake.py` writes what it gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from indexer.errors import InputError, LimitError
from indexer.lexical.query import MAX_QUERY_CHARS, MAX_QUERY_TERMS, parse_query
from indexer.store.judged import MAX_GRADE
from indexer.store.values import storable
from searchd.plurals import plural

MOST_TOLD = 20
MOST_QUERY_ID, MOST_DOCUMENT_ID, MOST_PASSAGE_ID, MOST_JUDGE = 256, 512, 36, 64
"""Characters, as the tables have them."""


@dataclass(frozen=True, slots=True)
class GivenQuery:
    """A query of a file; without a `query_id` it has the one that its text has in the set."""

    where: str
    query_id: str
    text: str
    cut: bool
    """Whether it had more than a query may have."""


@dataclass(frozen=True, slots=True)
class GivenJudgment:
    """A grade of a file, of the query with this id, or, where that is empty, with this text."""

    where: str
    query_id: str
    query: str
    document_id: str
    grade: int
    passage_id: str = ""
    judge: str = ""
    """Empty: whoever imports says who judged."""
    judged_at: float | None = None
    """None: now."""


@dataclass(frozen=True, slots=True)
class Given:
    """All that a file says."""

    queries: tuple[GivenQuery, ...]
    judgments: tuple[GivenJudgment, ...]
    of_clicks: bool = False
    """Whether the grades are weak ones, though there may be none."""


class Problems:
    """What is wrong with lines: the first ones in words, the others counted. `outcome` is what came of it."""

    def __init__(self, outcome: str = "nothing was imported") -> None:
        self._outcome = outcome
        self._told: list[str] = []
        self._count = 0

    def add(self, where: str, what: str) -> None:
        """Note what is wrong with a line."""
        self._count += 1
        if len(self._told) < MOST_TOLD:
            self._told.append(f"{where}: {what}")

    def check(self) -> None:
        """Raise InputError if there are any, naming the lines."""
        if not self._count:
            return
        more = self._count - len(self._told)
        told = "\n".join([*self._told, *([f"and {more:,} more"] if more else [])])
        raise InputError(f"{self._outcome}: {plural(self._count, 'mistake')}\n{told}", code="bad_lines")


class Draft:
    """What a reader has found; what is wrong goes to `problems` with the name of its line."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self._queries: dict[tuple[str, str], GivenQuery | None] = {}
        self._judgments: list[GivenJudgment] = []

    def add_query(self, where: str, query_id: str, text: str) -> GivenQuery | None:
        """Add a query and return it as it is kept; one that was added already is that one; None if it is refused."""
        key = (query_id, text)
        if key not in self._queries:
            self._queries[key] = self._query(where, query_id, text)
        return self._queries[key]

    def _query(self, where: str, query_id: str, text: str) -> GivenQuery | None:
        if self._too_long(where, "the query's id", query_id, MOST_QUERY_ID):
            return None
        if not text.strip():
            self.problems.add(where, "the query has no text")
            return None
        try:
            kept = searchable(text)
        except LimitError as error:
            self.problems.add(where, f"{error}, and cutting it at a space does not help")
            return None
        return GivenQuery(where, storable(query_id), storable(kept), kept != text)

    def add_judgment(self, judgment: GivenJudgment) -> None:
        """Add a grade of a document."""
        where = judgment.where
        if not judgment.document_id:
            self.problems.add(where, "there is no document id")
        elif not 0 <= judgment.grade <= MAX_GRADE:
            self.problems.add(where, f"grade {judgment.grade}: grades are 0 to {MAX_GRADE}")
        elif not (
            self._too_long(where, "the query's id", judgment.query_id, MOST_QUERY_ID)
            or self._too_long(where, "the document's id", judgment.document_id, MOST_DOCUMENT_ID)
            or self._too_long(where, "the passage's id", judgment.passage_id, MOST_PASSAGE_ID)
            or self._too_long(where, "the judge's name", judgment.judge, MOST_JUDGE)
        ):
            self._judgments.append(judgment)

    def _too_long(self, where: str, what: str, text: str, most: int) -> bool:
        if len(text) > most:
            self.problems.add(where, f"{what} has {len(text):,} characters; at most {most} are taken")
        return len(text) > most

    def finished(self) -> Given:
        """Return what was found. Raises: InputError naming the lines, if any was wrong."""
        self.problems.check()
        return Given(tuple(one for one in self._queries.values() if one is not None), tuple(self._judgments))


def searchable(text: str) -> str:
    """Return a query, cut where it has more than a query may have. Raises: LimitError if cutting does not help."""
    if len(text) > MAX_QUERY_CHARS or len(text.split()) > MAX_QUERY_TERMS:
        text = within_limits(text)
    parse_query(text)
    return text


def within_limits(text: str) -> str:
    """Return as many of a query's words as a query may have: nine of Cranfield's 225 have more than 32."""
    return " ".join(text[:MAX_QUERY_CHARS].split()[:MAX_QUERY_TERMS])


def query_id_of(text: str) -> str:
    """Return the id of a query that was given none: of its text, the same in every import and each time clicks are read."""
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def grade_of(text: str) -> int:
    """Return the grade that a qrels line has; a negative one (TREC: junk, misleading) is 0, not relevant.

    Raises: ValueError for what is no whole number.
    """
    number = float(text) if len(text) <= 12 else float("nan")
    if not number.is_integer():
        raise ValueError(text)
    return max(0, int(number))


def open_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file. Raises: InputError if it cannot be read."""
    try:
        with path.open("rb") as lines:
            yield from lines
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def text_lines(lines: Iterable[bytes], problems: Problems, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (where, text) of the lines that are not blank; `name` comes before a line's number where files are several."""
    for number, line in enumerate(lines, start=1):
        where = f"{name} line {number}".strip()
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            problems.add(where, f"no UTF-8: byte {error.start + 1} of the line is {line[error.start]:#04x}")
            continue
        if text.strip():
            yield where, text
