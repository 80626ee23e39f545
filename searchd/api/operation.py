"""What OpenAPI says of a handler beyond its route: the structs it reads and answers with, and examples.

Kept on the handler as `opt["operation"]`; `openapi.py` builds the document from all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from searchd.api.schemas import NoParameters


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API: structs for the query string, the body and the answer (or each entry of its list).

    Examples are plain JSON.
    """

    summary: str
    topic: str
    query: type[msgspec.Struct] = NoParameters
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    body_example: Any = None
    answer_example: Any = None
    query_example: Mapping[str, Any] = field(default_factory=dict)
    answer_is_list: bool = False
    body_is_list: bool = False
    body_may_be_list: bool = False
    """Whether a body is one entry or a list of them."""
    body_lines: bool = False
    """Whether the entries of a body may also come as JSON lines."""
    answer_text: tuple[str, ...] = ()
    """Media types of an answer that is text."""
    files: type[msgspec.Struct] | None = None
    """Fields beside the `files` parts, where the body may also be multipart/form-data."""
    writes: bool = False
    errors: tuple[int, ...] = ()
    """Statuses beyond 422."""

    def opt(self) -> dict[str, Any]:
        """Return what a handler takes as its `opt`."""
        return {"operation": self}
