"""`/playground`: a query and pasted passages through every stage of a profile. Works without JavaScript, by a form.

The same job that the rerank APIs run (`searchd/api/reranking.py`), for the same callers: with configured `keys` who has not
signed in may look at the examples alone. The answer shows ranks and raw scores after each stage.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio.to_thread
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency

from indexer.errors import Forbidden, InputError, LimitError, NotFound, TransientError
from indexer.status import visible
from searchd.api.bodies import read_body
from searchd.api.principals import principal_of
from searchd.api.problems import public_words
from searchd.api.rerank_schemas import MAX_INSTRUCTION_CHARS, MAX_RERANK_QUERY_CHARS
from searchd.api.reranking import RerankJob, admit, run_rerank
from searchd.rerank.choosing import Choice as StageChoice
from searchd.rerank.choosing import profiles_of
from searchd.services import Services
from searchd.settings import Settings
from web.asking import RETRY_S
from web.choices import Choice
from web.contexts import PlaygroundPage
from web.moves import Moves, moves_of
from web.playground_examples import EXAMPLES, Example
from web.rating import Rating, rating_of
from web.render import respond
from web.state import SearchState
from web.visitor import visitor_of

AnyRequest = Request[Any, Any, Any]
MAX_PASSAGES = 100
MAX_TEXT_BYTES = 64_000
MAX_FORM_BYTES = 3 * MAX_TEXT_BYTES
"""A form writes most bytes as three."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """What the form holds: text as typed."""

    query: str = ""
    passages: str = ""
    profile: str = "default"
    instruction: str = ""
    right: int | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The passages: lines that are not empty."""
        stripped = (line.strip() for line in self.passages.replace("\r", "\n").split("\n"))
        return tuple(line for line in stripped if line)


@get("/playground", include_in_schema=False)
async def playground(request: AnyRequest, services: NamedDependency[Services]) -> Response[str]:
    """Answer with an empty form, or with a ready-made example run through the stages."""
    asked = dict(request.query_params.multi_items())
    name = asked.get("example", "")
    profile = asked.get("profile", "") or "default"
    if not name:
        visitor = visitor_of(request, services.settings)
        return respond(page_of(services.settings, Pasted(profile=profile)), visitor=visitor)
    example = next((one for one in EXAMPLES if one.name == name), None)
    if example is None:
        raise NotFound(f"There is no example {name[:80]!r}; there are: {', '.join(one.name for one in EXAMPLES)}.")
    pasted = Pasted(example.query, "\n".join(example.passages), profile, right=example.right)
    return await _run(request, services, pasted, example)


@post("/playground", status_code=200, include_in_schema=False)
async def rerank_pasted(request: AnyRequest, services: NamedDependency[Services]) -> Response[str]:
    """Answer with what was pasted run through the stages."""
    body = await read_body(request, MAX_FORM_BYTES)
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    pasted = Pasted(
        form.get("query", "").strip(),
        form.get("passages", ""),
        form.get("profile", "") or "default",
        form.get("instruction", "").strip(),
    )
    try:
        admit(request, services.settings)
    except Forbidden as error:
        said = f"Your own passages cannot be ranked on this page before you sign in: {error}."
        headers, visitor = {"WWW-Authenticate": "Bearer"}, visitor_of(request, services.settings)
        return respond(page_of(services.settings, pasted, error=said), status=401, headers=headers, visitor=visitor)
    return await _run(request, services, pasted, None)


async def _run(request: AnyRequest, services: Services, pasted: Pasted, example: Example | None) -> Response[str]:
    """Rerank; what the asker can mend is told at the field where it is."""
    settings = services.settings
    visitor = visitor_of(request, settings)
    try:
        job = job_of(settings, pasted)
    except NotFound as error:
        return respond(page_of(settings, pasted, error=str(error)), status=404, visitor=visitor)
    except LimitError as error:
        return respond(page_of(settings, pasted, passages_error=str(error)), status=422, visitor=visitor)
    except InputError as error:
        return respond(page_of(settings, pasted, error=str(error)), status=422, visitor=visitor)
    started = time.monotonic()
    try:
        found = await run_rerank(request, services, job)
    except InputError as error:
        return respond(page_of(settings, pasted, error=str(error)), status=422, visitor=visitor)
    except TransientError as error:
        page = page_of(settings, pasted, error=f"This could not be ranked now: {public_words(error)}")
        return respond(page, status=503, headers={"Retry-After": str(RETRY_S)}, visitor=visitor)
    took_ms = (time.monotonic() - started) * 1000
    seen = principal_of(request, settings).sees_only
    rating = await anyio.to_thread.run_sync(rating_for, services, seen, pasted, job.choice)
    moves = moves_of(found.ranking, found.scales, job.texts, took_ms, found.warnings, pasted.right, rating)
    degraded = ", ".join(report.name for report in found.ranking.degraded)
    headers = {"X-Search-Degraded": degraded} if degraded else {}
    return respond(page_of(settings, pasted, moves=moves, example=example), headers=headers, visitor=visitor)


def rating_for(services: Services, readers: frozenset[str] | None, pasted: Pasted, ran: StageChoice) -> Rating | None:
    """Return what rates a run: a calibration of a collection that `readers` may know of."""
    with services.engine.database.read() as session:
        names = {collection.name for collection, _ in visible(session, readers)}
    return rating_of(services.pipeline.standings(names), pasted.profile, ran.stages, pasted.instruction)


def job_of(settings: Settings, pasted: Pasted) -> RerankJob:
    """Return what to rank. Raises: NotFound, InputError, LimitError (about the passages)."""
    profile = profiles_of(settings).get(pasted.profile)
    if profile is None:
        raise NotFound(f"There is no profile {pasted.profile[:80]!r}; there are: {', '.join(profiles_of(settings))}.")
    stages = tuple(stage for stage in profile.stages if stage.enabled)
    if not stages:
        raise InputError(f"No stage of profile {pasted.profile!r} is switched on.")
    if not pasted.query:
        raise InputError("Say what to look for.")
    if len(pasted.query) > MAX_RERANK_QUERY_CHARS:
        raise InputError(
            f"A query has {MAX_RERANK_QUERY_CHARS:,} characters at most; this one has {len(pasted.query):,}."
        )
    lines = pasted.lines
    if not 0 < len(lines) <= MAX_PASSAGES:
        raise LimitError(f"Paste 1 to {MAX_PASSAGES} passages, one per line; these are {len(lines):,}.")
    size = len(pasted.passages.encode("utf-8", "replace"))
    if size > MAX_TEXT_BYTES:
        raise LimitError(f"The passages may have {MAX_TEXT_BYTES:,} bytes together; these have {size:,}.")
    instruction = pasted.instruction if any(stage.takes_instruction for stage in stages) else ""
    if len(instruction) > MAX_INSTRUCTION_CHARS:
        raise InputError(
            f"An instruction has {MAX_INSTRUCTION_CHARS:,} characters at most; this one has {len(instruction):,}."
        )
    return RerankJob(pasted.query, lines, StageChoice(pasted.profile, pasted.profile, stages), instruction or None)


def page_of(
    settings: Settings,
    pasted: Pasted,
    *,
    moves: Moves | None = None,
    example: Example | None = None,
    error: str = "",
    passages_error: str = "",
) -> PlaygroundPage:
    """Return the page: the form with what was typed, and below it what came of it."""
    profiles = profiles_of(settings)
    stages = profiles[pasted.profile].stages if pasted.profile in profiles else ()
    carried = {"profile": pasted.profile} if pasted.profile in profiles and pasted.profile != "default" else {}
    return PlaygroundPage(
        section="playground",
        state=SearchState(),
        query=pasted.query,
        passages=pasted.passages,
        profile=pasted.profile,
        profiles=tuple(profiles),
        stages=tuple(stage.name for stage in stages if stage.enabled),
        takes_instruction=any(stage.takes_instruction and stage.enabled for stage in stages),
        instruction=pasted.instruction,
        examples=tuple(
            Choice(
                one.label, one.query, f"/playground?{urlencode({'example': one.name} | carried)}#order", one is example
            )
            for one in EXAMPLES
        ),
        most_passages=MAX_PASSAGES,
        most_query_chars=MAX_RERANK_QUERY_CHARS,
        error=error,
        passages_error=passages_error,
        moves=moves,
    )


HANDLERS = [Router("/", route_handlers=[playground, rerank_pasted])]
