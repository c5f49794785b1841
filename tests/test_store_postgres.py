"""The store in PostgreSQL: a server of its own, started where the programs of one are installed."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from tests.test_store import TRACE

from jielong.errors import ConfigError, DataError, NotFoundError, ResourceError
from jielong.serve.store import Store, open_store
from jielong.serve.store.tables import METADATA, VERSION_TABLE

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
pytestmark = pytest.mark.skipif(not PROGRAMS, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def server():
    """The URL of a server that listens at a socket alone, without the name of a database."""
    # short, as a socket's path holds some hundred letters, and open to the user that the server runs as
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    user = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root
    if user:
        shutil.chown(folder, user)
    programs = PROGRAMS[-1].parent

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    try:
        trust = ("--auth=trust", "--username=someone", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
        run(programs / "initdb", *trust, "-D", folder / "data")
        settings = f"-c listen_addresses='' -k {folder} -c fsync=off -c max_connections=40"
        run(programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", settings, "start")
        try:
            yield f"postgresql+psycopg://someone@/{{}}?host={folder}"
        finally:
            run(programs / "pg_ctl", "-D", folder / "data", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


NAMES = (f"store_{n}" for n in itertools.count())


@pytest.fixture
def url(server: str):
    """The URL of an empty database."""
    name = next(NAMES)
    engine = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(name)


@pytest.fixture
def store(url: str):
    with open_store(url) as store:
        yield store


def test_talks_turns_and_traces_are_kept_as_in_a_file(store: Store, url: str):
    talk = store.add_talk("天气", sampling={"temperature": 0.7})
    question, answer = store.add_question_and_answer(talk.id, "", "你好\0", "…", seed=2**63 - 1)
    done = store.change_turn(
        answer.id, status="done", content="您好", trail=({"kind": "note", "x": "\0"},), trace=TRACE
    )
    edited = store.add_turn(talk.id, "", "user", "Hello", is_edited=True)
    with open_store(url) as again:
        assert again.turns(talk.id) == [question, done, edited] and question.content == "你好␀"
        assert again.path(done.id) == [question, done] and again.talk(talk.id).leaf == edited.id
        assert again.trace(done.id) == TRACE and again.trace(edited.id) is None
        assert again.change_talk(talk.id, leaf=done.id, sampling={}).sampling == {}
        with pytest.raises(NotFoundError, match="there is no turn"):
            again.turn("a\0b")


def test_searches_and_lists_are_those_of_a_file(store: Store):
    weather, poem, percent = (store.add_talk(title) for title in ("今天的天气", "Über a Poem", "100% sure_"))
    store.add_question_and_answer(poem.id, "", "写一首关于月亮的诗")

    def found(search: str) -> list[str]:
        return [talk.id for talk in store.talks(search)]

    assert found("天气") == [weather.id] and found("POEM") == found("月亮") == found("über") == [poem.id]
    assert found("0% s") == found("e_") == [percent.id] and found("%%") == found("a_P") == []
    newest = store.newest_talk()
    assert [talk.id for talk in store.talks(limit=2)] == [poem.id, percent.id] and newest and newest.id == poem.id
    assert [talk.id for talk in store.talks(before=percent.updated)] == [weather.id]


def test_a_conversation_moves_from_a_file_and_is_deleted_whole(store: Store, tmp_path):
    with open_store(tmp_path / "talks.db") as file:
        talk = file.add_talk("moved")
        question, _ = file.add_question_and_answer(talk.id, "", "Hello", "Hi")
        file.add_turn(talk.id, question.id, "assistant", "Hello!", trace=TRACE)
        moved = store.import_(file.export(talk.id))
    assert [turn.content for turn in store.turns(moved.id)] == ["Hello", "Hi", "Hello!"]
    assert store.trace(moved.leaf) == TRACE
    store.delete_talk(moved.id)
    with store._database.read() as connection:
        for table in METADATA.tables:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0


def test_threads_of_two_stores_write_one_talk(store: Store, url: str):
    talk = store.add_talk().id
    wrong: list[BaseException] = []

    def write(to: Store, name: int) -> None:
        try:
            for n in range(10):
                _, answer = to.add_question_and_answer(talk, "", f"{name} {n}")
                to.change_turn(answer.id, content=str(n), status="done")
        except BaseException as error:
            wrong.append(error)

    with open_store(url) as other:
        threads = [threading.Thread(target=write, args=((store, other)[n % 2], n)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong and len(store.turns(talk)) == 200
    assert store.interrupted() == 0


def test_several_open_a_new_store_at_once(url: str):
    stores: list[Store] = []
    threads = [threading.Thread(target=lambda: stores.append(open_store(url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    talk = stores[0].add_talk("one")
    assert len(stores) == 6 and all(store.talks() == [talk] for store in stores)
    for store in stores:
        store.close()


def test_migrations_make_the_tables_that_the_code_describes(store: Store):
    with store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_a_database_of_something_else_or_newer_is_refused(url: str):
    open_store(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '99'"))
    with pytest.raises(DataError, match="has tables of version '99'"):
        open_store(url)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    with pytest.raises(DataError, match="is a database of something else"):
        open_store(url)
    engine.dispose()


def test_a_server_that_is_not_there_is_said_without_its_password(tmp_path):
    with pytest.raises(ResourceError, match=r"postgresql\+psycopg://me:\*\*\*@.* does not answer") as told:
        open_store(f"postgresql+psycopg://me:secret@/talks?host={tmp_path}")
    assert "secret" not in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(ConfigError, match=r"postgresql.pg8000 needs the library pg8000; pip install pg8000"):
        open_store("postgresql+pg8000://me@here/talks")
