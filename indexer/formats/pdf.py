"""PDF through pdfium, with pypdf where pdfium refuses: pages, paragraphs, headings from the outline.

Lines that repeat at the top or bottom of most pages (running titles, page numbers) are dropped.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import pypdf
import pypdf.errors
import pypdfium2

from indexer.errors import ParseFailure
from indexer.formats.builder import TextBuilder, one_line, tidy
from indexer.formats.encoding import clean
from indexer.formats.failures import MAX_TEXT_CHARS, failure
from indexer.types import ParsedText

MAX_PAGES: Final = 20_000
MAX_OUTLINE: Final = 20_000
MAX_OUTLINE_DEPTH: Final = 8
EDGE_LINES: Final = 2
SPARSE_LINES: Final = 8
"""A page with fewer lines has an edge of one line: its text would else be taken for a running title."""
_SOFT_HYPHEN: Final = re.compile("[\x02\ufffe\u00ad]\\s*\n?\\s*")
_DIGITS: Final = re.compile(r"\d+|\b[ivxlc]+\b")
_BULLET: Final = re.compile(r"^\s*(?:[\u2022\u25cf\u25aa\u2013\uf0b7*-]\s+|\(?\d{1,3}[.)]\s+)")
_NO_TITLE: Final = re.compile(
    r"^(?:untitled.*|\(?anonymous\)?|document\d*|.*\.(?:docx?|pptx?|pdf|dvi|tex|indd|qxd|rtf|odt))$", re.IGNORECASE
)
_OFFICE: Final = re.compile(r"^Microsoft (?:Word|PowerPoint) - ")
Outline = list[tuple[int, int, str]]
"""(page from 1, level from 1, title), in order."""


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return one document with page numbers from 1. Raises: ParseFailure encrypted, malformed, too_large."""
    try:
        pages, outline, properties = _with_pdfium(content)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise failure("encrypted", "the document is protected by a password") from error
        pages, outline, properties = _with_pypdf(content)
    builder = TextBuilder()
    _add_pages(builder, _without_running_lines(pages), outline)
    if not builder.chars:
        raise failure(
            "empty", f"0 characters of text in {len(pages):,} pages; scanned pages need text recognition first"
        )
    title = _OFFICE.sub("", one_line(clean(properties.pop("title", ""))))
    return [builder.build(name, None if _NO_TITLE.match(title) else title, properties)]


def _with_pdfium(content: bytes) -> tuple[list[str], Outline, dict[str, str]]:
    with contextlib.closing(pypdfium2.PdfDocument(content)) as document:
        _check_pages(len(document))
        pages: list[str] = []
        chars = 0
        for number in range(len(document)):
            try:
                with contextlib.closing(document[number]) as page, contextlib.closing(page.get_textpage()) as textpage:
                    text = textpage.get_text_range()
            except pypdfium2.PdfiumError:
                text = ""  # one damaged page does not lose the others; all damaged ones end as `empty`
            chars += len(text)
            _check_chars(chars)
            pages.append(text)
        raw = document.get_metadata_dict(skip_empty=True)
        return pages, _outline(document), _properties({key: str(value) for key, value in raw.items()})


def _outline(document: pypdfium2.PdfDocument) -> Outline:
    found: Outline = []
    with contextlib.suppress(pypdfium2.PdfiumError, ValueError):  # a damaged outline costs headings, not the text
        for mark in document.get_toc(max_depth=MAX_OUTLINE_DEPTH):
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            title = one_line(clean(mark.get_title() or ""))
            if index is not None and title:
                found.append((index + 1, mark.level + 1, title))
            if len(found) >= MAX_OUTLINE:
                break
    return sorted(found, key=lambda entry: entry[0])


def _with_pypdf(content: bytes) -> tuple[list[str], Outline, dict[str, str]]:
    """Read what pdfium refused; pypdf mends damaged cross-reference tables."""
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise failure("encrypted", "the document is protected by a password")
        _check_pages(len(reader.pages))
        pages: list[str] = []
        chars = 0
        for page in reader.pages:
            pages.append(page.extract_text())
            chars += len(pages[-1])
            _check_chars(chars)
        raw = {str(key).lstrip("/"): str(value) for key, value in (reader.metadata or {}).items()}
    except ParseFailure:
        raise
    except MemoryError:
        raise
    except Exception as error:  # pypdf raises whatever a damaged file makes it meet: KeyError, struct.error, ...
        raise failure("malformed", f"not a readable PDF: {type(error).__name__}: {error}"[:300]) from error
    return pages, [], _properties(raw)


def _check_pages(count: int) -> None:
    if count > MAX_PAGES:
        raise failure("too_large", f"{count:,} pages; at most {MAX_PAGES:,} are taken")


def _check_chars(count: int) -> None:
    if count > MAX_TEXT_CHARS:
        raise failure("too_large", f"more than {MAX_TEXT_CHARS:,} characters of text")


def _properties(raw: dict[str, str]) -> dict[str, str]:
    """Return title, author, keywords and the ISO date of a document's properties."""
    found = {
        key: one_line(clean(raw[name]))[:500]
        for key, name in (("title", "Title"), ("author", "Author"), ("keywords", "Keywords"))
        if raw.get(name, "").strip()
    }
    date = re.match(r"D:(\d{4})(\d{2})(\d{2})", raw.get("ModDate", "") or raw.get("CreationDate", ""))
    if date and "01" <= date.group(2) <= "12":
        found["date"] = "-".join(date.groups())
    return found


def _without_running_lines(pages: Sequence[str]) -> list[list[str]]:
    """Return each page's lines without those that stand at the edge of more than half of the pages."""
    split = [[tidy(line) for line in _SOFT_HYPHEN.sub("", clean_lines(page)).split("\n")] for page in pages]
    split = [[line for line in lines if line] for lines in split]
    if len(split) < 4:
        return split
    seen: Counter[str] = Counter()
    for lines in split:
        seen.update({_shape(lines[n]) for n in _edge(lines)})
    running = {shape for shape, count in seen.items() if count > len(split) * 0.5}
    kept = []
    for lines in split:
        edge = _edge(lines)
        kept.append([line for n, line in enumerate(lines) if n not in edge or _shape(line) not in running])
    return kept


def _edge(lines: Sequence[str]) -> set[int]:
    """Return the places of a page's first and last lines."""
    size = min(EDGE_LINES if len(lines) >= SPARSE_LINES else 1, len(lines))
    return {*range(size), *range(len(lines) - size, len(lines))}


def clean_lines(page: str) -> str:
    """Return a page's text with `\\n` between lines; soft hyphens are still in it."""
    return page.replace("\r\n", "\n").replace("\r", "\n")


def _shape(line: str) -> str:
    return _DIGITS.sub("#", line.lower())


def _add_pages(builder: TextBuilder, pages: Sequence[Sequence[str]], outline: Outline) -> None:
    """Add paragraphs page by page; an outline entry heads from the line that spells it, else from its page's start."""
    marks: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for page, level, title in outline:
        marks[page].append((level, title))
    for number, lines in enumerate(pages, start=1):
        builder.page = number
        places = _places(lines, marks.get(number, []))
        start = 0
        for at, span, level, title in places:
            _add_paragraphs(builder, lines[start:at])
            builder.heading(title, level)
            start = at + span
        _add_paragraphs(builder, lines[start:])


def _places(lines: Sequence[str], marks: Sequence[tuple[int, str]]) -> list[tuple[int, int, int, str]]:
    """Return (line, lines spanned, level, title) of each mark, in reading order; an entry not spelled out spans none."""
    bare = [_bare(line) for line in lines]
    found: list[tuple[int, int, int, str]] = []
    start = 0
    for level, title in marks:
        wanted = _bare(title)
        at, span = start, 0
        for n in range(start, len(lines)):
            if wanted and (bare[n] == wanted or (bare[n].endswith(wanted) and len(bare[n]) <= len(wanted) + 8)):
                at, span = n, 1
                break
        found.append((at, span, level, title))
        start = at + span
    return found


def _bare(text: str) -> str:
    return re.sub(r"\W+", "", text).lower()


def _add_paragraphs(builder: TextBuilder, lines: Sequence[str]) -> None:
    """Add lines as paragraphs: one ends where a line is short and closes a sentence, or a list entry follows."""
    if not lines:
        return
    usual = sorted(len(line) for line in lines)[len(lines) * 3 // 4]
    paragraph: list[str] = []
    for line in lines:
        if paragraph and (_BULLET.match(line) or _ends(paragraph[-1], usual)):
            builder.paragraph("\n".join(paragraph))
            paragraph = []
        paragraph.append(line)
    builder.paragraph("\n".join(paragraph))


def _ends(line: str, usual: int) -> bool:
    return len(line) < usual * 0.8 and line.rstrip().endswith((".", "!", "?", ":", ";", "\u3002"))
