"""Impressions: documents that were shown for a query, clicked or not; what weak grades are made of (`clicks.py`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Impression:
    """One document, shown once in one answer."""

    query: str
    document_id: str
    position: int
    """Its rank in the answer, from 1."""
    clicked: bool
    dwell_ms: int | None = None
    """How long it was looked at; None: not clicked, or not told."""
