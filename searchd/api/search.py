"""`/api/search`: the request as JSON or URL parameters -> Query, and the response as JSON. One parser for API, page, CLI."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from litestar import MediaType, Request, Response, get, post

from indexer.errors import InputError, LimitError, NotFound, QueryError
from indexer.filters import parse_filter
from indexer.lexical.query import parse_query
from indexer.scope import Scope
from searchd.api.bodies import read_json
from searchd.api.principals import principal_of
from searchd.api.running import run_search
from searchd.api.schemas import SearchRequest
from searchd.services import Services
from searchd.settings import Settings
from searchd.types import Candidate, Highlighting, Hit, Query, RerankRequest, SearchResponse, StageReport

MAX_BODY_BYTES = 64_000
LISTS = ("facets", "sort", "fields")
NUMBERS = ("limit", "offset", "timeout_ms", "min_relevance")
FLAGS = ("explain", "strict")


def query_from_request(request: SearchRequest, settings: Settings) -> tuple[Query, str]:
    """Validate a request and return the Query with its collection.

    Raises: InputError, QueryError, LimitError naming the parameter; NotFound for an unknown profile.
    """
    request = convert(msgspec.to_builtins(request), SearchRequest)
    profile = settings.profile(request.profile)
    if profile is None:
        known = ", ".join(sorted({"default", *settings.profiles}))
        raise NotFound(f"profile: there is no {request.profile!r}; there are: {known}", code="unknown_profile")
    if request.rerank.instruction:
        raise InputError("rerank.instruction: no stage of this profile takes an instruction", code="no_instruction")
    if request.min_relevance is not None:
        raise InputError("min_relevance: this collection is not calibrated, so no hit has a relevance", code="not_calibrated")
    names = {stage.name for stage in profile.stages}
    for name in request.rerank.stages or ():
        if name not in names:
            raise InputError(f"rerank.stages: there is no stage {name!r}; there are: {', '.join(sorted(names)) or 'none'}")
    if request.timeout_ms is not None and request.timeout_ms > settings.max_timeout_ms:
        raise LimitError(f"timeout_ms: at most {settings.max_timeout_ms}")
    if request.cursor is not None and request.offset:
        raise InputError("cursor and offset exclude each other")
    return Query(
        text=request.q.strip(),
        lexical=parse_query(request.q),
        limit=request.limit,
        offset=offset_of(request.cursor) if request.cursor is not None else request.offset,
        filter=parse_filter(request.filter) if request.filter and request.filter.strip() else None,
        facets=tuple(request.facets),
        sort=tuple(sort_of(text) for text in request.sort),
        fields=None if request.fields is None else tuple(request.fields),
        highlight=Highlighting(**msgspec.to_builtins(request.highlight)),
        mode=request.mode,
        profile=request.profile,
        weights=dict(request.weights),
        rerank=RerankRequest(
            enabled=request.rerank.enabled,
            depth=request.rerank.depth,
            stages=None if request.rerank.stages is None else tuple(request.rerank.stages),
            budget_ms=request.rerank.budget_ms,
        ),
        explain=request.explain,
        timeout_ms=request.timeout_ms,
        strict=request.strict,
    ), request.collection


def convert(values: Any, kind: type[SearchRequest]) -> SearchRequest:
    """Validate plain values. Raises: InputError naming the parameter and what it accepts."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise InputError(str(error).replace("Object contains unknown field", "unknown parameter")) from error


def sort_of(text: str) -> tuple[str, Literal["asc", "desc"]]:
    """Read `field:asc` or `field:desc`."""
    field, _, direction = text.rpartition(":")
    if not field or direction not in ("asc", "desc"):
        raise QueryError(f"sort: {text[:60]!r} is not `field:asc` or `field:desc`")
    return field, cast(Literal["asc", "desc"], direction)


def cursor_of(offset: int) -> str:
    """Return the opaque cursor of a place in the answer."""
    return base64.urlsafe_b64encode(f"o{offset}".encode()).decode().rstrip("=")


def offset_of(cursor: str) -> int:
    """Read a cursor. Raises: InputError for one that this daemon did not give."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        offset = int(text.removeprefix("o"))
    except (binascii.Error, ValueError):
        offset = -1
        text = ""
    if not text.startswith("o") or not 0 <= offset <= 10_000:
        raise InputError("cursor: not one that a search gave", code="invalid_cursor")
    return offset


def request_from_url(pairs: Sequence[tuple[str, str]]) -> SearchRequest:
    """Read the simple parameters of a GET; lists are repeated or separated by commas. Raises: InputError."""
    values: dict[str, Any] = {}
    allowed = {"q", "collection", "cursor", "filter", "mode", "profile", *LISTS, *NUMBERS, *FLAGS, "rerank"}
    for name, value in pairs:
        if name not in allowed:
            raise InputError(f"unknown parameter `{name}`; GET takes {', '.join(sorted(allowed))}")
        if name in LISTS:
            values.setdefault(name, []).extend(part for part in value.split(",") if part)
        elif name in values:
            raise InputError(f"parameter `{name}` is given twice")
        elif name in FLAGS or name == "rerank":
            if value not in ("true", "false", "1", "0", "on", "off"):
                raise InputError(f"parameter `{name}` is true or false, not {value[:30]!r}")
            values[name] = value in ("true", "1", "on")
        elif name in NUMBERS:
            values[name] = number_of(name, value)
        else:
            values[name] = value
    if "rerank" in values:
        values["rerank"] = {"enabled": values["rerank"]}
    return convert(values, SearchRequest)


def number_of(name: str, value: str) -> float | int:
    """Read a number of a URL. Raises: InputError naming the parameter."""
    try:
        return float(value) if name == "min_relevance" else int(value)
    except ValueError:
        raise InputError(f"parameter `{name}` is a number, not {value[:30]!r}") from None


@get("/api/search", summary="Search by URL parameters", tags=["search"], media_type=MediaType.JSON)
async def search_by_url(request: Request[Any, Any, Any], services: Services) -> Response[bytes]:
    """Search with the simple parameters: q, collection, limit, offset, cursor, filter, facets, sort, mode, explain, ..."""
    pairs = [(name, value) for name, value in request.query_params.multi_items()]
    return await answer(request, services, request_from_url(pairs))


@post("/api/search", summary="Search", tags=["search"], status_code=200, media_type=MediaType.JSON)
async def search(request: Request[Any, Any, Any], services: Services) -> Response[bytes]:
    """Search with all parameters as JSON."""
    values = await read_json(request, MAX_BODY_BYTES)
    return await answer(request, services, convert(values, SearchRequest))


async def answer(request: Request[Any, Any, Any], services: Services, asked: SearchRequest) -> Response[bytes]:
    """Run a search for this caller and encode it."""
    query, collection = query_from_request(asked, services.settings)
    caller = principal_of(request, services.settings)
    response = await run_search(request, services, query, Scope.of(collection, caller.principals))
    body = json.dumps(response_json(response, query), ensure_ascii=False).encode("utf-8", "replace")
    headers = {"X-Search-Degraded": ",".join(response.degraded)} if response.degraded else {}
    return Response(body, media_type=MediaType.JSON, headers=headers)


# -- the answer as JSON -------------------------------------------------------------------------------------------


def response_json(response: SearchResponse, query: Query) -> dict[str, Any]:
    """Return the answer as the API gives it."""
    following = query.offset + len(response.hits)
    more = len(response.hits) == query.limit and (following < response.total or not response.total_is_exact)
    return {
        "hits": [hit_json(hit, query, response) for hit in response.hits],
        "total": {"value": response.total, "relation": "eq" if response.total_is_exact else "gte"},
        "facets": response.facets,
        "stages": [stage_json(report) for report in (*response.systems, *response.stages)],
        "degraded": list(response.degraded),
        "cursor": cursor_of(following) if more else None,
        "took_ms": round(response.took_ms, 2),
        "timings_ms": {name: round(ms, 2) for name, ms in response.timings_ms.items()},
        "query_id": response.query_id,
        "profile": response.profile,
    }


def stage_json(report: StageReport) -> dict[str, Any]:
    """Return a report of a system or stage."""
    return {
        "name": report.name,
        "status": report.status,
        "scored": report.scored,
        "of": report.of,
        "ms": round(report.ms, 2),
        "reason": report.reason,
    }


def passage_json(candidate: Candidate) -> dict[str, Any]:
    """Return a passage with its place in the document."""
    return {
        "passage_id": candidate.passage_id,
        "text": candidate.text,
        "heading_path": list(candidate.heading_path),
        "page": candidate.page,
        "start": candidate.start,
        "end": candidate.end,
    }


def hit_json(hit: Hit, query: Query, response: SearchResponse) -> dict[str, Any]:
    """Return a hit; with `explain` also every score by name and what each stage moved."""
    shown: dict[str, Any] = {
        "document_id": hit.candidate.document_id,
        "collection": hit.collection,
        "title": hit.candidate.title,
        "uri": hit.candidate.uri,
        "rank": hit.rank,
        "score": hit.score,
        "scored_by": hit.scored_by,
        "relevance": hit.relevance,
        "relevance_label": hit.relevance_label,
        "metadata": hit.metadata,
        "passage": passage_json(hit.candidate),
        "highlights": [
            {"text": one.text, "ranges": [list(span) for span in one.ranges], "marked": marked(one.text, one.ranges, query.highlight)}
            for one in hit.highlights
        ],
        "more_passages": [passage_json(other) for other in hit.more_passages],
    }
    if query.explain:
        shown["scores"] = scores_json(hit, response)
        shown["moved"] = moved_json(hit.candidate, response)
    return shown


def marked(text: str, ranges: Sequence[tuple[int, int]], wanted: Highlighting) -> str:
    """Return a fragment with `pre` and `post` around each range. It is text: whoever puts it into HTML escapes it first."""
    parts, place = [], 0
    for start, end in ranges:
        if start >= place:
            parts += [text[place:start], wanted.pre, text[start:end], wanted.post]
            place = end
    return "".join([*parts, text[place:]])


def scores_json(hit: Hit, response: SearchResponse) -> dict[str, Any]:
    """Return every score of a hit by name, with its rank."""
    candidate = hit.candidate
    scores: dict[str, Any] = {}
    for report in response.systems:
        if report.name in candidate.ranks:
            scores[report.name] = {"rank": candidate.ranks[report.name], "score": candidate.scores[report.name]}
    if "bm25" in scores:
        scores["bm25"]["terms"] = list(hit.matched_terms)
    scores["rrf"] = {"rank": candidate.ranks.get("rrf"), "score": candidate.scores.get("rrf")}
    for report in response.stages:
        if report.name in candidate.scores:
            scores[report.name] = {
                "rank": candidate.ranks[report.name],
                "score": candidate.scores[report.name],
                "blend": candidate.scores[f"{report.name}.blend"],
            }
    return scores


def moved_json(candidate: Candidate, response: SearchResponse) -> dict[str, Mapping[str, int]]:
    """Return from which rank to which each stage moved a passage."""
    moved: dict[str, Mapping[str, int]] = {}
    before = candidate.ranks.get("rrf")
    for report in response.stages:
        after = candidate.ranks.get(report.name)
        if after is not None:
            if before is not None:
                moved[report.name] = {"from": before, "to": after}
            before = after
    return moved


HANDLERS = [search_by_url, search]
