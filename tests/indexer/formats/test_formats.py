"""What single formats do beyond the contract: chrome, heading paths, encodings, metadata, named failures."""

from __future__ import annotations

import io
import random
import zipfile

import pypdf
import pytest

from indexer.errors import InputError, LimitError, ParseFailure
from indexer.formats.archive import check_office
from indexer.formats.encoding import decode
from indexer.formats.metadata import flatten_metadata
from indexer.formats.table import format_of, parse
from indexer.types import ParsedText
from tests import samples
from tests.hostile import zip64_lie


def parts(document: ParsedText) -> list[tuple[str, tuple[str, ...], str]]:
    return [(b.kind, b.heading_path, document.text[b.start : b.end]) for b in document.blocks]


def code_of(name: str, content: bytes) -> str:
    with pytest.raises(ParseFailure) as failed:
        parse(name, content)
    return failed.value.code


def test_a_page_loses_its_chrome_and_keeps_lines_of_code_and_rows_of_tables() -> None:
    document = parse("a.html", samples.html_file())[0]
    assert document.title == "The gearbox manual"
    assert "Prev" not in document.text and "rights" not in document.text
    assert parts(document)[2:] == [
        ("heading", ("The gearbox manual", "Grades"), "Grades"),
        ("list", ("The gearbox manual", "Grades"), "- summer: 40\n- winter: 20"),
        ("code", ("The gearbox manual", "Grades"), "drain --all\n  --slowly"),
        ("table", ("The gearbox manual", "Grades"), "month | grade\nJune | 40"),
    ]


def test_a_long_definition_stands_under_its_term() -> None:
    page = "<dl><dt>max_wal_size (integer)<dd><p>" + "How much. " * 60 + "<dt>short<dd>Brief.</dl><p>After."
    found = parts(parse("a.html", page.encode())[0])
    assert found[0][:2] == ("heading", ("max_wal_size (integer)",))
    assert found[-2] == ("list", (), "short\nBrief.")
    assert found[-1] == ("paragraph", (), "After.")


def test_markdown_gives_sections_and_front_matter() -> None:
    source = b"---\ntitle: Grades\ntags: [oil, gear]\ndraft: false\n---\n# One\n\ntext\n\n### Two\n\n> quoted\n\n1. a\n2. b\n"
    document = parse("a.md", source)[0]
    assert document.title == "Grades"
    assert document.metadata == {"tags": ("oil", "gear"), "draft": False}
    assert parts(document)[-1] == ("list", ("One", "Two"), "1. a\n2. b")


def test_rst_reads_the_directives_and_roles_of_sphinx_and_never_other_files() -> None:
    source = b"T\n=\n\n.. include:: /etc/passwd\n\n.. raw:: html\n\n   <b>x</b>\n\nSee :meth:`~a.b.c`.\n\n.. seealso:: other\n"
    text = parse("a.rst", source)[0].text
    assert "root:" not in text and "<b>" not in text
    assert "See c." in text and "other" in text


def test_an_outline_gives_a_pdf_its_headings() -> None:
    found = parts(parse("a.pdf", samples.pdf_file())[0])
    assert found[2] == ("heading", ("Part 2",), "Part 2")
    assert found[3][1] == ("Part 2",)


def test_an_encrypted_pdf_is_named() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(samples.pdf_file()))
    writer.encrypt("secret", algorithm="RC4-128")
    body = io.BytesIO()
    writer.write(body)
    assert code_of("a.pdf", body.getvalue()) == "encrypted"


def test_an_office_file_is_found_by_content_too() -> None:
    assert format_of("upload", samples.docx_file()) == "docx"
    assert format_of("upload", samples.pdf_file()) == "pdf"


def test_jsonl_carries_ids_access_links_and_flat_metadata() -> None:
    first, second = parse("a.jsonl", samples.jsonl_file())
    assert (first.document_id, first.access) == ("g1", ("staff",))
    assert (second.document_id, second.link, second.metadata) == ("2", "https://example.org/2", {"a.b": (1, 2)})


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"text": 1}', '{"id": true, "text": "x"}', '{"text":"x","access":[]}', "[" * 100_000]
)
def test_a_bad_line_of_jsonl_is_named_by_its_number(line: str) -> None:
    with pytest.raises(ParseFailure, match="line 2") as failed:
        parse("a.jsonl", b'{"text": "fine"}\n' + line.encode())
    assert failed.value.code == "malformed"


def test_csv_columns_become_metadata_numeric_where_a_whole_column_is() -> None:
    rows = parse("a.csv", b"id;text;hours;zip\n1;one;5;01\n2;two;6.5;20\n")
    assert [row.metadata for row in rows] == [{"hours": 5.0, "zip": "01"}, {"hours": 6.5, "zip": "20"}]


def test_csv_without_a_text_column_reads_its_rows() -> None:
    assert parse("a.csv", b"part,stock\npump,3\n")[0].text == "part: pump\nstock: 3"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_are_detected(encoding: str) -> None:
    text = "Die Größe der Düse beträgt fünf Millimeter, geprüft über Nacht. " * 4
    assert decode(text.encode(encoding)) == text


def test_a_declared_charset_is_believed_if_it_fits() -> None:
    page = '<meta charset="koi8-r"><p>Смазка коробки передач'.encode("koi8-r")
    assert parse("a.html", page)[0].text == "Смазка коробки передач"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.txt", b"\x7fELF" + bytes(100), "not_text"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "unknown_type"),
        ("a.css", b"body { color: red }", "unknown_type"),
        ("a.txt", b" \n\n\t", "empty"),
        ("a.docx", b"PK\x03\x04 broken", "malformed"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
    ],
)
def test_what_cannot_be_read_has_a_code(name: str, content: bytes, code: str) -> None:
    assert code_of(name, content) == code


def test_an_archive_inside_an_office_file_is_refused() -> None:
    body = io.BytesIO(samples.docx_file())
    with zipfile.ZipFile(body, "a") as archive:
        archive.writestr("word/media/more.zip", b"PK\x03\x04")
    assert code_of("a.docx", body.getvalue()) == "nested_archive"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_damaged_anywhere_is_sound_or_a_named_failure(method: int) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as archive:
        archive.writestr("word/document.xml", b"<x>" + bytes(range(256)) * 20 + b"</x>")
    sound = body.getvalue()
    chance = random.Random(method)
    codes = set()
    for _ in range(400):
        damaged = bytearray(sound)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            check_office(bytes(damaged), "word/document.xml")
        except ParseFailure as failed:
            codes.add(failed.code)
    assert "malformed" in codes
    assert codes <= {"malformed", "encrypted", "unpacks_too_large"}


def test_an_archive_whose_directory_points_beyond_every_file_is_malformed() -> None:
    lying = zip64_lie(samples.docx_file(), b"word/document.xml", offset=2**64 - 1)
    with pytest.raises(ParseFailure) as failed:
        check_office(lying, "word/document.xml")
    assert failed.value.code == "malformed"


def test_metadata_is_flattened_and_nulls_go() -> None:
    assert flatten_metadata({"a": {"b": 1, "c": None}, "d": ["x", 2]}) == {"a.b": 1, "d": ("x", 2)}


@pytest.mark.parametrize(
    "wrong", [{"a": [{"b": 1}]}, {"a": float("nan")}, {"": 1}, [1], {"a": 2**70}, {"a": "x" * 9000}]
)
def test_metadata_that_no_index_can_hold_is_refused(wrong: object) -> None:
    with pytest.raises((InputError, LimitError)):
        flatten_metadata(wrong)


def test_a_row_without_a_title_is_not_titled_by_its_file() -> None:
    (line,) = parse("corpus-0.jsonl", b'{"id": "1", "text": "Valves and pumps."}')
    (headed,) = parse("corpus-0.jsonl", b'{"markdown": "# Pumps\\n\\nThey move water."}')
    (row,) = parse("faq.csv", b"text\nValves and pumps.\n")
    assert (line.title, headed.title, row.title) == ("", "Pumps", "")
