"""Questions that documents are asked, made from the documents themselves."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from searchd.train.builders import BUILDERS, questions_of
from searchd.train.types import Material, Question, text_of
from tests.searchd.train.documents import INDEX, document, markdown_material, material

FOUND = material()


def of_builder(name: str, found: Material = FOUND, seed: int = 1) -> list[Question]:
    return [one for doc in found.documents for one in BUILDERS[name](doc, found, Random(seed))]


def body_of(question: Question) -> str:
    return FOUND.passages[question.passage_id][1].text


def test_a_heading_is_answered_by_the_section_under_it() -> None:
    answers = {question.query: body_of(question) for question in of_builder("headings")}
    assert answers["How do I stop the motor?"].startswith("Press the red button")
    assert any("install" in query.lower() and body.startswith("Put the pump") for query, body in answers.items())


def test_a_heading_that_is_a_question_stays_as_it_is_without_its_number() -> None:
    kinds = {question.query: question.kind for question in of_builder("headings")}
    assert kinds["How do I stop the motor?"] == "faq"


def test_a_link_is_answered_by_the_section_of_that_name_in_the_page_it_leads_to() -> None:
    (question,) = of_builder("links")
    assert question.query == "closing the safety valve"
    assert body_of(question).startswith("Turn the wheel")


def test_an_entry_of_an_index_is_answered_where_its_term_stands_and_is_no_link_text() -> None:
    found = Material((document("manual/genindex.html", INDEX), *FOUND.documents))
    answers = {one.query: found.passages[one.passage_id][1].text for one in of_builder("index_entries", found, seed=3)}
    assert len(answers) == 2
    assert all(("safety valve" in query) == text.startswith("Turn the wheel") for query, text in answers.items())
    assert any("red button" in query and "Press the red button" in text for query, text in answers.items())
    assert {one.query for one in of_builder("links", found)} == {"closing the safety valve"}


GERMAN = """# Pumpen

Eine Pumpe ist eine Maschine, die Wasser von einem tiefen Ort an einen hohen bringt, mit einem Motor und einem Ventil. Über \
den Motor steht mehr im nächsten Kapitel. Ölwechsel sind jedes Jahr nötig, und der Filter wird dabei gereinigt.

## Einbau der Pumpe

Die Pumpe steht auf ebenem Boden und wird mit vier Schrauben befestigt. Äußere Rohre werden danach an die Pumpe \
angeschlossen, und das Wasser wird langsam eingelassen.
"""
RUSSIAN = """# Насосы

Насос это машина, которая поднимает воду с помощью двигателя и клапана. Каждый насос имеет два клапана из латуни и стали. \
После установки насоса откройте клапан медленно и проверьте соединения труб на полу.

## Установка насоса

Поставьте насос на ровный пол и закрепите его четырьмя болтами. Затем подключите обе трубы к насосу и впустите воду.
"""  # noqa: RUF001


@pytest.mark.parametrize(("language", "text"), [("de", GERMAN), ("ru", RUSSIAN)])
def test_questions_of_other_languages_are_the_documents_own_words(language: str, text: str) -> None:
    found = replace(markdown_material({f"{n}.md": text for n in range(12)}), language=language)
    questions = questions_of(found, 3)
    assert {one.kind for one in questions} >= {"heading", "opening", "sentence", "keywords"}
    plain = " ".join(text.replace("\n", " ").split())
    for one in questions:
        assert all(word.lower() in plain.lower() for word in one.query.split()), one.query
    assert "asked" in {one.kind for one in questions_of(material(), 3)}


TAMIL = """# பம்புகள்

பம்பு என்பது நீரை மேலே உயர்த்தும் ஒரு இயந்திரம் ஆகும், அதில் இரண்டு வால்வுகள் உள்ளன. வால்வுகள் பித்தளையால் செய்யப்பட்டவை, அவை மெதுவாகத் திறக்க வேண்டும். \
ஒவ்வொரு ஆண்டும் எண்ணெய் மாற்ற வேண்டும், வடிகட்டியும் சுத்தம் செய்யப்பட வேண்டும்.

## பம்பை நிறுவுதல்

பம்பைச் சமமான தரையில் வைத்து நான்கு போல்ட்களால் இறுக்கவும். பின்னர் இரண்டு குழாய்களையும் பம்புடன் இணைத்து நீரை உள்ளே விடவும்.
"""
CHINESE = """# 水泵

水泵是一种用电机和阀门把水从低处送到高处的机器，每台水泵有两个阀门。阀门由黄铜和钢制成，安装后请慢慢打开。电机每年需要换油，过滤器也要清洗，并检查所有的管道接头是否紧固，以免漏水。

## 安装

把水泵放在平整的地面上，用四个螺栓固定好。然后把两根管道接到水泵上，慢慢放水进去，打开阀门之前先检查所有接头是否拧紧，确认没有漏水，再启动电机，让它空转几分钟。
"""  # noqa: RUF001


@pytest.mark.parametrize(("language", "text"), [("ta", TAMIL), ("zh", CHINESE)])
def test_scripts_with_vowel_signs_and_without_spaces_are_asked_too(language: str, text: str) -> None:
    found = replace(markdown_material({f"{n}.md": text for n in range(12)}), language=language)
    assert {"heading", "opening"} <= {one.kind for one in questions_of(found, 3)}


def test_what_only_an_english_heading_asks_is_a_heading_elsewhere() -> None:
    text = GERMAN.replace("Einbau der Pumpe", "Will man die Pumpe warten").replace("# Pumpen", "# Was ist das?", 1)
    found = replace(markdown_material({"a.md": text}), language="de")
    kinds = {one.query: one.kind for one in of_builder("headings", found)}
    assert kinds == {"Was ist das?": "faq", "Will man die Pumpe warten": "heading"}


def test_words_of_a_language_that_say_nothing_are_no_keywords() -> None:
    found = replace(markdown_material({f"{n}.md": GERMAN for n in range(12)}), language="de")
    words = {word for one in questions_of(found, 3) if one.kind == "keywords" for word in one.query.split()}
    assert words
    assert not words & {"einen", "einem", "eine", "wird", "werden"}


def test_the_first_sentence_of_a_section_is_answered_by_what_comes_after_it() -> None:
    asked = {question.passage_id: question for question in of_builder("openings")}
    question = next(one for one in asked.values() if body_of(one).startswith("Put the pump"))
    assert "put the pump on a level floor and fasten it with four bolts" in question.query.lower()
    assert question.body is not None and question.body.startswith("Then connect both pipes")


def test_a_title_is_answered_by_the_beginning_and_the_rest_of_the_document_is_no_negative() -> None:
    question = of_builder("titles")[0]
    assert "pumps" in question.query.lower()
    assert body_of(question).startswith("A pump is a machine")
    assert len(question.also) == len(FOUND.documents[0].passages) - 1


def test_a_definition_is_asked_for_by_what_it_defines() -> None:
    queries = {question.query.lower() for question in of_builder("definitions")}
    assert queries
    assert all("pump" in query for query in queries)


def test_a_sentence_that_is_asked_for_is_gone_from_its_answer() -> None:
    asked = [question for seed in range(12) for question in of_builder("sentences", seed=seed)]
    assert asked
    for question in asked:
        words = [word for word in question.query.lower().rstrip(" .").split() if len(word) > 4][-3:]
        assert question.body is not None
        assert len(question.body) < len(body_of(question))
        assert " ".join(words) not in question.body.lower()


def test_keywords_are_words_of_the_passage() -> None:
    asked = [question for seed in range(20) for question in of_builder("keywords", seed=seed)]
    assert asked
    assert all(word in body_of(question).lower() for question in asked for word in question.query.split())


def test_what_a_reranker_reads_is_the_place_and_the_text_and_bare_texts_have_no_place() -> None:
    doc = FOUND.documents[0]
    passage = next(one for one in doc.passages if one.text.startswith("Press"))
    assert text_of(doc, passage).startswith("Pumps > 2.3. How do I stop the motor?\nPress the red button")
    assert text_of(doc, passage, bare=True) == passage.text


def test_the_same_material_and_seed_give_the_same_questions() -> None:
    assert questions_of(FOUND, 3) == questions_of(FOUND, 3)
    assert questions_of(FOUND, 3) != questions_of(FOUND, 4)


def test_a_page_without_headings_or_sentences_asks_nothing_of_them() -> None:
    bare = Material((document("a.md", "short"),))
    assert of_builder("headings", bare) == of_builder("sentences", bare) == of_builder("links", bare) == []
