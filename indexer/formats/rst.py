"""reStructuredText through docutils, with raw text, file insertion and network off; Sphinx's own directives are read too.

Errors in the markup never fail a file: docutils mends what it can, and unknown roles and directives keep their text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any, ClassVar, Final

import docutils.core
from docutils import nodes
from docutils.parsers.rst import Directive, directives, roles
from docutils.parsers.rst.languages import en as english
from docutils.utils import SystemMessage, unescape

from indexer.formats.builder import TextBuilder, one_line
from indexer.formats.encoding import decode
from indexer.formats.failures import failure
from indexer.types import ParsedText

MAX_LINE_CHARS: Final = 100_000
TERM_LEVEL: Final = 10
LONG_DEFINITION_CHARS: Final = 400
_DIRECTIVE: Final = re.compile(r"^[^\S\n]*\.\.[^\S\n]+(?:\|[^|\n]+\|[^\S\n]+)?([A-Za-z][\w:+.-]{0,60})::", re.MULTILINE)
_ROLE: Final = re.compile(r":([A-Za-z][\w:+.-]{0,60}):`")
_SILENT: Final = frozenset(
    "toctree index contents sectnum only raw include literalinclude image figure tabularcolumns currentmodule module "
    "py:module py:currentmodule highlight default-role meta target-notes todolist automodule autoclass autofunction".split()
)
_CODE: Final = frozenset(
    "code-block sourcecode code doctest testcode productionlist parsed-literal prompt console".split()
)
_SETTINGS: Final[dict[str, Any]] = {
    "_disable_config": True,
    "raw_enabled": False,
    "file_insertion_enabled": False,
    "halt_level": 5,
    "report_level": 5,
    "input_encoding": "unicode",
    "line_length_limit": MAX_LINE_CHARS,
    "syntax_highlight": "none",
    "doctitle_xform": True,
    "smart_quotes": False,
}


def parse(name: str, content: bytes) -> list[ParsedText]:
    """Return one document. Raises: ParseFailure `not_text`, `too_large`, `malformed`."""
    text = decode(content)
    _register_unknown(text)
    try:
        tree = docutils.core.publish_doctree(
            text, settings_overrides=_SETTINGS | {"warning_stream": io.StringIO()}
        )  # fmt: skip
    except SystemMessage as error:
        raise failure("malformed", f"docutils: {str(error)[:300]}") from error
    builder = TextBuilder()
    _Walk(builder).run(tree)
    title = tree.get("title")
    return [builder.build(name, title if isinstance(title, str) else None, _docinfo(tree))]


class _AnyOptions(dict[str, Callable[[str], Any]]):
    """Accepts every option of a directive that docutils does not know."""

    def __missing__(self, name: str) -> Callable[[str], Any]:
        unchanged: Callable[[str], Any] = directives.unchanged
        return unchanged


class _Described(Directive):  # type: ignore[misc]  # docutils ships no types
    """An unknown directive: its arguments are a term (`.. function:: open(file)`), its content the definition."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[_AnyOptions] = _AnyOptions()

    def run(self) -> list[nodes.Node]:
        body = nodes.definition()
        self.state.nested_parse(self.content, self.content_offset, body)
        if not self.arguments:
            return list(body.children)
        term = nodes.term("", " ".join(self.arguments[0].split()))
        return [nodes.definition_list("", nodes.definition_list_item("", term, body))]


class _Code(Directive):  # type: ignore[misc]  # docutils ships no types
    """A directive whose content is program text."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[_AnyOptions] = _AnyOptions()

    def run(self) -> list[nodes.Node]:
        text = "\n".join(self.content)
        return [nodes.literal_block(text, text)] if text else []


class _Silent(Directive):  # type: ignore[misc]  # docutils ships no types
    """A directive that carries no text of its own."""

    optional_arguments = 100
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[_AnyOptions] = _AnyOptions()

    def run(self) -> list[nodes.Node]:
        return []


def _role(name: str, rawtext: str, text: str, *_: Any, **__: Any) -> tuple[list[nodes.Node], list[Any]]:
    """Keep the text of an unknown role: `:func:`~os.path.join`` reads `join`, a title before `<...>` wins."""
    shown = re.sub(r"\s*<[^<>]*>$", "", unescape(text)).lstrip("!")
    if shown.startswith("~"):
        shown = shown[1:].rpartition(".")[2]
    return [nodes.literal(rawtext, shown or text)], []


_KNOWN_DIRECTIVES: Final = frozenset(directives._directive_registry) - {"class"}
"""Without `class`, which in Sphinx describes a class and in docutils only styles what follows."""
_KNOWN_ROLES: Final = frozenset(roles._role_registry) | frozenset(english.roles)
_LOCAL_ROLES: Final = dict(roles._roles)
_LOCAL_DIRECTIVES: Final = dict(directives._directives)


def _register_unknown(text: str) -> None:
    """Teach docutils the directives and roles this text uses that it does not know; known ones stay its own.

    What the file before this one registered is forgotten first: equal files must give equal text.
    """
    for registry, pristine in ((roles._roles, _LOCAL_ROLES), (directives._directives, _LOCAL_DIRECTIVES)):
        registry.clear()
        registry.update(pristine)
    for name in {match.lower() for match in _DIRECTIVE.findall(text)}:
        if name in _SILENT:
            directives.register_directive(name, _Silent)
        elif name in _CODE:
            directives.register_directive(name, _Code)
        elif name not in _KNOWN_DIRECTIVES:
            directives.register_directive(name, _Described)
    for name in {match.lower() for match in _ROLE.findall(text)} - _KNOWN_ROLES:
        roles.register_local_role(name, _role)


def _docinfo(tree: nodes.document) -> dict[str, str]:
    """Return author, date and the like of the field list at a document's head."""
    names = {"author", "date", "version", "revision", "organization", "status"}
    found: dict[str, str] = {}
    for info in tree.findall(nodes.docinfo):
        for field in info.children:
            name = field.tagname
            if name in names and field.astext().strip():
                found[name] = one_line(field.astext())[:500]
    return found


class _Walk:
    """One pass over the tree; docutils bounds its own nesting by recursion, which ends as `malformed`."""

    def __init__(self, builder: TextBuilder) -> None:
        self.builder = builder

    def run(self, tree: nodes.document) -> None:
        """Add the whole document; a title that docutils took from its only section heads everything."""
        title = tree.next_node(nodes.title, descend=True, siblings=False)
        if title is not None and title.parent is tree:
            self.builder.heading(title.astext(), 1)
            for subtitle in tree.children[1:2]:
                if isinstance(subtitle, nodes.subtitle):
                    self.builder.heading(subtitle.astext(), 2)
        self._children(tree, level=2, depth=-1)

    def _children(self, parent: nodes.Element, level: int, depth: int) -> None:
        for node in parent.children:
            if isinstance(node, nodes.Element):
                self._node(node, level, depth)

    def _node(self, node: nodes.Element, level: int, depth: int) -> None:
        if isinstance(node, _SKIPPED):
            return
        if isinstance(node, nodes.section):
            self._section(node, level)
        elif isinstance(node, nodes.literal_block | nodes.doctest_block | nodes.math_block | nodes.line_block):
            self.builder.code(node.astext())
        elif isinstance(node, nodes.table):
            self._table(node)
        elif isinstance(node, nodes.bullet_list | nodes.enumerated_list):
            self._list(node, level, depth + 1)
        elif isinstance(node, nodes.definition_list):
            self._definitions(node, level, depth)
        elif isinstance(node, nodes.field | nodes.option_list_item):
            name, body = node.children[0].astext(), node.children[-1].astext()
            self.builder.line(f"{one_line(name)}: {body}", max(depth, 0))
        elif isinstance(node, nodes.TextElement):
            self._text(node.astext(), depth)
        else:
            self._children(node, level, depth)

    def _text(self, text: str, depth: int) -> None:
        text = one_line(text)
        if depth >= 0:
            self.builder.line(text, depth, "  ")
        else:
            self.builder.paragraph(text)

    def _section(self, section: nodes.section, level: int) -> None:
        title = next((child for child in section.children if isinstance(child, nodes.title)), None)
        if title is not None:
            self.builder.heading(title.astext(), level)
        self._children(section, level + 1, -1)

    def _list(self, parent: nodes.Element, level: int, depth: int) -> None:
        for number, entry in enumerate(parent.children, start=int(parent.get("start", 1))):
            marker = f"{number}. " if isinstance(parent, nodes.enumerated_list) else "- "
            for node in entry.children if isinstance(entry, nodes.Element) else ():
                if isinstance(node, nodes.paragraph):
                    self.builder.line(one_line(node.astext()), depth, marker)
                    marker = "  "
                elif isinstance(node, nodes.Element):
                    self._node(node, level, depth)

    def _definitions(self, parent: nodes.Element, level: int, depth: int) -> None:
        """A long definition gets its term as a heading, a short one stands in a block with it."""
        for entry in parent.children:
            if not isinstance(entry, nodes.Element):
                continue
            terms = ", ".join(one_line(n.astext()) for n in entry.children if isinstance(n, nodes.term))
            bodies = [node for node in entry.children if isinstance(node, nodes.definition)]
            text = "\n".join(body.astext() for body in bodies)
            own = max(level, TERM_LEVEL) + 1
            if len(text) >= LONG_DEFINITION_CHARS:
                self.builder.heading(terms, own)
                for body in bodies:
                    self._children(body, own, -1)
                self.builder.end_sections(own)
            elif not bodies or not text.strip():
                self._text(terms, depth)
            else:
                self.builder.line(f"{terms}\n{text}", max(depth, 0), "")

    def _table(self, table: nodes.table) -> None:
        for title in table.children:
            if isinstance(title, nodes.title):
                self.builder.paragraph(title.astext())
        self.builder.table([entry.astext() for entry in row.findall(nodes.entry)] for row in table.findall(nodes.row))


_SKIPPED: Final = (
    nodes.system_message, nodes.comment, nodes.title, nodes.subtitle, nodes.target, nodes.substitution_definition,
    nodes.docinfo, nodes.decoration, nodes.pending, nodes.problematic, nodes.raw, nodes.image, nodes.meta,
)  # fmt: skip
