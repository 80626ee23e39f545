"""LexicalQuery -> tantivy Query, and the places in a text that it matches. Built from objects, never from text.

Plain words are alternatives, scored by BM25 over stems in body, title and headings, and a little over the words as
written. Phrases, `+` and `title:` are conditions, and what is forbidden excludes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import tantivy

from indexer.lexical import Clause, LexicalQuery
from indexer.lexical.analysis import Analyzer, Token, Word, words_of
from indexer.lexical.schema import BODY, EXACT_OF, HEADING, TITLE
from indexer.lexical.stopwords import Stopwords

# nDCG@10 on the two judged sets at hand (Cranfield, Perl FAQ), one constant changed at a time.
BOOSTS = {BODY: 1.0, TITLE: 0.5, HEADING: 0.5}
"""Of a field. Title, on Cranfield with its titles taken out of the text: 0 .380, 0.5 .406, 1 .403, 1.5 .397, 3 .372.

No judged set has headings; they are short like titles, and get the same.
"""
EXACT_BOOST = 0.15
"""Of a word as written, beside its stem: 0 .392/.498, 0.1 .395/.507, 0.2 .395/.511, 0.5 .387/.506, 1 .382/.501."""
JOINED_BOOST = 0.2
"""Of `real-time` as written, beside its parts: 0 .392/.513, 0.2 .392/.511, 0.5 .392/.507, 1 .390/.505."""
PART_BOOST = 0.05
"""Of the parts of an identifier: 0.05 .392/.507, 1 .395/.509; low, so that it comes before its scattered parts."""

MAX_PIECES = 64
"""Of a word or phrase with more parts and signs only so many are looked for: 512 of them took 200 ms, these take 20."""

Must, Should, MustNot = tantivy.Occur.Must, tantivy.Occur.Should, tantivy.Occur.MustNot


class Matcher:
    """Compiles queries for one schema and language."""

    def __init__(self, schema: tantivy.Schema, language: str) -> None:
        self.schema = schema
        self.analyzer = Analyzer(language)
        self.stopwords = Stopwords(language)

    # -- queries --------------------------------------------------------------------------------------------------

    def compile(self, query: LexicalQuery) -> tantivy.Query | None:
        """Build the Query of a user's clauses; None if it can match nothing (no clause, or only forbidden ones)."""
        conditions: list[tuple[tantivy.Occur, tantivy.Query]] = []
        for clause in query.clauses:
            if is_plain(clause):
                continue
            occur = MustNot if clause.forbidden else Must
            conditions.append((occur, any_of(list(self._condition(clause)))))
        words = list(self._plain_words(query))
        wanted = [part for word in words for part in self._word(word, tuple(BOOSTS))]
        if any(occur == Must for occur, _ in conditions):
            return tantivy.Query.boolean_query([*conditions, *((Should, part) for part in wanted)])
        if not wanted:
            return None
        return tantivy.Query.boolean_query([(Must, any_of(wanted)), *conditions])

    def _plain_words(self, query: LexicalQuery) -> list[Word]:
        """Return the words that are neither signed nor quoted, without stop words unless there is nothing else."""
        words = [word for clause in query.clauses if is_plain(clause) for word in words_of(clause.text)]
        told = [word for word in words if not self._is_stop(word)]
        others = any(not clause.forbidden and not is_plain(clause) for clause in query.clauses)
        return told if told or others else words

    def _is_stop(self, word: Word) -> bool:
        return not word.is_identifier and all(p.text in self.stopwords for p in word.pieces if p.is_part)

    def _condition(self, clause: Clause) -> Iterator[tantivy.Query]:
        """Yield the ways in which a text can meet a required, forbidden, quoted or title-bound clause."""
        fields = (TITLE,) if clause.title_only else tuple(BOOSTS)
        words = list(words_of(clause.text))
        if clause.phrase:
            yield from self._phrase(self._whole(words), fields)
        else:
            for word in words:
                yield from self._word(word, fields)

    def _word(self, word: Word, fields: Sequence[str]) -> Iterator[tantivy.Query]:
        """Yield what a word matches: its stems, itself as written a little, and whole what signs hold together."""
        exact = self._whole([word])
        weight = PART_BOOST if word.is_identifier else 1.0
        stems = self._stems(word)
        for stem in stems:
            for field in fields:
                yield boosted(tantivy.Query.term_query(self.schema, field, stem), weight * BOOSTS[field])
        if word.is_identifier:
            yield from self._phrase(exact, fields)
        elif len(exact) == 1:
            yield from self._phrase(exact, fields, EXACT_BOOST)
        elif word.is_joined and len(stems) > 1:
            yield from self._phrase(exact, fields, 1.0 if word.has_digits else JOINED_BOOST)

    def _stems(self, word: Word) -> list[str]:
        """Return a word's different stems, without the `s` of `perl's`."""
        stems = list(dict.fromkeys(token.term for token in self.analyzer.stemmed([word])))[:MAX_PIECES]
        if word.is_identifier or len(stems) == 1:
            return stems
        return [stem for stem in stems if stem not in self.stopwords] or stems

    def _whole(self, words: Iterable[Word]) -> list[str]:
        """Return the terms of a phrase."""
        return [token.term for token in self.analyzer.exact(words)[:MAX_PIECES]]

    def _phrase(self, terms: Sequence[str], fields: Sequence[str], weight: float = 1.0) -> Iterator[tantivy.Query]:
        for field in fields:
            exact = EXACT_OF[field]
            if len(terms) == 1:
                found = tantivy.Query.term_query(self.schema, exact, terms[0])
            else:
                found = tantivy.Query.phrase_query(self.schema, exact, [*terms])
            yield boosted(found, weight * BOOSTS[field])

    # -- places ---------------------------------------------------------------------------------------------------

    def matched_terms(self, query: LexicalQuery, text: str) -> tuple[tuple[int, int, str], ...]:
        """Return (start, end, query word) in characters of what the query matches in `text`, in order, apart.

        Parts of an identifier count only where the text does not hold it whole.
        """
        words = list(words_of(text))
        wholes, stems = self._wanted(query)
        found: list[tuple[int, int, str]] = []
        missed: dict[str, str] = dict(stems)
        exact = self.analyzer.exact(words) if wholes else []
        for written, terms, parts in wholes:
            places = _places(exact, terms, written)
            found.extend(places)
            if not places:
                missed = {**dict.fromkeys(parts, written), **missed}
        if missed:
            tokens = self.analyzer.stemmed(words)
            found.extend((token.start, token.end, missed[token.term]) for token in tokens if token.term in missed)
        return _apart(found)

    def _wanted(self, query: LexicalQuery) -> tuple[list[tuple[str, list[str], list[str]]], dict[str, str]]:
        """Return what is looked for whole (as written, its terms, the stems that stand for it), and stems of words."""
        wholes: list[tuple[str, list[str], list[str]]] = []
        stems: dict[str, str] = {}
        words = self._plain_words(query)
        for clause in query.clauses:
            if clause.phrase and not clause.forbidden:
                wholes.append((clause.text, self._whole(words_of(clause.text)), []))
            elif (clause.required or clause.title_only) and not clause.forbidden:
                words.extend(words_of(clause.text))
        for word in words:
            written = "".join(piece.text for piece in word.pieces)
            parts = self._stems(word)
            if word.is_identifier:
                wholes.append((written, self._whole([word]), parts))
                continue
            stems = {**dict.fromkeys(parts, written), **stems}
            if word.is_spaceless and len(word.pieces) == 1:
                wholes.append((written, self._whole([word]), []))
        return wholes, stems


def is_plain(clause: Clause) -> bool:
    """Say whether a clause is a mere word."""
    return not (clause.phrase or clause.required or clause.forbidden or clause.title_only)


def _places(tokens: Sequence[Token], terms: Sequence[str], written: str) -> list[tuple[int, int, str]]:
    """Return where these terms stand one after the other."""
    if not terms:
        return []
    count = len(terms)
    return [
        (tokens[i].start, tokens[i + count - 1].end, written)
        for i in range(len(tokens) - count + 1)
        if tokens[i].term == terms[0] and [token.term for token in tokens[i : i + count]] == terms
    ]


def _apart(places: Sequence[tuple[int, int, str]]) -> tuple[tuple[int, int, str], ...]:
    """Return the places in order, overlapping ones joined."""
    joined: list[tuple[int, int, str]] = []
    for start, end, word in sorted(places, key=lambda place: (place[0], -place[1])):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]), joined[-1][2])
        else:
            joined.append((start, end, word))
    return tuple(joined)


def any_of(queries: Sequence[tantivy.Query]) -> tantivy.Query:
    """Return a query that matches where any of these does, scores added; of none: nothing."""
    return queries[0] if len(queries) == 1 else tantivy.Query.boolean_query([(Should, part) for part in queries])


def boosted(query: tantivy.Query, boost: float) -> tantivy.Query:
    """Return the query with its score multiplied."""
    return query if boost == 1.0 else tantivy.Query.boost_query(query, boost)


def unscored(query: tantivy.Query) -> tantivy.Query:
    """Return the query so that it restricts and adds nothing to a score."""
    return tantivy.Query.const_score_query(query, 0.0)
