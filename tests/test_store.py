"""The store of conversations: a tree of turns in one file, which keeps what it acknowledged and forgets what is deleted."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from jielong.errors import ConfigError, DataError, NotFoundError, ResourceError
from jielong.records import Candidate, Cut, Draw
from jielong.serve.store import Store, Trace, database, open_store
from jielong.serve.store.tables import METADATA, VERSION_TABLE

TRACE = Trace(
    (1, 2, 3),
    (7, 8),
    (-0.5, -1.25),
    (True, False),
    (
        Draw(
            Candidate(7, 0.5, 0.625, 0.75),
            1,
            (Candidate(7, 0.5, 0.625, 0.75), Candidate(9, 0.25, 0.125, 0.0, "top-p")),
            0.7,
            (Cut("top-p", 40, 0.1),),
            2,
            0.3,
            0.1,
            0.85,
            entropy=1.3,
        ),
        None,
    ),
    "int8",
    11,
    {"temperature": 0.7},
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "private" / "talks.db"


@pytest.fixture
def store(path):
    with open_store(path) as store:
        yield store


# --- talks and turns


def test_a_talk_is_kept_with_all_that_was_said_of_it(store: Store):
    before = time.time()
    talk = store.add_talk(
        "天气", model="smollm2", strategy="vote:5", system="Be brief.", sampling={"temperature": 0.7, "seed": None}
    )
    assert before <= talk.created == talk.updated <= time.time()
    assert (talk.leaf, talk.origin, len(talk.id)) == ("", "page", 16)
    assert store.talk(talk.id) == talk
    changed = store.change_talk(talk.id, title="The weather", sampling={})
    assert (changed.title, changed.sampling, changed.model) == ("The weather", {}, "smollm2")
    assert store.talk(talk.id) == changed and changed.updated == talk.updated


def test_a_turn_is_kept_with_all_its_fields(store: Store):
    talk = store.add_talk()
    question = store.add_turn(talk.id, "", "user", "How many?")
    answer = store.add_turn(
        talk.id,
        question.id,
        "assistant",
        "Six.",
        trace=TRACE,
        status="stopped",
        stop="length",
        error="none",
        model="m",
        digest="ab12",
        strategy="direct",
        seed=2**63 - 1,
        sampling={"top_k": 5},
        thoughts="hm",
        trail=({"kind": "note", "text": "一"}, {"kind": "dropped", "num_turns": 2}),
        usage={"seconds": 0.25, "context": None},
        is_edited=True,
        chosen={"of": question.id, "n": 3, "id": 99},
    )
    assert store.turn(answer.id) == answer
    assert (answer.seed, answer.trail[0]["text"], answer.has_trace) == (2**63 - 1, "一", True)
    assert store.turn(question.id) == question
    assert (question.status, question.usage, question.chosen, question.seed) == ("done", None, None, None)
    assert store.trace(answer.id) == TRACE and store.trace(question.id) is None


def test_turns_are_a_tree_whose_branches_are_read_from_the_root(store: Store):
    talk = store.add_talk().id
    question, first = store.add_question_and_answer(talk, "", "Hello", "Hi", status="done")
    second = store.add_turn(talk, question.id, "assistant", "Hello!")
    more, answer = store.add_question_and_answer(talk, first.id, "And?")
    edited, last = store.add_question_and_answer(talk, "", "Good day", "Hi", trace=TRACE)
    assert last.has_trace and store.trace(last.id) == TRACE
    assert store.turns(talk) == [question, first, second, more, answer, edited, last]
    assert store.path(answer.id) == [question, first, more, answer]
    assert store.path(second.id) == [question, second]
    assert store.path(edited.id) == [edited]
    assert answer.status == "writing" and answer.content == ""


def test_the_last_turn_is_the_leaf_and_dates_the_talk(store: Store):
    talk = store.add_talk()
    question, answer = store.add_question_and_answer(talk.id, "", "Hello", "Hi")
    found = store.talk(talk.id)
    assert found.leaf == answer.id and found.updated >= answer.created > talk.updated
    assert store.change_talk(talk.id, leaf=question.id).leaf == question.id
    assert store.change_talk(talk.id, leaf="").leaf == ""


def test_an_answer_grows_and_ends_with_its_trace(store: Store):
    _, answer = store.add_question_and_answer(store.add_talk().id, "", "Hello")
    assert not store.change_turn(answer.id, content="He").has_trace
    done = store.change_turn(answer.id, content="Hello!", status="done", trail=[{"kind": "note"}], trace=TRACE)
    assert (done.content, done.status, done.has_trace, done.trail) == ("Hello!", "done", True, ({"kind": "note"},))
    assert store.turn(answer.id) == done
    other = Trace((), (), (), (), ())
    assert store.change_turn(answer.id, trace=other) == done and store.trace(answer.id) == other


def test_a_turn_belongs_to_the_talk_of_its_parent(store: Store):
    one, other = store.add_talk().id, store.add_talk().id
    turn = store.add_turn(one, "", "user", "Hello")
    with pytest.raises(NotFoundError, match=r"parent is '.*', which is no turn of the conversation"):
        store.add_turn(other, turn.id, "assistant", "Hi")
    with pytest.raises(NotFoundError, match="leaf is"):
        store.change_talk(other, leaf=turn.id)
    with pytest.raises(NotFoundError, match="parent is 'nobody'"):
        store.add_question_and_answer(one, "nobody", "Hello")
    assert store.turns(other) == [] and store.talk(other).leaf == ""


def test_an_answer_that_is_refused_takes_its_question_with_it(store: Store):
    talk = store.add_talk().id
    with pytest.raises(DataError, match="status 'asleep'; expected one of writing, done"):
        store.add_question_and_answer(talk, "", "Hello", status="asleep")
    assert store.turns(talk) == []


def test_what_is_not_there_is_said_by_its_id(store: Store):
    calls = [store.talk, store.turns, store.delete_talk, store.export, store.turn, store.path, store.trace]
    for call in [*calls, store.change_talk, store.change_turn]:
        for id in ("abc", "", "a\0b"):
            with pytest.raises(NotFoundError, match=r"there is no (turn|conversation) "):
                call(id)
    with pytest.raises(NotFoundError):
        store.add_turn("abc", "", "user", "Hello")


def test_a_field_that_does_not_exist_is_refused_with_the_one_that_is_meant(store: Store):
    talk = store.add_talk().id
    turn = store.add_turn(talk, "", "user", "Hello")
    with pytest.raises(ConfigError, match="no field 'titel' that can be set; did you mean 'title'"):
        store.change_talk(talk, titel="x")
    with pytest.raises(ConfigError, match="no field 'parent'"):
        store.change_turn(turn.id, parent="")
    with pytest.raises(ConfigError, match="did you mean 'status'"):
        store.add_turn(talk, "", "user", "Hello", statuss="done")
    with pytest.raises(DataError, match="role 'tool'; expected one of user, assistant"):
        store.add_turn(talk, "", "tool", "Hello")
    with pytest.raises(DataError, match="seed -1"):
        store.change_turn(turn.id, seed=-1)
    with pytest.raises(DataError, match="origin 'web'"):
        store.add_talk(origin="web")


def test_a_text_with_nul_is_kept_with_its_sign_and_half_a_character_is_refused(store: Store):
    talk = store.add_talk("a\0b").id
    assert store.talk(talk).title == "a␀b"
    turn = store.add_turn(talk, "", "user", "x\0", trail=({"text": "\0"},))
    assert (turn.content, turn.trail) == ("x␀", ({"text": "\0"},)) and store.turn(turn.id) == turn
    with pytest.raises(DataError, match="udc00, which is half of a character"):
        store.add_turn(talk, "", "user", "a\udc00")
    with pytest.raises(DataError, match="half of a character"):
        store.talk("\udc00")


def test_a_talk_of_fifteen_hundred_turns_is_read_and_deleted(store: Store):
    turns = [
        {"id": str(n), "parent": str(n - 1) if n else "", "role": "user", "content": f"number {n}"} for n in range(1500)
    ]
    talk = store.import_({"version": 1, "talk": {"leaf": "1499"}, "turns": turns})
    path = store.path(talk.leaf)
    assert [turn.content for turn in path] == [f"number {n}" for n in range(1500)] and path == store.turns(talk.id)
    store.delete_talk(talk.id)
    assert store.talks() == []


def test_a_server_that_starts_finds_what_was_being_written_interrupted(path):
    with open_store(path) as store:
        talk = store.add_talk().id
        _, answer = store.add_question_and_answer(talk, "", "Hello", "He")
        _, done = store.add_question_and_answer(talk, "", "Hello", "Hello!", status="done")
    with open_store(path) as store:
        assert store.interrupted() == 1
        assert [turn.status for turn in store.turns(talk)] == ["done", "interrupted", "done", "done"]
        assert store.turn(answer.id).content == "He" and store.turn(done.id) == done
        assert store.interrupted() == 0


# --- lists and searches


def test_talks_come_with_the_last_spoken_in_first_and_page_by_page(store: Store):
    ids = [store.add_talk(str(n), origin="terminal" if n % 2 else "page").id for n in range(7)]
    store.add_turn(ids[2], "", "user", "Hello")
    titles = [talk.title for talk in store.talks()]
    assert titles == ["2", "6", "5", "4", "3", "1", "0"]
    first = store.talks(limit=3)
    rest = store.talks(before=first[-1].updated)
    assert [talk.title for talk in [*first, *rest]] == titles
    newest, of_terminal = store.newest_talk(), store.newest_talk("terminal")
    assert newest is not None and newest.title == "2"
    assert of_terminal is not None and of_terminal.title == "5"
    assert store.newest_talk("import") is None


def test_a_search_finds_titles_and_turns_in_every_script(store: Store):
    weather = store.add_talk("今天的天气")
    poem = store.add_talk("A poem")
    store.add_question_and_answer(poem.id, "", "写一首关于月亮的诗", "床前明月光，疑是地上霜。", status="done")
    street = store.add_talk("Über die Straße")

    def found(search: str) -> list[str]:
        return [talk.id for talk in store.talks(search)]

    assert found("天气") == [weather.id]
    assert found("明月光") == found("月亮") == found("POEM") == found("a p") == [poem.id]
    assert found("ÜBER DIE") == found("über") == [street.id]
    assert found("太阳") == []
    assert len(store.talks("")) == 3


def test_percent_underscore_and_slash_are_letters_of_a_search(store: Store):
    percent, under, slash = (store.add_talk(title).id for title in ("100% sure", "snake_case", "and/or \\n"))
    store.add_talk("100 sure snakeXcase andor")

    def found(search: str) -> list[str]:
        return [talk.id for talk in store.talks(search)]

    assert (found("0% s"), found("e_c"), found("d/o"), found("\\n")) == ([percent], [under], [slash], [slash])
    assert found("%%") == found("__") == found("'; DROP TABLE talks; --") == []
    with pytest.raises(DataError, match="the search has 100,000 letters; expected at most 1,000"):
        store.talks("x" * 100_000)


# --- deleting


def test_a_deleted_talk_leaves_neither_traces_nor_its_text_in_the_file(store: Store, path: Path):
    kept, gone = store.add_talk("kept").id, store.add_talk("SECRET title").id
    parents = {kept: "", gone: ""}
    for n in range(20):
        for talk, word in ((kept, "ordinary"), (gone, "SECRET")):
            _, answer = store.add_question_and_answer(talk, parents[talk], word * n)
            for size in (1, 50, 3000):  # a page of the file holds 4096 bytes
                store.change_turn(answer.id, content=word * size, trail=[{"text": word}], trace=TRACE)
            parents[talk] = answer.id
    assert sum(file.read_bytes().count(b"SECRET") for file in path.parent.iterdir()) > 1000
    store.delete_talk(gone)
    assert [file.name for file in path.parent.iterdir() if b"SECRET" in file.read_bytes()] == []
    assert len(store.turns(kept)) == 40 and store.trace(parents[kept]) == TRACE
    with pytest.raises(NotFoundError):
        store.trace(parents[gone])
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM traces").fetchone() == (20,)
        assert database.execute("SELECT count(*) FROM turns").fetchone() == (40,)
    database.close()


# --- the file


def test_nobody_else_reads_the_file_its_log_or_its_folder(path: Path):
    before = os.umask(0)  # the widest that a user may have set
    try:
        with open_store(path) as store:
            store.add_talk()
            names = {file.name for file in path.parent.iterdir()}
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert names == {"talks.db", "talks.db-wal", "talks.db-shm"} and modes == {0o600}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.chmod(0o644)
        with open_store(path) as store:
            store.add_talk()
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_a_store_is_named_by_a_path_or_by_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "100% mine").mkdir()
    with open_store("100% mine/talks.db") as store:
        talk = store.add_talk("here")
        assert store.where == str(tmp_path / "100% mine" / "talks.db")
    with open_store(f"sqlite:///{tmp_path}/100% mine/talks.db") as store:
        assert store.talks() == [talk]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("dbase://here", "no database is called 'dbase'; expected sqlite or postgresql"),
        ("mysql+nothere://me@here/x", "no database is called 'mysql.nothere'"),
        ("://", "cannot be read; expected one such as postgresql://USER@HOST/NAME"),
    ],
)
def test_a_url_that_cannot_be_a_store_is_refused(name, told):
    with pytest.raises(ConfigError, match=told):
        open_store(name)


def test_a_path_that_is_no_file_of_ours_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is no file; name another path"):
        open_store(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is no file"):
        open_store(tmp_path / "pipe")
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(ResourceError, match="cannot be written"):
        open_store(tmp_path / "note.txt" / "talks.db")
    (tmp_path / "text.db").write_text("This is a text and no database at all. " * 100)
    with pytest.raises(DataError, match="is damaged, or no database"):
        open_store(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE recipes (name)")
    database.close()
    with pytest.raises(DataError, match=r"is a database of something else \(table 'recipes'\)"):
        open_store(tmp_path / "other.db")


def test_a_damaged_file_is_refused_in_one_sentence(path: Path):
    with open_store(path) as store:
        for n in range(200):
            store.add_talk(f"{n} " * 200)
    whole = path.read_bytes()
    for at in range(4096, len(whole) - 4096, 4096 * 5):
        path.write_bytes(whole[:at] + b"\xff" * 4096 + whole[at + 4096 :])
        with pytest.raises(DataError, match="damaged") as told:
            open_store(path)
        assert "\n" not in str(told.value)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        open_store(path)


def test_a_store_of_a_newer_version_is_refused_and_left_alone(path: Path):
    open_store(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '99'")
    database.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="has tables of version '99'; this jielong knows version 2"):
        open_store(path)
    assert path.read_bytes() == before


def test_migrations_make_the_tables_that_the_code_describes(path: Path):
    path.parent.mkdir()
    with sqlite3.connect(path) as database:  # of no version yet
        database.execute(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    database.close()
    open_store(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {"talks", "turns", "traces", "judgements", VERSION_TABLE}
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert context.get_current_heads() == ("2",)
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_a_write_is_on_disk_with_a_log_and_its_keys_are_checked(store: Store):
    with store._database.bare() as connection:
        told = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
        }
    assert told == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 30_000,
    }


# --- several at once

WRITERS = """
import sys, threading
from jielong.serve.store import open_store

store = open_store(sys.argv[1])
talk = sys.argv[2] or store.add_talk("many").id
told = threading.Lock()

def write(name):
    for n in range(int(sys.argv[3])):
        question, answer = store.add_question_and_answer(talk, "", f"{name} {n}")
        store.change_turn(answer.id, content="text " * 200, status="done")
        with told:
            print(answer.id, flush=True)

threads = [threading.Thread(target=write, args=(name,)) for name in range(int(sys.argv[4]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
store.close()
"""


def start(path: Path, talk: str, num_turns: int, num_threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITERS, str(path), talk, str(num_turns), str(num_threads)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_was_acknowledged_survives_a_kill(path: Path):
    with open_store(path) as store:
        talk = store.add_talk().id
    acknowledged: set[str] = set()
    for _ in range(3):
        writer = start(path, talk, 100_000, 20)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(100)]
        writer.kill()
        lines += writer.stdout.readlines()
        writer.stdout.close()
        assert writer.wait() == -9
        acknowledged |= {line.strip() for line in lines if line.endswith("\n")}
        with open_store(path) as store:
            turns = {turn.id: turn for turn in store.turns(talk)}
            assert acknowledged <= set(turns)
            assert all(turns[id].status == "done" and turns[id].content == "text " * 200 for id in acknowledged)
            # a question and its answer are there both or neither
            assert {t.id for t in turns.values() if t.role == "user"} == {t.parent for t in turns.values() if t.parent}
    assert len(acknowledged) >= 300


def test_several_processes_open_and_write_a_new_store_at_once(path: Path):
    writers = [start(path, "", 10, 2) for _ in range(4)]
    said = [writer.communicate()[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    with open_store(path) as store:
        talks = store.talks()
        assert len(talks) == 4
        assert sorted(id for ids in said for id in ids) == sorted(
            turn.id for talk in talks for turn in store.turns(talk.id) if turn.role == "assistant"
        )


def test_threads_share_a_store_and_two_stores_a_file(store: Store, path: Path):
    talk = store.add_talk().id
    wrong: list[BaseException] = []

    def write(to: Store, name: int) -> None:
        try:
            for n in range(10):
                _, answer = to.add_question_and_answer(talk, "", f"{name} {n}")
                to.change_turn(answer.id, content=str(n), trace=TRACE)
                assert to.path(answer.id)[-1].content == str(n) and to.trace(answer.id) == TRACE
                assert to.talks("nothing") == []
        except BaseException as error:
            wrong.append(error)

    with open_store(path) as other:
        threads = [threading.Thread(target=write, args=((store, other)[n % 2], n)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    turns = store.turns(talk)
    assert len(turns) == 200 and len({turn.id for turn in turns}) == 200


def test_a_file_that_another_process_holds_is_read_and_said_to_be_held(path: Path, monkeypatch):
    monkeypatch.setattr(database, "_WAIT_S", 0.1)
    with open_store(path) as store:
        talk = store.add_talk()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResourceError, match=r"talks\.db is held by another process for over 0\.1 s"):
            store.add_talk()
        assert store.talks() == [talk]
        other.execute("ROLLBACK")
        other.close()
        store.add_talk()
        assert len(store.talks()) == 2


def test_the_library_of_databases_is_imported_by_the_store_alone():
    code = "import sys, jielong.serve; assert not {'sqlalchemy', 'alembic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    source = Path(sys.modules["jielong"].__file__ or "").parent
    users = {
        file.relative_to(source).parts[:2]
        for file in source.rglob("*.py")
        if {"sqlalchemy", "alembic"} & {word.split(".")[0] for word in file.read_text(encoding="utf-8").split()}
    }
    assert users == {("serve", "store")}
