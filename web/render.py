"""One place that turns a page's context into an HTML response: templates, escaping, security headers.

Templates see text only through jinja's autoescape, control characters as pictures; nothing in this package builds markup in
Python.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response

from searchd.plurals import plural
from web import words
from web.judge_contexts import GRADES
from web.visitor import NOBODY, Visitor

if TYPE_CHECKING:
    from web.contexts import Page
    from web.report import ReportPage

HERE = Path(__file__).parent
STATIC = HERE / "static"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; connect-src 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every page. No referrer carries a query to a document's own site; a form of ours still names its origin."""


def asset(name: str) -> str:
    """Return the address of a static file, which changes with its content: it may be cached without end."""
    return f"/static/{name}?v={_ASSETS[name]}"


class Exact(str):
    """A text that a form sends back, which has to stay what it is."""


def shown(value: object) -> object:
    """Return what stands on a page for a value: no terminal or browser is to act on a text's control characters."""
    return words.visible(value) if type(value) is str else value


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader((HERE / "templates", STATIC)),  # a page that stands alone includes its stylesheets
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = asset
    environment.globals["plural"] = plural
    environment.globals["GRADES"] = GRADES
    environment.filters["exact"] = Exact
    for filter_ in (
        words.grouped, words.in_ms, words.in_score, words.in_figure, words.signed, words.minus, words.cut, words.utc,
        words.duration,
    ):  # fmt: skip
        environment.filters[filter_.__name__] = filter_
    return environment


_ASSETS = {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in sorted(STATIC.iterdir()) if path.is_file()
}
_ENVIRONMENT = _environment()


def markup(page: Page | ReportPage, visitor: Visitor = NOBODY) -> str:
    """Render a page's template with its fields as variables, and `visitor` for the bar."""
    values = {field.name: getattr(page, field.name) for field in fields(page)}
    return _ENVIRONMENT.get_template(page.template).render(values, visitor=visitor)


def respond(
    page: Page, *, status: int = 200, headers: dict[str, str] | None = None, visitor: Visitor = NOBODY
) -> Response[str]:
    """Return the page as an HTML response that no cache keeps and no other site may frame."""
    return Response(
        markup(page, visitor),
        status_code=status,
        media_type="text/html",
        headers=SECURITY_HEADERS | {"Cache-Control": "no-store", "Vary": "Accept"} | (headers or {}),
    )
