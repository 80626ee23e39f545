"""Why a file cannot become text: every code a ParseFailure may carry, with the sentence that documents it."""

from __future__ import annotations

from typing import Final

from indexer.errors import ParseFailure

FAILURE_CODES: Final[dict[str, str]] = {
    "unknown_type": "neither name nor content is of a known format (images, programs, archives)",
    "not_text": "named as text, but the content is binary",
    "encrypted": "protected by a password",
    "empty": "0 characters of text: an empty file, or scanned pages without a text layer",
    "malformed": "damaged, or not what its name says; the message says where",
    "too_large": "passes the limit on size, text, blocks, pages or documents",
    "unpacks_too_large": "an archive that unpacks to more than the limit, in all or in ratio",
    "too_many_members": "an archive with more members than the limit",
    "nested_archive": "an archive inside an archive",
    "out_of_memory": "the parser process passed its memory limit",
    "timeout": "the parser process passed its limit of processor or wall-clock time",
    "crashed": "the parser process died",
    "unreadable": "the file cannot be read from its folder",
}

MAX_BLOCKS: Final = 300_000
"""Of one document."""
MAX_DOCUMENTS: Final = 100_000
"""Of one source (jsonl, csv)."""
MAX_TEXT_CHARS: Final = 40_000_000
"""Of one source, all documents together."""


def failure(code: str, message: str) -> ParseFailure:
    """Return the failure with this code. Raises: KeyError if the code is not in FAILURE_CODES, which is a bug."""
    _ = FAILURE_CODES[code]
    return ParseFailure(message, code=code)
