"""The laws of the household, without words of any language: positions, possible actions, and their effects.

Rooms, furniture and things are numbers here. A `State` is a small tuple, so that a search can hold thousands of them;
an action is allowed or refused for one reason, and an allowed one gives a new state. The actor has one hand.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from jielong.worlds.household.things import CLEAN, COOL, HEAT, FurnitureKind, Named, Part, ThingKind

HELD = -1
"""The place of a thing that is in the hand."""


class State(NamedTuple):
    """The state of a home. The numbers after `places` are sets: bit n stands for furniture n, or for thing n."""

    room: int
    places: tuple[int, ...]
    """Of each thing: the number of its furniture, or HELD."""
    opened: int = 0
    on: int = 0
    clean: int = 0
    hot: int = 0
    cold: int = 0

    @property
    def held(self) -> int:
        """Return the thing in the hand, or -1."""
        return self.places.index(HELD) if HELD in self.places else -1


class Action(NamedTuple):
    """A deed. `place` is a room for "go" and furniture otherwise, -1 if there is nothing to name.

    Things are taken from where they are, so "take" names no place.
    """

    verb: str
    thing: int = -1
    place: int = -1


FINISH = Action("finish")

WishKind = Literal["at", "clean", "hot", "cold", "open", "closed", "on", "off"]
OF_THINGS: tuple[WishKind, ...] = ("at", "clean", "hot", "cold")
TREATMENTS: dict[str, WishKind] = {CLEAN: "clean", HEAT: "hot", COOL: "cold"}
"""What a treatment makes of a thing."""


@dataclass(frozen=True)
class Wish:
    """One thing that a goal asks for. `subject` is a thing for those of `OF_THINGS`, and furniture otherwise."""

    kind: WishKind
    subject: int
    place: int = -1
    """For "at": the furniture."""

    def holds(self, state: State) -> bool:
        """Whether the wish is fulfilled in a state."""
        bit = 1 << self.subject
        match self.kind:
            case "at":
                return state.places[self.subject] == self.place
            case "clean" | "hot" | "cold":
                return bool(getattr(state, self.kind) & bit)
            case "open" | "closed":
                return bool(state.opened & bit) == (self.kind == "open")
        return bool(state.on & bit) == (self.kind == "on")


@dataclass(frozen=True)
class Furniture:
    """A piece of furniture, or a device, and the room it stands in."""

    kind: FurnitureKind
    room: int


@dataclass(frozen=True)
class Home:
    """The fixed part of a home: rooms, the rooms behind their doors, furniture, and things."""

    rooms: tuple[Named, ...]
    doors: tuple[tuple[int, ...], ...]
    furniture: tuple[Furniture, ...]
    things: tuple[ThingKind, ...]

    @cached_property
    def in_room(self) -> tuple[tuple[int, ...], ...]:
        """Return the furniture of each room."""
        numbers = range(len(self.furniture))
        return tuple(tuple(f for f in numbers if self.furniture[f].room == r) for r in range(len(self.rooms)))


@dataclass(frozen=True)
class Task:
    """A home, its state at the beginning, and the wishes. `phrasing` picks the sentence that states the goal."""

    home: Home
    start: State
    wishes: tuple[Wish, ...]
    phrasing: int = 0
    part: Part = "train"

    def is_reached(self, state: State) -> bool:
        return all(wish.holds(state) for wish in self.wishes)


def actions(home: Home, state: State) -> list[Action]:
    """Return all actions that can be done now, in a fixed order; to finish is the last."""
    held = state.held
    found: list[Action] = []
    for f in home.in_room[state.room]:
        kind = home.furniture[f].kind
        if kind.is_device:
            found.append(Action("off" if state.on >> f & 1 else "on", -1, f))
            continue
        if kind.opens:
            found.append(Action("close" if state.opened >> f & 1 else "open", -1, f))
        if held >= 0:
            if kind.does:
                found.append(Action(kind.does, held, f))
            found.append(Action("put", held, f))
        else:
            found += [Action("take", t) for t, place in enumerate(state.places) if place == f]
    found = [action for action in found if not refusal(home, state, action)]
    found += [Action("go", -1, room) for room in home.doors[state.room]]
    found.append(FINISH)
    return found


def all_actions(home: Home) -> list[Action]:
    """Return every action that can be named in this home, whether or not it can ever be done."""
    furniture, things = range(len(home.furniture)), range(len(home.things))
    verbs = ("put", *TREATMENTS)
    return [
        *(Action("go", -1, room) for room in range(len(home.rooms))),
        *(Action("take", t) for t in things),
        *(Action(verb, -1, f) for f in furniture for verb in ("open", "close", "on", "off")),
        *(Action(verb, t, f) for f in furniture for t in things for verb in verbs),
        FINISH,
    ]


def refusal(home: Home, state: State, action: Action) -> str:
    """Return the code of why an action cannot be done now, which `wording` makes a sentence of, or "" if it can."""
    verb, thing, place = action
    if verb == "finish":
        return ""
    if verb == "go":
        return "" if place in home.doors[state.room] else "no_door"
    if verb == "take":
        place = state.places[thing]
        if place == HELD:
            return "already"
        if home.furniture[place].room != state.room or (
            home.furniture[place].kind.opens and not state.opened >> place & 1
        ):
            return "not_seen"
        return "hand_full" if HELD in state.places else ""
    if home.furniture[place].room != state.room:
        return "not_here"
    kind = home.furniture[place].kind
    is_open = bool(state.opened >> place & 1)
    match verb:
        case "open" | "close":
            return "cannot" if not kind.opens else "already" if is_open == (verb == "open") else ""
        case "on" | "off":
            is_on = bool(state.on >> place & 1)
            return "cannot" if not kind.is_device else "already" if is_on == (verb == "on") else ""
        case "put":
            if kind.is_device:
                return "cannot"
            if kind.opens and not is_open:
                return "closed"
            return "" if state.places[thing] == HELD else "not_held"
    if kind.does != verb or verb not in home.things[thing].takes:
        return "cannot"
    if state.places[thing] != HELD:
        return "not_held"
    return "already" if getattr(state, TREATMENTS[verb]) >> thing & 1 else ""


def apply_action(state: State, action: Action) -> State:
    """Return the state after an action that is allowed."""
    verb, thing, place = action
    match verb:
        case "go":
            return state._replace(room=place)
        case "open" | "close":
            return state._replace(opened=state.opened ^ 1 << place)
        case "on" | "off":
            return state._replace(on=state.on ^ 1 << place)
        case "take":
            return _moved(state, thing, HELD)
        case "put":
            return _moved(state, thing, place)
        case "clean":
            return state._replace(clean=state.clean | 1 << thing)
        case "heat":
            return state._replace(hot=state.hot | 1 << thing, cold=state.cold & ~(1 << thing))
        case "cool":
            return state._replace(cold=state.cold | 1 << thing, hot=state.hot & ~(1 << thing))
    return state


def _moved(state: State, thing: int, place: int) -> State:
    places = state.places
    return state._replace(places=(*places[:thing], place, *places[thing + 1 :]))


def shortest_path(start: int, ends: Collection[int], doors: Sequence[Sequence[int]]) -> list[int]:
    """Return the rooms after `start` on a shortest way to the nearest of `ends`, by doors in their order; none if none
    leads there.
    """
    before = {start: start}
    queue = [start]
    for room in queue:
        if room in ends:
            rooms = []
            while room != start:
                rooms.append(room)
                room = before[room]
            return rooms[::-1]
        for next_room in doors[room]:
            if next_room not in before:
                before[next_room] = room
                queue.append(next_room)
    return []
