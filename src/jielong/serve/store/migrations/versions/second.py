"""Version 2: judgements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision: str | None = "1"


def upgrade() -> None:
    """Create the table of judgements."""
    op.create_table(
        "judgements",
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("id", "kind", "question", "answers", "value", "by", "purpose")
        ),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_judgements"),
        sa.ForeignKeyConstraint(["question"], ["turns.id"], name="fk_judgements_question", ondelete="CASCADE"),
    )
    op.create_index("ix_judgements_question", "judgements", ["question"])
    op.create_index("ix_judgements_created", "judgements", ["created"])


def downgrade() -> None:
    op.drop_table("judgements")
