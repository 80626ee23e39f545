"""One small file of every format, made when asked: what the format contract and the pool's tests parse."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import docx
import pptx
from reportlab.pdfgen import canvas


def text_file() -> bytes:
    return "The gearbox manual\n\nOil is changed every 500 hours.\n\nUse grade 40 \u2013 never less.\n".encode()


def markdown_file() -> bytes:
    return (
        b"# The gearbox manual\n\nOil is *changed* every 500 hours.\n\n## Grades\n\n- summer: 40\n- winter: 20\n\n"
        b"| month | grade |\n|---|---|\n| June | 40 |\n\n```sh\ndrain --all\n```\n"
    )


def rst_file() -> bytes:
    return (
        b"The gearbox manual\n==================\n\nOil is *changed* every 500 hours.\n\nGrades\n------\n\n- summer: 40\n"
        b"- winter: 20\n\n.. function:: drain(all=True)\n\n   Lets the oil out, see :func:`~gear.fill`.\n"
    )


def html_file() -> bytes:
    return (
        b"<!doctype html><html lang=en><title>The gearbox manual - Acme Docs</title><body><nav>Home Prev Next</nav>"
        b"<h1>The gearbox manual</h1><p>Oil is <em>changed</em> every 500 hours.</p><h2>Grades</h2>"
        b"<ul><li>summer: 40<li>winter: 20</ul><pre>drain --all\n  --slowly</pre>"
        b"<table><tr><th>month<th>grade<tr><td>June<td>40</table><footer>All rights reserved</footer></body></html>"
    )


def pdf_file(pages: int = 3) -> bytes:
    body = io.BytesIO()
    page = canvas.Canvas(body, invariant=True)
    page.setTitle("The gearbox manual")
    for number in range(1, pages + 1):
        page.bookmarkPage(f"p{number}")
        page.addOutlineEntry(f"Part {number}", f"p{number}", 0)
        page.drawString(70, 780, f"Part {number}")
        page.drawString(70, 760, f"Oil is changed every {number}00 hours.")
        page.showPage()
    page.save()
    return body.getvalue()


def docx_file() -> bytes:
    document = docx.Document()
    document.core_properties.title = "The gearbox manual"
    document.add_heading("Service", 1)
    document.add_paragraph("Oil is changed every 500 hours.")
    document.add_heading("Grades", 2)
    document.add_paragraph("summer: 40", style="List Bullet")
    document.add_paragraph("winter: 20", style="List Bullet")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "June", "40"
    body = io.BytesIO()
    document.save(body)
    return body.getvalue()


def pptx_file() -> bytes:
    deck = pptx.Presentation()
    for number in (1, 2):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = f"The gearbox manual, part {number}"
        slide.placeholders[1].text = "Oil is changed\nevery 500 hours"
        slide.notes_slide.notes_text_frame.text = f"Say it slowly, {number}."
    body = io.BytesIO()
    deck.save(body)
    return body.getvalue()


def jsonl_file() -> bytes:
    lines = [
        {"id": "g1", "title": "The gearbox manual", "text": "Oil is changed every 500 hours.", "access": ["staff"]},
        {
            "id": 2,
            "markdown": "# Grades\n\nsummer: 40",
            "uri": "https://example.org/2",
            "metadata": {"a": {"b": [1, 2]}},
        },
    ]
    return "\n".join(json.dumps(line) for line in lines).encode()


def csv_file() -> bytes:
    return b'id,title,text,uri,hours\n1,The gearbox manual,"Oil is changed, often.",https://example.org/1,500\n2,Grades,40,,20\n'


SAMPLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "text": ("manual.txt", text_file),
    "markdown": ("manual.md", markdown_file),
    "rst": ("manual.rst", rst_file),
    "html": ("manual.html", html_file),
    "pdf": ("manual.pdf", pdf_file),
    "docx": ("manual.docx", docx_file),
    "pptx": ("manual.pptx", pptx_file),
    "jsonl": ("manual.jsonl", jsonl_file),
    "csv": ("manual.csv", csv_file),
}
