"""Remote rerankers: a query and passages to a provider's HTTP API, its scores back in order. Shapes: `providers.py`.

Scores are the service's own, logits where it gives them, never scaled. A passage too long for a provider goes in
overlapping parts and scores as its best one, so that nothing is cut: Cohere and Infinity would cut without a word (the
parts are shorter than where they do, Infinity's for models of 512 tokens and more), Voyage, TEI and vLLM are told to
refuse instead, Jina and ZeroEntropy say nothing of it. After a refusal shorter parts are tried, and the length is kept
for a while: it may have been one long query that left no room, and short parts cost more.
More texts than a call may have go in several, one after another; that is sound for scores that depend on query and text
alone, which all state but jina-reranker-v3: it looks at all texts of a call, and its scores are not kept.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from indexer.errors import ConfigError, TransientError
from indexer.settings import Settings
from searchd.rerank.address import address, key_from
from searchd.rerank.http import TOO_LONG, Endpoint, Refused
from searchd.rerank.local import OVERLAP_SHARE
from searchd.rerank.providers import PROVIDERS, Asked, Indexed, Provider
from searchd.rerank.scheduler import Scheduler
from searchd.rerank.types import BadScores, PartScores, PassageText, QueryCut, Reranker, ScoreRequest, public_reason
from searchd.settings import HOUSE_RERANKER, Stage

JOINT_MODELS = ("jina-reranker-v3",)
"""Whose score of a text depends on the others of its call."""
LEAST_PART_BYTES = 300
SHORT_KEPT_S = 600.0
NO_TEXT = "-"
"""Sent for an empty text, for which Voyage would refuse the whole call."""
TEXT_OVERHEAD_BYTES = 150
"""What ZeroEntropy counts for each text; a fair guess at JSON's and everybody's else."""


class RemoteReranker:
    """A provider's model behind its API. See `Reranker`."""

    def __init__(
        self,
        provider: Provider,
        name: str,
        model: str,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._model = model
        self._endpoint = endpoint
        self._clock = clock
        self._short = (provider.part_bytes, -math.inf)
        """Length of parts that was not refused, and until when it is kept."""
        self.fingerprint = fingerprint_of("remote", name, str(endpoint.url), model)

    def close(self) -> None:
        """Close connections."""
        self._endpoint.close()

    def fits(self, request: ScoreRequest, passages: Sequence[PassageText], seconds: float) -> int:
        """Return all: what the service can do is not known before."""
        return len(passages)

    def at_once(self, request: ScoreRequest, passages: Sequence[PassageText]) -> int:
        """Return all: a call is cheaper than two."""
        return len(passages)

    def query_cut(self, request: ScoreRequest) -> QueryCut | None:
        """Return None: all of it is sent."""
        return None

    def score(self, request: ScoreRequest, passages: Sequence[PassageText]) -> NDArray[np.float32]:
        """See `Reranker.score`. Raises also: Refused, Busy while the service is left alone."""
        if not passages:
            return np.zeros(0, dtype=np.float32)
        known, until = self._short
        part_bytes = usual = known if self._clock() < until else self._provider.part_bytes
        while True:
            try:
                scores = self._scored(request, passages, part_bytes)
            except Refused as error:
                longest = max(min(part_bytes, len(passage.text.encode())) for passage in passages)
                part_bytes = longest // 2
                if error.status not in TOO_LONG or not request.parts or part_bytes < LEAST_PART_BYTES:
                    raise
                continue
            if part_bytes < usual:
                self._short = part_bytes, self._clock() + SHORT_KEPT_S
            return scores

    def _scored(self, request: ScoreRequest, passages: Sequence[PassageText], part_bytes: int) -> NDArray[np.float32]:
        texts: list[str] = []
        firsts: list[int] = []
        for passage in passages:
            firsts.append(len(texts))
            parts = text_parts(passage.text.strip() or NO_TEXT, part_bytes)
            texts += parts if request.parts else parts[:1]
        scores = np.full(len(texts), np.nan, dtype=np.float32)
        ended: TimeoutError | TransientError | None = None
        for start, end in self._calls(request, texts):
            try:
                scores[start:end] = self._call(request, texts[start:end])
            except (TimeoutError, TransientError) as error:
                ended = error
                break
        best: NDArray[np.float32] = np.maximum.reduceat(scores, firsts)
        if ended is not None and (request.whole or np.isnan(best).all()):
            raise ended
        if isinstance(ended, TransientError):
            raise PartScores(best, public_reason(ended)) from ended
        return best

    def _call(self, request: ScoreRequest, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32[len(texts)], in order."""
        provider = self._provider
        instruction = request.instruction if provider.takes_instruction else ""
        asked = Asked(self._model, request.query, texts, instruction, request.parts)
        return self._endpoint.post(
            provider.body(asked), lambda answer: in_order(provider.read(answer), len(texts)), request
        )

    def _calls(self, request: ScoreRequest, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield where each call's texts start and end."""
        each = TEXT_OVERHEAD_BYTES + len(request.query.encode()) + len(request.instruction.encode())
        start = size = 0
        for place, text in enumerate(texts):
            more = each + len(text.encode())
            full = place - start == self._provider.most_texts or size + more > self._provider.call_bytes
            if full and place > start:
                yield start, place
                start, size = place, 0
            size += more
        yield start, len(texts)


def text_parts(text: str, most_bytes: int) -> list[str]:
    """Return overlapping parts of a text, each of about so many bytes in UTF-8 at most, cut between words if it can be.

    Together they have every character; a text that is short enough is its only part.
    """
    size = len(text.encode())
    if size <= most_bytes:
        return [text]
    room = max(1, most_bytes * len(text) // size)  # characters
    parts: list[str] = []
    start = 0
    while start + room < len(text):
        end = _between_words(text, start + room - room // 5, start + room)
        parts.append(text[start:end])
        start = max(start + 1, _between_words(text, end - int(room * OVERLAP_SHARE), end - room // 8))
    return [*parts, text[start:]]


def _between_words(text: str, first: int, last: int) -> int:
    """Return the last place from `first` to `last` behind a space, `last` if there is none."""
    return text.rfind(" ", first, last) + 1 or last


def in_order(found: Indexed, count: int) -> NDArray[np.float32]:
    """Return float32[count]: scores that came with indexes, put in their places. Raises: BadScores."""
    if len(found) != count:
        raise BadScores(f"{len(found)} scores came back for {count} passages")
    if {index for index, _ in found} != set(range(count)):
        raise BadScores("scores came back with wrong or repeated indexes")
    scores = np.empty(count, dtype=np.float32)
    with np.errstate(over="ignore"):  # looked at below
        for index, score in found:
            scores[index] = score
    if not np.isfinite(scores).all():
        raise BadScores("a score is not a number")
    return scores


def fingerprint_of(*names: object) -> str:
    """Return a digest of what names a model that runs elsewhere."""
    return hashlib.sha256(msgspec.json.encode(names)).hexdigest()


def load_remote(stage: Stage, settings: Settings, scheduler: Scheduler) -> Reranker:
    """Make a reranker of a provider's API; nothing is sent.

    Raises: ConfigError naming the setting and what it accepts.
    """
    provider = PROVIDERS.get(stage.provider)
    if provider is None:
        raise ConfigError(f"`provider` of a remote stage is one of {', '.join(PROVIDERS)}; it is {stage.provider!r}")
    if provider.names_model and stage.model == HOUSE_RERANKER:
        raise ConfigError(f"`model` of a remote stage is the name that {stage.provider} has for one; there is none")
    if not (stage.url or provider.url):
        raise ConfigError(f"`url` of the stage is needed: {stage.provider} runs on a server of your own")
    url = address(stage.url or provider.url, provider.path)
    key = key_from(stage.key_variable, provider.key_variable, needed=provider.key_needed)
    model = stage.model if provider.names_model or stage.model != HOUSE_RERANKER else ""
    return RemoteReranker(provider, stage.provider, model, Endpoint(url, key))
