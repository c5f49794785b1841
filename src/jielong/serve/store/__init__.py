"""The store of conversations (talks), their trees of turns, the trace of each answer, and judgements, in one database.

`open_store` takes a path or a URL and returns a `Store`. A write is one transaction, and is on disk when the call
returns, so acknowledged data survives a kill. The nouns are frozen dataclasses; SQLAlchemy and Alembic stay within this
package.
"""

from __future__ import annotations

from jielong.serve.store.nouns import JUDGED_KINDS, ORIGINS, STATUSES, Judged, Talk, Trace, Turn
from jielong.serve.store.store import Store, open_store

__all__ = ["JUDGED_KINDS", "ORIGINS", "STATUSES", "Judged", "Store", "Talk", "Trace", "Turn", "open_store"]
