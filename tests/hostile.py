"""Hostile files, made from a fixed seed: bombs, truncations, loops, nesting, lies about type and encoding.

Each is (name, content). None is larger than a megabyte or two; what they become when unpacked is the point.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

import pypdf

from tests import samples

Hostile = tuple[str, bytes]
_DOCX_HEAD = (
    b'<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
)
_DOCX_TAIL = b"</w:body></w:document>"


def hostile_files() -> Iterator[Hostile]:
    """Yield every hostile file, in a fixed order."""
    yield from _office()
    yield from _pdf()
    yield from _web_and_markup()
    yield from _lines()
    yield from _bytes()
    yield from _damaged()


def repacked(content: bytes, changed: dict[str, bytes], *, level: int = 9) -> bytes:
    """Return a zip archive with these members replaced or added."""
    body = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as new,
    ):
        for member in old.namelist():
            if member not in changed:
                new.writestr(member, old.read(member))
        for member, data in changed.items():
            new.writestr(member, data)
    return body.getvalue()


def zip64_lie(content: bytes, name: bytes, *, packed: int | None = None, offset: int | None = None) -> bytes:
    """Return a zip archive whose directory gives a member another packed size or place, in the fields for large ones."""
    lied = bytearray(content)
    end = lied.rindex(b"PK\x05\x06")
    entry = struct.unpack_from("<I", lied, end + 16)[0]
    length, extra, comment = struct.unpack_from("<3H", lied, entry + 28)
    while lied[entry + 46 : entry + 46 + length] != name:
        entry += 46 + length + extra + comment
        length, extra, comment = struct.unpack_from("<3H", lied, entry + 28)
    values = b""
    for value, place in ((packed, 20), (offset, 42)):
        if value is not None:
            lied[entry + place : entry + place + 4] = b"\xff" * 4
            values += struct.pack("<Q", value)
    added = struct.pack("<HH", 1, len(values)) + values
    struct.pack_into("<H", lied, entry + 30, extra + len(added))
    struct.pack_into("<I", lied, end + 12, struct.unpack_from("<I", lied, end + 12)[0] + len(added))
    lied[entry + 46 + length : entry + 46 + length] = added
    return bytes(lied)


def encrypted_pdf(algorithm: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(samples.pdf_file()))
    writer.encrypt("secret", algorithm=algorithm)
    body = io.BytesIO()
    writer.write(body)
    return body.getvalue()


def _office() -> Iterator[Hostile]:
    word, slides = samples.docx_file(), samples.pptx_file()
    inner = "word/document.xml"
    yield "bomb-100mb.docx", repacked(word, {inner: _DOCX_HEAD + b" " * 100_000_000 + _DOCX_TAIL})
    yield "bomb-media.docx", repacked(word, {"word/media/a.bin": bytes(210_000_000)}, level=1)
    runs = b"<w:p><w:r><w:t>%d</w:t></w:r></w:p>"
    many = b"".join(runs % number for number in range(400_000))
    yield "paragraphs.docx", repacked(word, {inner: _DOCX_HEAD + many + _DOCX_TAIL}, level=1)
    yield "members.docx", repacked(word, {f"word/x{n}.xml": b"" for n in range(2100)})
    yield "nested-zip.docx", repacked(word, {"word/media/a.zip": word})
    yield "nested-disguised.docx", repacked(word, {"word/media/a.png": word})
    entities = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
    laughs = b'<?xml version="1.0"?><!DOCTYPE w [<!ENTITY l0 "lol">' + entities + b"]><w>&l9;</w>"
    yield "laughs.docx", repacked(word, {inner: laughs})
    yield "external.docx", repacked(word, {inner: b'<!DOCTYPE w [<!ENTITY x SYSTEM "file:///etc/passwd">]><w>&x;</w>'})
    late = b"<!--" + b" " * 70_000 + b"-->"
    yield "laughs-late.docx", repacked(word, {inner: laughs.replace(b"<!DOCTYPE", late + b"<!DOCTYPE")})
    depth = 60_000
    yield "deep.docx", repacked(word, {inner: _DOCX_HEAD + b"<w:p>" * depth + b"</w:p>" * depth + _DOCX_TAIL})
    yield "not-xml.docx", repacked(word, {inner: b"this is no xml"})
    yield "no-types.docx", repacked(word, {"[Content_Types].xml": b"<Types/>"})
    yield "truncated.docx", word[: len(word) // 2]
    yield "directory-lost.docx", word[:-80]
    yield "flipped.docx", _flipped(word)
    yield "beyond.docx", zip64_lie(word, inner.encode(), offset=2**64 - 1)
    bomb = repacked(samples.docx_file(), {inner: _DOCX_HEAD + b" " * 100_000_000 + _DOCX_TAIL})
    yield "bomb-of-one-that-lies.docx", zip64_lie(bomb, inner.encode(), packed=2**62)
    yield "slides-as.docx", slides
    yield "empty.docx", repacked(word, {inner: _DOCX_HEAD + _DOCX_TAIL})
    yield "encrypted.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512) + "EncryptedPackage".encode("utf-16-le")
    yield "locked-member.docx", _locked(word)
    yield "lying-size.docx", _lying(word)
    yield "old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000)
    yield "truncated.pptx", slides[: len(slides) // 2]
    yield "flipped.pptx", _flipped(slides)
    yield "laughs.pptx", repacked(slides, {"ppt/slides/slide1.xml": laughs})
    yield "missing-slide.pptx", repacked(slides, {"ppt/slides/slide1.xml": b""})
    yield "bomb.pptx", repacked(slides, {"ppt/slides/slide2.xml": b"<x>" + b"a" * 60_000_000 + b"</x>"})
    loop = b'<?xml version="1.0"?><p:presentation xmlns:p="x"/>'
    yield "hollow.pptx", repacked(slides, {"ppt/presentation.xml": loop})


def _locked(content: bytes) -> bytes:
    """Set the encryption flag of every member."""
    changed = bytearray(content)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(signature)
        while at >= 0:
            changed[at + place] |= 1
            at = changed.find(signature, at + 4)
    return bytes(changed)


def _lying(content: bytes) -> bytes:
    """Make the directory say that the text unpacks to ten bytes."""
    changed = bytearray(repacked(content, {"word/document.xml": _DOCX_HEAD + b"x" * 3_000_000 + _DOCX_TAIL}))
    at = changed.rfind(b"PK\x01\x02", 0, changed.rfind(b"word/document.xml"))
    changed[at + 24 : at + 28] = (10).to_bytes(4, "little")
    return bytes(changed)


def pdf_of(*objects: bytes, trailer: bytes = b"/Root 1 0 R") -> bytes:
    """Return a PDF of these objects, numbered from 1, with a right cross-reference table."""
    body = b"%PDF-1.7\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    body += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return body + b"trailer<</Size %d %s>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, trailer, start)


def _pdf() -> Iterator[Hostile]:
    good = samples.pdf_file()
    catalog = b"<</Type/Catalog/Pages 2 0 R>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>"
    yield "encrypted-rc4.pdf", encrypted_pdf("RC4-128")
    yield "truncated.pdf", good[: len(good) // 2]
    yield "header-only.pdf", b"%PDF-1.7\n"
    yield "flipped.pdf", _flipped(good)
    yield "no-xref.pdf", good[: good.rfind(b"xref") - 10]
    yield "page-loop.pdf", pdf_of(catalog, b"<</Type/Pages/Kids[2 0 R]/Count 1>>")
    yield (
        "parent-loop.pdf",
        pdf_of(catalog, b"<</Type/Pages/Kids[3 0 R]/Count 9>>", b"<</Type/Pages/Kids[2 0 R 3 0 R]/Count 9>>"),
    )
    yield "count-lie.pdf", pdf_of(catalog, b"<</Type/Pages/Kids[3 0 R]/Count 2000000000>>", page)
    yield "giant-xref.pdf", good.replace(b"xref\n0 ", b"xref\n0 99999999 \n0 ", 1)
    yield "prev-loop.pdf", _prev_loop(catalog)
    packed = zlib.compress(bytes(150_000_000), 9)
    bomb = b"<</Length %d/Filter/FlateDecode>>stream\n" % len(packed) + packed + b"\nendstream"
    yield "stream-bomb.pdf", pdf_of(catalog, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, bomb)
    nested = b"[" * 50_000 + b"]" * 50_000
    yield (
        "deep-array.pdf",
        pdf_of(b"<</Type/Catalog/Pages 2 0 R/X " + nested + b">>", b"<</Type/Pages/Kids[]/Count 0>>"),
    )
    form = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F 4 0 R>>>>/Length 4>>stream\n/F Do\nendstream"
    yield "form-loop.pdf", pdf_of(catalog, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, form)
    mark = b"<</Title(x)/Next 5 0 R/Parent 4 0 R/Dest[3 0 R/Fit]>>"
    outline = b"<</Type/Catalog/Pages 2 0 R/Outlines 4 0 R>>"
    yield "outline-loop.pdf", pdf_of(outline, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, b"<</First 5 0 R>>", mark)
    yield "no-pages.pdf", pdf_of(catalog, b"<</Type/Pages/Kids[]/Count 0>>")
    yield "html-as.pdf", b"<html><body>no pdf</body></html>"


def _prev_loop(catalog: bytes) -> bytes:
    body = pdf_of(catalog, b"<</Type/Pages/Kids[]/Count 0>>")
    return body.replace(b"/Root 1 0 R", b"/Root 1 0 R/Prev %d" % body.rfind(b"xref\n0"))


def _web_and_markup() -> Iterator[Hostile]:
    yield "deep.html", b"<div>" * 100_000 + b"text"
    yield "deep-lists.html", b"<ul><li>" * 20_000 + b"text"
    yield "deep-tables.html", b"<table><tr><td>" * 3_000 + b"text"
    yield "definitions.html", b"<dl><dt>a<dd>" * 3_000 + b"text"
    yield "unclosed.html", b"<b><i><u>" * 20_000 + b"text"
    yield "attributes.html", b"<p " + b" ".join(b"a%d=b" % n for n in range(100_000)) + b">text</p>"
    yield "attribute.html", b'<p title="' + b"x" * 2_000_000 + b'">text</p>'
    yield "comment.html", b"<p>text</p><!--" + b"-" * 1_000_000
    yield "charset.html", b'<meta charset="utf-7"><p>+ADw-script+AD4- text</p>'
    yield "codec.html", b'<meta charset="zlib"><p>text</p>'
    yield "script.html", b"<script>while(1);</script>" * 1000
    yield "deep.md", b"> " * 5_000 + b"text"
    yield "lists.md", b"".join(b" " * n + b"- x\n" for n in range(1_000))
    yield "brackets.md", b"[" * 50_000 + b"]" * 50_000
    yield "stars.md", b"*a **b " * 20_000
    yield "backticks.md", b" ".join(b"`" * n for n in range(1, 1_000))
    yield "links.md", b"[a](" * 20_000
    yield "pipes.md", b"|" * 20_000 + b"\n" + b"|-" * 20_000 + b"\n" + b"|a" * 20_000
    yield "front.md", b"---\n" + b"a: " * 50_000 + b"\n---\ntext"
    yield "include.rst", b".. include:: /etc/passwd\n\n.. csv-table:: x\n   :url: http://127.0.0.1:9/\n\ntext\n"
    yield "raw.rst", b".. raw:: html\n   :file: /etc/passwd\n\ntext\n"
    yield "deep.rst", b"".join(b"  " * n + b"- x\n\n" for n in range(400))
    yield "substitutions.rst", b".. |a| replace:: |b|\n.. |b| replace:: |a|\n\n|a| text\n"
    yield "stars.rst", b"*a **b " * 5_000
    yield "underlines.rst", b"".join(b"T%d\n%s\n\n" % (n, bytes([33 + n % 14]) * 4) for n in range(300))
    yield "table.rst", b"+" + b"-+" * 2_000 + b"\n" + b"|" + b"x|" * 2_000 + b"\n"
    yield "line.rst", b"x" * 200_000


def _lines() -> Iterator[Hostile]:
    yield "deep.jsonl", b'{"text":"x","metadata":{"a":' + b"[" * 100_000
    yield "objects.jsonl", b'{"a":' * 100_000
    yield "types.jsonl", b'{"id":[],"text":{},"title":1}'
    yield "surrogate.jsonl", b'{"text":"\\ud800 lone","title":"\\udfff"}'
    yield "number.jsonl", b'{"id":' + b"9" * 100_000 + b',"text":"x"}'
    yield "keys.jsonl", json.dumps({"text": "x", "metadata": {f"k{n}": n for n in range(5_000)}}).encode()
    yield "value.jsonl", json.dumps({"text": "x", "metadata": {"k": "v" * 100_000}}).encode()
    yield "null.jsonl", b"null\ntrue\n"
    yield "many.jsonl", b'{"text":"x"}\n' * 100_001
    yield "html.jsonl", json.dumps({"html": "<div>" * 20_000 + "text"}).encode()
    yield "field.csv", b'a,b\n"' + b"x" * 6_000_000 + b'",y\n'
    yield "quote.csv", b'a,b\n"never closed\n' + b"x,y\n" * 1_000
    yield "columns.csv", b",".join(b"c%d" % n for n in range(5_000)) + b"\n1\n"
    yield "ragged.csv", b"a,b\n1,2,3,4\n"
    yield "nul.csv", b"a,b\n1,\x00\n"
    yield "rows.csv", b"a\n" + b"1\n" * 100_002


def _bytes() -> Iterator[Hostile]:
    noise = random.Random(7).randbytes(20_000)
    yield "empty.txt", b""
    yield "blank.md", b" \n\t\n" * 100
    yield "nul.txt", bytes(10_000)
    yield "some-nul.txt", b"text\x00 with \x00 nuls in it"
    yield "noise.txt", noise
    yield "noise.html", noise
    yield "noise.pdf", noise
    yield "noise.docx", noise
    yield "program.txt", b"\x7fELF\x02\x01\x01" + bytes(1_000)
    yield "picture.txt", b"\x89PNG\r\n\x1a\n" + bytes(1_000)
    yield "packed.txt", gzip.compress(b"text" * 1_000)
    yield "program.exe", b"MZ\x90\x00" + bytes(1_000)
    yield "utf8.txt", b"caf\xe9 \xff\xfe broken " * 50
    yield "utf16.txt", b"\xff\xfe" + b"a\x00b\x00" * 100 + b"\x00\xd8c"
    yield "utf32.txt", b"\xff\xfe\x00\x00" + b"\xff\xff\xff\xff" * 50
    yield "overlong.txt", b"\xc0\x80\xc1\xbf\xf5\x80" * 50
    yield "word.txt", b"x" * 1_000_000
    yield "lines.txt", b"a\n\n" * 300_000
    yield "bidi.txt", "\u202egnp.exe\u202c \ufeff\u200b text".encode()
    yield "controls.txt", bytes(range(32)) * 50
    yield "archive.zip", samples.docx_file()[:500]


def _damaged() -> Iterator[Hostile]:
    """Yield good files with random bytes changed."""
    chance = random.Random(11)
    for kind in ("pdf", "docx", "pptx", "html", "rst", "markdown"):
        name, make = samples.SAMPLES[kind]
        content = make()
        for n in range(3):
            changed = bytearray(content)
            for _ in range(max(3, len(changed) // 200)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            yield f"damaged-{n}-{name}", bytes(changed)


def _flipped(content: bytes) -> bytes:
    chance = random.Random(3)
    changed = bytearray(content)
    for _ in range(20):
        changed[chance.randrange(len(changed) // 4, len(changed))] ^= 0xFF
    return bytes(changed)
