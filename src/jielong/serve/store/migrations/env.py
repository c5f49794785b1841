"""Run the migrations on the connection that is handed in, within its transaction.

Alembic loads this file by its path, for each run anew.
"""

from __future__ import annotations

from alembic import context

from jielong.serve.store.tables import METADATA, VERSION_TABLE


def migrate() -> None:
    """Run the migrations."""
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
    )
    with context.begin_transaction():
        context.run_migrations()


# the name under which Alembic runs it; whoever imports the module migrates nothing
if __name__ == "env_py":
    migrate()
