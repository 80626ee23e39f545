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
from docutils.utils import SystemMessage

from indexer.formats.builder import TextBuilder
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
    shown = re.sub(r"\s*<[^<>]*>$", "", nodes.unescape(text)).lstrip("!")
    if shown.startswith("~"):
        shown = shown[1:].rpartition(".")[2]
    return [nodes.literal(rawtext, shown or text)], []


def _register_unknown(text: str) -> None:
    """Teach docutils the directives and roles this text uses that it does not know; known ones stay its own."""
    for name in {match.lower() for match in _DIRECTIVE.findall(text)}:
        if name in _SILENT:
            directives.register_directive(name, _Silent)
        elif name in _CODE:
            directives.register_directive(name, _Code)
        elif name not in _KNOWN_DIRECTIVES:
            directives.register_directive(name, _Described)
    for name in {match.lower() for match in _ROLE.findall(text)} - _KNOWN_ROLES:
        roles.register_local_role(name, _role)


_KNOWN_DIRECTIVES: Final = frozenset(directives._directive_registry)
_KNOWN_ROLES: Final = frozenset(roles._role_registry) | frozenset(roles._roles)


class _Walk:
    """Carries a document tree over into a TextBuilder, in reading order."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder

    def run(self, tree: nodes.document) -> None:
        """Add everything of the tree."""
        title = tree.next_node(nodes.title)
        if title is not None and title.parent is tree:
            self._builder.heading(title.astext(), 1)
        self._children(tree, 1)

    def _children(self, node: Any, level: int) -> None:
        for child in node.children:
            self._node(child, level)

    def _node(self, node: Any, level: int) -> None:
        """Add one node; what has no rule of its own is opened."""
        if isinstance(node, nodes.section):
            self._section(node, level)
        elif isinstance(node, nodes.paragraph | nodes.term | nodes.caption | nodes.rubric | nodes.line_block):
            self._builder.paragraph(node.astext())
        elif isinstance(node, nodes.literal_block | nodes.doctest_block | nodes.math_block):
            self._builder.code(node.astext())
        elif isinstance(node, nodes.bullet_list | nodes.enumerated_list | nodes.field_list | nodes.option_list):
            self._list(node, 0)
        elif isinstance(node, nodes.definition_list):
            self._definitions(node, level)
        elif isinstance(node, nodes.table):
            rows = [[entry.astext() for entry in row.children] for row in node.findall(nodes.row)]
            self._builder.table(rows)
        elif not isinstance(node, nodes.title | nodes.comment | nodes.system_message | nodes.Invisible | nodes.docinfo):
            self._children(node, level)

    def _section(self, node: Any, level: int) -> None:
        title = node.next_node(nodes.title)
        if title is not None and title.parent is node:
            self._builder.heading(title.astext(), level + 1)
        self._children(node, level + 1)

    def _list(self, node: Any, depth: int) -> None:
        for entry in node.children:
            nested = [c for c in entry.children if isinstance(c, nodes.bullet_list | nodes.enumerated_list)]
            own = " ".join(child.astext() for child in entry.children if child not in nested)
            self._builder.line(own, depth)
            for inner in nested:
                self._list(inner, depth + 1)

    def _definitions(self, node: Any, level: int) -> None:
        """A long definition gets its term as a heading, a short one stays a line."""
        for entry in node.children:
            term = " ".join(child.astext() for child in entry.children if isinstance(child, nodes.term))
            body = [child for child in entry.children if isinstance(child, nodes.definition)]
            if sum(len(child.astext()) for child in body) > LONG_DEFINITION_CHARS:
                self._builder.heading(term, TERM_LEVEL + level)
                for child in body:
                    self._children(child, level)
                self._builder.end_sections(TERM_LEVEL + level)
            else:
                self._builder.line(f"{term}: {' '.join(child.astext() for child in body)}")


def _docinfo(tree: nodes.document) -> dict[str, str]:
    """Return author, version and date of the head of a document, as metadata."""
    found: dict[str, str] = {}
    for info in tree.findall(nodes.docinfo):
        for field in info.children:
            if isinstance(field, nodes.author | nodes.version | nodes.date | nodes.organization):
                found[str(field.tagname)] = field.astext()[:500]
    return found
