"""One file per format, each `parse(name, content) -> list[ParsedText]`; `table.py` names them all.

Untrusted bytes meet the libraries only in a child process: `indexer/parsing.py`. What a file can fail with is in
`failures.py`; importing this package loads no parser.
"""

from indexer.formats.failures import FAILURE_CODES

__all__ = ["FAILURE_CODES"]
