"""Homes written by hand: a small JSON file with rooms, furniture, things and the goal.

    {"rooms": {"kitchen": {"doors": ["hall"], "furniture": ["sink", {"name": "fridge", "open": true}]},
               "hall": {"furniture": [{"name": "hall stand", "zh": "衣帽架", "like": "rack"}, "lamp"]}},
     "things": [{"name": "cup", "at": "kitchen/fridge", "is": ["clean"]},
                {"name": "medal", "zh": "奖章", "takes": ["clean"], "at": "hall/hall stand"}],
     "start": "kitchen",
     "goal": [{"thing": "medal", "is": "clean"}, {"thing": "medal", "at": "kitchen/fridge"}]}

A name that the household knows brings its Chinese name and its uses; another one says what it is "like", or what it
"takes". A door written on one side leads both ways. Every error names the place where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jielong.errors import DataError, did_you_mean
from jielong.outside import read_json_file
from jielong.worlds.household.rules import HELD, TREATMENTS, Furniture, Home, State, Task, Wish
from jielong.worlds.household.solver import shortest_plan
from jielong.worlds.household.things import FURNITURE, LANGUAGES, ROOMS, THINGS, Named, ThingKind

CONDITIONS = ("clean", "hot", "cold")
HAND = "hand"


def read_task(path: Path) -> Task:
    """Read the task in a file. Raises DataError, which says what is wrong in it and where."""
    data = read_json_file(path)
    try:
        return task_of(data)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def task_of(data: Any) -> Task:
    """Build the task that parsed JSON describes."""
    parts = ("rooms", "things", "start", "goal")
    top = _fields(data, "the world", known=parts, needed=parts)
    rooms = _fields(top["rooms"], "rooms")
    if not rooms:
        raise DataError("rooms is empty; a home has at least one room")
    places = _Places(tuple(rooms))
    doors: list[list[int]] = [[] for _ in rooms]
    names = []
    for number, (name, room) in enumerate(rooms.items()):
        where = f"rooms.{name}"
        fields = _fields(room, where, known=("zh", "doors", "furniture"))
        names.append(Named(name, _chinese(name, fields, ROOMS, where)))
        for other in _list(fields.get("doors", []), f"{where}.doors"):
            there = _one_of(other, places.rooms, f"{where}.doors")
            if there == number:
                raise DataError(f"{where}.doors: a door of {name!r} leads back into it")
            for a, b in ((number, there), (there, number)):
                if b not in doors[a]:
                    doors[a].append(b)
        for item in _list(fields.get("furniture", []), f"{where}.furniture"):
            places.add(number, item, f"{where}.furniture")
    _distinct(names, "rooms")
    things, state = _things(top["things"], places)
    start = state._replace(room=_one_of(top["start"], places.rooms, "start"))
    home = Home(tuple(names), tuple(map(tuple, doors)), tuple(places.furniture), tuple(things))
    task = Task(home, start, _wishes(top["goal"], places, things))
    if task.is_reached(start):
        raise DataError("goal: it holds at the start already; there would be nothing to do")
    if not shortest_plan(task):
        raise DataError(
            "goal: no actions lead to it; look for a room without a door, or a treatment that nothing gives"
        )
    return task


class _Places:
    """The furniture found so far, by ROOM/NAME, with its open and on states."""

    def __init__(self, rooms: Sequence[str]) -> None:
        self.rooms = rooms
        self.furniture: list[Furniture] = []
        self.names: list[str] = []
        self.opened = self.on = 0

    def add(self, room: int, item: Any, where: str) -> None:
        """Add a piece of furniture to a room. Raises DataError if it is unknown, or has a state that it cannot have."""
        fields = {"name": item} if isinstance(item, str) else _fields(item, where, needed=("name",))
        name = _text(fields["name"], f"{where}.name")
        where = f"{where}.{name}"
        _fields(fields, where, known=("name", "zh", "like", "open", "on"))
        like = _text(fields.get("like", name), f"{where}.like")
        if like not in FURNITURE:
            raise DataError(f"{where}: {like!r} is no known furniture; {did_you_mean(like, FURNITURE)}")
        kind = replace(FURNITURE[like], en=name, zh=_chinese(name, fields, FURNITURE, where))
        _distinct([*(piece.kind for piece in self.furniture if piece.room == room), kind], where)
        bit = 1 << len(self.furniture)
        for field, can in (("open", kind.opens), ("on", kind.is_device)):
            if field in fields and not can:
                raise DataError(f"{where}: a {name} is never {field!r}")
        self.opened |= bit * _flag(fields.get("open", False), f"{where}.open")
        self.on |= bit * _flag(fields.get("on", False), f"{where}.on")
        self.furniture.append(Furniture(kind, room))
        self.names.append(f"{self.rooms[room]}/{name}")

    def find(self, path: Any, where: str, *, holds: bool = True) -> int:
        """Return the furniture at ROOM/NAME; with `holds`, only one that things can lie on or in."""
        number = _one_of(path, self.names, where)
        if holds and self.furniture[number].kind.is_device:
            raise DataError(f"{where}: nothing can lie on {path!r}, which is a device")
        return number


def _things(data: Any, places: _Places) -> tuple[list[ThingKind], State]:
    """Read the things and their state; one may be at "hand"."""
    things: list[ThingKind] = []
    at: list[int] = []
    conditions = dict.fromkeys(CONDITIONS, 0)
    for item in _list(data, "things"):
        fields = _fields(item, "things", needed=("name", "at"))
        name = _text(fields["name"], "things.name")
        where = f"things.{name}"
        _fields(fields, where, known=("name", "zh", "takes", "at", "is"))
        takes = tuple(_list(fields.get("takes", THINGS[name].takes if name in THINGS else ()), f"{where}.takes"))
        for verb in takes:
            _one_of(verb, tuple(TREATMENTS), f"{where}.takes")
        things.append(ThingKind(name, _chinese(name, fields, THINGS, where), takes))
        at.append(HELD if fields["at"] == HAND else places.find(fields["at"], f"{where}.at"))
        for condition in _list(fields.get("is", []), f"{where}.is"):
            _one_of(condition, CONDITIONS, f"{where}.is")
            conditions[condition] |= 1 << len(things) - 1
    _distinct(things, "things")
    if at.count(HELD) > 1:
        raise DataError(f"things: {at.count(HELD)} of them are at {HAND!r}; there is one hand")
    both = conditions["hot"] & conditions["cold"]
    if both:
        raise DataError(f"things.{things[both.bit_length() - 1].en}.is: nothing is hot and cold")
    return things, State(0, tuple(at), places.opened, places.on, **conditions)


def _wishes(data: Any, places: _Places, things: Sequence[ThingKind]) -> tuple[Wish, ...]:
    """Read the goal as wishes. Raises DataError, which names a wish that is malformed."""
    wishes = []
    for number, item in enumerate(_list(data, "goal"), start=1):
        where = f"goal, wish {number}"
        fields = _fields(item, where, known=("thing", "furniture", "at", "is"))
        match sorted(fields):
            case ["at", "thing"]:
                thing = _one_of(fields["thing"], [t.en for t in things], f"{where}: thing")
                wishes.append(Wish("at", thing, places.find(fields["at"], f"{where}: at")))
            case ["is", "thing"]:
                thing = _one_of(fields["thing"], [t.en for t in things], f"{where}: thing")
                kind = CONDITIONS[_one_of(fields["is"], CONDITIONS, f"{where}: is")]
                wishes.append(Wish(kind, thing))  # type: ignore[arg-type]
            case ["furniture", "is"]:
                furniture = places.find(fields["furniture"], f"{where}: furniture", holds=False)
                is_device = places.furniture[furniture].kind.is_device
                states = ("on", "off") if is_device else ("open", "closed")
                kind = states[_one_of(fields["is"], states, f"{where}: is")]
                wishes.append(Wish(kind, furniture))  # type: ignore[arg-type]
            case _:
                raise DataError(
                    f"{where} has {', '.join(sorted(fields)) or 'nothing'}; expected thing and at, thing and is, "
                    f"or furniture and is"
                )
    if not wishes:
        raise DataError("goal is empty; at least one wish is needed")
    return tuple(wishes)


# What may stand where ------------------------------------------------------------------------------------------------


def _fields(data: Any, where: str, *, known: Sequence[str] = (), needed: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return an object that has the needed fields, and no others than the known ones if any are given."""
    if not isinstance(data, Mapping):
        raise DataError(f"{where} is {data!r}; expected an object")
    for key in data:
        if known and key not in known:
            raise DataError(f"{where} has an unknown field {key!r}; {did_you_mean(key, known)}")
    missing = [key for key in needed if key not in data]
    if missing:
        raise DataError(f"{where} lacks {', '.join(missing)}")
    return data


def _list(data: Any, where: str) -> Sequence[Any]:
    """Return `data` if it is a list. Raises DataError, which says where, if it is none."""
    if not isinstance(data, (list, tuple)):
        raise DataError(f"{where} is {data!r}; expected a list")
    return data


def _text(data: Any, where: str) -> str:
    """Return `data` if it is a text that is not blank. Raises DataError, which says where, if it is none."""
    if not isinstance(data, str) or not data.strip():
        raise DataError(f"{where} is {data!r}; expected a word or two")
    return data


def _flag(data: Any, where: str) -> bool:
    """Return `data` if it is true or false. Raises DataError, which says where, if it is neither."""
    if not isinstance(data, bool):
        raise DataError(f"{where} is {data!r}; expected true or false")
    return data


def _one_of(name: Any, known: Sequence[str], where: str) -> int:
    """Return the number of a name among the known ones."""
    if name not in known:
        raise DataError(f"{where}: {name!r} is not there; {did_you_mean(str(name), known)}")
    return known.index(name)


def _chinese(name: str, fields: Mapping[str, Any], known: Mapping[str, Named], where: str) -> str:
    """Return the Chinese name: the given one, the known one, or else the same name."""
    return _text(fields["zh"], f"{where}.zh") if "zh" in fields else known[name].zh if name in known else name


def _distinct(named: Sequence[Named], where: str) -> None:
    """Raise DataError if two have the same name in either language: an action could mean both."""
    for language in LANGUAGES:
        names = [n.name(language) for n in named]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"{where}: two are called {name!r}; give one of them another name")
