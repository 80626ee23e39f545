"""What a reranker reads of a passage: where it stands, then its text. One function, so that all stages agree."""

from __future__ import annotations

from searchd.types import Candidate


def passage_text(candidate: Candidate) -> str:
    """Return title and headings on one line, then the passage's text."""
    place = [candidate.title, *(heading for heading in candidate.heading_path if heading != candidate.title)]
    return "\n".join([" > ".join(part for part in place if part), candidate.text]).strip()
