"""The command line's side of a running daemon: the same verbs over its HTTP API that `local.py` does on the folder.

Two owners of one data folder cannot be, so `indexer add` and its siblings come here when a daemon answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec

from indexer.errors import Busy, InputError, NotFound, SearchdError, TransientError
from indexer.types import SourceFile

TIMEOUT_S = 120.0


class RemoteIndexer:
    """Verbs on the daemon at `url`. Raises: SearchdError with the daemon's own words; TransientError if it is away."""

    def __init__(self, url: str, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Send one request and return the decoded answer."""
        try:
            answer = self.client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise TransientError(f"the daemon at {self.client.base_url} does not answer: {error}") from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise error_of(answer)

    def add(self, collection: str, files: Sequence[SourceFile]) -> dict[str, Any]:
        """Hand over files; they are durable when this returns. All share access and metadata overrides per call."""
        fields = {
            "collection": collection,
            "sources": msgspec.json.encode(
                [
                    {
                        "uri": f.uri,
                        "title": f.title,
                        "metadata": dict(f.metadata),
                        "access": f.access,
                        "id": f.document_id,
                    }
                    for f in files
                ]
            ).decode(),
        }
        parts = [("files", (f.name, f.content, "application/octet-stream")) for f in files]
        answer: dict[str, Any] = self.call("POST", "/api/documents", data=fields, files=parts)
        return answer

    def task(self, task_id: str) -> dict[str, Any]:
        """Return a task's state, counts and errors."""
        answer: dict[str, Any] = self.call("GET", f"/api/tasks/{task_id}")
        return answer

    def sources(self, collection: str, uri_prefix: str) -> dict[str, str]:
        """Return source id by uri for every source under `uri_prefix`."""
        found: dict[str, str] = {}
        cursor: str | None = None
        while True:
            query = {"collection": collection, "uri_prefix": uri_prefix} | ({"cursor": cursor} if cursor else {})
            page = self.call("GET", "/api/sources", params=query)
            found |= {source["uri"]: source["source_id"] for source in page["sources"]}
            cursor = page.get("cursor")
            if not cursor:
                return found

    def remove_sources(self, collection: str, source_ids: Sequence[str]) -> dict[str, Any]:
        """Delete sources and their documents."""
        body = {"collection": collection, "source_ids": list(source_ids)}
        answer: dict[str, Any] = self.call("POST", "/api/sources/delete", json=body)
        return answer

    def retry(self, collection: str) -> dict[str, Any]:
        """Parse every failed source of the collection again."""
        answer: dict[str, Any] = self.call("POST", "/api/sources/retry", json={"collection": collection})
        return answer

    def rebuild(self, collection: str, recipe: dict[str, Any]) -> dict[str, Any]:
        """Start a rebuild under the settings in `recipe`."""
        answer: dict[str, Any] = self.call("POST", f"/api/collections/{collection}/rebuild", json=recipe)
        return answer

    def status(self) -> dict[str, Any]:
        """Return what `/api/status` says."""
        answer: dict[str, Any] = self.call("GET", "/api/status")
        return answer

    def doctor(self, repair: bool, recipe: dict[str, Any]) -> dict[str, Any]:
        """Have the daemon examine (and repair) what it owns, held against the settings in `recipe`."""
        answer: dict[str, Any] = self.call("POST", "/api/doctor", json={"repair": repair} | recipe, timeout=3600.0)
        return answer


def error_of(answer: httpx.Response) -> SearchdError:
    """Turn a problem+json answer back into the error it stands for."""
    try:
        problem = answer.json()
        detail, code = str(problem["detail"]), str(problem.get("code", "error"))
    except (ValueError, KeyError, TypeError):
        detail, code = f"the daemon answered {answer.status_code}: {answer.text[:200]}", "error"
    if answer.status_code == 404:
        return NotFound(detail, code=code)
    if answer.status_code == 503:
        return Busy(detail, code=code)
    return (InputError if answer.status_code < 500 else SearchdError)(detail, code=code)
