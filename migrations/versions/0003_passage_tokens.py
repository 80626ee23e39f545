"""Token ids of passages are stored when they are indexed, beside the vector cache.

Revision: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "passage_tokens",
        sa.Column("tokenizer", sa.String(length=64), nullable=False),
        sa.Column("text_hash", sa.String(length=64), nullable=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tokenizer", "text_hash", name="pk_passage_tokens"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("passage_tokens")
