"""Where training's documents come from: a collection in SQL, or a file of JSON lines (as the house models' corpus is).

SQL is read without owning the data folder, so that a daemon may serve and index meanwhile.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urldefrag

import msgspec
import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser, LexborNode

from indexer.errors import InputError
from indexer.scope import Scope
from indexer.store import collections, generations
from indexer.store import documents as store_documents
from indexer.store import passages as store_passages
from indexer.store.content import Accepted
from indexer.store.database import Database
from indexer.store.passages import LoadedPassage
from indexer.store.sources import accepted
from indexer.types import Passage, passage_id
from searchd.train.files import read_lines
from searchd.train.types import ENGLISH, Link, Material, TrainingDocument

COLLECTION = "train"
DOCUMENTS_AT_ONCE = 200
MOST_BYTES = 2_000_000
MOST_LINKS_READ, MOST_LINKS, MOST_ENTRIES = 400, 40, 20_000
"""Of a page: links looked at, and links kept; of an index both."""
Progress = Callable[[str, int, int], None]
"""Told a step's name, how much of it is done, and of how much."""
Vectors = NDArray[np.float32]


class FilePassage(msgspec.Struct, frozen=True):
    """A passage as a corpus file holds it."""

    text: str
    heading_path: tuple[str, ...] = ()


class FileDocument(msgspec.Struct, frozen=True):
    """A line of a corpus file."""

    document_id: str
    title: str
    passages: tuple[FilePassage, ...]
    links: tuple[Link, ...] = ()
    source: str = ""


def read_corpus(path: Path, language: str = ENGLISH) -> Material:
    """Return the documents of a corpus file in a language, each id once. Raises: InputError naming a line that is none."""
    known: dict[str, TrainingDocument] = {}
    for row in read_lines(path, FileDocument):
        known.setdefault(row.document_id, of_file(row))
    return Material(tuple(known.values()), language)


def of_file(row: FileDocument) -> TrainingDocument:
    """Return a line's document; its uri is its id."""
    passages = tuple(_passages(row))
    return TrainingDocument(row.document_id, row.title, row.document_id, passages, row.links, row.source)


def _passages(row: FileDocument) -> Iterator[Passage]:
    for ordinal, one in enumerate(row.passages):
        yield Passage(
            passage_id=passage_id(COLLECTION, row.document_id, ordinal),
            document_id=row.document_id,
            ordinal=ordinal,
            text=one.text,
            start=0,
            end=len(one.text),
            heading_path=one.heading_path,
        )


def read_collection(database: Database, scope: Scope, *, own_files: bool = True) -> Material:
    """Return the documents of a collection that `scope` may read, as its live generation has them cut.

    Links are read from pages whose files are still where they were added from, and as they were (`own_files`): SQL keeps
    text only.
    Raises: InputError if the collection has no live generation.
    """
    documents = []
    with database.read() as session:
        generation = generations.live(session, scope.collection)
        collection = collections.get(session, scope.collection)
        if generation is None or collection is None:
            raise InputError(f"collection {scope.collection!r} has nothing indexed; add documents first")
        cursor: str | None = None
        while True:
            page = store_documents.page(session, scope, cursor, DOCUMENTS_AT_ONCE)
            for one in page.documents:
                found = store_passages.of_document(session, scope, generation.generation_id, one.document_id)
                if found:
                    links = links_of_file(one.uri, partial(accepted, session, scope.collection)) if own_files else ()
                    cut = tuple(passage_of(passage) for passage in found)
                    documents.append(TrainingDocument(one.document_id, one.title, one.uri, cut, links))
            cursor = page.cursor
            if cursor is None:
                return Material(tuple(documents), collection.language)


def passage_of(loaded: LoadedPassage) -> Passage:
    """Return a passage as it was cut, of one that was read with its document."""
    return Passage(
        loaded.passage_id,
        loaded.document_id,
        loaded.ordinal,
        loaded.text,
        loaded.start,
        loaded.end,
        loaded.heading_path,
        loaded.page,
    )


def links_of_file(uri: str, accepted_as: Callable[[str], Accepted | None]) -> tuple[Link, ...]:
    """Return the links of a page to its neighbours, if it is a file that has what was accepted under its uri; else none.

    Whoever posts a document may call it by the path of any file: what they did not have is not read for them.
    """
    path = Path(unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri)
    if path.suffix.lower() not in (".html", ".htm") or not path.is_absolute():
        return ()
    known = accepted_as(uri)
    if known is None:
        return ()
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != known.size_bytes:
            return ()
        content = path.read_bytes()
    except (OSError, ValueError):
        return ()
    return links_of_page(content[:MOST_BYTES].decode("utf-8", "replace"), uri) if known.was(content) else ()


def links_of_page(html: str, uri: str) -> tuple[Link, ...]:
    """Return a page's links within its site, each target once, as (text, uri of the target, fragment).

    Of an index all are returned, each with its entry's term.
    """
    page = LexborHTMLParser(html)
    entries = is_index(page, uri)
    read, kept = (MOST_ENTRIES, MOST_ENTRIES) if entries else (MOST_LINKS_READ, MOST_LINKS)
    found: dict[tuple[str, ...], Link] = {}
    for node in page.css("a[href]")[:read]:
        href, fragment = urldefrag(node.attributes.get("href") or "")
        text = term_of(node) if entries else " ".join(node.text().split())
        if ":" in href or href.startswith("/") or not 3 <= len(text) <= 120 or not re.search("[a-z]{3}", text):
            continue
        target = target_of(uri, href)
        if target != uri or (fragment and not entries):
            key = (target, fragment, text) if entries else (target, fragment)
            found.setdefault(key, Link(text, target, fragment, entries))
    return tuple(found.values())[:kept]


def target_of(uri: str, href: str) -> str:
    """Return the uri that a relative link of a page leads to: a path, or an address as encoded as the page's own."""
    if not href:
        return uri
    scheme, mark, rest = uri.rpartition("://")
    page = PurePosixPath(unquote(rest) if mark else rest)
    target = os.path.normpath(str(page.parent / unquote(href)))
    return f"{scheme}{mark}{quote(target) if mark else target}"


def is_index(page: LexborHTMLParser, uri: str) -> bool:
    """Say whether a page is the index of a book or a manual, by its name, else by what it is called."""
    if re.fullmatch(r"(genindex(-\w+)?|index-all|bookindex|theindex|ix\d+)", PurePosixPath(uri).name.partition(".")[0]):
        return True
    titles = (" ".join(node.text().split()) for node in page.css("h1, title"))
    return any(re.match(r"(general |subject |alphabetical |book )?index$", title, re.IGNORECASE) for title in titles)


def term_of(link: LexborNode) -> str:
    """Return the term of an index's entry: what stands before the link in its line, else the link's own text."""
    line = link.parent
    before = (
        " ".join(line.text(deep=False).split()).strip(" ,;:") if line is not None and line.tag in ("dt", "li") else ""
    )
    return before or " ".join(link.text().split())
