"""What the owner measures with: judged sets, searches and clicks, evaluations, applied profiles, calibrations.

Revision: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def of_collection(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["collection"], ["collections.name"], name=f"fk_{table}_collection", ondelete="CASCADE"
    )


def upgrade() -> None:
    judged()
    searched()
    measured()


def judged() -> None:
    op.create_table(
        "judged_sets",
        sa.Column("set_id", sa.String(length=36), nullable=False),
        sa.Column("collection", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        of_collection("judged_sets"),
        sa.PrimaryKeyConstraint("set_id", name="pk_judged_sets"),
        sa.UniqueConstraint("collection", "name", name="uq_judged_sets_collection_name"),
    )
    op.create_table(
        "judged_queries",
        sa.Column("set_id", sa.String(length=36), nullable=False),
        sa.Column("query_id", sa.String(length=256), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("skipped_at", sa.Float(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["set_id"], ["judged_sets.set_id"], name="fk_judged_queries_set_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("set_id", "query_id", name="pk_judged_queries"),
    )
    op.create_table(
        "judgments",
        sa.Column("set_id", sa.String(length=36), nullable=False),
        sa.Column("query_id", sa.String(length=256), nullable=False),
        sa.Column("document_id", sa.String(length=512), nullable=False),
        sa.Column("passage_id", sa.String(length=36), nullable=False),
        sa.Column("grade", sa.Integer(), nullable=False),
        sa.Column("judge", sa.String(length=64), nullable=False),
        sa.Column("judged_at", sa.Float(), nullable=False),
        sa.Column("replaced_grade", sa.Integer(), nullable=True),
        sa.Column("replaced_judge", sa.String(length=64), nullable=True),
        sa.Column("replaced_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["set_id", "query_id"],
            ["judged_queries.set_id", "judged_queries.query_id"],
            name="fk_judgments_set_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("set_id", "query_id", "document_id", "passage_id", name="pk_judgments"),
    )


def searched() -> None:
    op.create_table(
        "searches",
        sa.Column("query_id", sa.String(length=32), nullable=False),
        sa.Column("collection", sa.String(length=64), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("first_rank", sa.Integer(), nullable=False),
        sa.Column("documents", sa.JSON(), nullable=False),
        sa.Column("searched_at", sa.Float(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        of_collection("searches"),
        sa.PrimaryKeyConstraint("query_id", name="pk_searches"),
    )
    op.create_index("ix_searches_collection_searched_at", "searches", ["collection", "searched_at"])
    op.create_table(
        "clicks",
        sa.Column("query_id", sa.String(length=32), nullable=False),
        sa.Column("document_id", sa.String(length=512), nullable=False),
        sa.Column("collection", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("dwell_ms", sa.Integer(), nullable=True),
        sa.Column("clicked_at", sa.Float(), nullable=False),
        of_collection("clicks"),
        sa.PrimaryKeyConstraint("query_id", "document_id", name="pk_clicks"),
    )
    op.create_index("ix_clicks_collection_clicked_at", "clicks", ["collection", "clicked_at"])


def measured() -> None:
    op.create_table(
        "evaluations",
        sa.Column("evaluation_id", sa.String(length=36), nullable=False),
        sa.Column("collection", sa.String(length=64), nullable=False),
        sa.Column("set_name", sa.String(length=64), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("evaluated_at", sa.Float(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        of_collection("evaluations"),
        sa.PrimaryKeyConstraint("evaluation_id", name="pk_evaluations"),
    )
    op.create_index("ix_evaluations_collection_evaluated_at", "evaluations", ["collection", "evaluated_at"])
    op.create_table(
        "profile_versions",
        sa.Column("collection", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("applied_at", sa.Float(), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        of_collection("profile_versions"),
        sa.PrimaryKeyConstraint("collection", "name", "version", name="pk_profile_versions"),
    )
    op.create_index(
        "uq_profile_versions_active",
        "profile_versions",
        ["collection", "name"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "calibrations",
        sa.Column("collection", sa.String(length=64), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("fitted_at", sa.Float(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        of_collection("calibrations"),
        sa.PrimaryKeyConstraint("collection", "profile", name="pk_calibrations"),
    )


def downgrade() -> None:
    for table in (
        "calibrations", "profile_versions", "evaluations", "clicks", "searches", "judgments", "judged_queries", "judged_sets"
    ):  # fmt: skip
        op.drop_table(table)
