"""The shapes of events at the API's edge: which document was opened from which answer, where it stood, how long it was read."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from searchd.api.schemas import MAX_REACH, Answer, Request

MAX_EVENTS = 100
MAX_DWELL_MS = 86_400_000
"""A day: who reads longer has gone away from an open page."""


class Event(Request, frozen=True, kw_only=True):
    """A document that was opened from an answer. Told again, the first position and the longest dwell stay."""

    query_id: Annotated[str, Meta(min_length=1, max_length=32, description="From the answer")]
    document_id: Annotated[str, Meta(min_length=1, max_length=512, description="The hit that was opened")]
    position: Annotated[int, Meta(ge=1, le=MAX_REACH, description="Its rank in the answer")]
    dwell_ms: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_DWELL_MS)] | None,
        Meta(description="How long it was looked at, once that is known; at most a day"),
    ] = None


class EventsTaken(Answer, frozen=True, kw_only=True):
    """How many events will be written."""

    accepted: int
