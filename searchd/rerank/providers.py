"""PROVIDERS: name -> the shape of a reranking API: where it is, what it is sent, how its answer is read, its limits.

A row's builder takes what is asked and gives the JSON body; its reader takes the answer's bytes and gives (index, score)
as the service gave them. Sources: each provider's API reference, and for TEI, vLLM and Infinity also their request types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from searchd.rerank.types import BadScores

T = TypeVar("T")
Indexed = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: a query and the texts to score for it."""

    model: str
    query: str
    texts: Sequence[str]
    instruction: str = ""
    whole: bool = True
    """Whether a text that is too long is an error; else its beginning is read."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The shape of one provider's API."""

    path: str
    body: Callable[[Asked], dict[str, Any]]
    read: Callable[[bytes], Indexed]
    url: str = ""
    """The usual address; empty: the owner runs the server, and says where."""
    key_variable: str = ""
    """Where the key usually is; empty: only where the stage says."""
    takes_instruction: bool = False
    names_model: bool = True
    """Whether a call names the model; if not, the server has one."""
    most_texts: int = 1000
    """In one call."""
    call_bytes: int = 4_000_000
    """Of one call, query and overhead counted for each text."""
    part_bytes: int = 6000
    """Longest text, in UTF-8; longer ones go in parts. About 4 bytes make a token, in any script 2 at least."""

    @property
    def key_needed(self) -> bool:
        """Whether it answers nobody without a key: those that one does not run oneself."""
        return bool(self.url)


class _Scored(msgspec.Struct):
    index: int
    relevance_score: float


class _Results(msgspec.Struct):
    results: list[_Scored]


class _Data(msgspec.Struct):
    data: list[_Scored]


class _Rank(msgspec.Struct):
    index: int
    score: float


def decoded(answer: bytes, shape: type[T]) -> T:
    """Read JSON of a shape; what else is in it is left aside. Raises: BadScores."""
    try:
        return msgspec.json.decode(answer, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadScores("the reranking service's answer is not the JSON that it documents") from error


def _results(answer: bytes) -> Indexed:
    return [(one.index, one.relevance_score) for one in decoded(answer, _Results).results]


def _data(answer: bytes) -> Indexed:
    return [(one.index, one.relevance_score) for one in decoded(answer, _Data).data]


def _ranks(answer: bytes) -> Indexed:
    return [(one.index, one.score) for one in decoded(answer, list[_Rank])]


def _plain(asked: Asked) -> dict[str, Any]:
    """Return what most take, all texts asked for."""
    return {
        "model": asked.model,
        "query": asked.query,
        "documents": list(asked.texts),
        "top_n": len(asked.texts),
    }


def _cohere(asked: Asked) -> dict[str, Any]:
    # Longer texts are cut without a word; parts are far shorter than this, which is the default.
    return _plain(asked) | {"max_tokens_per_doc": 4096}


def _voyage(asked: Asked) -> dict[str, Any]:
    # Instructions stand before the query, in words (rerank-2.5 and later were trained on it).
    query = f"{asked.instruction}\nQuery: {asked.query}" if asked.instruction else asked.query
    return {
        "model": asked.model,
        "query": query,
        "documents": list(asked.texts),
        "top_k": len(asked.texts),
        "truncation": not asked.whole,
    }


def _jina(asked: Asked) -> dict[str, Any]:
    return _plain(asked) | {"return_documents": False}


def _zeroentropy(asked: Asked) -> dict[str, Any]:
    tagged = f"<query>\n{asked.query}\n</query>\n<instructions>\n{asked.instruction}\n</instructions>"
    # "fast" is refused (429) past the rate limit; otherwise such a call takes more than 10 s.
    return _plain(asked) | {"query": tagged if asked.instruction else asked.query, "latency": "fast"}


def _tei(asked: Asked) -> dict[str, Any]:
    return {"query": asked.query, "texts": list(asked.texts), "raw_scores": True, "truncate": not asked.whole}


def _vllm(asked: Asked) -> dict[str, Any]:
    body = _plain(asked) | {"use_activation": False}
    if asked.instruction:
        body["instruction"] = asked.instruction
    # -1: cut at the model's length; left out, a text that is too long is refused.
    return body if asked.whole else body | {"truncate_prompt_tokens": -1}


def _infinity(asked: Asked) -> dict[str, Any]:
    return _plain(asked) | {"return_documents": False, "raw_scores": True}


PROVIDERS: dict[str, Provider] = {
    "cohere": Provider("/v2/rerank", _cohere, _results, url="https://api.cohere.com", key_variable="COHERE_API_KEY"),
    # 300,000 tokens in one call of the older models, the query's counted for each text
    "voyage": Provider(
        "/v1/rerank",
        _voyage,
        _data,
        url="https://api.voyageai.com",
        key_variable="VOYAGE_API_KEY",
        takes_instruction=True,
        call_bytes=600_000,
    ),
    "jina": Provider("/v1/rerank", _jina, _results, url="https://api.jina.ai", key_variable="JINA_API_KEY"),
    # 5,000,000 bytes in one call, counted as here
    "zeroentropy": Provider(
        "/v1/models/rerank",
        _zeroentropy,
        _results,
        url="https://api.zeroentropy.dev",
        key_variable="ZEROENTROPY_API_KEY",
        takes_instruction=True,
    ),
    # --max-client-batch-size is 32 and --payload-limit 2,000,000 unless told otherwise; most of its models read 512 tokens
    "tei": Provider("/rerank", _tei, _ranks, names_model=False, most_texts=32, call_bytes=1_500_000, part_bytes=1200),
    "vllm": Provider("/v1/rerank", _vllm, _results, key_variable="VLLM_API_KEY", takes_instruction=True),
    "infinity": Provider("/rerank", _infinity, _results, key_variable="INFINITY_API_KEY", part_bytes=1200),
}
