"""`/sign-in`: a form that takes a key and gives the browser a cookie for it; `/sign-out` takes the cookie away.

A browser sends no Authorization header; with the cookie the pages show what the key's principals may read.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response, Router, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.response import Redirect

from indexer.errors import Forbidden
from searchd.api.bodies import read_body
from searchd.api.principals import FOREIGN, is_same_site
from searchd.api.sign_in import COOKIE, DAYS, SECONDS, cookie_of, key_of_secret
from searchd.services import Services
from web.judge_contexts import SignInPage
from web.render import respond
from web.state import SearchState
from web.visitor import own_path, visitor_of

AnyRequest = Request[Any, Any, Any]
MAX_FORM_BYTES = 16_000


@get("/sign-in", include_in_schema=False)
async def sign_in_page(request: AnyRequest, services: NamedDependency[Services]) -> Response[str]:
    """Answer with the form."""
    return _form(request, services, dict(request.query_params.multi_items()).get("next", ""))


@post("/sign-in", include_in_schema=False)
async def sign_in(request: AnyRequest, services: NamedDependency[Services]) -> Response[Any]:
    """Give a cookie for the key that was pasted and go on; 401 with the form again for one that is not configured."""
    form = await _read_own_form(request)
    key = key_of_secret(form.get("key", "").strip(), services.settings.keys)
    if key is None:
        return _form(request, services, form.get("next", ""), "This is not a key of this daemon.", 401)
    answer = Redirect(own_path(form.get("next", "")), status_code=303)
    answer.set_cookie(_cookie(request, cookie_of(key, time.time()), SECONDS))
    return answer


@post("/sign-out", include_in_schema=False)
async def sign_out(request: AnyRequest) -> Response[Any]:
    """Take the cookie away and go to the front page."""
    await _read_own_form(request)
    answer = Redirect("/", status_code=303)
    answer.set_cookie(_cookie(request, "", 0))
    return answer


async def _read_own_form(request: AnyRequest) -> dict[str, str]:
    """Read a form that one of our own pages sent. Raises: Forbidden for another site's; TooLarge."""
    if not is_same_site(request):
        raise Forbidden(f"{FOREIGN}; sign in and out on this one's")
    body = await read_body(request, MAX_FORM_BYTES)
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _cookie(request: AnyRequest, value: str, seconds: int) -> Cookie:
    # A proxy that says https wrongly harms nobody: the browser then keeps the cookie to https.
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").lower() == "https"
    return Cookie(COOKIE, value=value, max_age=seconds, path="/", httponly=True, samesite="strict", secure=secure)


def _form(request: AnyRequest, services: Services, back: str, error: str = "", status: int = 200) -> Response[str]:
    page = SignInPage(
        section="sign-in",
        state=SearchState(),
        back=own_path(back),
        days=DAYS,
        has_keys=bool(services.settings.keys),
        error=error,
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return respond(page, status=status, headers=headers, visitor=visitor_of(request, services.settings))


HANDLERS = [Router("/", route_handlers=[sign_in_page, sign_in, sign_out])]
