"""What becomes of words: parts, signs, stems and folded forms in many languages, with their places in the text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.lexical.analysis import LANGUAGES, MAX_TERM_CHARS, Analyzer, analyzer_fingerprint, fold, words_of
from indexer.lexical.stopwords import Stopwords


def exact(text: str, language: str = "en") -> list[str]:
    return [token.term for token in Analyzer(language).exact(words_of(text))]


def stemmed(text: str, language: str = "en") -> list[str]:
    return [token.term for token in Analyzer(language).stemmed(words_of(text))]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The end. (Next)", "the end next"),
        ("max_wal_size=1GB", "max _ wal _ size 1gb"),
        ("os.path.join(a, b)", "os . path . join a b"),
        ("ERR_CONN_0x80!", "err _ conn _ 0x80"),
        ("std::vector<int>", "std :: vector int"),
        ("use --no-wait, -x", "use -- no - wait - x"),
        ("C++, C# and .NET", "c ++ c # and . net"),
        ("/etc/postgresql.conf:", "/ etc / postgresql . conf"),
        ("__init__ _it_", "__ init __ _ it _"),
        ("it's 50% 'so'", "it ' s 50 % so"),
        ("don\u2019t", "don ' t"),
        ("end...start a--b", "end start a b"),
        ("10.0.0.1", "10 . 0 . 0 . 1"),
        ("- item\n* item", "item item"),
    ],
)
def test_a_word_is_parts_and_the_signs_that_hold_them_together(text: str, terms: str) -> None:
    assert exact(text) == terms.split()


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("en", "parsing options", "parse option"),
        ("de", "die Häuser", "die Haus"),
        ("fr", "mangées", "manger"),
        ("es", "información", "informacion"),
        ("it", "bellissima", "bellissimo"),
        ("pt", "rapidamente", "rapidamento"),
        ("nl", "lichamelijk", "lichamelijke"),
        ("sv", "flickorna", "flicka"),
        ("da", "husene", "huset"),
        ("no", "havnedistriktene", "havnedistrikt"),
        ("nb", "havnedistriktene", "havnedistrikt"),
        ("fi", "taloissa", "talo"),
        ("hu", "házak", "ház"),
        ("ro", "casele", "caselor"),
        ("ru", "красный", "красная"),
        ("tr", "KİTAPLAR IŞIK", "kitap \u0131ş\u0131k"),
        ("ar", "الكتاب", "كِتاب"),
        ("el", "δρόμοι", "ΔΡΟΜΟΣ"),
        ("ta", "வீடுகள்", "வீடு"),
    ],
)
def test_forms_of_a_word_have_one_stem(language: str, one: str, other: str) -> None:
    assert stemmed(one, language) == stemmed(other, language)
    assert exact(one, language) != exact(other, language) or language == "es"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_has_its_stemmer(language: str) -> None:
    assert stemmed("word 42", language)[1] == "42"
    assert "the" not in Stopwords(language) or language == "en"


def test_a_language_without_a_stemmer_is_folded_only() -> None:
    assert stemmed("Parsing Żółte", "pl") == ["parsing", "zolte"]
    assert stemmed("parsing", "xx") == ["parsing"]
    assert "the" not in Stopwords("pl")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Straße", "strasse"),
        ("Crème", "creme"),
        ("CRE\u0300ME", "creme"),
        ("Łódź", "lodz"),
        ("smørrebrød", "smorrebrod"),
        ("\uff21\uff22", "ab"),
        ("\ufb01le", "file"),
        ("exam\u00adple", "example"),
        ("край", "край"),
        ("ёлка", "елка"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_case_accents_and_forms_do_not_count_but_letters_do(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert exact(text) == [folded]


def test_scripts_without_spaces_are_taken_two_by_two_for_stems_and_singly_for_phrases() -> None:
    assert stemmed("東京都庁 と x", "ja") == ["東京", "京都", "都庁", "と", "x"]
    assert exact("東京都庁", "ja") == ["東", "京", "都", "庁"]


def test_soft_words_and_identifiers_are_told_apart() -> None:
    told = {
        text: next(iter(words_of(text))).is_identifier for text in ("real-time", "don't", "and/or", "a_b", "-x", "C#")
    }
    assert told == {"real-time": False, "don't": False, "and/or": False, "a_b": True, "-x": True, "C#": True}


def test_the_fingerprint_tells_stemmers_apart() -> None:
    assert analyzer_fingerprint("en") != analyzer_fingerprint("de")
    assert analyzer_fingerprint("pl") == analyzer_fingerprint("xx")


@given(st.text(max_size=300), st.sampled_from(["en", "tr", "ar", "xx"]))
@settings(max_examples=600, deadline=None)
def test_terms_of_any_text_are_bounded_in_order_and_point_into_it(text: str, language: str) -> None:
    analyzer = Analyzer(language)
    words = list(words_of(text))
    for tokens in (analyzer.exact(words), analyzer.stemmed(words)):
        assert all(token.term and not any(c.isspace() for c in token.term) for token in tokens)
        assert all(len(token.term) <= 2 * MAX_TERM_CHARS for token in tokens if text[token.start].isalnum())
        assert all(0 <= token.start < token.end <= len(text) for token in tokens)
        assert [token.start for token in tokens] == sorted(token.start for token in tokens)
