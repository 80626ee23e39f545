"""The shapes of the drop-in rerank APIs: Cohere v1 and v2, Jina and vLLM in one request and one answer, and TEI's.

A parameter is taken if one of them has it, and then does what it says there; whatever has no effect here is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from searchd.api.schemas import Answer, Name, ReportAnswer, Request
from searchd.rerank.texts import MAX_TEXTS

MAX_RERANK_QUERY_CHARS = 4000
MAX_INSTRUCTION_CHARS = 2000
LEAST_TOKENS = 16

RerankQuery = Annotated[
    str, Meta(max_length=MAX_RERANK_QUERY_CHARS, description="What is asked; read as it stands, without operators")
]
Instruction = Annotated[
    str, Meta(max_length=MAX_INSTRUCTION_CHARS, description="What to look for, for stages that take an instruction")
]
StageNames = Annotated[
    tuple[Name, ...], Meta(max_length=8, description="Ours: stages of the profile to run, in order, instead of one")
]
ReturnStages = Annotated[bool, Meta(description="Ours: with raw scores and ranks by stage, and what became of each")]


class RerankRequest(Request, frozen=True, kw_only=True):
    """A request of Cohere's (v1, v2), Jina's or vLLM's rerank API."""

    query: RerankQuery
    documents: Annotated[
        tuple[str | dict[str, Any], ...],
        Meta(min_length=1, max_length=MAX_TEXTS, description="Texts, or objects with `text` or the `rank_fields`"),
    ]
    model: (
        Annotated[
            str,
            Meta(
                max_length=256,
                description="A stage (runs alone), a profile (its cascade), `profile/stage`, or a stage's model; left out: "
                "the last stage of the profile `default`",
            ),
        ]
        | None
    ) = None
    top_n: Annotated[int, Meta(ge=0, description="How many to return; 0 or left out: all")] | None = None
    return_documents: Annotated[bool, Meta(description="With each document as it was sent")] | None = None
    rank_fields: (
        Annotated[
            tuple[Name, ...],
            Meta(min_length=1, max_length=32, description="Fields of objects to read, in order; left out: `text`"),
        ]
        | None
    ) = None
    max_chunks_per_doc: (
        Annotated[int, Meta(ge=1, description="Read at most so many overlapping parts of a document; left out: all")]
        | None
    ) = None
    max_tokens_per_doc: (
        Annotated[int, Meta(ge=0, description="Read at most so many tokens of a document; 0 or left out: all")] | None
    ) = None
    truncate_prompt_tokens: (
        Annotated[
            int,
            Meta(
                ge=-1, description="Read no parts but only the beginning: so many tokens with the query; -1: the most"
            ),
        ]
        | None
    ) = None
    use_activation: Annotated[bool, Meta(description="false: raw scores instead of 0 to 1")] | None = None
    request_id: Annotated[str, Meta(max_length=256, description="Comes back as `id`")] | None = None
    user: Annotated[str, Meta(max_length=256, description="Whom it is for; taken, and kept nowhere")] | None = None
    priority: Annotated[int, Meta(ge=0, le=0, description="There are no priorities: only 0")] | None = None
    instruction: Instruction | None = None
    stages: StageNames | None = None
    return_stages: ReturnStages = False


class TeiRequest(Request, frozen=True, kw_only=True):
    """A request of Text Embeddings Inference's rerank API."""

    query: RerankQuery
    texts: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_TEXTS, description="Texts to rank")]
    raw_scores: Annotated[bool, Meta(description="Raw scores instead of 0 to 1")] = False
    return_text: Annotated[bool, Meta(description="With each text")] = False
    truncate: (
        Annotated[bool, Meta(description="Leave to cut long texts: never used, they are read in overlapping parts")]
        | None
    ) = None
    truncation_direction: (
        Annotated[Literal["left", "right", "Left", "Right"], Meta(description="Where to cut; see `truncate`")] | None
    ) = None
    instruction: Instruction | None = None
    stages: StageNames | None = None
    return_stages: ReturnStages = False


class StageScore(Answer, frozen=True, kw_only=True):
    """What a stage gave a document: its raw score, null if it did not read it, and the rank after it, among all."""

    score: float | None
    rank: int


class RerankedDocument(Answer, frozen=True, kw_only=True):
    """A document of the request: `index` is its place there, from 0."""

    index: int
    relevance_score: Annotated[
        float,
        Meta(
            description="0 to 1, never rising, not calibrated, comparable within this answer only: the sigmoid of a logit, a "
            "service's own probability, the mean cosine from -1..1 brought to 0..1, of a listwise order the share of "
            "documents below"
        ),
    ]
    document: dict[str, Any] | UnsetType = UNSET
    stages: dict[str, StageScore] | UnsetType = UNSET


class UsageAnswer(Answer, frozen=True, kw_only=True):
    """Tokens of all pairs of query and document."""

    total_tokens: int
    prompt_tokens: int


class ApiVersionAnswer(Answer, frozen=True, kw_only=True):
    """Which of Cohere's APIs was spoken."""

    version: str


class BilledUnitsAnswer(Answer, frozen=True, kw_only=True):
    """One unit for each 100 documents begun, as Cohere counts; nothing is billed."""

    search_units: int


class RerankMeta(Answer, frozen=True, kw_only=True):
    """About the answer; `warnings` says in words what was cut or left out."""

    api_version: ApiVersionAnswer
    billed_units: BilledUnitsAnswer
    warnings: tuple[str, ...] | UnsetType = UNSET


class RerankAnswer(Answer, frozen=True, kw_only=True):
    """Documents, best first."""

    id: str
    model: str
    results: tuple[RerankedDocument, ...]
    usage: UsageAnswer
    meta: RerankMeta
    stages: tuple[ReportAnswer, ...] | UnsetType = UNSET


class TeiRank(Answer, frozen=True, kw_only=True):
    """A text of the request: `index` is its place there, from 0. The answer is a list of these, best first."""

    index: int
    score: float
    text: str | UnsetType = UNSET
    stages: dict[str, StageScore] | UnsetType = UNSET
