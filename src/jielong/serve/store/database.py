"""A database and its transactions: it is opened, migrated to this version's tables, and reports errors in one sentence.

SQLite is the default. A write is on disk when its transaction ends (write-ahead log, synchronous FULL); deleted rows
are overwritten; only the owner can read the file. Writers of this process queue at a lock, those of other processes at
SQLite's own. Any other database is given by its URL.
"""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from jielong.errors import ConfigError, DataError, ResourceError
from jielong.runs import disk_errors
from jielong.serve.store.tables import VERSION_TABLE

_WAIT_S = 30.0
"""For other processes that write. Each write takes milliseconds; longer, and somebody holds the file."""

_MIGRATIONS = Path(__file__).parent / "migrations"
# Alembic keeps the run that is under way in names of its module: one at a time
_MIGRATING = threading.Lock()
# of PostgreSQL, held while the tables are made: the letters "jielong" as a number
_ADVISORY = int.from_bytes(b"jielong", "big")


class Database:
    """Transactions on one database; threads may share it."""

    def __init__(self, url: URL) -> None:
        self.where = _name_of_database(url)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._queue: AbstractContextManager[Any] = threading.Lock() if self._is_sqlite else nullcontext()
        if self._is_sqlite:
            _make_file(Path(url.database or ""))
        self._engine = _engine(url, is_sqlite=self._is_sqlite)
        try:
            self._prepare()
        except BaseException:
            self._engine.dispose()
            raise

    def _prepare(self) -> None:
        """Check an SQLite file, and migrate the tables."""
        if self._is_sqlite:
            with self.bare() as connection:
                _run_patiently(connection, "PRAGMA journal_mode = WAL")
                wrong = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
                if wrong != "ok":
                    said = wrong.splitlines()[-1]
                    raise DataError(f"{self.where} is damaged ({said}); restore a copy of it, or name another file")
        with self.write() as connection:
            _migrate(connection, self.where)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a transaction that only reads."""
        with _plain_errors(self.where), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a transaction that writes; it is on disk when the block ends, and is rolled back if the block raises."""
        with _plain_errors(self.where), self._queue, self._engine.connect() as connection:
            connection.execution_options(is_writing=True)
            with connection.begin():
                yield connection

    @contextmanager
    def bare(self) -> Iterator[Connection]:
        """Open a connection without a transaction around its statements, for SQLite's pragmas."""
        with _plain_errors(self.where), self._queue, self._engine.connect() as connection:
            yield connection.execution_options(is_bare=True)

    def forget(self) -> None:
        """Remove deleted rows from the write-ahead log too."""
        if self._is_sqlite:
            with self.bare() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._engine.dispose()


def url_of(url_or_path: str | Path) -> URL:
    """Return the URL of a database that is given by its URL or by a file's path."""
    text = str(url_or_path)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigError(
            "the URL of the store cannot be read; expected one such as postgresql://USER@HOST/NAME"
        ) from None
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise ConfigError(f"the store {text!r:.80} names no file; expected a path such as talks.db")
        url = url.set(database=str(Path(url.database).expanduser().absolute()))
    return url


def _name_of_database(url: URL) -> str:
    """Return a database's file or URL for an error sentence, without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def _make_file(path: Path) -> None:
    """Create the file before SQLite does, readable by its owner alone from the first byte on.

    SQLite gives the log and its index the file's mode. An existing file is not opened here, since closing it would
    release the locks that another store of this process holds on it.
    """
    with disk_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
        for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            try:
                mode = file.stat().st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{file} is no file; name another path for the store")
            if mode & 0o077:
                file.chmod(0o600)


def _engine(url: URL, *, is_sqlite: bool) -> Engine:
    """Build the engine of SQLAlchemy, with SQLite's pragmas and transactions."""
    try:
        if not is_sqlite:
            return create_engine(url, pool_pre_ping=True)
        engine = create_engine(url, connect_args={"timeout": _WAIT_S})
    except NoSuchModuleError:
        raise ConfigError(f"no database is called {url.drivername!r}; expected sqlite or postgresql") from None
    except ModuleNotFoundError as error:
        raise ConfigError(f"{url.drivername} needs the library {error.name}; pip install {error.name}") from None

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _: Any) -> None:
        """Set the pragmas of a new connection."""
        # transactions are begun below: Python's own would begin reading and ask for the right to write too late
        connection.isolation_level = None
        for pragma in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
        # SQLite's own knows the letters of ASCII alone
        connection.create_function("lower", 1, str.casefold, deterministic=True)

    @event.listens_for(engine, "begin")
    def _begin_transaction(connection: Connection) -> None:
        """Begin a transaction of SQLite, one that writes at once if the connection's options say so."""
        options = connection.get_execution_options()
        if not options.get("is_bare"):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("is_writing") else "BEGIN")

    return engine


def _run_patiently(connection: Connection, statement: str) -> None:
    """Run a statement, waiting while another process locks the file, if SQLite itself does not wait."""
    until_s = time.monotonic() + _WAIT_S
    while True:
        try:
            connection.exec_driver_sql(statement)
            return
        except DBAPIError as error:
            if _code(error) not in ("SQLITE_BUSY", "SQLITE_LOCKED") or time.monotonic() > until_s:
                raise
            time.sleep(0.02)


def _migrate(connection: Connection, where: str) -> None:
    """Migrate the tables to this version; refuse a foreign database, and one of a newer version."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY})")
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()
    known = {revision.revision for revision in script.walk_revisions()}
    newer = [version for version in found if version not in known]
    if newer:
        raise DataError(
            f"{where} has tables of version {newer[0]!r:.40}; this jielong knows version "
            f"{script.get_current_head()}, so open it with the newer one that wrote it"
        )
    others = sorted(set(inspect(connection).get_table_names()) - {VERSION_TABLE})
    if not found and others:
        raise DataError(
            f"{where} is a database of something else (table {others[0]!r:.40}); name another for the store"
        )
    if set(found) != set(script.get_heads()):
        with _MIGRATING:
            command.upgrade(config, "head")


def _code(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlite_errorname", ""))


@contextmanager
def _plain_errors(where: str) -> Iterator[None]:
    """Convert errors of a file, a disk or a server to one sentence; other errors are bugs and pass through."""
    try:
        yield
    except DBAPIError as error:
        code, said = _code(error), " ".join(str(error.orig).split())
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise DataError(
                f"{where} is damaged, or no database ({said}); restore a copy of it, or name another"
            ) from error
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise ResourceError(
                f"{where} is held by another process for over {_WAIT_S:g} s; end it, or wait"
            ) from error
        if code.startswith("SQLITE_FULL"):
            raise ResourceError(f"the disk of {where} is full; make room and try again") from error
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_PERM")):
            raise ResourceError(f"{where} cannot be read or written ({said}); look at its folder and rights") from error
        if not code and (error.connection_invalidated or type(error.orig).__name__ == "OperationalError"):
            raise ResourceError(f"the database {where} does not answer ({said}); see that it runs") from error
        raise
