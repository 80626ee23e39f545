"""The shapes of documents, sources, tasks and collections at the API's edge."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from indexer.errors import InputError
from indexer.settings import Settings as IndexerSettings
from indexer.types import Metadata
from searchd.api.schemas import Answer, Collection, FilterText, Request

MetadataIn = Annotated[dict[str, Any], Meta(description="Names and values; nested objects are flattened with dots")]
Access = Annotated[
    tuple[str, ...], Meta(description="Principals who may read; left out: as before, a new one is public")
]
Title = Annotated[str, Meta(max_length=500, description="Left out: found in the document")]
DocumentId = Annotated[str, Meta(description="Stable id; left out: made of the collection and the uri")]
ListCursor = Annotated[str, Meta(max_length=16_384, description="From an answer: the next part of the list")]


class PostedDocument(Request, frozen=True, kw_only=True):
    """One document as JSON: exactly one of text, html, markdown."""

    id: DocumentId | None = None
    title: Title | None = None
    text: str | None = None
    html: str | None = None
    markdown: str | None = None
    uri: Annotated[str, Meta(max_length=2048, description="Where a reader is sent")] | None = None
    metadata: MetadataIn = msgspec.field(default_factory=dict)
    access: Access | None = None


class PostedDocuments(Request, frozen=True, kw_only=True):
    """Documents to add, or to put in the place of those with the same id or uri."""

    documents: Annotated[tuple[PostedDocument, ...], Meta(min_length=1, max_length=10_000)]
    collection: Collection = "default"


class PostedSource(Request, frozen=True, kw_only=True):
    """What goes with one uploaded file, in the place of what its parser finds."""

    uri: Annotated[str, Meta(max_length=2048)] | None = None
    id: DocumentId | None = None
    title: Title | None = None
    metadata: MetadataIn = msgspec.field(default_factory=dict)
    access: Access | None = None


class UploadFields(Request, frozen=True, kw_only=True):
    """The fields of a form beside its `files`."""

    collection: Collection = "default"
    sources: Annotated[tuple[PostedSource, ...], Meta(description="One for each of `files`, in their order")] = ()
    access: Access | None = None
    metadata: MetadataIn = msgspec.field(default_factory=dict)


class Accepted(Answer, frozen=True, kw_only=True):
    """What was acknowledged: durable now, done when the task has succeeded."""

    task_id: str
    accepted: int
    unchanged: int


class ListParameters(Request, frozen=True, kw_only=True):
    """Part of a list of documents."""

    collection: Collection = "default"
    cursor: ListCursor | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    filter: FilterText | None = None


class OfCollection(Request, frozen=True, kw_only=True):
    """Which collection."""

    collection: Collection = "default"


class FilterParameters(Request, frozen=True, kw_only=True):
    """Which documents to delete."""

    filter: FilterText
    collection: Collection = "default"


class SourceParameters(Request, frozen=True, kw_only=True):
    """Part of a list of sources."""

    collection: Collection = "default"
    uri_prefix: Annotated[str, Meta(max_length=2048)] = ""
    cursor: ListCursor | None = None


class DocumentLine(Answer, frozen=True, kw_only=True):
    """A document as lists show it."""

    document_id: str
    title: str
    uri: str
    metadata: Metadata
    text_chars: int
    version: int
    created_at: float
    updated_at: float


class DocumentList(Answer, frozen=True, kw_only=True):
    """Documents in the order of their ids; `cursor` is null at the end."""

    documents: tuple[DocumentLine, ...]
    cursor: str | None


class DocumentAnswer(Answer, frozen=True, kw_only=True):
    """A document with its text; `access` is for callers who may write."""

    document_id: str
    collection: str
    title: str
    uri: str
    text: str
    metadata: Metadata
    version: int
    access: tuple[str, ...] | UnsetType = UNSET


class SourceLine(Answer, frozen=True, kw_only=True):
    """A file or posted document as it was accepted; `state`: queued, ready, failed."""

    source_id: str
    uri: str
    name: str
    state: str
    content_hash: str
    size_bytes: int
    error_code: str | None
    error: str | None


class SourceList(Answer, frozen=True, kw_only=True):
    """Sources in the order of their uris; `cursor` is null at the end."""

    sources: tuple[SourceLine, ...]
    cursor: str | None


class SourcesToDelete(Request, frozen=True, kw_only=True):
    """Sources to delete with all their documents."""

    source_ids: Annotated[tuple[str, ...], Meta(max_length=100_000)]
    collection: Collection = "default"


class SourcesToRetry(Request, frozen=True, kw_only=True):
    """Failed sources to parse again; left out: all of the collection."""

    collection: Collection = "default"
    source_ids: Annotated[tuple[str, ...], Meta(max_length=100_000)] | None = None


class CollectionChoices(Request, frozen=True, kw_only=True):
    """What can be chosen when a collection is made; left out: the setting default_language."""

    language: Annotated[str, Meta(pattern="^[a-z]{2}$", description="Of its stemming")] | None = None


class CollectionLine(Answer, frozen=True, kw_only=True):
    """A collection and how much is in it."""

    name: str
    language: str
    documents: int
    passages: int
    failed: int
    generation: str | None
    building: int


class CollectionList(Answer, frozen=True, kw_only=True):
    """All collections, by name."""

    collections: tuple[CollectionLine, ...]


class DeletedCollection(Answer, frozen=True, kw_only=True):
    """A collection that is gone; its indexes are deleted soon after."""

    name: str
    generations_retired: int


class RebuildChoices(Request, frozen=True, kw_only=True):
    """Settings that a rebuild takes up; left out: those in force."""

    embedder: str | None = None
    embedder_revision: str | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None
    passage_tokens: int | None = None
    passage_overlap_tokens: int | None = None

    def given(self) -> dict[str, Any]:
        """Return the settings that were given."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}

    def settings(self, present: IndexerSettings) -> IndexerSettings:
        """Return the settings in force with these in their place. Raises: InputError."""
        try:
            return msgspec.convert(msgspec.to_builtins(present) | self.given(), type(present))
        except msgspec.ValidationError as error:
            raise InputError(f"setting refused: {error}", code="invalid_parameter") from None


class DoctorChoices(RebuildChoices, frozen=True, kw_only=True):
    """Whether to mend what is found, and the settings to hold the indexes against; left out: those in force."""

    repair: bool = False

    def given(self) -> dict[str, Any]:
        """Return the settings that were given."""
        given = super().given()
        given.pop("repair")
        return given


class DoctorFinding(Answer, frozen=True, kw_only=True):
    """One thing that is wrong; `remedy`: reindex (of `document_ids`), rebuild, wait or none."""

    collection: str
    message: str
    remedy: str
    document_ids: tuple[str, ...] = ()


class DoctorAnswer(Answer, frozen=True, kw_only=True):
    """What is wrong (empty: sound), and the tasks that mend it."""

    findings: tuple[DoctorFinding, ...]
    task_ids: tuple[str, ...] = ()


class TaskStarted(Answer, frozen=True, kw_only=True):
    """A task to follow at /api/tasks/{task_id}."""

    task_id: str


class TaskErrorLine(Answer, frozen=True, kw_only=True):
    """Why one source or document failed."""

    uri: str
    code: str
    message: str


class TaskAnswer(Answer, frozen=True, kw_only=True):
    """A task as it stands; `state`: enqueued, processing, succeeded, failed, canceled. Counts are of its steps."""

    task_id: str
    collection: str
    kind: str
    state: str
    accepted: int
    unchanged: int
    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int
    errors: tuple[TaskErrorLine, ...]
    created_at: float
    finished_at: float | None
