"""Words of a plain query that say nothing about its subject: they neither make a passage match nor add to its score.

They stay in the index, so that a phrase, `+the` or a query of nothing else still finds them.
"""

from __future__ import annotations

import tantivy

from indexer.lexical.analysis import LANGUAGES, fold

_ENGLISH = frozenset(
    """
    a about after again all also am an and any are as at be because been before being between both but by can cannot
    could d did do does doing done don for from further get gets getting had has have having he her here hers him his
    how i if in into is it its itself just ll m may me might mine must my myself no nor not of off on once one only or
    other our ours out over own re s same shall she should so some such t than that the their theirs them themselves
    then there these they this those through to too under until up upon us ve very was way we were what when where
    whether which while who whom whose why will with within would you your yours yourself
    """.split()
)
"""Function words of questions; tantivy's own English list has 33 words and neither `how` nor `do`."""


class Stopwords:
    """The stop words of one language: tantivy's list where it has one, for English ours; else none."""

    def __init__(self, language: str) -> None:
        self._english = language == "en"
        self._filter: tantivy.TextAnalyzer | None = None
        if not self._english and language in LANGUAGES:
            builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
            try:
                self._filter = builder.filter(tantivy.Filter.stopword(LANGUAGES[language])).build()
            except ValueError:  # a language with a stemmer and no list (Arabic, Greek, Romanian, Tamil, Turkish)
                self._filter = None

    def __contains__(self, word: str) -> bool:
        """Say whether a word, as written, is a stop word."""
        if self._english:
            return fold(word) in _ENGLISH
        return self._filter is not None and not self._filter.analyze(word.lower())
