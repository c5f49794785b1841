"""Version 1: talks, turns and traces."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision: str | None = None


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def upgrade() -> None:
    """Create the tables of talks, turns and traces."""
    op.create_table(
        "talks",
        *_text("id", "title"),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        *_text("model", "strategy", "system", "sampling", "leaf", "origin"),
        sa.PrimaryKeyConstraint("id", name="pk_talks"),
    )
    op.create_index("ix_talks_updated", "talks", ["updated"])
    op.create_table(
        "turns",
        *_text("id", "talk"),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        *_text("role", "content"),
        sa.Column("created", sa.Double(), nullable=False),
        *_text("status", "stop", "error", "model", "digest", "strategy"),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        *_text("sampling", "thoughts", "trail"),
        sa.Column("usage", sa.Text(), nullable=True),
        sa.Column("is_edited", sa.Boolean(), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
        sa.ForeignKeyConstraint(["talk"], ["talks.id"], name="fk_turns_talk", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["parent"], ["turns.id"], name="fk_turns_parent"),
        sa.UniqueConstraint("talk", "place", name="uq_turns_talk"),
    )
    op.create_index("ix_turns_parent", "turns", ["parent"])
    op.create_index("ix_turns_status", "turns", ["status"])
    op.create_table(
        "traces",
        *_text("turn"),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("turn", name="pk_traces"),
        sa.ForeignKeyConstraint(["turn"], ["turns.id"], name="fk_traces_turn", ondelete="CASCADE"),
    )


def downgrade() -> None:
    for table in ("traces", "turns", "talks"):
        op.drop_table(table)
