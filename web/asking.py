"""A page's search: its state -> what the API would be asked -> an answer, or what is wrong at which field.

`pages.py` calls `attempt`; the parser, the queue and the pipeline are the API's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Request

from indexer.errors import InputError, NotFound, TransientError
from indexer.filters import parse_filter
from indexer.scope import Scope
from searchd.api.problems import public_words
from searchd.api.running import run_search
from searchd.api.schemas import RerankOptions, SearchRequest
from searchd.api.search import query_from_request
from searchd.profiles import Profiles
from searchd.services import Services
from searchd.settings import Profile
from searchd.types import SearchResponse
from web.contexts import FieldErrors
from web.explain import Fusion
from web.state import HITS_PER_PAGE, SearchState

RETRY_S = 2
UNCALIBRATED = "not_calibrated"
"""The code of an error about the threshold, not about what was typed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a search: an answer, or what is wrong and where."""

    response: SearchResponse | None
    errors: FieldErrors
    status: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the API would send with it."""
        if self.status == 503:
            return {"Retry-After": str(RETRY_S)}
        degraded = self.response.degraded if self.response else ()
        return {"X-Search-Degraded": ", ".join(degraded)} if degraded else {}


async def attempt(request: Request[Any, Any, Any], services: Services, scope: Scope, state: SearchState) -> Outcome:
    """Search; what the asker can mend is told at the field where it is."""
    try:
        if state.filter:
            parse_filter(state.filter)
    except InputError as error:
        return Outcome(None, FieldErrors(filter=str(error)), 422)
    try:
        query, _ = query_from_request(request_of(services.profiles, state), services.settings, services.profiles)
        response = await run_search(request, services, query, scope)
        services.query_log.answered(query.text, scope.collection, query.offset, response)
        return Outcome(response, FieldErrors(), 200)
    except NotFound as error:
        return Outcome(None, FieldErrors(other=str(error)), 404)
    except InputError as error:
        said = str(error)
        return Outcome(None, FieldErrors(other=said) if error.code == UNCALIBRATED else FieldErrors(q=said), 422)
    except TransientError as error:
        return Outcome(None, FieldErrors(other=f"Search is not available at the moment: {public_words(error)}"), 503)


def request_of(profiles: Profiles, state: SearchState) -> SearchRequest:
    """Return what the API would be asked; explanations always come along, so that they unfold without asking again."""
    profile = profiles.get(state.collection, state.profile)
    stages = (
        [one.name for one in profile.stages if one.may_run and state.runs(one.name, one.enabled)] if profile else []
    )
    return SearchRequest(
        q=state.q,
        collection=state.collection,
        limit=HITS_PER_PAGE,
        offset=state.offset,
        filter=state.filter or None,
        mode=state.mode,
        profile=state.profile,
        rerank=RerankOptions(enabled=state.rerank, stages=tuple(stages) if state.off or state.on else None),
        min_relevance=state.min_relevance,
        explain=True,
    )


def fusion_of(profile: Profile) -> Fusion:
    """Return what a profile fuses and blends with, for explanations."""
    return Fusion(profile.rrf_k, profile.weights, {one.name: one.blend for one in profile.stages}, profile.fusion)
