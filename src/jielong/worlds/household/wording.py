"""The household in words: observations, actions, refusals and goals.

The two languages say the same. A goal is worded by one of several sentences; those of the test part are no sentences of
the training part. The words for deeds occur in both: a model that has never read "heat" cannot know what it means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jielong.worlds.household.goals import phrase_goal
from jielong.worlds.household.phrases import CLAUSES, REFUSALS, SAYINGS
from jielong.worlds.household.rules import OF_THINGS, TREATMENTS, Action, Home, State, Task, Wish
from jielong.worlds.household.solver import Note, Notes, Why
from jielong.worlds.household.things import CLEAN


def describe(home: Home, state: State, language: str) -> str:
    """Describe a state: the room, the hand, what is seen here, and where the doors lead."""
    say = SAYINGS[language]
    held = state.held
    hand = appearance(home, state, held, language) if held >= 0 else say["nothing"]
    sentences = [say["here"].format(room=home.rooms[state.room].name(language), hand=hand)]
    for f in home.in_room[state.room]:
        kind = home.furniture[f].kind
        is_open = state.opened >> f & 1
        if kind.is_device:
            form = "on" if state.on >> f & 1 else "off"
        elif kind.opens:
            form = "opened" if is_open else "closed"
        else:
            form = "inside" if kind.is_inside else "upon"
        there = ""
        if not kind.is_device and (is_open or not kind.opens):
            shown = [appearance(home, state, t, language) for t, place in enumerate(state.places) if place == f]
            there = say["comma"].join(shown) or say["nothing"]
        sentences.append(say[form].format(place=kind.name(language), things=there))
    if home.doors[state.room]:
        rooms = (home.rooms[room].name(language) for room in home.doors[state.room])
        sentences.append(say["doors"].format(rooms=say["comma"].join(rooms)))
    return say["space"].join(sentences)


def appearance(home: Home, state: State, thing: int, language: str) -> str:
    """Return a thing as it looks: "hot dirty plate"."""
    say, kind, bit = SAYINGS[language], home.things[thing], 1 << thing
    warmth = say["hot"] if state.hot & bit else say["cold"] if state.cold & bit else ""
    dirt = (say["clean"] if state.clean & bit else say["dirty"]) if CLEAN in kind.takes else ""
    return warmth + dirt + kind.name(language)


def action_text(home: Home, action: Action, language: str) -> str:
    """Return an action as it is written: "put the cup on the shelf"."""
    say = SAYINGS[language]
    if action.verb == "finish":
        return say["finish"]
    if action.verb == "go":
        return say["go"].format(room=home.rooms[action.place].name(language))
    kind = home.furniture[action.place].kind
    place = say["in" if kind.is_inside else "upon_place"].format(place=kind.name(language))
    thing = home.things[action.thing].name(language) if action.thing >= 0 else ""
    return say[f"do_{action.verb}"].format(thing=thing, place=place, furniture=kind.name(language))


def notes_text(home: Home, state: State, notes: Notes, language: str) -> str:
    """Write the seeker's notes: the hand, what is here, the progress of each wish, rooms visited, and new doors.

    Everything here is named whether it is wanted or not: whether a wanted thing is there is then read from a short
    list. A name comes before what is said of it, so that what is said can be looked up.
    """
    say = SAYINGS[language]

    def listed(rooms: Iterable[tuple[int, str]]) -> str:
        names = ((home.rooms[room].name(language), mark) for room, mark in rooms)
        parts = (say["noted"].format(subject=name, where=say[mark]) if mark else name for name, mark in names)
        return say["comma"].join(parts) or say["nothing"]

    return say["notes"].format(
        hand=home.things[state.held].name(language) if state.held >= 0 else say["nothing"],
        here=say["comma"].join(_useful_here(home, state, language)) or say["nothing"],
        wanted=_wanted_text(home, notes.wanted, language),
        rooms=listed((room, "note_closed" if room in notes.closed else "") for room in notes.rooms),
        doors=listed((room, "note_been" if room in notes.rooms else "note_new") for room in home.doors[state.room]),
    )


def meaning_text(task: Task, language: str) -> str:
    """Write the meaning of a goal as notes before anything is seen: "Wanted: cup (?), hot (?). The cup belongs on ..."."""
    say, home, wishes = SAYINGS[language], task.home, task.wishes
    notes = []
    for thing in dict.fromkeys(wish.subject for wish in wishes if wish.kind in OF_THINGS):
        states = (wish.kind for wish in wishes if wish.subject == thing and wish.kind in TREATMENTS.values())
        notes += [Note("unseen", thing), *(Note("unseen", thing, state=state) for state in states)]
    notes += [Note("seen", place=wish.subject, state=wish.kind) for wish in wishes if wish.kind not in OF_THINGS]
    belongs = [
        say["belongs"].format(
            thing=home.things[wish.subject].name(language), place=_place_text(home, wish.place, language)
        )
        for wish in wishes
        if wish.kind == "at"
    ]
    return say["space"].join([_wanted_text(home, notes, language), *belongs])


def _wanted_text(home: Home, notes: Sequence[Note], language: str) -> str:
    say = SAYINGS[language]
    return say["wanted"].format(parts=say["comma"].join(_note_text(home, note, language) for note in notes))


def _useful_here(home: Home, state: State, language: str) -> list[str]:
    """Return the names of the treating furniture and of the things that are seen in this room, in the order of
    `describe`.
    """
    names = []
    for f in home.in_room[state.room]:
        kind = home.furniture[f].kind
        names += [kind.name(language)] if kind.does else []
        if not kind.opens or state.opened >> f & 1:
            names += [home.things[t].name(language) for t, place in enumerate(state.places) if place == f]
    return names


def _note_text(home: Home, note: Note, language: str) -> str:
    """Write one note, a part of the goal and its place: "cup (kitchen)", "clean (sink, kitchen)", "fan on (hall)"."""
    say = SAYINGS[language]
    words = []
    if note.place >= 0:
        piece = home.furniture[note.place]
        words = [piece.kind.name(language)] if note.state else []
        words.append(home.rooms[piece.room].name(language))
    match note:
        case Note(thing=-1):
            subject = say["note_set"].format(furniture=words.pop(0), state=say[f"state_{note.state}"])
        case Note(state=""):
            subject = home.things[note.thing].name(language)
        case _:
            subject = say[f"state_{note.state}"]
    where = say["comma"].join(words) if note.progress == "seen" else say[f"note_{note.progress}"]
    return say["noted"].format(subject=subject, where=where)


def thought_text(home: Home, state: State, why: Why, language: str) -> str:
    """Write the purpose of an action as a sentence of thinking aloud: everything it rests on has been seen."""
    say = SAYINGS[language]
    words = {"here": home.rooms[state.room].name(language)}
    if why.thing >= 0:
        words["thing"] = home.things[why.thing].name(language)
    if why.place >= 0:
        piece = home.furniture[why.place]
        words |= {"place": _place_text(home, why.place, language), "furniture": piece.kind.name(language)}
        words["room"] = home.rooms[piece.room].name(language)
    if why.state:
        words["state"] = say[f"state_{why.state}"]
    return say[f"why_{why.kind}"].format(**words)


def refusal_text(reason: str, language: str) -> str:
    """Say why an action cannot be done, as a sentence."""
    return REFUSALS[language][reason]


def goal_text(task: Task, language: str) -> str:
    """State the goal in a sentence: one of those for its kind, or else wish by wish."""
    kind = goal_kind(task.wishes)
    if not kind:
        clauses = (_wish_text(task.home, wish, language) for wish in task.wishes)
        return SAYINGS[language]["make_sure"].format(clauses=SAYINGS[language]["semicolon"].join(clauses))
    return phrase_goal(language, task.part, kind, task.phrasing, _words_of_goal(task.home, task.wishes, language))


def goal_kind(wishes: Sequence[Wish]) -> str:
    """Return the kind of goal that sentences are written for: put, treat, two, close or switch, or "" for any other."""
    kinds = tuple(wish.kind for wish in wishes)
    subjects = [wish.subject for wish in wishes]
    match kinds:
        case ("at",):
            return "put"
        case (("clean" | "hot" | "cold"), "at") if subjects[0] == subjects[1]:
            return "treat"
        case ("at", "at") if wishes[0].place == wishes[1].place:
            return "two"
        case ("at", "closed") if wishes[0].place == subjects[1]:
            return "close"
        case (("on" | "off"),):
            return "switch"
    return ""


def _words_of_goal(home: Home, wishes: Sequence[Wish], language: str) -> dict[str, str]:
    """Return the words for the gaps of goal sentences."""
    first, last, say = wishes[0], wishes[-1], SAYINGS[language]
    furniture = last.subject if last.kind not in OF_THINGS else last.place
    words = {
        "place": _place_text(home, furniture, language),
        "furniture": home.furniture[furniture].kind.name(language),
        "room": home.rooms[home.furniture[furniture].room].name(language),
    }
    for name, wish in (("thing", first), ("other", last)):
        if wish.kind in OF_THINGS:
            words[name] = home.things[wish.subject].name(language)
    if first.kind != "at":
        words |= {"deed": say[f"deed_{first.kind}"], "state": say[f"state_{first.kind}"]}
    return words


def _place_text(home: Home, furniture: int, language: str) -> str:
    """Write the place of a thing: in or on a piece of furniture, and in which room."""
    piece = home.furniture[furniture]
    form = "in_room" if piece.kind.is_inside else "upon_room"
    return SAYINGS[language][form].format(place=piece.kind.name(language), room=home.rooms[piece.room].name(language))


def _wish_text(home: Home, wish: Wish, language: str) -> str:
    """State one wish as a clause."""
    words = _words_of_goal(home, [wish], language)
    return CLAUSES[language]["at" if wish.kind == "at" else "thing" if wish.kind in OF_THINGS else "furniture"].format(
        **words
    )
