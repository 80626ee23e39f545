"""A rerank request, whoever's shape it had -> a job on a bounded number of threads -> every text in order.

`rerank.py` and the playground make jobs of what they are sent, and answers of what comes back.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from litestar import Request

from indexer.errors import Busy, Forbidden, InputError
from searchd.api.admission import Load
from searchd.api.principals import principal_of
from searchd.api.running import RERANKS, run_work
from searchd.rerank.choosing import Choice
from searchd.rerank.lengths import Measured, measured, tokens_of_parts
from searchd.rerank.scales import Scale
from searchd.rerank.texts import TextRanking, rerank_texts
from searchd.services import Services
from searchd.settings import LOCAL_KINDS, Settings

log = logging.getLogger(__name__)

KEPT_S = 0.03
"""Of the whole time, to write the answer."""


@dataclass(frozen=True, slots=True)
class RerankJob:
    """Texts to rank for a query, and how far to read them."""

    query: str
    texts: tuple[str, ...]
    choice: Choice
    instruction: str | None = None
    beginning_only: bool = False
    most_tokens: int | None = None
    """Of a text."""
    most_parts: int | None = None

    @property
    def size(self) -> int:
        """How many characters its pairs have, as they come."""
        return sum(map(len, self.texts)) + len(self.texts) * len(self.query)


@dataclass(frozen=True, slots=True)
class Reranked:
    """What came of a job: the ranking, scales of its scores by stage, tokens of all pairs, what to tell of what was cut."""

    ranking: TextRanking
    scales: Mapping[str, Scale]
    tokens: int
    warnings: tuple[str, ...]


def admit(request: Request[Any, Any, Any], settings: Settings) -> None:
    """Let a caller in whose key is known. Raises: Forbidden (`invalid_key`), also without any key.

    Texts that a caller brings along cost a device or a provider's money, unlike a search of what is public. Without
    configured keys everybody is let in: clients of these APIs cannot be made to send no key.
    """
    if not settings.keys:
        return
    if not principal_of(request, settings).name:
        raise Forbidden(
            "reranking needs one of the setting `keys`; send `Authorization: Bearer <secret>`", code="invalid_key"
        )


async def run_rerank(request: Request[Any, Any, Any], services: Services, job: RerankJob) -> Reranked:
    """Rerank for a request whose body was read; once its caller is gone, rerankers stop at their next batch.

    All of it may take the setting `max_timeout_ms`. Raises: InputError; Busy; TransientError if a text got no score.
    """
    most_s = services.settings.max_timeout_ms / 1000 - KEPT_S

    def work(gone: Callable[[], bool], arrived: float) -> Reranked:
        return rerank(services, job, arrived + most_s, gone)

    shared = all(stage.kind in LOCAL_KINDS for stage in job.choice.stages)
    return await run_work(request, RERANKS, work, Load(job.choice.name, job.size, most_s, shared))


def rerank(services: Services, job: RerankJob, deadline: float, gone: Callable[[], bool]) -> Reranked:
    """Do a job by `deadline` (monotonic seconds)."""
    if not job.query.strip():
        raise InputError("query: say what to look for", code="empty_query")
    if gone():
        raise Busy("the caller went away before the work began", code="caller_gone")
    embedder = services.engine.embedder
    query_tokens = measured(embedder.tokenizer, [job.query]).tokens
    # Without the white space around them, as stages read them: then these ids are theirs, if the tokenizer is.
    given = [text.strip() for text in job.texts]
    texts = measured(embedder.tokenizer, given, _limit_of(job, query_tokens))
    found = rerank_texts(
        services.pipeline.cascade,
        job.query,
        texts.texts,
        job.choice.stages,
        deadline=deadline,
        instruction=job.instruction,
        tokens=[{} if ids is None else {embedder.passages.fingerprint: ids} for ids in texts.ids],
        beginning_only=job.beginning_only,
        cancelled=gone,
    )
    services.pipeline.metrics.reranked(found.stages)
    steps = " ".join(f"{report.name}={report.ms:.1f}" for report in found.stages)
    log.info("rerank model=%s texts=%d tokens=%d %s", job.choice.name, len(job.texts), texts.tokens, steps)
    return Reranked(
        ranking=found,
        scales=services.rerankers.scales(job.choice.stages, job.query),
        tokens=texts.tokens + query_tokens * len(job.texts),
        warnings=_warnings(job, found, texts),
    )


def _limit_of(job: RerankJob, query_tokens: int) -> int | None:
    """Return how many tokens of a text are read at most, None for all."""
    limit = math.inf if job.most_tokens is None else job.most_tokens
    if job.most_parts is not None:
        longest = max(stage.max_length for stage in job.choice.stages)
        limit = min(limit, tokens_of_parts(job.most_parts, longest, query_tokens))
    return None if limit == math.inf else int(limit)


def _warnings(job: RerankJob, found: TextRanking, texts: Measured) -> tuple[str, ...]:
    said = [f"{report.name} {report.status}: {report.reason}" for report in found.degraded]
    if texts.cut:
        said.append(f"{texts.cut:,} of {len(job.texts):,} documents were cut as the request asks")
    said += [f"{report.name}: {report.reason}" for report in found.stages if report.status == "full" and report.reason]
    return tuple(said)
