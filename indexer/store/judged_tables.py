"""The SQL tables of what the owner measures with: judged sets, searches and clicks, evaluations, profiles, calibrations.

Truth like documents: nothing else can make them again. Rows never leave `indexer/store`; times are UTC seconds since the
epoch. Documents are named, not referred to: a judgment outlives a document that is deleted and comes back.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from indexer.store.base import Base

_ACTIVE = "active"


class JudgedSetRow(Base):
    """A named set of queries with judged documents, of one collection."""

    __tablename__ = "judged_sets"
    __table_args__ = (UniqueConstraint("collection", "name"),)

    set_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    """judged | clicks: grades that people or programs gave, or weak ones that were made of clicks; never both."""
    complete: Mapped[bool] = mapped_column(Boolean)
    """Whether a document without a judgment is known not to be relevant (every document was looked at)."""
    created_at: Mapped[float] = mapped_column(Float)


class JudgedQueryRow(Base):
    """A query of a judged set; `query_id` is its id in files as well."""

    __tablename__ = "judged_queries"

    set_id: Mapped[str] = mapped_column(ForeignKey("judged_sets.set_id", ondelete="CASCADE"), primary_key=True)
    query_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    place: Mapped[int] = mapped_column(Integer)
    """Order of judging and of export, from 1."""
    origin: Mapped[str] = mapped_column(String(16))
    """file | log | headings | page: where the query came from."""
    skipped_at: Mapped[float | None] = mapped_column(Float)
    """When a judge put it aside; None: it was not."""
    text: Mapped[str] = mapped_column(Text)


class JudgmentRow(Base):
    """A grade of a document (or of one passage of it) for a query."""

    __tablename__ = "judgments"
    __table_args__ = (
        ForeignKeyConstraint(
            ["set_id", "query_id"], ["judged_queries.set_id", "judged_queries.query_id"], ondelete="CASCADE"
        ),
    )

    set_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    query_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(512), primary_key=True)
    passage_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    """Empty: the document as a whole."""
    grade: Mapped[int] = mapped_column(Integer)
    """0 not relevant, 1 a little, 2 relevant, 3 answers it."""
    judge: Mapped[str] = mapped_column(String(64))
    """Who or what judged: a key's name, `local` (the user of this machine), `file`, `clicks`."""
    judged_at: Mapped[float] = mapped_column(Float)
    replaced_grade: Mapped[int | None] = mapped_column(Integer)
    """What this one replaced, and who had given it when: taken back, it is there again. None: nothing."""
    replaced_judge: Mapped[str | None] = mapped_column(String(64))
    replaced_at: Mapped[float | None] = mapped_column(Float)


class SearchRow(Base):
    """A search that was asked, kept only where the owner opted in; what the clicks of its answer refer to."""

    __tablename__ = "searches"
    __table_args__ = (Index("ix_searches_collection_searched_at", "collection", "searched_at"),)

    query_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"))
    profile: Mapped[str] = mapped_column(String(64))
    first_rank: Mapped[int] = mapped_column(Integer)
    """Rank of the first document shown, from 1."""
    documents: Mapped[list[str]] = mapped_column(JSON)
    """Ids of the documents shown, in order."""
    searched_at: Mapped[float] = mapped_column(Float)
    text: Mapped[str] = mapped_column(Text)


class ClickRow(Base):
    """A document that was opened from an answer, at which place, and how long it was looked at."""

    __tablename__ = "clicks"
    __table_args__ = (Index("ix_clicks_collection_clicked_at", "collection", "clicked_at"),)

    query_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(512), primary_key=True)
    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    """Its rank in the answer, from 1."""
    dwell_ms: Mapped[int | None] = mapped_column(Integer)
    """How long it was looked at, the longest that was told; None: not told."""
    clicked_at: Mapped[float] = mapped_column(Float)


class EvaluationRow(Base):
    """What a judged set said of every system and stage on one day."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("ix_evaluations_collection_evaluated_at", "collection", "evaluated_at"),)

    evaluation_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"))
    set_name: Mapped[str] = mapped_column(String(64))
    profile: Mapped[str] = mapped_column(String(64))
    evaluated_at: Mapped[float] = mapped_column(Float)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class ProfileVersionRow(Base):
    """A profile that was applied to a collection, by version; one of each name at most is active."""

    __tablename__ = "profile_versions"
    __table_args__ = (
        Index(
            "uq_profile_versions_active",
            "collection",
            "name",
            unique=True,
            sqlite_where=text(_ACTIVE),
            postgresql_where=text(_ACTIVE),
        ),
    )

    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    active: Mapped[bool] = mapped_column(Boolean)
    """None of a name is active: the settings' profile is in force."""
    applied_at: Mapped[float] = mapped_column(Float)
    author: Mapped[str] = mapped_column(String(64))
    """What applied it: `tune`, `rollback`, a key's name."""
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The profile, as settings write it."""
    why: Mapped[str] = mapped_column(Text)
    """In words: on which set, what it gained, with its interval."""


class CalibrationRow(Base):
    """How the scores of a collection's profile become probabilities; the newest fit of each profile."""

    __tablename__ = "calibrations"

    collection: Mapped[str] = mapped_column(ForeignKey("collections.name", ondelete="CASCADE"), primary_key=True)
    profile: Mapped[str] = mapped_column(String(64), primary_key=True)
    fitted_at: Mapped[float] = mapped_column(Float)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The fit, what it was fitted on, and all that it is tied to."""
