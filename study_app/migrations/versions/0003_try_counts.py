"""Counts of tries: limits that hold over several workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "try_count",
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key_sha256", "ends_at", name=op.f("pk_try_count")),
    )


def downgrade() -> None:
    op.drop_table("try_count")
