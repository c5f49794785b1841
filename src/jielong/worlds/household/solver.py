"""Planners: the shortest plan with full knowledge, and a seeker that has to look around first.

The solver knows the whole home and gives the fewest actions that reach a goal. The seeker knows what it has seen: it
searches rooms and containers, remembers, and fulfils wishes as soon as it can. The seeker's behaviour can be learned
from its observations; that is why demonstrations are made by it.
"""

from __future__ import annotations

from typing import NamedTuple

from jielong.worlds.household.rules import (
    FINISH,
    HELD,
    OF_THINGS,
    TREATMENTS,
    Action,
    State,
    Task,
    Wish,
    actions,
    apply_action,
    shortest_path,
)

_VERBS = {made: verb for verb, made in TREATMENTS.items()}


def shortest_plan(task: Task, start: State | None = None) -> list[Action]:
    """Return the fewest actions from `start` (or the task's own) to the goal, "finish" at the end. Returns an empty
    list if there is no way.

    Breadth first over the actions that can matter. If another thing has to leave the hand, its place does not matter:
    one that is open is as good as the next.
    """
    start = task.start if start is None else start
    relevant = _Relevant(task, start)
    before: dict[State, tuple[State, Action] | None] = {start: None}
    queue = [start]
    for state in queue:
        if task.is_reached(state):
            plan = [FINISH]
            while (step := before[state]) is not None:
                state, action = step
                plan.append(action)
            return plan[::-1]
        for action in relevant.actions(state):
            new = apply_action(state, action)
            if new not in before:
                before[new] = (state, action)
                queue.append(new)
    return []


class _Relevant:
    """Selects the actions in a state that a shortest plan may need."""

    def __init__(self, task: Task, start: State) -> None:
        self.home = task.home
        self.things = {w.subject for w in task.wishes if w.kind in OF_THINGS}
        self.ends = {w.subject: w.place for w in task.wishes if w.kind == "at"}
        self.treatments = {(_VERBS[w.kind], w.subject) for w in task.wishes if w.kind in _VERBS}
        self.furniture = {w.subject for w in task.wishes if w.kind not in OF_THINGS}
        self.opened = self.furniture | set(self.ends.values()) | {start.places[t] for t in self.things}

    def actions(self, state: State) -> list[Action]:
        """Return the allowed actions that may be part of a shortest plan."""
        allowed = actions(self.home, state)
        puts = [a for a in allowed if a.verb == "put"]
        found = []
        for action in allowed:
            verb, thing, place = action
            match verb:
                case "go":
                    is_useful = True
                case "open":
                    is_useful = place in self.opened or (state.held >= 0 and not puts)
                case "close" | "on" | "off":
                    is_useful = place in self.furniture
                case "take":
                    is_useful = thing in self.things
                case "put":
                    is_useful = self.ends.get(thing) == place or action == puts[0]
                case _:
                    is_useful = (verb, thing) in self.treatments
            if is_useful:
                found.append(action)
        return found


class Why(NamedTuple):
    """The purpose of an action: to "search" a thing, to "fetch" it from a place, to find the "means" of a treatment, to
    "treat" or "bring" it at a place, to make a "full" hand empty, to "set" furniture, or nothing, as all is "done".
    """

    kind: str
    thing: int = -1
    place: int = -1
    state: str = ""
    """What the thing or the furniture is to be."""


class Note(NamedTuple):
    """The progress of one part of the goal: a thing, a state that a thing is to be in, or furniture and its state.

    `progress` is "unseen", "hand" (the thing is in it), "done", or "seen": then `place` is the thing's furniture, or
    that which gives the state; of wanted furniture, itself, in any state.
    """

    progress: str
    thing: int = -1
    place: int = -1
    state: str = ""


class Notes(NamedTuple):
    """The memory of the seeker: each part of the goal, and the rooms that were visited, the first one first.

    In those of `closed` something is closed that it has not looked into.
    """

    wanted: tuple[Note, ...]
    rooms: tuple[int, ...]
    closed: frozenset[int]


class Seeker:
    """A policy that knows only what it has seen; asked in each state for the next action, and `why`."""

    def __init__(self, task: Task) -> None:
        self.task, self.home = task, task.home
        self._visited: dict[int, None] = {}
        """Rooms, the first one first."""
        self._looked: set[int] = set()
        """Furniture whose content it has seen."""
        self.why = Why("done")

    def next_action(self, state: State) -> Action:
        """Return the next action, or "finish" if nothing is left to do, or nothing can be done."""
        self._remember_room(state)
        for wish in self.task.wishes:
            if wish.kind in OF_THINGS and not wish.holds(state):
                return self._treat_or_bring(state, wish.subject)
        for wish in self.task.wishes:
            if not wish.holds(state):
                return self._set(state, wish)
        self.why = Why("done")
        return FINISH

    def notes(self, state: State) -> Notes:
        """Return its memory after seeing this state."""
        subjects = dict.fromkeys(wish.subject for wish in self.task.wishes if wish.kind in OF_THINGS)
        wanted = [note for thing in subjects for note in self._notes_on_thing(state, thing)]
        settings = (wish for wish in self.task.wishes if wish.kind not in OF_THINGS)
        wanted += [Note("seen", place=wish.subject, state=wish.kind) for wish in settings]
        return Notes(tuple(wanted), tuple(self._visited), frozenset(filter(self._unopened, self._visited)))

    def _notes_on_thing(self, state: State, thing: int) -> list[Note]:
        """Return the notes on a thing: its place, then the states that it is to be in."""
        wishes = [w for w in self.task.wishes if w.kind in OF_THINGS and w.subject == thing]
        place = state.places[thing]
        if all(wish.holds(state) for wish in wishes):
            return [Note("done", thing)]
        progress = "hand" if place == HELD else "seen" if place in self._looked else "unseen"
        notes = [Note(progress, thing, place)]
        for wish in wishes:
            if wish.kind != "at":
                tools = self._known_tools(state, wish)
                progress = "done" if wish.holds(state) else "seen" if tools else "unseen"
                notes.append(Note(progress, thing, tools[0] if tools else -1, wish.kind))
        return notes

    def _known_tools(self, state: State, wish: Wish) -> list[int]:
        """Return furniture in known rooms that fulfils the wish, that in this room first."""
        verb = _VERBS[wish.kind]
        tools = [f for f, piece in enumerate(self.home.furniture) if piece.kind.does == verb]
        known = [f for f in tools if self.home.furniture[f].room in self._visited]
        return sorted(known, key=lambda f: not self._is_here(state, f))

    def _remember_room(self, state: State) -> None:
        """Remember this room as visited and its open furniture as searched."""
        self._visited[state.room] = None
        for f in self.home.in_room[state.room]:
            if not self.home.furniture[f].kind.opens or state.opened >> f & 1:
                self._looked.add(f)

    def _treat_or_bring(self, state: State, thing: int) -> Action:
        """Return the action that brings the first unfulfilled wish about this thing nearer."""
        place = state.places[thing]
        if place != HELD:
            if place not in self._looked:
                self.why = Why("search", thing)
                return self._search(state)
            if state.held >= 0 and self._is_here(state, place):
                self.why = Why("full", state.held)
                return self._put_down(state)
            self.why = Why("fetch", thing, place)
            return self._at(state, place, Action("take", thing))
        open_wishes = [w for w in self.task.wishes if w.subject == thing and w.kind in OF_THINGS and not w.holds(state)]
        wish = min(open_wishes, key=lambda w: w.kind == "at")  # brought last, or it would be taken away again
        if wish.kind == "at":
            self.why = Why("bring", thing, wish.place)
            return self._at(state, wish.place, Action("put", thing, wish.place))
        tools = self._known_tools(state, wish)
        if not tools:
            self.why = Why("means", thing, state=wish.kind)
            return self._explore(state)
        self.why = Why("treat", thing, tools[0], wish.kind)
        if not self._is_here(state, tools[0]):
            return self._go_towards(state, {self.home.furniture[f].room for f in tools})
        return Action(_VERBS[wish.kind], thing, tools[0])

    def _set(self, state: State, wish: Wish) -> Action:
        """Return the action that opens, closes or switches furniture as wished, or goes there."""
        verb = {"open": "open", "closed": "close", "on": "on", "off": "off"}[wish.kind]
        room = self.home.furniture[wish.subject].room
        self.why = Why("set", place=wish.subject, state=wish.kind)
        return Action(verb, -1, wish.subject) if room == state.room else self._go_towards(state, {room})

    def _at(self, state: State, furniture: int, action: Action) -> Action:
        """Return the action at that furniture, or the step before it: to go there, to open it."""
        piece = self.home.furniture[furniture]
        if piece.room != state.room:
            return self._go_towards(state, {piece.room})
        is_shut = piece.kind.opens and not state.opened >> furniture & 1
        return Action("open", -1, furniture) if is_shut else action

    def _put_down(self, state: State) -> Action:
        """Empty the hand onto the nearest open furniture."""
        for action in actions(self.home, state):
            if action.verb == "put":
                return action
        holders = [f for f, piece in enumerate(self.home.furniture) if not piece.kind.is_device]
        for f in holders:
            if self._is_here(state, f):
                return Action("open", -1, f)
        rooms = {self.home.furniture[f].room for f in holders} & self._visited.keys()
        return self._go_towards(state, rooms) if rooms else self._explore(state)

    def _search(self, state: State) -> Action:
        """Open what is closed here, or else look further: in rooms not seen yet, then where something is still
        closed.
        """
        for f in self._unopened(state.room):
            return Action("open", -1, f)
        action = self._explore(state)
        rooms = {r for r in self._visited if self._unopened(r)}
        return self._go_towards(state, rooms) if action == FINISH and rooms else action

    def _unopened(self, room: int) -> list[int]:
        here = self.home.in_room[room]
        return [f for f in here if self.home.furniture[f].kind.opens and f not in self._looked]

    def _explore(self, state: State) -> Action:
        """Go towards the nearest room that it has not been in. Returns "finish" if there is none."""
        rooms = {r for room in self._visited for r in self.home.doors[room]} - self._visited.keys()
        return self._go_towards(state, rooms) if rooms else FINISH

    def _go_towards(self, state: State, rooms: set[int]) -> Action:
        """Return the action that goes one door nearer to the nearest of the rooms, through rooms that it has seen;
        explore if no way is known.
        """
        doors = [self.home.doors[r] if r in self._visited else () for r in range(len(self.home.rooms))]
        steps = shortest_path(state.room, rooms, doors)
        return Action("go", -1, steps[0]) if steps else self._explore(state)

    def _is_here(self, state: State, furniture: int) -> bool:
        return self.home.furniture[furniture].room == state.room
