"""The whole error tree. `searchd/api/problems.py` alone maps it to HTTP status codes.

    SearchdError
    ├── InputError            the caller's input; 4xx, never retried
    │   ├── QueryError        a query or a filter that cannot be parsed
    │   ├── LimitError        a stated limit is passed; says the limit (413 for sizes, else 422)
    │   ├── NotFound          404
    │   ├── Forbidden         403
    │   └── Conflict          409
    ├── ParseFailure          a file that cannot become text; quarantined with its code, retried on request
    ├── TransientError        may work in a moment; retried by the worker, 503 to a caller
    │   └── Busy              another process owns the data folder, or a queue is full
    ├── StaleIndex            an index does not fit settings or SQL; the message ends with the command to run
    └── ConfigError           found before serving; names the setting and what it accepts

Anything else that is raised is a bug: 500, with a traceback in the log.
"""

from __future__ import annotations


class SearchdError(Exception):
    """Root of all errors raised on purpose. `code` is a stable snake_case word for programs."""

    code = "searchd_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InputError(SearchdError):
    """The caller's input is wrong; the message says what to change."""

    code = "invalid_input"


class QueryError(InputError):
    """A query or filter that cannot be parsed; the message points at the place."""

    code = "invalid_query"


class LimitError(InputError):
    """A stated limit is passed; the message says the limit."""

    code = "limit_exceeded"


class NotFound(InputError):
    """No such document, collection, task or profile, or none that the caller may see."""

    code = "not_found"


class Forbidden(InputError):
    """The caller may not do this; the message says what would allow it."""

    code = "forbidden"


class Conflict(InputError):
    """The request contradicts what exists."""

    code = "conflict"


class ParseFailure(SearchdError):
    """A file that cannot become text. Codes: `FAILURE_CODES` in `indexer/formats`."""

    code = "parse_failed"


class TransientError(SearchdError):
    """May work in a moment: a database, a Qdrant server or a device that is away."""

    code = "temporarily_unavailable"


class Busy(TransientError):
    """Somebody else holds what is needed: the data folder, a writer lock, a full queue."""

    code = "busy"


class StaleIndex(SearchdError):
    """An index does not fit the settings or SQL; the message ends with the command to run."""

    code = "stale_index"


class ConfigError(SearchdError):
    """A setting that cannot work; names the setting and what it accepts."""

    code = "invalid_setting"
