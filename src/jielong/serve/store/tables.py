"""The tables of the store, and the conversion of its nouns to rows.

Types are those that every database has: text, integers, doubles, booleans and bytes. Mappings and lists are JSON in a
text column. `migrations` make the same tables step by step; a test compares the two.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    Table,
    Text,
    UniqueConstraint,
    exists,
    select,
)

from jielong.errors import DataError
from jielong.serve.store.nouns import Judged, Talk, Turn

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
VERSION_TABLE = "jielong_store_version"

TALKS = Table(
    "talks",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("model", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("sampling", Text, nullable=False),
    Column("leaf", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Index(None, "updated"),
)

TURNS = Table(
    "turns",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("talk", Text, ForeignKey("talks.id", ondelete="CASCADE"), nullable=False),
    # the order in which the turns of a talk were made; clocks go back, and two turns may have one time
    Column("place", Integer, nullable=False),
    # no cascade from parent to child: SQLite ends one that is a thousand turns deep; those of a talk go at once
    Column("parent", Text, ForeignKey("turns.id"), nullable=True),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("status", Text, nullable=False),
    Column("stop", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("seed", BigInteger, nullable=True),
    Column("sampling", Text, nullable=False),
    Column("thoughts", Text, nullable=False),
    Column("trail", Text, nullable=False),
    Column("usage", Text, nullable=True),
    Column("is_edited", Boolean, nullable=False),
    Column("chosen", Text, nullable=True),
    UniqueConstraint("talk", "place"),
    Index(None, "parent"),
    Index(None, "status"),
)

TRACES = Table(
    "traces",
    METADATA,
    Column("turn", Text, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("blob", LargeBinary, nullable=False),
)

JUDGEMENTS = Table(
    "judgements",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    # answers are siblings below their question, so a conversation that is deleted takes what was thought of it along
    Column("question", Text, ForeignKey("turns.id", ondelete="CASCADE"), nullable=False),
    Column("answers", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("created", Double, nullable=False),
    Index(None, "question"),
    Index(None, "created"),
)

# a turn with whether it has a trace, without reading the trace
TURN_ROWS = select(
    *(column for column in TURNS.c if column.name != "place"),
    exists().where(TRACES.c.turn == TURNS.c.id).label("has_trace"),
)

Row = Mapping[str, Any] | RowMapping

_JSON = ("sampling", "trail", "usage", "chosen", "answers", "value")


def clean(text: str) -> str:
    """Return a text that every database accepts: NUL, which PostgreSQL refuses, becomes a visible sign; a lone
    surrogate is refused.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise DataError(f"a text holds \\u{ord(half):04x}, which is half of a character; expected whole ones") from None
    return text.replace("\0", "␀")


def row_of(noun: Talk | Turn | Judged) -> dict[str, Any]:
    """Return the columns of a noun, without `place` and `has_trace`, which are stored elsewhere."""
    names = [f.name for f in dataclasses.fields(noun) if f.name != "has_trace"]
    return {name: value_of(name, getattr(noun, name)) for name in names}


def value_of(name: str, value: Any) -> Any:
    """Return a field's value in its column's type."""
    if name in _JSON and value is not None:
        return clean(json.dumps(value, ensure_ascii=False))
    if name == "parent":
        return value or None
    return clean(value) if isinstance(value, str) else value


def talk_of(row: Row) -> Talk:
    return Talk(**_read(row))


def turn_of(row: Row) -> Turn:
    read = _read(row)
    return Turn(**{**read, "parent": read["parent"] or "", "trail": tuple(read["trail"])})


def judged_of(row: Row) -> Judged:
    read = _read(row)
    return Judged(**{**read, "answers": tuple(read["answers"])})


def _read(row: Row) -> dict[str, Any]:
    return {name: json.loads(value) if name in _JSON and value is not None else value for name, value in row.items()}
