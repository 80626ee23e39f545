"""The SQL tables: documents are the truth; passages and cached vectors are derived, per generation.

Alembic's `migrations/` builds exactly these on SQLite and PostgreSQL. Rows never leave `indexer/store`.
Times are UTC seconds since the epoch (REAL), so that both databases compare them alike. The tables of what is measured
stand in `judged_tables.py`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from indexer.store import judged_tables as judged_tables  # so that Base knows every table
from indexer.store.base import Base as Base

SCHEMA_VERSION = 1
"""Of what is derived from documents (passages, both indexes): part of every generation's fingerprint."""

_LIVE = "state = 'live'"


class CollectionRow(Base):
    """A named set of documents, with the language of its stemming."""

    __tablename__ = "collections"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    language: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[float] = mapped_column(Float)


class GenerationRow(Base):
    """A pair of indexes of a collection, and the fingerprint of what makes them stale. One is `live`."""

    __tablename__ = "generations"
    __table_args__ = (
        Index("ix_generations_collection_state", "collection", "state"),
        Index("uq_generations_live", "collection", unique=True, sqlite_where=text(_LIVE), postgresql_where=text(_LIVE)),
    )

    generation_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    collection: Mapped[str] = mapped_column(String(64))
    """No foreign key: a retired generation outlives its collection until its files are deleted."""
    fingerprint: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    """building | live | retired"""
    parts: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What the fingerprint is made of: embedder, prompts, dimension, sizes, analyzer, schema; shown on a mismatch."""
    dimension: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[float] = mapped_column(Float)
    live_at: Mapped[float | None] = mapped_column(Float)
    retired_at: Mapped[float | None] = mapped_column(Float)


class TaskRow(Base):
    """One acknowledged request for work; its state and counts are read off its jobs and these totals."""

    __tablename__ = "tasks"

    task_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    collection: Mapped[str] = mapped_column(String(64), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    """add | delete | rebuild"""
    accepted: Mapped[int] = mapped_column(Integer)
    unchanged: Mapped[int] = mapped_column(Integer)
    canceled: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[float] = mapped_column(Float, index=True)
    generation_id: Mapped[str | None] = mapped_column(String(32))
    """The generation that a rebuild makes: while it is building, the task has not ended."""


class SourceRow(Base):
    """A file or posted document as accepted; `content` is kept until it is parsed, and after a failure for a retry."""

    __tablename__ = "sources"
    __table_args__ = (
        Index("ix_sources_collection_state", "collection", "state"),
        Index("ix_sources_collection_document_id", "collection", "document_id"),
    )

    source_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"))
    uri: Mapped[str] = mapped_column(Text)
    """One source each: `source_id` is made of it (and a uri can be too long for PostgreSQL to index)."""
    name: Mapped[str] = mapped_column(Text)
    document_id: Mapped[str] = mapped_column(String(512))
    """Which id its first document gets unless the parser finds one, so that a delete meets what is not parsed yet."""
    content_hash: Mapped[str] = mapped_column(String(64))
    """Of content and overrides together: equal means nothing to do."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    overrides: Mapped[dict[str, Any]] = mapped_column(JSON)
    """document_id, title, link, metadata, access as the caller gave them."""
    state: Mapped[str] = mapped_column(String(16))
    """queued | ready | failed"""
    error_code: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Float)
    accepted_at: Mapped[float] = mapped_column(Float)
    """When this content was acknowledged: of two sources with one document id, the newer has it."""
    updated_at: Mapped[float] = mapped_column(Float)
    content: Mapped[bytes | None] = mapped_column(LargeBinary)


class DocumentRow(Base):
    """A document: the truth of text, metadata and access."""

    __tablename__ = "documents"
    __table_args__ = (Index("ix_documents_source_id", "source_id"),)

    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(512), primary_key=True)
    source_id: Mapped[str] = mapped_column(ForeignKey("sources.source_id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(Text)
    uri: Mapped[str] = mapped_column(Text)
    doc_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    access: Mapped[list[str]] = mapped_column(JSON)
    version: Mapped[int] = mapped_column(Integer)
    access_since: Mapped[int] = mapped_column(Integer)
    """The version at which `access` last admitted somebody new, who must not see passages of versions before it."""
    text_chars: Mapped[int] = mapped_column(Integer)
    """Length of `text` without white space at its ends; 0: there is nothing to index."""
    created_at: Mapped[float] = mapped_column(Float)
    updated_at: Mapped[float] = mapped_column(Float)
    text: Mapped[str] = mapped_column(Text)
    """The long columns come last: SQLite reads all pages of a text to get at what stands behind it."""
    blocks: Mapped[list[Any]] = mapped_column(JSON)
    """[[kind, start, end, heading_path, page], ...]"""


class DeletedDocumentRow(Base):
    """The last version of a document that is gone: made again, it goes on from there.

    Otherwise passages and index entries of the old one, not yet removed, would pass for the new one's version.
    """

    __tablename__ = "deleted_documents"

    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(512), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    deleted_at: Mapped[float] = mapped_column(Float, index=True)


class DocumentAccessRow(Base):
    """`documents.access` again, one row a principal, for reads that SQL itself must restrict."""

    __tablename__ = "document_access"
    __table_args__ = (
        ForeignKeyConstraint(
            ["collection", "document_id"], ["documents.collection", "documents.document_id"], ondelete="CASCADE"
        ),
        Index("ix_document_access_collection_principal", "collection", "principal"),
    )

    collection: Mapped[str] = mapped_column(String(64), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(512), primary_key=True)
    principal: Mapped[str] = mapped_column(String(128), primary_key=True)


class PassageRow(Base):
    """A passage of a document in one generation. Written by `indexer/apply.py` only."""

    __tablename__ = "passages"
    __table_args__ = (Index("ix_passages_document_id_generation_id", "document_id", "generation_id"),)

    generation_id: Mapped[str] = mapped_column(
        ForeignKey("generations.generation_id", ondelete="CASCADE"), primary_key=True
    )
    passage_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(512))
    document_version: Mapped[int] = mapped_column(Integer)
    ordinal: Mapped[int] = mapped_column(Integer)
    text: Mapped[str] = mapped_column(Text)
    start: Mapped[int] = mapped_column("start_char", Integer)
    end: Mapped[int] = mapped_column("end_char", Integer)
    heading_path: Mapped[list[str]] = mapped_column(JSON)
    page: Mapped[int | None] = mapped_column(Integer)
    text_hash: Mapped[str] = mapped_column(String(64))
    """Of exactly what the embedder saw; the key into `vectors`."""


class VectorRow(Base):
    """A cached vector: the same text under the same embedder is never encoded twice."""

    __tablename__ = "vectors"

    embedder: Mapped[str] = mapped_column(String(64), primary_key=True)
    text_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    """Little-endian float32[dim]."""


class TokensRow(Base):
    """A text's token ids: it is tokenised when it is indexed, never when it is reranked."""

    __tablename__ = "passage_tokens"
    # The key is longer than most ids: SQLite would keep it twice.
    __table_args__ = ({"sqlite_with_rowid": False},)

    tokenizer: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Its fingerprint."""
    text_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    ids: Mapped[bytes] = mapped_column(LargeBinary)
    """A byte that says how many bytes an id has, then the ids, little-endian."""


class TokenVectorRow(Base):
    """A text's token vectors by a late-interaction model."""

    __tablename__ = "token_vectors"

    model: Mapped[str] = mapped_column(String(64), primary_key=True)
    text_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    tokens: Mapped[int] = mapped_column(Integer)
    """Of the whole sequence; rows of `vectors` are fewer where some are not scored."""
    dimension: Mapped[int] = mapped_column(Integer)
    vectors: Mapped[bytes] = mapped_column(LargeBinary)
    """Little-endian float16[n, dimension]."""


class JobRow(Base):
    """The outbox: work committed with the change that causes it, done by a worker, idempotent.

    kind `parse` (source_id): bytes -> documents, then one `index` job each; `index` (document_id): document -> both
    indexes of every live or building generation, or of `generation_id` alone during a rebuild; `delete` (document_id).
    Jobs of one document or source never run in two claims at a time.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_kind_job_id", "state", "kind", "job_id"),
        Index("ix_jobs_task_id_state", "task_id", "state"),
        Index("ix_jobs_collection_subject", "collection", "subject"),
    )

    job_id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.task_id", ondelete="CASCADE"))
    collection: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(540))
    """The key that serialises jobs: `source:<id>` or `document:<id>`."""
    generation_id: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    """queued | running | succeeded | failed | canceled"""
    attempts: Mapped[int] = mapped_column(Integer)
    claimed_by: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[float | None] = mapped_column(Float)
    available_at: Mapped[float] = mapped_column(Float)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Float)
    finished_at: Mapped[float | None] = mapped_column(Float)
