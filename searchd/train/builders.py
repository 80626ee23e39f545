"""BUILDERS: what a document is asked, made from the document itself: one function per kind of question.

Each takes a document, all documents (links lead elsewhere) and a source of chance, and yields questions with the passage
that answers them; words of asking are put round them in English collections alone. Judgments of the owner's come from
`judged.py` and are questions like these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Final

from indexer.lexical.stopwords import Stopwords
from indexer.types import Passage
from searchd.train.phrasing import asked, defined, is_question, plain, sought
from searchd.train.types import ENGLISH, Builder, Material, Question, TrainingDocument
from searchd.train.words import asks, count, names_in, sentences_of, size_of, telling, tells, words_in

stopwords_of = cache(Stopwords)
GENERIC: Final = frozenset(
    "introduction overview description example examples usage notes note see also options parameters name synopsis author "
    "authors copyright license references returns summary contents index abstract syntax files bugs history details "
    "installation background conclusion further reading requirements arguments attributes methods functions".split()
)
"""Headings that say nothing without the one above them."""
LEAST_BODY_CHARS: Final = 80
SENTENCES_EACH: Final = 3
"""A document's questions of these kinds: one for every so many of its passages."""


def sections(document: TrainingDocument) -> dict[tuple[str, ...], list[Passage]]:
    """Return the passages under each heading path, in order."""
    found: defaultdict[tuple[str, ...], list[Passage]] = defaultdict(list)
    for passage in document.passages:
        found[passage.heading_path].append(passage)
    return found


def heading_query(path: tuple[str, ...], title: str) -> str:
    """Return a heading as a query: with the one above it where it says little alone."""
    heading = plain(path[-1])
    words = names_in(heading.lower())
    if len(words) <= 1 or set(words) <= GENERIC:
        above = plain(path[-2]) if len(path) > 1 else title
        return heading if heading.lower() in above.lower() else f"{above} {heading}"
    return heading


def headings(document: TrainingDocument, material: Material, rng: Random) -> Iterator[Question]:
    """Yield a question per section: its heading as it stands, or as somebody would ask for it."""
    for path, under in sections(document).items():
        first = under[0]
        if not path or size_of(first.text) < LEAST_BODY_CHARS or not tells(path[-1]):
            continue
        query = heading_query(path, document.title)
        also = frozenset(passage.passage_id for passage in under[1:])
        if is_question(query) if material.language == ENGLISH else asks(query):
            yield Question(query, "faq", first.passage_id, also, bare=rng.random() < 0.7)
        elif material.language == ENGLISH and rng.random() < 0.5:
            yield Question(asked(query, rng), "asked", first.passage_id, also, bare=rng.random() < 0.5)
        else:
            yield Question(query, "heading", first.passage_id, also, bare=rng.random() < 0.5)


def titles(document: TrainingDocument, material: Material, rng: Random) -> Iterator[Question]:
    """Yield the document's title, to be found by its first passage without it."""
    first = next((passage for passage in document.passages if size_of(passage.text) >= LEAST_BODY_CHARS), None)
    if first is None or not tells(document.title) or "/" in document.title:
        return
    also = frozenset(passage.passage_id for passage in document.passages if passage is not first)
    query = plain(document.title)
    if material.language == ENGLISH and rng.random() < 0.35:
        query = asked(query, rng)
    yield Question(query, "title", first.passage_id, also, bare=rng.random() < 0.8)


def links(document: TrainingDocument, material: Material, rng: Random) -> Iterator[Question]:
    """Yield the text of links that describe where they lead: to a section of that name, else to the document's start."""
    stopwords = stopwords_of(material.language)
    for link in document.links:
        target = material.by_uri.get(link.target)
        words = {word for word in names_in(link.text.lower()) if len(word) >= 3 and word not in stopwords}
        if link.entry or target is None or len(words) < 2 or target.title.lower() == link.text.lower():
            continue
        best = max(target.passages, key=lambda p: (_shared(words, p.heading_path[-1:]), -p.ordinal), default=None)
        if (
            best is None
            or size_of(best.text) < LEAST_BODY_CHARS
            or not _shared(words, (*best.heading_path[-1:], best.text))
        ):
            continue
        also = frozenset(p.passage_id for p in target.passages if p.heading_path == best.heading_path) - {
            best.passage_id
        }
        yield Question(plain(link.text), "link", best.passage_id, also, bare=rng.random() < 0.5)


def _shared(words: set[str], texts: tuple[str, ...]) -> int:
    return sum(word in " ".join(texts).lower() for word in words)


def index_entries(document: TrainingDocument, material: Material, rng: Random) -> Iterator[Question]:
    """Yield the terms of an index, each answered where it leads to: under a heading with it, else where it stands first."""
    for link in document.links if document.links and document.links[0].entry else ():
        target, term = material.by_uri.get(link.target), link.text.casefold()
        if target is None:
            continue
        with_it = [
            one for one in target.passages if term in f"{' '.join(one.heading_path[-1:])}\n{one.text}".casefold()
        ]
        best = min(
            with_it, key=lambda p: (term not in " ".join(p.heading_path[-1:]).casefold(), p.ordinal), default=None
        )
        if best is None or size_of(best.text) < LEAST_BODY_CHARS:
            continue
        also = frozenset(one.passage_id for one in with_it) - {best.passage_id}
        query = asked(link.text, rng) if material.language == ENGLISH and rng.random() >= 0.5 else link.text
        yield Question(query, "index", best.passage_id, also, bare=rng.random() < 0.5)


def long_query(sentence: str, material: Material, rng: Random) -> str:
    """Return a sentence as somebody might search for it."""
    return sought(sentence, rng) if material.language == ENGLISH else sentence.strip().rstrip(".!:;\u3002\uff01\u0964")


def openings(document: TrainingDocument, material: Material, rng: Random) -> Iterator[Question]:
    """Yield the first sentence of a section, which says what it is about, answered by what comes after it."""
    for under in sections(document).values():
        first = under[0]
        parts = sentences_of(first.text)
        opening = parts[0].strip()
        body = first.text.replace(opening, " ", 1).strip() if opening else ""
        if len(parts) < 2 or not 6 <= count(opening) <= 32 or size_of(body) < LEAST_BODY_CHARS:
            continue
        also = frozenset(passage.passage_id for passage in under[1:])
        yield Question(
            long_query(opening, material, rng), "opening", first.passage_id, also, body=body, bare=rng.random() < 0.5
        )


def sentences(document: TrainingDocument, material: Material, rng: Random) -> Iterator[Question]:
    """Yield sentences taken out of their passage (inverse cloze), as long queries.

    Source: Lee, Chang, Toutanova, "Latent retrieval for weakly supervised open domain question answering", ACL 2019.
    """
    for passage in document.passages:
        parts = [part.strip() for part in sentences_of(passage.text)]
        usable = [part for part in parts if 6 <= count(part) <= 32 and telling(part) >= 5]
        if len(parts) < 3 or not usable or rng.random() > 1 / SENTENCES_EACH:
            continue
        taken = rng.choice(usable)
        body = passage.text.replace(taken, " ", 1).strip()
        if size_of(body) < LEAST_BODY_CHARS:
            continue
        query = defined(taken, rng) if material.language == ENGLISH and rng.random() < 0.3 else None
        yield Question(
            query or long_query(taken, material, rng),
            "sentence",
            passage.passage_id,
            body=body,
            bare=rng.random() < 0.5,
        )


def definitions(document: TrainingDocument, material: Material, rng: Random) -> Iterator[Question]:
    """Yield "what is X" for passages that open with a definition of X."""
    for passage in document.passages if material.language == ENGLISH else ():
        query = defined(passage.text, rng)
        if query is not None and size_of(passage.text) >= LEAST_BODY_CHARS:
            yield Question(query, "definition", passage.passage_id, bare=rng.random() < 0.5)


def keywords(document: TrainingDocument, material: Material, rng: Random) -> Iterator[Question]:
    """Yield some of a passage's own longer words, in their order: what a hurried reader types."""
    stopwords = stopwords_of(material.language)
    for passage in document.passages:
        words = list(dict.fromkeys(w.lower() for w in words_in(passage.text) if w.lower() not in stopwords))
        if len(words) < 12 or rng.random() > 1 / (SENTENCES_EACH * 3):
            continue
        chosen = set(sorted(words, key=lambda word: -len(word) * rng.random())[: rng.randint(2, 6)])
        query = " ".join(word for word in words if word in chosen)
        yield Question(query, "keywords", passage.passage_id, bare=rng.random() < 0.5)


BUILDERS: Final[dict[str, Builder]] = {
    "headings": headings,
    "titles": titles,
    "links": links,
    "index_entries": index_entries,
    "openings": openings,
    "sentences": sentences,
    "definitions": definitions,
    "keywords": keywords,
}


def questions_of(material: Material, seed: int) -> list[Question]:
    """Return every question of every builder, each once, in the order of documents and builders."""
    found: dict[tuple[str, str], Question] = {}
    for document in material.documents:
        for name, build in BUILDERS.items():
            for question in build(document, material, Random(f"{seed}:{name}:{document.document_id}")):  # noqa: S311
                if 3 <= len(question.query) <= 300:
                    found.setdefault((question.query, question.passage_id), question)
    return list(found.values())
