"""Export and import of a conversation as JSON: an export is complete, and an import is read as untrusted.

Counts and sizes of an import are bounded. Each turn follows its parent in the file, which rules out cycles and missing
parents. All ids are replaced.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jielong.errors import DataError, JielongError, did_you_mean
from jielong.outside import MOST, Fields, is_number, is_whole, shorten_value
from jielong.records import Candidate, Cut, Draw, Sampling
from jielong.serve.store.nouns import STATUSES, TURN_ROLES, Talk, Trace, Turn

VERSION = 1

MAX_TURNS = 10_000
MAX_LETTERS = 20_000_000  # of all texts together
MAX_TOKENS = 2_000_000  # of all prompts and answers together
MAX_CANDIDATES = 5_000_000
_MAX_NAME = 1000
_MAX_TRAIL = 100_000  # values in the notes of one turn
_MAX_NESTING = 20
_MAX_ID = 2**31 - 1

_TOOL_STATES = ("asks", "runs", "done", "refused")

_CANDIDATE = ["id", "model", "tempered", "left", "cut"]
_CUT = ["filter", "num_ids", "probability"]
_SAMPLING = tuple(f.name for f in dataclasses.fields(Sampling))


@dataclass(frozen=True)
class Exchange:
    """A talk with all its turns in order of creation, and the traces by their turn's id."""

    talk: Talk
    turns: tuple[Turn, ...]
    traces: Mapping[str, Trace]


# --- to JSON


def export_talk(exchange: Exchange) -> dict[str, Any]:
    """Export as plain JSON; candidates and cuts are lists, in the order that `candidate` and `cut` name."""
    turns = []
    for turn in exchange.turns:
        data = dataclasses.asdict(turn)
        data["trail"] = list(turn.trail)
        del data["talk"], data["has_trace"]
        trace = exchange.traces.get(turn.id)
        turns.append({**data, "trace": _exported_trace(trace) if trace else None})
    return {"version": VERSION, "talk": dataclasses.asdict(exchange.talk), "turns": turns}


def _exported_trace(trace: Trace) -> dict[str, Any]:
    """Export a trace."""
    return {
        "weights": trace.weights,
        "seed": trace.seed,
        "sampling": dict(trace.sampling),
        "prompt_ids": list(trace.prompt_ids),
        "ids": list(trace.ids),
        # a logarithm of 0 is no number of JSON
        "logprobs": [one if math.isfinite(one) else None for one in trace.logprobs],
        "by_model": list(trace.by_model),
        "candidate": _CANDIDATE,
        "cut": _CUT,
        "draws": [_exported_draw(draw) if draw else None for draw in trace.draws],
    }


def _exported_draw(draw: Draw) -> dict[str, Any]:
    """Export one draw."""
    return {
        "taken": list(draw.taken),
        "rank": draw.rank,
        "temperature": draw.temperature,
        "num_left": draw.num_left,
        "uniform": draw.uniform,
        "low": draw.low,
        "high": draw.high,
        "entropy": draw.entropy,
        "cuts": [list(cut) for cut in draw.cuts],
        "likeliest": [list(one) for one in draw.likeliest],
    }


# --- from JSON


def read_export(data: Any, *, now: float, new_id: Callable[[], str]) -> Exchange:
    """Read an export, with new ids and the time `now`. Raises DataError, which says in one sentence what is wrong."""
    file = Fields(data, "the file of the conversation")
    if "version" not in file.data or "turns" not in file.data:
        raise DataError('the file is no exported conversation; expected an object with "version", "talk" and "turns"')
    file.demand("version", VERSION)
    told, turns_told = file.inner("talk"), file.inners("turns")
    file.finish()
    if len(turns_told) > MAX_TURNS:
        raise DataError(f"the file of the conversation has {len(turns_told):,} turns; expected at most {MAX_TURNS:,}")
    limits = _Limits()
    talk_id, ids = new_id(), {"": ""}
    turns, traces = [], {}
    for at, fields in enumerate(turns_told):
        fields.where = f"turns[{at}] of the conversation"
        old = limits.text(fields, "id", most=_MAX_NAME)
        parent = limits.text(fields, "parent", "", most=_MAX_NAME)
        if parent not in ids:
            fields.wrong("parent", "the id of a turn that stands before it, or an empty string")
        if old in ids:
            fields.wrong("id", "an id of its own")
        turn = _turn(fields, limits, new_id(), talk_id, ids[parent], ids, now)
        ids[old] = turn.id
        if fields.take("trace", None) is not None:
            traces[turn.id] = _trace(fields.inner("trace"), limits)
            turn = dataclasses.replace(turn, has_trace=True)
        fields.finish()
        turns.append(turn)
    return Exchange(_talk(told, limits, talk_id, ids, now), tuple(turns), traces)


class _Limits:
    """The remaining limits on texts, tokens and candidates of the whole file."""

    def __init__(self) -> None:
        self.left = {"letters": MAX_LETTERS, "tokens": MAX_TOKENS, "candidates": MAX_CANDIDATES}

    def spend(self, kind: str, count: int, where: str) -> None:
        """Use up some of one kind's limit. Raises DataError if it is exceeded."""
        self.left[kind] -= count
        if self.left[kind] < 0:
            raise DataError(
                f"with {where} the file has more {kind} than are read from one conversation; expected fewer"
            )

    def text(self, fields: Fields, name: str, *default: str, most: int = MAX_LETTERS) -> str:
        """Take a text field within its limits."""
        text: str = fields.text(name, *default)
        if len(text) > most:
            fields.wrong(name, f"at most {most:,} letters")
        self.spend("letters", len(text), fields.where)
        return text


def _talk(fields: Fields, limits: _Limits, id: str, ids: Mapping[str, str], now: float) -> Talk:
    """Read the talk of an export."""
    fields.where = "the talk of the file"
    leaf = limits.text(fields, "leaf", "", most=_MAX_NAME)
    if leaf not in ids:
        fields.wrong("leaf", "the id of a turn, or an empty string")
    talk = Talk(
        id,
        title=limits.text(fields, "title", "", most=_MAX_NAME),
        created=fields.number("created", now, low=0, high=1e11),
        # it is new to this store, and stands on top of its list
        updated=now,
        model=limits.text(fields, "model", "", most=_MAX_NAME),
        strategy=limits.text(fields, "strategy", "", most=_MAX_NAME),
        system=limits.text(fields, "system", ""),
        sampling=_sampling(fields),
        leaf=ids[leaf],
        origin="import",
    )
    fields.finish(neutral=("id", "updated", "origin"))
    return talk


def _turn(fields: Fields, limits: _Limits, id: str, talk: str, parent: str, ids: Mapping[str, str], now: float) -> Turn:
    """Read one turn of an export."""
    role, status = fields.text("role"), fields.text("status", "done")
    for name, value, allowed in (("role", role, TURN_ROLES), ("status", status, STATUSES)):
        if value not in allowed:
            fields.wrong(name, f"one of {', '.join(allowed)}")
    return Turn(
        id,
        talk,
        parent,
        role,
        limits.text(fields, "content"),
        fields.number("created", now, low=0, high=1e11),
        # nobody here writes it any more
        status="interrupted" if status == "writing" else status,
        stop=limits.text(fields, "stop", "", most=_MAX_NAME),
        error=limits.text(fields, "error", ""),
        model=limits.text(fields, "model", "", most=_MAX_NAME),
        digest=limits.text(fields, "digest", "", most=_MAX_NAME),
        strategy=limits.text(fields, "strategy", "", most=_MAX_NAME),
        seed=fields.whole("seed", None),
        sampling=_sampling(fields),
        thoughts=limits.text(fields, "thoughts", ""),
        trail=_trail(fields, limits),
        usage=_usage(fields),
        is_edited=fields.flag("is_edited", False),
        chosen=_chosen(fields, ids),
    )


def _sampling(fields: Fields) -> dict[str, Any]:
    """Read known sampling options, each within its bounds; null means the default."""
    inner = fields.inner("sampling", {})
    sampling: dict[str, Any] = {}
    for name, value in inner.data.items():
        if value is None:
            sampling[name] = inner.take(name)
        elif name == "seed":
            sampling[name] = inner.whole(name)
        elif name == "stop_ids":
            sampling[name] = inner.wholes(name, high=_MAX_ID)
        elif name == "stop":
            sampling[name] = inner.texts(name)
        elif name in _SAMPLING:
            sampling[name] = inner.number(name)
            if name in ("max_tokens", "top_k") and value != int(value):
                inner.wrong(name, "a whole number")
    for name in inner.data:
        if name not in (*_SAMPLING, "seed"):
            raise DataError(
                f"{inner.where} has an unknown field {name!r:.40}; {did_you_mean(name, (*_SAMPLING, 'seed'))}"
            )
    try:
        Sampling(**{name: value for name, value in sampling.items() if name != "seed" and value is not None})
    except JielongError as error:
        raise DataError(f"{inner.where}: {error}") from None
    return sampling


def _usage(fields: Fields) -> dict[str, Any] | None:
    """Read and check the token usage of an imported answer; None if it has none."""
    if fields.take("usage", None) is None:
        return None
    inner = fields.inner("usage")
    if len(inner.data) > 100 or not all(one is None or is_number(one) for one in inner.data.values()):
        fields.wrong("usage", "an object of at most 100 numbers")
    return dict(inner.data)


def _chosen(fields: Fields, ids: Mapping[str, str]) -> dict[str, Any] | None:
    """Read the token at which an answer branched off."""
    if fields.take("chosen", None) is None:
        return None
    inner = fields.inner("chosen")
    of = inner.text("of")
    if of not in ids:
        inner.wrong("of", "the id of a turn that stands before it")
    n, id = inner.whole("n", high=_MAX_ID), inner.whole("id", None, high=_MAX_ID)
    inner.finish()
    return {"of": ids[of], "n": n, "id": id}


def _trail(fields: Fields, limits: _Limits) -> tuple[dict[str, Any], ...]:
    """Read the notes of a strategy, within bounds."""
    notes = fields.inners("trail", [])
    for at, value in enumerate(_values([note.data for note in notes], fields.where)):
        if at > _MAX_TRAIL:
            raise DataError(f"{fields.where} has more than {_MAX_TRAIL:,} values in its trail; expected fewer")
        if isinstance(value, str):
            limits.spend("letters", len(value), fields.where)
        elif not (value is None or isinstance(value, bool) or is_whole(value, -MOST) or is_number(value)):
            fields.wrong("trail", "strings, finite numbers, true, false and null")
    return tuple(_note(note) for note in notes)


def _note(note: Fields) -> dict[str, Any]:
    """Read a note of a kind that the page shows, with the fields that it uses; other fields are allowed."""
    kind = note.text("kind")
    if kind == "note":
        note.text("text")
    elif kind == "dropped":
        note.whole("num_turns")
    elif kind == "call":
        for name in ("number", "depth"):
            note.whole(name)
        for name in ("label", "text"):
            note.text(name)
        note.flag("is_over")
    elif kind == "passages":
        note.text("query", "")
        for passage in note.inners("passages"):
            passage.whole("n")
            for name in ("title", "place", "text"):
                passage.text(name)
    elif kind == "tool":
        for name in ("id", "name", "line", "result"):
            note.text(name)
        note.flag("changes")
        if note.text("state") not in _TOOL_STATES:
            note.wrong("state", f"one of {', '.join(_TOOL_STATES)}")
        # nobody here waits for the answer of a person, or for the tool, any more
        state = note.data["state"]
        return {**note.data, "id": "", "state": "refused" if state in ("asks", "runs") else state}
    else:
        note.wrong("kind", "one of note, dropped, call, passages, tool")
    return note.data


def _values(value: Any, where: str, depth: int = 0) -> Iterator[Any]:
    """Yield all scalars and keys in a value of JSON. Raises DataError if it is nested too deep."""
    if depth > _MAX_NESTING:
        raise DataError(f"{where} has a trail nested deeper than {_MAX_NESTING} levels; expected fewer")
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _values(inner, where, depth + 1)
    elif isinstance(value, list):
        yield ""
        for inner in value:
            yield from _values(inner, where, depth + 1)
    else:
        yield value


def _trace(fields: Fields, limits: _Limits) -> Trace:
    """Read a trace; its columns must have one length."""
    where = fields.where
    ids, prompt_ids = (tuple(fields.wholes(name, high=_MAX_ID)) for name in ("ids", "prompt_ids"))
    limits.spend("tokens", len(ids) + len(prompt_ids), where)
    columns = {name: fields.take(name) for name in ("logprobs", "by_model", "draws")}
    for name, column in columns.items():
        if not isinstance(column, list) or len(column) != len(ids):
            fields.wrong(name, f"a list of {len(ids)}, as long as that of the ids")
    if not all(one is None or is_number(one, high=0.001) for one in columns["logprobs"]):
        fields.wrong("logprobs", "logarithms of probabilities, or null for that of 0")
    if not all(isinstance(one, bool) for one in columns["by_model"]):
        fields.wrong("by_model", "a list of true and false")
    trace = Trace(
        prompt_ids,
        ids,
        tuple(-math.inf if one is None else float(one) for one in columns["logprobs"]),
        tuple(columns["by_model"]),
        tuple(
            _draw(Fields(one, f"draws[{at}] of {where}"), limits) if one is not None else None
            for at, one in enumerate(columns["draws"])
        ),
        limits.text(fields, "weights", "", most=_MAX_NAME),
        fields.whole("seed", None),
        _sampling(fields),
    )
    fields.finish(neutral=("candidate", "cut"))
    return trace


def _draw(fields: Fields, limits: _Limits) -> Draw:
    """Read one draw."""
    likeliest, cuts = fields.take("likeliest"), fields.take("cuts")
    for name, items in (("likeliest", likeliest), ("cuts", cuts)):
        if not isinstance(items, list):
            fields.wrong(name, "a list of lists")
        limits.spend("candidates", len(items), fields.where)
    uniform = fields.number("uniform", None, low=0, high=1)
    draw = Draw(
        _candidate(fields, fields.take("taken")),
        fields.whole("rank", high=_MAX_ID),
        tuple(_candidate(fields, one) for one in likeliest),
        float(fields.number("temperature", low=0, high=1e6)),
        tuple(_cut(fields, one) for one in cuts),
        fields.whole("num_left", high=_MAX_ID),
        None if uniform is None else float(uniform),
        float(fields.number("low", low=0, high=1.001)),
        float(fields.number("high", low=0, high=1.001)),
        float(fields.number("entropy", 0.0, low=0, high=1000)),
    )
    fields.finish()
    return draw


def _candidate(fields: Fields, item: Any) -> Candidate:
    """Read one candidate."""
    if not (isinstance(item, list) and len(item) == len(_CANDIDATE) and is_whole(item[0], high=_MAX_ID)):
        raise _not(fields, item, _CANDIDATE)
    id, model, tempered, left, cut = item
    if not all(is_number(one, 0, 1.001) for one in (model, tempered, left)) or not _is_name(cut):
        raise _not(fields, item, _CANDIDATE)
    return Candidate(id, float(model), float(tempered), float(left), cut)


def _cut(fields: Fields, item: Any) -> Cut:
    """Read one cut of a filter."""
    if not (
        isinstance(item, list) and len(item) == len(_CUT) and _is_name(item[0]) and is_whole(item[1], high=_MAX_ID)
    ):
        raise _not(fields, item, _CUT)
    if not is_number(item[2], 0, 1.001):
        raise _not(fields, item, _CUT)
    return Cut(item[0], item[1], float(item[2]))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 40


def _not(fields: Fields, item: Any, names: list[str]) -> DataError:
    return DataError(f"{fields.where} holds {shorten_value(item)}; expected a list of {', '.join(names)}")
