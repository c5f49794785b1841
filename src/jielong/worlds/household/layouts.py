"""Homes and goals drawn by a seed, in a training part and a test part that share no layout, held-out thing or sentence.

Which part a home belongs to is decided by the digest of its rooms, doors and furniture: a home of the test part can
never be drawn in the training part, whatever the seed. Goals of the test part are about held-out things, in held-out
sentences.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from jielong.errors import ConfigError
from jielong.runs import derive_seed, digest
from jielong.worlds.household.goals import num_phrasings
from jielong.worlds.household.rules import HELD, TREATMENTS, Furniture, Home, State, Task, Wish, WishKind
from jielong.worlds.household.things import (
    CLEAN,
    COOL,
    FURNITURE,
    HEAT,
    HELD_OUT,
    LANGUAGES,
    ROOMS,
    THINGS,
    FurnitureKind,
    Named,
    Part,
    ThingKind,
    made_up_thing,
    things_of,
)

MOST_ROOMS = 5
TEST_SHARE = 5
"""One home in so many is of the test part."""

KINDS = {"put": 3, "treat": 4, "two": 2, "close": 1, "switch": 1}
"""Kinds of goals and how often each is drawn."""
LESSON_KINDS = {"put": 2, "treat": 5, "two": 4, "close": 2, "switch": 1}
"""How often each is drawn in lessons: those of several steps more often than in the exam."""


def draw_task(seed: int, *, rooms: int = 3, part: Part = "train", kinds: Mapping[str, int] = KINDS) -> Task:
    """Draw the task of this seed in a home of 1 to 5 rooms. The same seed is the same task in every language.

    `kinds` weighs the kinds of goals.
    """
    if not 1 <= rooms <= MOST_ROOMS:
        raise ConfigError(f"a household of {rooms} rooms was asked for; it has 1 to {MOST_ROOMS}")
    rng = random.Random(derive_seed(seed, "household", rooms, part))
    while True:
        task = _try_to_draw(rng, rooms, part, kinds)
        if task is not None:
            return task


def part_of(home: Home) -> Part:
    """Return the part that a home belongs to."""
    names = [room.en for room in home.rooms]
    furniture = [(piece.kind.en, piece.room) for piece in home.furniture]
    return "test" if int(digest([names, home.doors, furniture])[:8], 16) % TEST_SHARE == 0 else "train"


def _try_to_draw(rng: random.Random, rooms: int, part: Part, kinds: Mapping[str, int]) -> Task | None:
    """Draw a task, or None if the home drawn is not of this part."""
    home = Home(*_draw_plan(rng, rooms), ())
    if part_of(home) != part:
        return None
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    wanted = _goal_things(rng, kind, part)
    things = [*wanted, *_other_things(rng, part)]
    if any(len({thing.name(language) for thing in things}) < len(things) for language in LANGUAGES):
        return None
    order = rng.sample(range(len(things)), len(things))
    home = replace(home, things=tuple(things[i] for i in order))
    numbers = [order.index(i) for i in range(len(wanted))]
    start = _draw_start(rng, home)
    wishes = _draw_wishes(rng, kind, home, start, numbers)
    if wishes is None:
        return None
    task = Task(home, start, wishes, rng.randrange(num_phrasings(part, kind)), part)
    # whoever is to bring two things begins with neither in its place
    is_begun = any(wish.holds(start) for wish in wishes) if kind == "two" else task.is_reached(start)
    return None if is_begun else task


def _draw_plan(
    rng: random.Random, rooms: int
) -> tuple[tuple[Named, ...], tuple[tuple[int, ...], ...], tuple[Furniture, ...]]:
    """Draw rooms joined by doors (a tree, and sometimes a door more), and their furniture."""
    names = rng.sample(list(ROOMS.values()), rooms)
    doors: list[set[int]] = [set() for _ in names]
    pairs = [(room, rng.randrange(room)) for room in range(1, rooms)]
    if rooms > 2 and rng.random() < 0.3:
        pairs.append((rooms - 1, rng.randrange(rooms - 1)))
    for a, b in pairs:
        doors[a].add(b)
        doors[b].add(a)
    storage = [kind for kind in FURNITURE.values() if not kind.does and not kind.is_device]
    stands: list[list[FurnitureKind]] = [rng.sample(storage, rng.choice((1, 2, 2, 3))) for _ in names]
    for does in (CLEAN, HEAT, COOL):
        rng.choice(stands).append(rng.choice([kind for kind in FURNITURE.values() if kind.does == does]))
    devices = [kind for kind in FURNITURE.values() if kind.is_device]
    for kind in rng.sample(devices, rng.choice((1, 1, 2))):
        rng.choice(stands).append(kind)
    furniture = []
    for room, kinds in enumerate(stands):
        furniture += [Furniture(kind, room) for kind in rng.sample(kinds, len(kinds))]
    return tuple(names), tuple(tuple(rng.sample(sorted(d), len(d))) for d in doors), tuple(furniture)


def _goal_things(rng: random.Random, kind: str, part: Part) -> list[ThingKind]:
    """Draw the things that the goal is about: held-out ones in the test part; in the training part often made-up ones."""
    if kind == "switch":
        return []
    known = [thing for name, thing in THINGS.items() if (name in HELD_OUT) == (part == "test")]
    if part == "train" and rng.random() < 0.8:
        known = [made_up_thing(rng) for _ in range(8)]
    if kind == "treat":
        known = [thing for thing in known if thing.takes]
    return rng.sample(known, min(len(known), 2 if kind == "two" else 1))


def _other_things(rng: random.Random, part: Part) -> list[ThingKind]:
    """Draw things that are not wanted, of a part's own; in the training part some with made-up names."""
    known = things_of(part)
    if part == "train":
        known += [made_up_thing(rng) for _ in range(2 * len(known))]
    return rng.sample(known, rng.randint(2, 4))


def _draw_start(rng: random.Random, home: Home) -> State:
    """Draw the start: things lie anywhere, most containers are closed, what can be dirty mostly is; now and then one is
    in the hand.
    """
    holders = [f for f, piece in enumerate(home.furniture) if not piece.kind.is_device]
    places = [rng.choice(holders) for _ in home.things]
    if rng.random() < 0.1:
        places[rng.randrange(len(places))] = HELD

    def some(chance: float, numbers: range) -> int:
        return sum(1 << n for n in numbers if rng.random() < chance)

    furniture = range(len(home.furniture))
    opened = some(0.2, furniture) & sum(1 << f for f in furniture if home.furniture[f].kind.opens)
    on = some(0.5, furniture) & sum(1 << f for f in furniture if home.furniture[f].kind.is_device)
    washable = sum(1 << t for t, thing in enumerate(home.things) if CLEAN in thing.takes)
    clean = some(0.3, range(len(home.things))) & washable
    return State(rng.randrange(len(home.rooms)), tuple(places), opened, on, clean)


def _draw_wishes(rng: random.Random, kind: str, home: Home, start: State, things: list[int]) -> tuple[Wish, ...] | None:
    """Draw the wishes of a goal, or None if this home has nothing for it."""
    if kind == "switch":
        device = rng.choice([f for f, piece in enumerate(home.furniture) if piece.kind.is_device])
        return (Wish("off" if start.on >> device & 1 else "on", device),)
    ends = [
        f
        for f, piece in enumerate(home.furniture)
        if not piece.kind.is_device and piece.kind.does != CLEAN and (piece.kind.opens or kind != "close")
    ]
    if not ends or not things:
        return None
    end = rng.choice(ends)
    at = tuple(Wish("at", thing, end) for thing in things)
    if kind == "close":
        return (*at, Wish("closed", end))
    if kind == "treat":
        state: WishKind = TREATMENTS[rng.choice(home.things[things[0]].takes)]
        return None if Wish(state, things[0]).holds(start) else (Wish(state, things[0]), *at)
    return at
