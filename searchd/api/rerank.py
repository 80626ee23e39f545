"""`/v1/rerank`, `/v2/rerank` (Cohere, Jina, vLLM) and `/rerank` (TEI): texts in, order out; no collection is needed.

Existing clients work unchanged: point them here and name a stage or a profile as their model.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from msgspec import UNSET

from indexer.errors import InputError
from searchd.api.answers import report_answer
from searchd.api.examples import RERANK_ANSWER, RERANK_BODY, TEI_ANSWER, TEI_BODY
from searchd.api.operation import Operation
from searchd.api.reading import read_json, read_query
from searchd.api.rerank_schemas import (
    LEAST_TOKENS,
    ApiVersionAnswer,
    BilledUnitsAnswer,
    RerankAnswer,
    RerankedDocument,
    RerankMeta,
    RerankRequest,
    StageScore,
    TeiRank,
    TeiRequest,
    UsageAnswer,
)
from searchd.api.reranking import Reranked, RerankJob, admit, run_rerank
from searchd.api.schemas import NoParameters
from searchd.rerank.choosing import Choice, check_instruction, choose, shortened
from searchd.rerank.texts import RankedText, relevance_scores
from searchd.services import Services
from searchd.settings import Settings

AnyRequest = Request[Any, Any, Any]
MAX_BODY_BYTES = 4_000_000
UNIT_DOCUMENTS = 100
ERRORS = (400, 404, 413, 415, 503)


def text_of(document: str | dict[str, Any], place: int, fields: Sequence[str] | None) -> str:
    """Return what is read of a document: a text, or an object's `text`, or its `fields` in order, one a line.

    Raises: InputError naming the place in the list.
    """
    if isinstance(document, str):
        return document
    read = [(name, document[name]) for name in fields or ("text",) if document.get(name) is not None]
    for name, value in read:
        if not isinstance(value, str | int | float):
            raise InputError(f"documents[{place}].{name}: a text or a number is read", code="invalid_parameter")
    if not read:
        raise InputError(
            f"documents[{place}]: an object needs {' or '.join(fields or ('text',))}", code="invalid_parameter"
        )
    return "\n".join(str(value) for _, value in read)


def job_of(asked: RerankRequest, settings: Settings) -> RerankJob:
    """Return what a request of Cohere's, Jina's or vLLM's shape means. Raises: InputError, NotFound."""
    choice = choose(settings, asked.model, asked.stages)
    check_instruction(asked.instruction, choice)
    beginning = asked.truncate_prompt_tokens
    if beginning is not None:
        if 0 <= beginning < LEAST_TOKENS:
            raise InputError(
                f"truncate_prompt_tokens: {LEAST_TOKENS} or more, or -1 for as many as the stage reads",
                code="invalid_parameter",
            )
        choice = shortened(choice, beginning)
    if asked.use_activation is False:
        _one_stage(choice, "use_activation: false")
    return RerankJob(
        query=asked.query,
        texts=tuple(text_of(one, place, asked.rank_fields) for place, one in enumerate(asked.documents)),
        choice=choice,
        instruction=asked.instruction,
        beginning_only=beginning is not None,
        most_tokens=asked.max_tokens_per_doc or None,
        most_parts=asked.max_chunks_per_doc,
    )


def _one_stage(choice: Choice, asked: str) -> None:
    if len(choice.stages) > 1:
        raise InputError(
            f"{asked} with several stages: raw scores of different stages cannot be compared; name one, or return_stages",
            code="invalid_parameter",
        )


def answer_of(asked: RerankRequest, job: RerankJob, found: Reranked, version: str) -> RerankAnswer:
    """Return the answer in the one shape that clients of all three read."""
    texts = found.ranking.texts
    raw = asked.use_activation is False
    scores = [text.score for text in texts] if raw else relevance_scores(texts, found.scales)
    results = tuple(
        RerankedDocument(
            index=text.index,
            relevance_score=score,
            document=_returned(asked.documents[text.index]) if asked.return_documents else UNSET,
            stages=stage_scores(text) if asked.return_stages else UNSET,
        )
        for text, score in zip(texts, scores, strict=True)
    )
    return RerankAnswer(
        id=asked.request_id or str(uuid.uuid4()),
        model=job.choice.name,
        results=results[: asked.top_n or None],
        usage=UsageAnswer(total_tokens=found.tokens, prompt_tokens=found.tokens),
        meta=RerankMeta(
            api_version=ApiVersionAnswer(version=version),
            billed_units=BilledUnitsAnswer(search_units=-(-len(asked.documents) // UNIT_DOCUMENTS)),
            warnings=found.warnings or UNSET,
        ),
        stages=tuple(map(report_answer, found.ranking.stages)) if asked.return_stages else UNSET,
    )


def _returned(document: str | dict[str, Any]) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document


def stage_scores(text: RankedText) -> dict[str, StageScore]:
    """Return what each stage gave a text."""
    return {name: StageScore(score=text.scores.get(name), rank=rank) for name, rank in text.ranks.items()}


def headers_of(found: Reranked) -> dict[str, str]:
    """Return the headers of an answer; stages that did not do all of their work are named as in a search's."""
    degraded = ", ".join(report.name for report in found.ranking.degraded)
    return {"Cache-Control": "no-store"} | ({"X-Search-Degraded": degraded} if degraded else {})


async def _answer(request: AnyRequest, services: Services, version: str) -> Response[RerankAnswer]:
    admit(request, services.settings)
    read_query(request, NoParameters)
    asked = await read_json(request, RerankRequest, MAX_BODY_BYTES)
    job = job_of(asked, services.settings)
    found = await run_rerank(request, services, job)
    return Response(answer_of(asked, job, found, version), headers=headers_of(found))


@post(
    "/v1/rerank",
    status_code=200,
    opt=Operation(
        "Rerank, as Cohere v1, Jina and vLLM do", "rerank", body=RerankRequest, answer=RerankAnswer,
        body_example=RERANK_BODY, answer_example=RERANK_ANSWER, errors=ERRORS,
    ).opt(),
)  # fmt: skip
async def rerank_v1(request: AnyRequest, services: NamedDependency[Services]) -> Response[RerankAnswer]:
    """Order documents for a query. Every document gets a score, or none is answered (503); long ones are read whole."""
    return await _answer(request, services, "1")


@post(
    "/v2/rerank",
    status_code=200,
    opt=Operation(
        "Rerank, as Cohere v2 does", "rerank", body=RerankRequest, answer=RerankAnswer, body_example=RERANK_BODY,
        errors=ERRORS,
    ).opt(),
)  # fmt: skip
async def rerank_v2(request: AnyRequest, services: NamedDependency[Services]) -> Response[RerankAnswer]:
    """Order documents for a query, as `/v1/rerank` does."""
    return await _answer(request, services, "2")


@post(
    "/rerank",
    status_code=200,
    opt=Operation(
        "Rerank, as Text Embeddings Inference does", "rerank", body=TeiRequest, answer=TeiRank, answer_is_list=True,
        body_example=TEI_BODY, answer_example=TEI_ANSWER, errors=ERRORS,
    ).opt(),
)  # fmt: skip
async def rerank_tei(request: AnyRequest, services: NamedDependency[Services]) -> Response[list[TeiRank]]:
    """Order texts for a query by the last stage of the profile `default`, or by `stages`."""
    admit(request, services.settings)
    read_query(request, NoParameters)
    asked = await read_json(request, TeiRequest, MAX_BODY_BYTES)
    choice = choose(services.settings, None, asked.stages)
    check_instruction(asked.instruction, choice)
    if asked.raw_scores:
        _one_stage(choice, "raw_scores")
    found = await run_rerank(request, services, RerankJob(asked.query, asked.texts, choice, asked.instruction))
    texts = found.ranking.texts
    scores = [text.score for text in texts] if asked.raw_scores else relevance_scores(texts, found.scales)
    ranks = [
        TeiRank(
            index=text.index,
            score=score,
            text=asked.texts[text.index] if asked.return_text else UNSET,
            stages=stage_scores(text) if asked.return_stages else UNSET,
        )
        for text, score in zip(texts, scores, strict=True)
    ]
    return Response(ranks, headers=headers_of(found))


HANDLERS = [rerank_v1, rerank_v2, rerank_tei]
