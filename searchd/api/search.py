"""`/api/search`: a request -> the pipeline -> an answer, on a bounded number of threads, given up if the caller leaves.

`query_from_request` is the one reading of a search, for API, page, command line and benchmarks.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from litestar import Request, Response, get, post
from litestar.di import NamedDependency

from indexer.errors import InputError, LimitError, NotFound
from indexer.filters import parse_filter
from indexer.lexical.query import parse_query
from indexer.scope import Scope
from searchd.api.answers import answer_of
from searchd.api.cursors import cursor_of, fingerprint, read_cursor
from searchd.api.examples import SEARCH_ANSWER, SEARCH_BODY
from searchd.api.operation import Operation
from searchd.api.principals import principal_of
from searchd.api.reading import read_json, read_query, validated
from searchd.api.running import run_search
from searchd.api.schemas import (
    MAX_REACH,
    NoParameters,
    RerankOptions,
    SearchAnswer,
    SearchParameters,
    SearchRequest,
)
from searchd.profiles import Profiles
from searchd.services import Services
from searchd.settings import Profile, Settings
from searchd.types import Highlighting, Query, RerankRequest, SearchResponse

__all__ = ["HANDLERS", "SearchParameters", "SearchRequest", "query_from_request"]

_SORT = re.compile(r"(?P<field>.+):(?P<direction>asc|desc)|(?P<bare>[^:]+)")


def query_from_request(
    request: SearchRequest, settings: Settings, profiles: Profiles | None = None
) -> tuple[Query, str]:
    """Return the Query and the collection that a request means; without `profiles` the settings' are meant.

    Raises: InputError, QueryError, LimitError or NotFound, naming the parameter.
    """
    request = validated(request)
    if not request.q.strip():
        raise InputError("q: say what to look for", code="empty_query")
    known = profiles or Profiles(settings)
    profile = known.get(request.collection, request.profile)
    if profile is None:
        own = Profiles(settings)  # who may not see a collection is not told what was applied to it
        names = ", ".join(sorted(own.names(request.collection)))
        raise NotFound(f"there is no profile {request.profile[:80]!r}; there are: {names}", code="unknown_profile")
    weights = {"bm25": request.weights.bm25, "dense": request.weights.dense}
    query = Query(
        text=request.q,
        lexical=parse_query(request.q),
        limit=request.limit,
        offset=_offset(request),
        filter=parse_filter(request.filter) if request.filter and request.filter.strip() else None,
        facets=tuple(dict.fromkeys(request.facets)),
        sort=tuple(_sorting(text) for text in request.sort),
        fields=request.fields,
        highlight=_highlighting(request),
        mode=request.mode,
        profile=request.profile,
        weights={name: weight for name, weight in weights.items() if weight is not None},
        rerank=_rerank(request.rerank, profile),
        explain=request.explain,
        timeout_ms=request.timeout_ms,
        strict=request.strict,
        min_relevance=request.min_relevance,
        chosen=profile,
    )
    return query, request.collection


def _offset(request: SearchRequest) -> int:
    offset = request.offset
    if request.cursor is not None:
        if request.offset:
            raise InputError("offset and cursor both say where to begin; give one", code="invalid_parameter")
        offset = int(read_cursor(request.cursor, _list_of(request), (int,)))
    if not 0 <= offset <= MAX_REACH - request.limit:
        raise LimitError(
            f"offset and limit together reach {offset + request.limit:,}; at most {MAX_REACH:,} are served"
        )
    return offset


def _list_of(request: SearchRequest) -> str:
    rerank = request.rerank
    return fingerprint(
        request.q, request.collection, request.filter, request.sort, request.mode, request.profile,
        request.weights, rerank.enabled, rerank.depth, rerank.stages, rerank.instruction, request.min_relevance,
    )  # fmt: skip


def _sorting(text: str) -> tuple[str, Literal["asc", "desc"]]:
    found = _SORT.fullmatch(text)
    if found is None:
        raise InputError(
            f"sort: {text[:80]!r} is not understood; `field:asc` or `field:desc` is", code="invalid_parameter"
        )
    return found["field"] or found["bare"], "desc" if found["direction"] == "desc" else "asc"


def _highlighting(request: SearchRequest) -> Highlighting:
    asked = request.highlight
    usual = Highlighting()
    return Highlighting(
        pre=usual.pre if asked.pre is None else asked.pre,
        post=usual.post if asked.post is None else asked.post,
        max_chars=asked.max_chars,
        fragments=asked.fragments,
    )


def _rerank(options: RerankOptions, profile: Profile) -> RerankRequest:
    names = [stage.name for stage in profile.stages if stage.may_run]
    off = [stage.name for stage in profile.stages if not stage.may_run]
    asked = options.stages or ()
    if len(set(asked)) < len(asked):
        raise InputError("rerank.stages: a stage is named twice; each runs once", code="invalid_parameter")
    for name in asked:
        if name in off:
            raise InputError(f"rerank.stages: {name!r} is switched off, and not `on_request`", code="stage_off")
        if name not in names:
            raise InputError(
                f"rerank.stages: {name[:80]!r} is not a stage of this profile; there are: {', '.join(names) or 'none'}",
                code="unknown_stage",
            )
    named = [stage for stage in profile.stages if (stage.enabled if options.stages is None else stage.name in asked)]
    if options.instruction is not None and not any(stage.takes_instruction for stage in named):
        raise InputError("rerank.instruction: no stage that runs takes an instruction", code="no_instruction")
    return RerankRequest(options.enabled, options.depth, options.stages, options.budget_ms, options.instruction)


async def _answer(request: Request[Any, Any, Any], services: Services, asked: SearchRequest) -> Response[SearchAnswer]:
    caller = principal_of(request, services.settings)
    query, collection = query_from_request(asked, services.settings, services.profiles)
    response = await run_search(request, services, query, Scope.of(collection, caller.principals))
    services.query_log.answered(query.text, collection, query.offset, response)
    answer = answer_of(response, asked, query, query.chosen or Profile(), _next_cursor(asked, query, response))
    headers = {"Cache-Control": "no-store"}
    if response.degraded:
        headers["X-Search-Degraded"] = ", ".join(response.degraded)
    return Response(answer, headers=headers)


def _next_cursor(asked: SearchRequest, query: Query, response: SearchResponse) -> str | None:
    cut_short = any(report.status == "partial" for report in response.systems)
    end = query.offset + (len(response.hits) if cut_short else query.limit)
    if end >= response.total or end > MAX_REACH - query.limit:
        return None
    return cursor_of(end, _list_of(asked))


@post(
    "/api/search",
    status_code=200,
    opt=Operation(
        "Search", "search", body=SearchRequest, answer=SearchAnswer, body_example=SEARCH_BODY,
        answer_example=SEARCH_ANSWER, errors=(400, 404, 413, 503),
    ).opt(),
)  # fmt: skip
async def post_search(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[SearchAnswer]:
    """Search with everything there is to say."""
    read_query(request, NoParameters)
    return await _answer(request, services, await read_json(request, SearchRequest))


@get(
    "/api/search",
    opt=Operation(
        "Search with the simple parameters", "search", query=SearchParameters, answer=SearchAnswer,
        query_example={"q": "how do refunds work", "explain": True}, answer_example=SEARCH_ANSWER, errors=(404, 503),
    ).opt(),
)  # fmt: skip
async def get_search(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> Response[SearchAnswer]:
    """Search by URL."""
    return await _answer(request, services, read_query(request, SearchParameters).request())


HANDLERS = [post_search, get_search]
