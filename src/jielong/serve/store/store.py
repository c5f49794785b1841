"""The store: conversations, their turns and traces, written and read. Each write is one transaction."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, exists, func, insert, or_, select, update

from jielong.errors import ConfigError, DataError, NotFoundError, did_you_mean
from jielong.serve.store.blobs import pack, unpack
from jielong.serve.store.database import Database, url_of
from jielong.serve.store.exchange import Exchange, export_talk, read_export
from jielong.serve.store.judgements import Judgements
from jielong.serve.store.nouns import HIDDEN, Talk, Trace, Turn
from jielong.serve.store.tables import TALKS, TRACES, TURN_ROWS, TURNS, clean, row_of, talk_of, turn_of, value_of

_LONGEST_SEARCH = 1000

_TALK_CHANGES = ("title", "model", "strategy", "system", "sampling", "leaf")
_TURN_FIELDS = tuple(f.name for f in dataclasses.fields(Turn))
_TURN_ADDITIONS = tuple(n for n in _TURN_FIELDS if n not in ("id", "talk", "parent", "role", "content", "has_trace"))
_TURN_CHANGES = ("content", *(name for name in _TURN_ADDITIONS if name != "created"))


def open_store(url_or_path: str | Path) -> Store:
    """Open the store in this file, or in the database of this URL; create it if it does not exist."""
    return Store(Database(url_of(url_or_path)))


class Store:
    """The store of talks, turns, traces and `judgements`, in one database; safe to share between threads. Raises
    NotFoundError for an unknown id.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.judgements = Judgements(database, _new_id)

    @property
    def where(self) -> str:
        """Return the path of the file, or the URL without its password."""
        return self._database.where

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- talks

    def add_talk(
        self,
        title: str = "",
        *,
        model: str = "",
        strategy: str = "",
        system: str = "",
        sampling: Mapping[str, Any] | None = None,
        origin: str = "page",
    ) -> Talk:
        """Add an empty talk."""
        now = time.time()
        row = row_of(Talk(_new_id(), title, now, now, model, strategy, system, sampling or {}, "", origin))
        with self._database.write() as connection:
            connection.execute(insert(TALKS), row)
        return talk_of(row)

    def talk(self, id: str) -> Talk:
        with self._database.read() as connection:
            return _talk(connection, id)

    def talks(self, search: str = "", before: float | None = None, limit: int = 50) -> list[Talk]:
        """List talks by their last turn, the newest first, optionally only those updated before a time.

        With `search`, only talks whose title or turns contain it, ignoring case.
        """
        chosen = select(TALKS).order_by(TALKS.c.updated.desc(), TALKS.c.id.desc()).limit(limit)
        chosen = chosen.where(TALKS.c.origin.not_in(HIDDEN))
        if before is not None:
            chosen = chosen.where(TALKS.c.updated < before)
        if search:
            if len(search) > _LONGEST_SEARCH:
                raise DataError(f"the search has {len(search):,} letters; expected at most {_LONGEST_SEARCH:,}")
            text = clean(search)
            is_said = exists().where(TURNS.c.talk == TALKS.c.id, TURNS.c.content.icontains(text, autoescape=True))
            chosen = chosen.where(or_(TALKS.c.title.icontains(text, autoescape=True), is_said))
        with self._database.read() as connection:
            return [talk_of(row) for row in connection.execute(chosen).mappings()]

    def newest_talk(self, origin: str | None = None) -> Talk | None:
        """Return the talk with the newest turn, optionally of one origin."""
        chosen = select(TALKS).order_by(TALKS.c.updated.desc(), TALKS.c.id.desc()).limit(1)
        chosen = chosen.where(TALKS.c.origin.not_in(HIDDEN) if origin is None else TALKS.c.origin == origin)
        with self._database.read() as connection:
            row = connection.execute(chosen).mappings().first()
        return talk_of(row) if row else None

    def first_questions(self, limit: int) -> list[str]:
        """Return the distinct first questions of conversations, the newest first."""
        chosen = select(TURNS.c.content).join(TALKS, TALKS.c.id == TURNS.c.talk).group_by(TURNS.c.content)
        chosen = chosen.where(TURNS.c.parent.is_(None), TURNS.c.role == "user", TALKS.c.origin.not_in(HIDDEN))
        chosen = chosen.order_by(func.max(TURNS.c.created).desc()).limit(limit)
        with self._database.read() as connection:
            return [text for (text,) in connection.execute(chosen)]

    def change_talk(self, id: str, **fields: Any) -> Talk:
        """Change these fields of a talk: title, model, strategy, system, sampling or leaf. `updated` stays."""
        _check_names(fields, _TALK_CHANGES, "a conversation")
        with self._database.write() as connection:
            _talk(connection, id, is_locked=True)
            if fields.get("leaf"):
                _check_belongs(connection, fields["leaf"], id, "leaf")
            if fields:
                values = {name: value_of(name, value) for name, value in fields.items()}
                connection.execute(update(TALKS).where(TALKS.c.id == id).values(values))
            return _talk(connection, id)

    def delete_talk(self, id: str) -> None:
        """Delete a talk with its turns and traces, and erase their text from the file."""
        with self._database.write() as connection:
            _talk(connection, id, is_locked=True)
            connection.execute(delete(TURNS).where(TURNS.c.talk == id))
            connection.execute(delete(TALKS).where(TALKS.c.id == id))
        self._database.forget()

    # --- turns

    def add_turn(
        self, talk: str, parent: str, role: str, content: str, *, trace: Trace | None = None, **fields: Any
    ) -> Turn:
        """Add a turn below `parent`, or at the root if that is ""; it becomes the talk's leaf."""
        _check_names(fields, _TURN_ADDITIONS, "a turn")
        blob = pack(trace) if trace is not None else None
        with self._database.write() as connection:
            return _add(connection, talk, parent, role, content, blob, fields)

    def add_question_and_answer(
        self,
        talk: str,
        parent: str,
        question: str,
        answer: str = "",
        *,
        trace: Trace | None = None,
        **fields: Any,
    ) -> tuple[Turn, Turn]:
        """Add a question and the answer below it: both, or neither if one is refused.

        `fields` and `trace` are the answer's; its status is "writing" by default.
        """
        _check_names(fields, _TURN_ADDITIONS, "a turn")
        blob = pack(trace) if trace is not None else None
        with self._database.write() as connection:
            asked = _add(connection, talk, parent, "user", question, None, {})
            return asked, _add(connection, talk, asked.id, "assistant", answer, blob, {"status": "writing", **fields})

    def change_turn(self, id: str, *, trace: Trace | None = None, **fields: Any) -> Turn:
        """Change these fields of a turn; a trace replaces the present one."""
        _check_names(fields, _TURN_CHANGES, "a turn")
        blob = pack(trace) if trace is not None else None
        with self._database.write() as connection:
            turn = _turn(connection, id)
            changed = row_of(dataclasses.replace(turn, **fields))
            if fields:
                values = {name: changed[name] for name in fields}
                connection.execute(update(TURNS).where(TURNS.c.id == id).values(values))
            if blob is not None:
                connection.execute(delete(TRACES).where(TRACES.c.turn == id))
                connection.execute(insert(TRACES), {"turn": id, "blob": blob})
            return turn_of({**changed, "has_trace": turn.has_trace or blob is not None})

    def turn(self, id: str) -> Turn:
        with self._database.read() as connection:
            return _turn(connection, id)

    def turns(self, talk: str) -> list[Turn]:
        """Return all turns of a talk, in order of creation."""
        with self._database.read() as connection:
            _talk(connection, talk)
            return _turns(connection, talk)

    def path(self, turn_id: str) -> list[Turn]:
        """Return the turns from the root to this one."""
        above = select(TURNS.c.id, TURNS.c.parent).where(TURNS.c.id == turn_id).cte("above", recursive=True)
        above = above.union_all(select(TURNS.c.id, TURNS.c.parent).join(above, TURNS.c.id == above.c.parent))
        # a turn is made after its parent, so their places go up along the path
        chosen = TURN_ROWS.where(TURNS.c.id.in_(select(above.c.id))).order_by(TURNS.c.place)
        with self._database.read() as connection:
            _turn(connection, turn_id)
            return [turn_of(row) for row in connection.execute(chosen).mappings()]

    def trace(self, turn_id: str) -> Trace | None:
        """Return the trace of a turn, None if it has none."""
        with self._database.read() as connection:
            _turn(connection, turn_id)
            blob = connection.execute(select(TRACES.c.blob).where(TRACES.c.turn == turn_id)).scalar()
        return unpack(blob) if blob is not None else None

    def interrupted(self) -> int:
        """Mark all unfinished turns as interrupted, when a server starts; return their number."""
        with self._database.write() as connection:
            done = connection.execute(update(TURNS).where(TURNS.c.status == "writing").values(status="interrupted"))
            return done.rowcount

    # --- to a file and back

    def export(self, talk_id: str) -> dict[str, Any]:
        """Export a talk with all its turns and their traces, as JSON that `import_` reads."""
        with self._database.read() as connection:
            talk, turns = _talk(connection, talk_id), _turns(connection, talk_id)
            of_talk = select(TRACES).join(TURNS, TURNS.c.id == TRACES.c.turn).where(TURNS.c.talk == talk_id)
            blobs = {row.turn: row.blob for row in connection.execute(of_talk)}
        return export_talk(Exchange(talk, tuple(turns), {turn: unpack(blob) for turn, blob in blobs.items()}))

    def import_(self, data: Any) -> Talk:
        """Import an exported talk, with new ids and the present time. Raises DataError, in one sentence, if the data
        are invalid.
        """
        read = read_export(data, now=time.time(), new_id=_new_id)
        turns = [{**row_of(turn), "place": place} for place, turn in enumerate(read.turns)]
        traces = [{"turn": turn, "blob": pack(trace)} for turn, trace in read.traces.items()]
        row = row_of(read.talk)
        with self._database.write() as connection:
            connection.execute(insert(TALKS), row)
            for table, rows in ((TURNS, turns), (TRACES, traces)):
                if rows:
                    connection.execute(insert(table), rows)
        return talk_of(row)


def _new_id() -> str:
    return secrets.token_hex(8)


def _talk(connection: Connection, id: str, *, is_locked: bool = False) -> Talk:
    """Return a talk; with `is_locked`, lock it against other transactions until this one ends."""
    chosen = select(TALKS).where(TALKS.c.id == clean(id))
    row = connection.execute(chosen.with_for_update() if is_locked else chosen).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no conversation {id!r:.40}; it may have been deleted")
    return talk_of(row)


def _turn(connection: Connection, id: str) -> Turn:
    """Return a turn. Raises NotFoundError if there is none."""
    row = connection.execute(TURN_ROWS.where(TURNS.c.id == clean(id))).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no turn {id!r:.40}; it may have been deleted with its conversation")
    return turn_of(row)


def _turns(connection: Connection, talk: str) -> list[Turn]:
    chosen = TURN_ROWS.where(TURNS.c.talk == talk).order_by(TURNS.c.place)
    return [turn_of(row) for row in connection.execute(chosen).mappings()]


def _check_belongs(connection: Connection, turn: str, talk: str, name: str) -> None:
    if connection.execute(select(TURNS.c.talk).where(TURNS.c.id == clean(turn))).scalar() != talk:
        raise NotFoundError(f"{name} is {turn!r:.40}, which is no turn of the conversation {talk!r:.40}")


def _check_names(fields: Mapping[str, Any], allowed: Sequence[str], noun: str) -> None:
    """Raise ConfigError if one of the fields is not among the allowed ones of a `noun`."""
    for name in fields:
        if name not in allowed:
            raise ConfigError(f"{noun} has no field {name!r:.40} that can be set; {did_you_mean(name, allowed)}")


def _add(
    connection: Connection,
    talk: str,
    parent: str,
    role: str,
    content: str,
    blob: bytes | None,
    fields: Mapping[str, Any],
) -> Turn:
    """Add a turn with its trace, and make it the talk's leaf."""
    _talk(connection, talk, is_locked=True)
    if parent:
        _check_belongs(connection, parent, talk, "parent")
    now = time.time()
    row = row_of(Turn(_new_id(), talk, parent, role, content, **{"created": now, **fields}))
    place = connection.execute(
        select(func.coalesce(func.max(TURNS.c.place) + 1, 0)).where(TURNS.c.talk == talk)
    ).scalar()
    connection.execute(insert(TURNS), {**row, "place": place})
    if blob is not None:
        connection.execute(insert(TRACES), {"turn": row["id"], "blob": blob})
    connection.execute(update(TALKS).where(TALKS.c.id == talk).values(leaf=row["id"], updated=now))
    return turn_of({**row, "has_trace": blob is not None})
