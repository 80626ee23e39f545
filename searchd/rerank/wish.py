"""What a query wishes of a stage: the request that its reranker gets, or why the stage does not run for it.

Used by `cascade.py`, once for each stage of a query.
"""

from __future__ import annotations

from collections.abc import Callable

from searchd.rerank.types import ScoreRequest
from searchd.settings import Stage
from searchd.types import RerankRequest


def request_of(
    query: str, stage: Stage, request: RerankRequest, number: int, cancelled: Callable[[], bool]
) -> ScoreRequest:
    """Return what a query asks of a stage.

    An instruction goes to stages that take one: remembered scores of the others would be scored anew for every other one.
    """
    asked = stage.instruction if request.instruction is None else request.instruction
    return ScoreRequest(
        query=query,
        max_length=stage.max_length,
        instruction=asked if stage.takes_instruction else "",
        parts=stage.long == "parts",
        whole=request.whole,
        place=number,
        cancelled=cancelled,
    )


def off_reason(stage: Stage, request: RerankRequest) -> str | None:
    """Say why a stage does not run for this request, None if it does."""
    if not request.enabled:
        return "reranking was switched off by the request"
    if request.stages is not None and stage.name not in request.stages:
        return "not among the stages asked for"
    runs = stage.enabled if request.stages is None else stage.may_run
    return None if runs else "switched off in the profile"
