"""reStructuredText through docutils, with raw text, file insertion and network off; Sphinx's own directives are read too.

Errors in the markup never fail a file: docutils mends what it can, and unknown roles and directives keep their text.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
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
_CODE: Final = frozenset("code-block sourcecode code doctest testcode productionlist parsed-literal prompt console".split())
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
        return directives.unchanged


class _Described(Directive):
    """An unknown directive: its arguments are a term (`.. function:: open(file)`), its content the definition."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[_AnyOptions] = _AnyOptions()  # type: ignore[misc]  # docutils declares an instance attribute

    def run(self) -> list[nodes.Node]:
        body = nodes.definition()
        self.state.nested_parse(self.content, self.content_offset, body)
        if not self.arguments:
            return list(body.children)
        term = nodes.term("", " ".join(self.arguments[0].split()))
        return [nodes.definition_list("", nodes.definition_list_item("", term, body))]


class _Code(Directive):
    """A directive whose content is program text."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[_AnyOptions] = _AnyOptions()  # type: ignore[misc]  # as above

    def run(self) -> list[nodes.Node]:
        text = "\n".join(self.content)
        return [nodes.literal_block(text, text)] if text else []


class _Silent(Directive):
    """A directive that carries no text of its own."""

    optional_arguments = 100
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[_AnyOptions] = _AnyOptions()  # type: ignore[misc]  # as above

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
