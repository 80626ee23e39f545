"""Vectors on a Qdrant server or cluster, over qdrant-client: one server collection per generation.

The server is shared by every process and optimises by itself. Writes wait until they are applied, so that `flush`
has nothing left to do. `open_client` is the one place that connects; `:memory:` clients serve the contract tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import cast

import httpx
import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from indexer.errors import ConfigError, SearchdError, StaleIndex, TransientError
from indexer.filters import Filter
from indexer.scope import Scope
from indexer.settings import without_password
from indexer.types import IndexedDocument, IndexedPassage, RankedPassage
from indexer.vectors.filters import Dialect, of_documents, question
from indexer.vectors.payload import DOCUMENT_ID, KEYWORDS, METADATA, TERMS, VERSION, checked, points_of
from indexer.vectors.ranking import Scored, as_ranking, best

POINTS_AT_ONCE = 128
"""Points per request: about 1 MB of JSON at 384 dimensions."""
DOCUMENTS_AT_ONCE = 128
EXACT_FROM = 1_000
OLDEST_SERVER = (1, 20)
"""Prefix and substring conditions are native from this version of Qdrant on."""
COMMAND = "build it anew from the database: indexer rebuild"

DIALECT = cast(
    Dialect,
    SimpleNamespace(
        Filter=models.Filter,
        FieldCondition=models.FieldCondition,
        MatchAny=models.MatchAny,
        MatchPrefix=models.MatchPrefix,
        MatchSubstring=models.MatchSubstring,
        Range=models.Range,
        HasId=lambda ids: models.HasIdCondition(has_id=ids),
    ),
)


@contextmanager
def server_errors(what: str) -> Iterator[None]:
    """Turn what qdrant-client raises into our errors, by whether trying again may help."""
    try:
        yield
    except UnexpectedResponse as error:
        reason = f"{what}: {error.status_code} {error.reason_phrase} {error.content[:200].decode(errors='replace')}"
        if error.status_code in (401, 403):
            raise ConfigError(f"{reason}; setting qdrant_api_key does not open this server") from error
        if error.status_code == 404:
            raise StaleIndex(f"{what}: the server does not have it; {COMMAND}") from error
        raise TransientError(reason) from error
    except ResponseHandlingException as error:
        raise TransientError(f"{what}: {error.source}") from error
    except (ApiException, QdrantException, httpx.HTTPError, OSError) as error:
        raise TransientError(f"{what}: {error}") from error


def open_client(url: str, api_key: str, timeout_s: int = 10) -> QdrantClient:
    """Connect to a server. Raises: TransientError if it is away, ConfigError if it is too old or refuses the key."""
    shown = without_password(url)
    with server_errors(f"Qdrant at {shown}"):
        try:
            client = QdrantClient(url=url, api_key=api_key or None, timeout=timeout_s, check_compatibility=False)
        except ValueError as error:
            raise ConfigError(f"setting qdrant_url: {error}; it accepts an address like http://host:6333") from error
        try:
            version = client.info().version
            numbers = re.match(r"(\d+)\.(\d+)", version)
            if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST_SERVER:
                wanted = ".".join(map(str, OLDEST_SERVER))
                raise ConfigError(
                    f"setting qdrant_url: {shown} is Qdrant {version}; version {wanted} or newer is needed"
                )
        except BaseException:
            client.close()
            raise
    return client


class ServerIndex:
    """VectorIndex over a server collection. Thread-safe; any number of processes."""

    def __init__(self, client: QdrantClient, name: str, dimension: int) -> None:
        """Open the server collection, or make it. Raises: StaleIndex, TransientError, ConfigError."""
        self.client = client
        self.name = name
        self.dimension = dimension
        with self._errors():
            if not client.collection_exists(name):
                self._create()
        self._check()

    def _create(self) -> None:
        try:
            self.client.create_collection(
                self.name,
                vectors_config=models.VectorParams(size=self.dimension, distance=models.Distance.DOT),
                on_disk_payload=True,
            )
        except UnexpectedResponse as error:
            if error.status_code != 409:  # another process made it first
                raise

    def _check(self) -> None:
        """Hold the collection against what is wanted; the indexes are asked for each time, as a crash may lack some."""
        with self._errors():
            found = self.client.get_collection(self.name)
            vectors = found.config.params.vectors
            size = vectors.size if isinstance(vectors, models.VectorParams) else None
            if size != self.dimension:
                raise StaleIndex(
                    f"{self._what} holds {size} dimensions, the embedder gives {self.dimension}; {COMMAND}"
                )
            if self.is_remote:
                for field in set(KEYWORDS) - set(found.payload_schema):
                    self.client.create_payload_index(
                        self.name,
                        field,
                        models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=field == TERMS),
                        wait=True,
                    )

    @property
    def is_remote(self) -> bool:
        """Whether a server answers; the client's own memory has no payload indexes, and warns when asked for one."""
        return self.client.init_options.get("location") != ":memory:"

    @property
    def _what(self) -> str:
        return f"Qdrant collection {self.name}"

    def _errors(self) -> AbstractContextManager[None]:
        return server_errors(self._what)

    # -- writing --------------------------------------------------------------------------------------------------

    def replace(self, documents: Sequence[IndexedDocument]) -> None:
        """Add one point a passage, then delete what else there is of these documents; applied when it returns."""
        names, data = points_of(documents, self.dimension)
        points = [models.PointStruct(id=one.passage_id, vector=one.vector, payload=one.payload) for one in data]
        for start in range(0, len(points), POINTS_AT_ONCE):
            with self._errors():
                self.client.upsert(self.name, points[start : start + POINTS_AT_ONCE], wait=True)
        self._delete(names, [one.passage_id for one in data])

    def delete(self, document_ids: Sequence[str]) -> None:
        """Delete all points of these documents; unknown ids are ignored."""
        self._delete(document_ids, [])

    def _delete(self, document_ids: Sequence[str], keep: Sequence[str]) -> None:
        for start in range(0, len(document_ids), DOCUMENTS_AT_ONCE):
            chosen = of_documents(document_ids[start : start + DOCUMENTS_AT_ONCE], keep, DIALECT)
            with self._errors():
                self.client.delete(self.name, models.FilterSelector(filter=chosen), wait=True)

    def flush(self) -> None:
        """Do nothing: every write waited until the server had logged and applied it."""

    # -- reading --------------------------------------------------------------------------------------------------

    def search(
        self, vector: NDArray[np.float32], scope: Scope, filter: Filter | None, depth: int
    ) -> tuple[RankedPassage, ...]:
        """Return the best `depth` passages for float32[dim], best first, ties by passage id."""
        query = checked(np.asarray(vector)[None, :], 1, self.dimension, "a query")[0].tolist()
        if depth < 1 or not scope.principals:
            return ()
        chosen, passes = question(scope, filter, DIALECT)

        def fetch(limit: int) -> list[Scored]:
            with self._errors():
                found = self.client.query_points(
                    self.name,
                    query=query,
                    query_filter=chosen,
                    limit=limit,
                    with_payload=[DOCUMENT_ID] if passes is None else [DOCUMENT_ID, METADATA],
                    search_params=self._params(limit),
                )
            return [Scored(str(point.id), point.score, point.payload or {}) for point in found.points]

        return as_ranking(best(fetch, depth, passes))

    def _params(self, limit: int) -> models.SearchParams | None:
        if not self.is_remote:
            return None
        return models.SearchParams(hnsw_ef=max(256, 2 * limit), exact=limit >= EXACT_FROM)

    def scan(self) -> Iterator[tuple[IndexedPassage, NDArray[np.float32]]]:
        """Yield every point held with its vector, by id."""
        offset: models.ExtendedPointId | None = None
        while True:
            with self._errors():
                records, offset = self.client.scroll(
                    self.name, limit=256, offset=offset, with_payload=[DOCUMENT_ID, VERSION], with_vectors=True
                )
            for record in records:
                payload = record.payload or {}
                held = IndexedPassage(str(record.id), str(payload.get(DOCUMENT_ID, "")), int(payload.get(VERSION, 0)))
                yield held, np.asarray(record.vector, dtype=np.float32)
            if offset is None:
                return

    def verify(self) -> list[str]:
        """Return a sentence if the server calls the collection damaged, or cannot be asked."""
        try:
            with self._errors():
                status = self.client.get_collection(self.name).status
        except SearchdError as error:
            return [str(error)]
        return [f"{self._what} has status red on the server"] if status == models.CollectionStatus.RED else []

    # -- life -----------------------------------------------------------------------------------------------------

    def optimize(self) -> bool:
        """Do nothing: the server builds its graphs by itself."""
        return False

    def drop(self) -> None:
        """Delete the server collection; none is fine."""
        with self._errors():
            self.client.delete_collection(self.name)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
