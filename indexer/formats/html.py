"""HTML: the main text as headings, paragraphs, lists, tables and code; navigation and repeated chrome are dropped.

A page's own `<main>` or single `<article>` is preferred. The tree is walked with an explicit stack, because pages
with 100,000 nested tags exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from indexer.formats.builder import TextBuilder, one_line
from indexer.formats.encoding import clean, decode
from indexer.formats.markup import BLOCKS, CHECKED, DROPPED, HEADINGS, is_admonition, is_chrome
from indexer.types import Metadata, ParsedText

MAIN_CHARS: Final = 200
"""A `<main>` with less text than this is not believed to be the page's text."""
TERM_LEVEL: Final = 10
LONG_DEFINITION_CHARS: Final = 400
"""A definition at least this long makes its term a heading, so that every passage of it knows what it defines."""
_DECLARED: Final = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)
_SITE_SEPARATOR: Final = re.compile(r"\s+(?:[|\u00b7\u2022\u2014\u2013\u00bb\u00ab-]|::)\s+|:\s+")
_PERMALINK: Final = re.compile(r"\s*[\u00b6\uf0c1\U0001f517#]\s*$")
_SPACE: Final = re.compile(r"\s+")
_META: Final = {
    "description": "description",
    "author": "author",
    "keywords": "keywords",
    "date": "date",
    "article:published_time": "date",
    "article:modified_time": "date",
    "dc.date": "date",
}


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return one document. Raises: ParseFailure `not_text`, `too_large`."""
    declared = _DECLARED.search(content[:4096])
    text = decode(content, declared.group(1).decode("ascii", "replace") if declared else None)
    return [parse_text(name, text)]


def parse_text(name: str, text: str) -> ParsedText:
    """Return the document of a page that is already decoded, as jsonl carries it."""
    tree = _tree(text)
    builder = _main_text(tree)
    return builder.build(name, _title(tree, builder), _metadata(tree))


def add_html(builder: TextBuilder, text: str) -> None:
    """Add a fragment of HTML, as markdown carries it, to a document in the making."""
    body = _tree(text).body
    if body is not None:
        _Walk(builder, drop_toc=False).run(body)


def _tree(text: str) -> LexborHTMLParser:
    """Return the tree. Raises: MemoryError; the parser takes any markup, and fails only where it gets no memory."""
    try:
        return LexborHTMLParser(text)
    except SelectolaxError as error:
        raise MemoryError from error


def _main_text(tree: LexborHTMLParser) -> TextBuilder:
    """Return the text of the first root that holds enough: main, a single article, the body, the body with its contents."""
    roots: list[tuple[LexborNode, bool]] = []
    main = tree.css_first("main, [role=main]")
    articles = tree.css("article")
    if main is not None:
        roots.append((main, True))
    if len(articles) == 1:
        roots.append((articles[0], True))
    body = tree.body or tree.root
    if body is not None:
        roots += [(body, True), (body, False)]
    builder = TextBuilder()
    for root, drop_toc in roots:
        built = TextBuilder()
        _Walk(built, drop_toc=drop_toc).run(root)
        if built.chars >= MAIN_CHARS:
            return built
        builder = built
    return builder


def _title(tree: LexborHTMLParser, builder: TextBuilder) -> str | None:
    """Return the page's title without the site's name, which headings and separators give away."""
    node = tree.css_first("title")
    full = one_line(clean(node.text() if node is not None else ""))
    if not full:
        return builder.first_heading
    for tag in ("h1", "h2"):
        for node in tree.css(tag)[:3]:
            heading = _PERMALINK.sub("", one_line(clean(node.text())))
            if 3 <= len(heading) < len(full) and heading.lower() in full.lower():
                return heading
    return full


def _metadata(tree: LexborHTMLParser) -> Metadata:
    found: dict[str, str] = {}
    for node in tree.css("meta")[:100]:
        attributes = node.attributes
        key = _META.get((attributes.get("name") or attributes.get("property") or "").lower())
        value = one_line(clean(attributes.get("content") or ""))[:1000]
        if key and value and key not in found:
            found[key] = value
    html = tree.css_first("html")
    language = (html.attributes.get("lang") or "").strip() if html is not None else ""
    return found | ({"language": language[:20]} if language else {})


class _Walk:
    """One pass over a subtree. `_inline` gathers the text of the block that is open."""

    def __init__(self, builder: TextBuilder, *, drop_toc: bool) -> None:
        self.builder = builder
        self.drop_toc = drop_toc
        self._inline: list[str] = []
        self._lists: list[tuple[str, int]] = []
        self._marker: str | None = None
        self._terms: list[str] = []
        self._definitions = 0
        self._admonitions = 0

    def run(self, root: LexborNode) -> None:
        """Walk the subtree; the stack holds open elements, whose `leave` runs after their last child."""
        stack: list[tuple[LexborNode, str]] = []
        node: LexborNode | None = root
        while node is not None or stack:
            if node is None:
                left, tag = stack.pop()
                self._leave(left, tag)
                node = left.next if stack else None
                continue
            tag = node.tag or ""
            if tag == "-text":
                self._inline.append(_SPACE.sub(" ", node.text_content or ""))
            elif not tag.startswith("-") and self._enter(node, tag, is_root=not stack):
                stack.append((node, tag))
                node = node.first_child
                continue
            node = node.next if stack else None
        self._flush()

    def _enter(self, node: LexborNode, tag: str, *, is_root: bool) -> bool:
        """Begin an element; return whether to walk its children."""
        if tag in DROPPED and not is_root:
            return tag == "form" and self._holds_page(node)
        if tag == "br":
            self._inline.append("\n")
            return False
        if tag in CHECKED and not is_root:
            attributes = node.attributes
            if is_chrome(attributes, drop_toc=self.drop_toc):
                return False
            if tag in ("div", "section", "p"):
                self._admonitions += is_admonition(attributes)
            if tag == "a" and "headerlink" in (attributes.get("class") or ""):
                return False
        if tag in HEADINGS or tag in BLOCKS:
            self._flush()
            return self._enter_block(node, tag)
        return True

    def _enter_block(self, node: LexborNode, tag: str) -> bool:
        if tag == "pre":
            self._flush_terms()
            self.builder.code(node.text() or "")
            return False
        if tag == "table" and not _is_layout(node):
            self._flush_terms()
            for caption in node.css("caption")[:1]:
                self.builder.paragraph(one_line(caption.text()))
            self.builder.table(_rows(node))
            return False
        if tag in ("ul", "ol", "menu", "dir"):
            self._lists.append((tag, 0))
        elif tag == "li" and self._lists:
            kind, count = self._lists[-1]
            self._lists[-1] = (kind, count + 1)
            self._marker = f"{count + 1}. " if kind == "ol" else "- "
        elif tag == "dl":
            self._definitions += 1
        elif tag == "dd":
            self._define(node)
        elif tag == "dt" and self._terms and self._definitions == 0:
            self._terms.clear()
        return True

    def _leave(self, node: LexborNode, tag: str) -> None:
        if tag in HEADINGS:
            self._end_heading(HEADINGS[tag])
        elif tag == "dt":
            term = self._take()
            if term:
                self._terms.append(one_line(_PERMALINK.sub("", term)))
        elif tag in BLOCKS:
            self._flush()
            if tag in ("ul", "ol", "menu", "dir") and self._lists:
                self._lists.pop()
            elif tag == "dl":
                self._flush_terms()
                self._definitions = max(0, self._definitions - 1)
                self.builder.end_sections(TERM_LEVEL + self._definitions)
        if tag in ("div", "section", "p") and self._admonitions and is_admonition(node.attributes):
            self._admonitions -= 1

    def _define(self, node: LexborNode) -> None:
        """Begin a definition: a long one under its terms as a heading, a short one in a block with them."""
        if not self._terms:
            return
        if len(node.text() or "") >= LONG_DEFINITION_CHARS:
            level = TERM_LEVEL + max(0, self._definitions - 1)
            self.builder.heading(", ".join(self._terms), level)
            self._terms.clear()
        else:
            self.builder.end_sections(TERM_LEVEL + max(0, self._definitions - 1))

    def _end_heading(self, level: int) -> None:
        text = _PERMALINK.sub("", self._take())
        if self._admonitions or self._lists:
            self._emit(text)
        else:
            self._flush_terms()
            self.builder.heading(text, level)

    def _take(self) -> str:
        text = "".join(self._inline)
        self._inline.clear()
        return text

    def _flush(self) -> None:
        if self._inline:
            self._emit(self._take())

    def _emit(self, text: str) -> None:
        if not text.strip():
            return
        terms = ", ".join(self._terms)
        self._terms.clear()
        if self._lists:
            self.builder.line(f"{terms}: {text}" if terms else text, len(self._lists) - 1, self._marker or "  ")
            self._marker = "  "
        elif terms:
            self.builder.line(f"{terms}\n{text}", marker="")
        else:
            self.builder.paragraph(text)

    def _flush_terms(self) -> None:
        """Put waiting terms out before what is no running text: a table, code, a heading."""
        if self._terms:
            self.builder.paragraph(", ".join(self._terms))
            self._terms.clear()

    def _holds_page(self, form: LexborNode) -> bool:
        """Say whether a form wraps the page, as some frameworks do, rather than being a part of it."""
        return len(form.css("p")) >= 3 and form.css_first("h1, h2") is not None


def _is_layout(table: LexborNode) -> bool:
    """Say whether a table only places things: it holds tables or headings, or has one column of blocks."""
    if table.css_first("table table, h1, h2, h3, table pre") is not None:
        return True
    return len(table.css("td")) + len(table.css("th")) <= 1


def _rows(table: LexborNode) -> Iterator[list[str]]:
    for row in table.css("tr"):
        yield [_cell(cell) for cell in row.iter() if cell.tag in ("td", "th")]


def _cell(cell: LexborNode) -> str:
    """Return a cell's text, with a space where elements that break lines meet."""
    parts: list[str] = []
    for node in cell.traverse(include_text=True):
        if node.tag == "-text":
            parts.append(node.text_content or "")
        elif node.tag == "br" or node.tag in BLOCKS:
            parts.append(" ")
    return "".join(parts)
