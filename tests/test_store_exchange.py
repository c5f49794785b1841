"""Traces as bytes and conversations as JSON: both come back as they were, and the JSON of others is read or refused."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.errors import DataError
from jielong.outside import parse_json
from jielong.records import Candidate, Cut, Draw
from jielong.serve.store import Store, Trace, open_store
from jielong.serve.store import exchange as limits
from jielong.serve.store.blobs import pack, unpack

IDS = st.integers(0, 2**31 - 1)
SINGLE = st.floats(0, 1, width=32)
DOUBLE = st.floats(0, 1)
FILTERS = st.sampled_from(["", "mask", "top-k", "top-p", "min-p", "筛"])
CANDIDATES = st.builds(Candidate, IDS, SINGLE, SINGLE, SINGLE, FILTERS)
DRAWS = st.builds(
    Draw,
    CANDIDATES,
    rank=IDS,
    likeliest=st.lists(CANDIDATES, max_size=4).map(tuple),
    temperature=st.floats(0, 1e6),
    cuts=st.lists(st.builds(Cut, FILTERS, IDS, DOUBLE), max_size=3).map(tuple),
    num_left=IDS,
    uniform=st.none() | DOUBLE,
    low=DOUBLE,
    high=DOUBLE,
    entropy=st.floats(0, 30),
)
TOKENS = st.tuples(IDS, st.floats(max_value=0, width=32, allow_nan=False), st.booleans(), st.none() | DRAWS)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    tokens = draw(st.lists(TOKENS, max_size=6))
    ids, logprobs, by_model, draws = zip(*tokens, strict=True) if tokens else ((), (), (), ())
    return Trace(
        tuple(draw(st.lists(IDS, max_size=6))),
        ids,
        logprobs,
        by_model,
        draws,
        draw(st.sampled_from(["", "int8", "float32"])),
        draw(st.none() | st.integers(0, 2**63 - 1)),
        draw(st.sampled_from([{}, {"temperature": 0.7, "top_k": 3, "seed": None}])),
    )


def long_trace(num_tokens: int = 400, num_candidates: int = 20) -> Trace:
    """Random numbers compress less than those of a model."""
    dice = np.random.default_rng(0)

    def candidate() -> Candidate:
        return Candidate(int(dice.integers(49_152)), *dice.random(3, np.float32).tolist(), "")

    def drawn() -> Draw:
        uniform, low, high, entropy = dice.random(4).tolist()
        likeliest = tuple(candidate() for _ in range(num_candidates))
        return Draw(candidate(), 1, likeliest, 0.7, (Cut("top-k", 49_000, low),), 20, uniform, low, high, entropy)

    logprobs = tuple((-dice.random(num_tokens, np.float32)).tolist())
    ids = tuple(dice.integers(49_152, size=num_tokens).tolist())
    return Trace(ids, ids, logprobs, (True,) * num_tokens, tuple(drawn() for _ in ids), "int8", 7)


PASSAGE = {"n": 1, "title": "notes.txt", "place": "", "text": "…", "score": 0.5}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with open_store(tmp_path_factory.mktemp("store") / "talks.db") as store:
        yield store


@pytest.fixture
def export(store: Store) -> dict:
    """A talk of two questions, one with two answers, as JSON that went through a file."""
    talk = store.add_talk(
        "天气",
        model="smollm2",
        system="Be brief.",
        sampling={"temperature": 0.5, "seed": None, "top_k": 5.0, "min_p": None},
    )
    question, first = store.add_question_and_answer(talk.id, "", "你好", "您好", status="done", strategy="vote:5")
    store.add_turn(
        talk.id,
        question.id,
        "assistant",
        "Hi!",
        trace=long_trace(3, 2),
        trail=(
            {"kind": "note", "text": "一"},
            {"kind": "call", "number": 1, "label": "draft", "depth": 0, "text": "Hi", "is_over": True},
            {"kind": "passages", "query": "q", "passages": [PASSAGE]},
            {
                "kind": "tool",
                "id": "",
                "name": "python",
                "line": "1+1",
                "changes": False,
                "state": "done",
                "result": "2",
            },
            {"kind": "dropped", "num_turns": 2},
        ),
        usage={"prompt_tokens": 3, "seconds": 0.5, "context": None},
        chosen={"of": first.id, "n": 1, "id": 42},
        seed=5,
        sampling={"top_p": 0.9, "stop": ["\n"], "stop_ids": [2]},
    )
    edited = {"of": first.id, "n": 0, "id": None}
    store.add_turn(talk.id, question.id, "assistant", "Hello!", is_edited=True, chosen=edited)
    store.add_question_and_answer(talk.id, "", "Good day")
    return parse_json(json.dumps(store.export(talk.id), ensure_ascii=False))


# --- traces


@given(traces())
def test_a_trace_comes_back_from_bytes_as_it_was(trace):
    back = unpack(pack(trace))
    assert back == trace
    assert repr(back) == repr(trace)  # also the kinds of its numbers


def test_numbers_that_float32_does_not_hold_come_back_too():
    odd = Candidate(2**40, 0.1, 1e-300, 1 / 3)
    draw = Draw(odd, -1, (odd,), 0.7, (Cut("", 0, 1e-17),), 0, None, 0.1, 1.0, math.pi)
    trace = Trace((2**40,), (0, 1), (-math.inf, -0.1), (True, True), (draw, None), "", 2**80, {"x": [0.1, "字"]})
    assert unpack(pack(trace)) == trace


def test_a_trace_of_four_hundred_tokens_is_small_and_quick():
    trace = long_trace()
    took_s = []
    for _ in range(3):
        start = time.process_time()
        blob = pack(trace)
        assert unpack(blob) == trace
        took_s.append(time.process_time() - start)
    assert len(blob) < 150_000
    assert min(took_s) < 0.5  # some 40 ms on a machine with nothing else to do


def test_a_damaged_trace_is_refused(store: Store):
    blob = pack(long_trace(5, 2))
    for at in range(0, len(blob), 97):
        with pytest.raises(DataError, match="is damaged"):
            unpack(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
    for cut in (b"", blob[:3], blob[:-1]):
        with pytest.raises(DataError, match="is damaged"):
            unpack(cut)


def test_a_trace_has_as_much_of_everything_as_ids():
    with pytest.raises(DataError, match="trace has 2 ids and 1 logprobs"):
        Trace((), (1, 2), (-1.0,), (True, True), (None, None))


# --- to a file and back


def test_an_imported_conversation_is_the_exported_one_under_new_ids(store: Store, export):
    before = time.time()
    talk = store.import_(export)
    told = export["talk"]
    assert (talk.title, talk.model, talk.system) == ("天气", "smollm2", "Be brief.")
    assert (talk.created, talk.origin, talk.sampling) == (told["created"], "import", told["sampling"])
    assert talk.updated >= before and store.talk(talk.id) == talk and store.talks(limit=1) == [talk]
    old, new = export["turns"], store.turns(talk.id)
    name = {"": "", **{one["id"]: turn.id for one, turn in zip(old, new, strict=True)}}
    assert talk.leaf == name[told["leaf"]] and not set(name) & set(name.values()) - {""}
    assert [turn.parent for turn in new] == [name[one["parent"]] for one in old]
    assert [turn.content for turn in new] == ["你好", "您好", "Hi!", "Hello!", "Good day", ""]
    assert [turn.status for turn in new] == ["done"] * 5 + ["interrupted"]
    assert new[2].chosen == {"of": new[1].id, "n": 1, "id": 42}
    assert new[3].chosen == {"of": new[1].id, "n": 0, "id": None} and new[3].is_edited
    assert list(new[2].trail) == old[2]["trail"] and new[2].usage == old[2]["usage"]
    assert new[2].sampling == old[2]["sampling"] and new[2].seed == 5
    assert store.trace(new[2].id) == long_trace(3, 2) and store.trace(new[1].id) is None


def test_an_import_exported_again_differs_in_ids_and_dates_alone(store: Store, export):
    again = store.export(store.import_(export).id)
    for one in (export, again):
        for talk_or_turn in (one["talk"], *one["turns"]):
            for name in ("id", "parent", "leaf", "updated", "origin", "chosen"):
                talk_or_turn.pop(name, None)
    export["turns"][-1]["status"] = "interrupted"
    assert again == export


@settings(max_examples=50)
@given(traces())
def test_a_trace_comes_back_from_an_export_as_it_was(store, trace):
    talk = store.add_talk().id
    store.add_turn(talk, "", "assistant", "x", trace=trace)
    again = store.import_(parse_json(json.dumps(store.export(talk))))
    assert store.trace(again.leaf) == trace


def change(export: dict, *path: str | int, to: object) -> dict:
    inner = export
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return export


WRONG = [
    (("version",), 2, "has version = 2; this version computes 1"),
    (("talk",), "x", "talk of the file of the conversation is a string; expected an object"),
    (("turns",), {}, "has turns = {}; expected a list of objects"),
    (("turns", 1), 5, r"turns\[1\] of .* is a number; expected an object"),
    (("extra",), 5, "has an unknown field 'extra'"),
    (("talk", "title"), 5, "the talk of the file has title = 5; expected a string"),
    (("talk", "title"), "x" * 2000, "expected at most 1,000 letters"),
    (("talk", "leaf"), "nobody", 'has leaf = "nobody"; expected the id of a turn'),
    (("talk", "created"), -1, "has created = -1; expected a finite number from 0"),
    (("talk", "created"), math.nan, "expected a finite number"),
    (("talk", "sampling", "temperature"), "hot", 'has temperature = "hot"; expected a finite number'),
    (("talk", "sampling", "temperature"), -3, "sampling option temperature is -3"),
    (("talk", "sampling", "top_k"), 2.5, "has top_k = 2.5; expected a whole number"),
    (("talk", "sampling", "temprature"), 1, "unknown field 'temprature'; did you mean 'temperature'"),
    (("turns", 0, "role"), "tool", 'has role = "tool"; expected one of user, assistant'),
    (("turns", 0, "role"), ["user"], "expected a string"),
    (("turns", 0, "status"), "asleep", "expected one of writing, done"),
    (("turns", 0, "content"), None, "has content = null; expected a string"),
    (("turns", 0, "content"), "a\ud800", "half of a character"),
    (("turns", 0, "parent"), "nobody", "expected the id of a turn that stands before it"),
    (("turns", 0, "seed"), 2**63, "has seed = 9223372036854775808; expected a whole number"),
    (("turns", 0, "is_edited"), 1, "expected true or false"),
    (("turns", 0, "usage"), {"seconds": "long"}, "expected an object of at most 100 numbers"),
    (("turns", 0, "trail"), [5], r"trail\[0\] of turns\[0\] of the conversation is a number; expected an object"),
    (("turns", 0, "trail"), [{"text": "x"}], "lacks the field 'kind'"),
    (("turns", 0, "trail"), [{"kind": "x"}], "expected one of note, dropped, call, passages, tool"),
    (("turns", 0, "trail"), [{"kind": "passages", "passages": 5}], "has passages = 5; expected a list of objects"),
    (("turns", 0, "trail"), [{"kind": "passages", "passages": [{}]}], "lacks the field 'n'"),
    (("turns", 0, "trail"), [{"kind": "call", "number": "x"}], "has number = "),
    (("turns", 2, "trail", 3, "state"), "sleeps", "expected one of asks, runs, done, refused"),
    (("turns", 0, "trail"), [{"kind": "x", "y": math.inf}], "expected strings, finite numbers"),
    (("turns", 0, "trail"), [{"kind": "x", "y": [0] * 100_001}], "more than 100,000 values in its trail"),
    (("turns", 0, "trail"), [{"kind": "x", "y": [[]] * 100_001}], "more than 100,000 values in its trail"),
    (("turns", 2, "chosen", "of"), "nobody", "expected the id of a turn that stands before it"),
    (("turns", 2, "chosen", "n"), -1, "expected a whole number from 0"),
    (("turns", 2, "trace"), [], "trace of .* is a list; expected an object"),
    (("turns", 2, "trace", "ids"), [1], "has logprobs = .*; expected a list of 1, as long as that of the ids"),
    (("turns", 2, "trace", "ids"), [-1, 2, 3], "has ids = .*; expected a list of whole numbers from 0"),
    (("turns", 2, "trace", "logprobs", 0), 0.5, "expected logarithms of probabilities"),
    (("turns", 2, "trace", "by_model", 0), 1, "expected a list of true and false"),
    (("turns", 2, "trace", "draws", 0), 7, r"draws\[0\] of trace of .* is a number; expected an object"),
    (("turns", 2, "trace", "draws", 0, "uniform"), 2, "has uniform = 2; expected a finite number from 0 to 1"),
    (("turns", 2, "trace", "draws", 0, "taken"), [1, 2], "expected a list of id, model, tempered, left, cut"),
    (("turns", 2, "trace", "draws", 0, "taken", 1), math.nan, "expected a list of id, model, tempered, left, cut"),
    (("turns", 2, "trace", "draws", 0, "likeliest"), 5, "has likeliest = 5; expected a list of lists"),
    (("turns", 2, "trace", "draws", 0, "likeliest", 0, 4), "x" * 50, "expected a list of id, model"),
    (("turns", 2, "trace", "draws", 0, "cuts"), [["top-k", 1]], "expected a list of filter, num_ids, probability"),
    (("turns", 2, "trace", "draws", 0, "cuts"), [["top-k", 1, "x"]], "expected a list of filter, num_ids, probability"),
]


@pytest.mark.parametrize(("path", "to", "told"), WRONG, ids=range(len(WRONG)))
def test_an_import_that_is_not_in_order_is_refused_whole_in_one_sentence(store: Store, export, path, to, told):
    before = store.talks(limit=1000)
    with pytest.raises(DataError, match=told) as error:
        store.import_(change(export, *path, to=to))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    assert store.talks(limit=1000) == before


@pytest.mark.parametrize("state", ["asks", "runs"])
def test_an_imported_tool_asks_nobody(store: Store, export, state):
    talk = store.import_(
        change(change(export, "turns", 2, "trail", 3, "state", to=state), "turns", 2, "trail", 3, "id", to="7")
    )
    tool = store.turns(talk.id)[2].trail[3]
    assert (tool["state"], tool["id"], tool["result"]) == ("refused", "", "2")


def test_circles_and_twins_are_refused_and_several_roots_are_not(store: Store):
    def read(*pairs: tuple[str, str]):
        turns = [{"id": id, "parent": parent, "role": "user", "content": id} for id, parent in pairs]
        return store.import_({"version": 1, "talk": {}, "turns": turns})

    for pairs in ([("a", "a")], [("a", "b"), ("b", "a")], [("r", ""), ("a", "c"), ("b", "a"), ("c", "b")]):
        with pytest.raises(DataError, match="expected the id of a turn that stands before it"):
            read(*pairs)
    for pairs in ([("a", ""), ("a", "")], [("", "")]):
        with pytest.raises(DataError, match="expected an id of its own"):
            read(*pairs)
    talk = read(("a", ""), ("b", ""), ("c", "b"))
    one, other, child = store.turns(talk.id)
    assert (one.parent, other.parent, child.parent) == ("", "", other.id) and talk.leaf == ""
    assert store.turns(read().id) == []


@pytest.mark.parametrize("data", [None, [], "x", 5, {}, {"version": 1}, {"messages": []}, {"version": 1, "turns": []}])
def test_another_file_is_no_conversation(store: Store, data):
    with pytest.raises(DataError, match=r"expected an object|lacks the field 'talk'"):
        store.import_(data)


def test_an_import_is_bounded_as_a_whole(store: Store, export, monkeypatch):
    turn = {"id": "a", "role": "user", "content": "x"}
    with pytest.raises(DataError, match="has 10,001 turns; expected at most 10,000"):
        store.import_({"version": 1, "talk": {}, "turns": [turn] * 10_001})
    deep: dict = {"kind": "x"}
    for _ in range(2000):
        deep = {"kind": "x", "inner": deep}
    with pytest.raises(DataError, match="nested deeper than 20 levels"):
        store.import_({"version": 1, "talk": {}, "turns": [{**turn, "trail": [deep]}]})
    for name, kind in (("MAX_LETTERS", "letters"), ("MAX_TOKENS", "tokens"), ("MAX_CANDIDATES", "candidates")):
        with monkeypatch.context() as smaller:
            smaller.setattr(limits, name, 5)
            with pytest.raises(DataError, match=f"the file has more {kind} than are read|expected at most 5 letters"):
                store.import_(export)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The paths to all values within a value of JSON."""
    inner = value.items() if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else ()
    return [(*path, key) for key, _ in inner] + [deep for key, one in inner for deep in places(one, (*path, key))]


@pytest.fixture(scope="module")
def small_export(store: Store) -> str:
    talk = store.add_talk("x", sampling={"seed": 1})
    question, first = store.add_question_and_answer(talk.id, "", "a", "b", status="done", usage={"calls": 1})
    chosen = {"of": first.id, "n": 0, "id": 1}
    store.add_turn(
        talk.id,
        question.id,
        "assistant",
        "c",
        trace=long_trace(2, 1),
        chosen=chosen,
        trail=({"kind": "passages", "passages": [PASSAGE]},),
    )
    return json.dumps(store.export(talk.id))


@settings(max_examples=300)
@given(data=st.data())
def test_any_value_in_any_place_is_read_or_refused_in_one_sentence(store: Store, small_export: str, data):
    export = json.loads(small_export)
    place = data.draw(st.sampled_from(places(export)))
    try:
        read = store.import_(change(export, *place, to=data.draw(JSON)))
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert json.dumps(store.export(read.id), allow_nan=False)
