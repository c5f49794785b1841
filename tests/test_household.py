"""The household: its laws hold in every home that a seed draws, in both languages, and in homes written by hand."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jielong.errors import ConfigError, DataError
from jielong.worlds.household.files import read_task, task_of
from jielong.worlds.household.game import Household
from jielong.worlds.household.goals import CLOSERS, GOALS, OPENERS, WORDS_THAT_MATTER, phrase_goal
from jielong.worlds.household.guides import seeking, shortest
from jielong.worlds.household.layouts import KINDS, LESSON_KINDS, draw_task, part_of
from jielong.worlds.household.phrases import CLAUSES, REFUSALS, SAYINGS
from jielong.worlds.household.rules import (
    FINISH,
    HELD,
    TREATMENTS,
    Action,
    State,
    Task,
    actions,
    all_actions,
    apply_action,
    refusal,
)
from jielong.worlds.household.solver import shortest_plan
from jielong.worlds.household.things import HELD_OUT, LANGUAGES, THINGS, made_up_thing
from jielong.worlds.household.wording import goal_kind, meaning_text

VERBS = {made: verb for verb, made in TREATMENTS.items()}
TASKS = [draw_task(seed, rooms=1 + seed % 5, part="test" if seed % 2 else "train") for seed in range(100)]


def wander(task: Task, seed: int, steps: int = 30) -> Iterator[State]:
    """States that dice lead to."""
    rng, state = random.Random(seed), task.start
    for _ in range(steps):
        yield state
        state = apply_action(state, rng.choice(actions(task.home, state)))


def test_the_shortest_plan_reaches_the_goal_by_actions_that_can_be_done() -> None:
    for task in TASKS:
        state = task.start
        for action in shortest_plan(task):
            assert action in actions(task.home, state)
            state = apply_action(state, action)
        assert action == FINISH
        assert task.is_reached(state)


def test_no_plan_is_shorter_than_the_shortest() -> None:
    """Against a search through every action there is, in homes small enough for it."""
    compared = 0
    for seed in range(60):
        task = draw_task(seed, rooms=1 + seed % 2)
        depth = {task.start: 0}
        queue = [task.start]
        for state in queue:
            if task.is_reached(state):
                assert len(shortest_plan(task)) == depth[state] + 1
                compared += 1
                break
            if len(queue) > 20_000:
                break
            for action in actions(task.home, state):
                new = apply_action(state, action)
                if new not in depth:
                    depth[new] = depth[state] + 1
                    queue.append(new)
    assert compared > 40


def test_who_has_to_look_around_reaches_every_goal_and_is_never_quicker_than_the_shortest_plan() -> None:
    for number, task in enumerate(TASKS):
        game = Household(LANGUAGES[number % 2])
        game.reset(task)
        texts = seeking(game)
        steps, is_over, reward = 0, False, 0.0
        while not is_over:
            _, is_over, reward = game.step(next(texts))
            steps += 1
        assert reward == 1.0
        assert len(shortest_plan(task)) <= steps <= 40


def test_what_is_admissible_can_be_done_and_everything_else_changes_nothing() -> None:
    for number, task in enumerate(TASKS[:30]):
        game = Household("en")
        seen = game.reset(task)
        rng = random.Random(number)
        everything = [*{game.spell(a) for a in all_actions(task.home)}, "dance", "", "拿起杯子"]
        for _ in range(15):
            before = game.state
            for text in set(everything) - set(seen.admissible):
                refused, is_over, _ = game.step(text)
                assert game.state == before
                assert not is_over
                assert refused.text != seen.text
                assert refused.text.endswith(seen.text)
                assert refused.admissible == seen.admissible
            seen, is_over, _ = game.step(rng.choice(seen.admissible[:-1]))
            assert game.state != before
            assert not is_over


def test_things_are_never_lost_and_the_hand_holds_one() -> None:
    for number, task in enumerate(TASKS):
        for state in wander(task, number):
            assert len(state.places) == len(task.home.things)
            assert state.places.count(HELD) <= 1
            assert not state.hot & state.cold


def test_actions_and_refusals_agree() -> None:
    """What is listed is what is not refused: two ways to say what can be done."""
    for number, task in enumerate(TASKS[:20]):
        every = all_actions(task.home)
        for state in wander(task, number, 10):
            assert set(actions(task.home, state)) == {a for a in every if not refusal(task.home, state, a)}


def test_the_two_languages_are_the_same_world() -> None:
    for number, task in enumerate(TASKS):
        games = [Household(language) for language in LANGUAGES]
        for game in games:
            game.reset(task)
        for state in wander(task, number, 10):
            for game in games:
                game.state = state
            texts = [[game.spell(a) for a in actions(task.home, state)] for game in games]
            assert len(set(texts[0])) == len(set(texts[1])) == len(actions(task.home, state))
        plan = shortest_plan(task)
        for game in games:
            game.reset(task)
            for action in plan:
                _, is_over, reward = game.step(game.spell(action))
            assert is_over
            assert reward == 1.0
        assert games[0].state == games[1].state


def test_the_same_seed_and_actions_give_the_same_texts() -> None:
    def play(seed: int) -> list[str]:
        game, rng = Household("zh", rooms=4), random.Random(seed)
        seen = game.reset(seed)
        texts = [seen.goal, seen.text]
        for _ in range(20):
            seen, _, _ = game.step(rng.choice(seen.admissible[:-1]))
            texts.append(seen.text)
        return texts

    assert play(3) == play(3)
    assert play(3) != play(4)


def test_the_test_part_shares_no_home_no_wanted_thing_and_no_sentence_with_the_training_part() -> None:
    for part in ("train", "test"):
        for seed in range(100):
            task = draw_task(seed, rooms=3, part=part)
            assert part_of(task.home) == part
            wanted = {task.home.things[w.subject].en for w in task.wishes if w.kind == "at"}
            assert wanted <= HELD_OUT if part == "test" else not wanted & HELD_OUT
            if part == "train":
                assert not {thing.en for thing in task.home.things} & HELD_OUT
    for parts in GOALS.values():
        for kind in parts["train"]:
            assert not set(parts["train"][kind]) & set(parts["test"][kind])


def test_no_goal_of_the_training_part_is_put_as_in_the_test_part() -> None:
    """Also where words that matter are strewn with small ones: with the same words in the gaps, not one is the same."""
    gaps = ("thing", "other", "place", "room", "furniture", "deed", "state")
    words = {gap: f"{gap}1" for gap in gaps}

    def plain(text: str) -> str:
        return re.sub(r"[^\w]", "", text.lower())

    for language in LANGUAGES:
        for kind, sentences in GOALS[language]["test"].items():
            held_out = {plain(sentence.format(**words)) for sentence in sentences}
            learned = {plain(phrase_goal(language, "train", kind, number, words)) for number in range(4000)}
            assert len(learned) > 3000, "goals are put in many ways"
            assert not held_out & learned


def test_the_test_part_is_the_exam_that_it_was() -> None:
    """Lessons may change; what is asked of who learned from them may not."""
    found = hashlib.sha256()
    for seed in range(60):
        task = draw_task(seed, rooms=1 + seed % 5, part="test")
        for language in LANGUAGES:
            game = Household(language)
            seen = game.reset(task)
            found.update("\n".join((seen.text, seen.goal, *seen.admissible)).encode())
    assert found.hexdigest() == "1ce8f10ac05871b54eefca26d01209859723c059aa78cc7a73292c3d2308a929"


def test_no_name_of_the_test_part_is_learned() -> None:
    rng = random.Random(0)
    held_out = {name for en in HELD_OUT for name in (en, THINGS[en].zh)}
    assert not held_out & {name for _ in range(20_000) for kind in [made_up_thing(rng)] for name in (kind.en, kind.zh)}


def test_two_things_keep_their_order_however_a_goal_is_put() -> None:
    words = {"thing": "Xa", "other": "Yb", "place": "p", "room": "r"}
    for language in LANGUAGES:
        for number in range(500):
            text = phrase_goal(language, "train", "two", number, words)
            assert 0 <= text.find("Xa") < text.find("Yb")


def test_both_languages_have_the_same_sentences_to_say() -> None:
    assert SAYINGS["en"].keys() == SAYINGS["zh"].keys()
    assert REFUSALS["en"].keys() == REFUSALS["zh"].keys()
    assert CLAUSES["en"].keys() == CLAUSES["zh"].keys()
    for part in ("train", "test"):
        assert {k: len(v) for k, v in GOALS["en"][part].items()} == {k: len(v) for k, v in GOALS["zh"][part].items()}
    matters = {language: {k: len(v) for k, v in kinds.items()} for language, kinds in WORDS_THAT_MATTER.items()}
    assert matters["en"]["put"] == matters["zh"]["put"]
    assert matters["en"].keys() == matters["zh"].keys() == GOALS["en"]["train"].keys()
    assert len(OPENERS["en"]) == len(OPENERS["zh"])
    assert len(CLOSERS["en"]) == len(CLOSERS["zh"])
    assert len({kind.zh for kind in THINGS.values()}) == len(THINGS)


def test_every_kind_of_goal_is_drawn_and_worded() -> None:
    assert {goal_kind(task.wishes) for task in TASKS} == {"put", "treat", "two", "close", "switch"}
    for task in TASKS:
        for language in LANGUAGES:
            assert "{" not in Household(language).reset(task).goal


def test_a_game_that_is_over_takes_no_more_steps() -> None:
    game = Household("en")
    seen = game.reset(0)
    _, is_over, reward = game.step(seen.finish)
    assert (is_over, reward) == (True, 0.0)
    with pytest.raises(ConfigError, match="over"):
        game.step("finish")


def test_wrong_rooms_and_languages_are_refused() -> None:
    with pytest.raises(ConfigError, match="6 rooms"):
        draw_task(0, rooms=6)
    with pytest.raises(ConfigError, match="'fr'"):
        Household("fr")


# Homes written by hand ------------------------------------------------------------------------------------------------

WORLD: dict[str, Any] = {
    "rooms": {
        "kitchen": {"doors": ["hall"], "furniture": ["sink", {"name": "fridge", "open": True}]},
        "hall": {"furniture": [{"name": "hall stand", "zh": "衣帽架", "like": "rack"}, "lamp"]},
    },
    "things": [
        {"name": "cup", "at": "kitchen/fridge", "is": ["clean"]},
        {"name": "medal", "zh": "奖章", "takes": ["clean"], "at": "hall/hall stand"},
    ],
    "start": "kitchen",
    "goal": [
        {"thing": "medal", "is": "clean"},
        {"thing": "medal", "at": "kitchen/fridge"},
        {"furniture": "hall/lamp", "is": "on"},
    ],
}


def test_a_home_written_by_hand_is_played_in_both_languages(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text(json.dumps(WORLD), encoding="utf-8")
    task = read_task(tmp_path / "home.json")
    game = Household("en")
    seen = game.reset(task)
    assert seen.text == (
        "You are in the kitchen, holding nothing. In the sink: nothing. In the open fridge: clean cup. Doors: hall."
    )
    assert seen.goal == (
        "Make sure of this: the medal is clean; the medal is in the fridge in the kitchen; the lamp in the hall is on."
    )
    assert list(shortest(game)) == [
        "go to the hall",
        "take the medal",
        "switch on the lamp",
        "go to the kitchen",
        "clean the medal in the sink",
        "put the medal in the fridge",
        "finish",
    ]
    assert Household("zh").reset(task).goal == "请做到：奖章是干净的；奖章在厨房的冰箱里；走廊的台灯是开着的。"


def test_what_a_goal_means_is_said_in_both_languages() -> None:
    task = task_of(WORLD)
    assert meaning_text(task, "en") == (
        "Wanted: medal (?), clean (?), lamp on (hall). The medal belongs in the fridge in the kitchen."
    )
    assert meaning_text(task, "zh") == "要：奖章（？）、干净（？）、台灯开（走廊）。奖章该在厨房的冰箱里。"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_goal_means_is_what_whoever_acts_notes_of_it_at_first(language: str) -> None:
    """But for what is seen at once: with that taken away, both say the same."""
    compared = 0
    for seed in range(60):
        game = Household(language)
        game.reset(seed)
        match = NOTES[language].match(next(seeking(game, aloud=True)))
        assert match
        meant = GOAL_MEANT[language].match(meaning_text(game.task, language))
        assert meant
        assert list(noted(meant[1])) == list(noted(match[3]))
        compared += len(noted(meant[1]))
    assert compared > 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rooms": {}}, "rooms is empty"),
        ({"start": "kitchn"}, "start: 'kitchn' is not there; did you mean 'kitchen'"),
        ({"weather": "rain"}, "unknown field 'weather'"),
        ({"rooms": {"kitchen": {"doors": ["hal"]}, "hall": {}}}, r"rooms\.kitchen\.doors: 'hal'.*did you mean 'hall'"),
        ({"rooms": {"kitchen": {"doors": ["kitchen"]}}}, "leads back into it"),
        ({"rooms": {"kitchen": {"furniture": ["sofaa"]}}}, "'sofaa' is no known furniture; did you mean 'sofa'"),
        ({"rooms": {"kitchen": {"furniture": ["sofa", "sofa"]}}}, "two are called 'sofa'"),
        ({"rooms": {"kitchen": {"furniture": [{"name": "sofa", "open": True}]}}}, "a sofa is never 'open'"),
        ({"rooms": {"kitchen": {"furniture": [{"name": "fridge", "open": "yes"}]}}}, "expected true or false"),
        ({"things": [{"name": "cup"}]}, "things lacks at"),
        ({"things": [{"name": "cup", "at": "hall/lamp"}]}, "nothing can lie on 'hall/lamp'"),
        ({"things": [{"name": "cup", "at": "kitchen/sink", "is": ["wet"]}]}, "'wet' is not there; known: clean"),
        ({"things": [{"name": "cup", "at": "kitchen/sink", "is": ["hot", "cold"]}]}, "nothing is hot and cold"),
        ({"things": [{"name": n, "at": "hand"} for n in ("cup", "key")]}, "there is one hand"),
        ({"goal": []}, "goal is empty"),
        ({"goal": [{"thing": "cup"}]}, "goal, wish 1 has thing; expected thing and at"),
        ({"goal": [{"furniture": "hall/lamp", "is": "open"}]}, "wish 1: is: 'open' is not there; did you mean 'on'"),
        ({"goal": [{"thing": "cup", "is": "clean"}]}, "it holds at the start already"),
        ({"goal": [{"thing": "medal", "is": "hot"}]}, "no actions lead to it"),
    ],
)
def test_a_mistake_in_a_home_is_said_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        task_of({**WORLD, **change})


def test_a_file_that_is_no_json_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"home\.json: not JSON"):
        read_task(tmp_path / "home.json")


def test_furniture_of_one_name_in_two_rooms_is_the_one_where_you_are() -> None:
    rooms = {"kitchen": {"doors": ["hall"], "furniture": ["table"]}, "hall": {"furniture": ["table"]}}
    things = [{"name": "key", "at": "kitchen/table"}]
    task = task_of(
        {"rooms": rooms, "things": things, "start": "kitchen", "goal": [{"thing": "key", "at": "hall/table"}]}
    )
    game = Household("en")
    game.reset(task)
    seen, _, _ = game.step("put the key on the table")
    assert seen.text.startswith("You do not hold that.")
    for text in ("take the key", "go to the hall", "put the key on the table"):
        _, _, reward = game.step(text)
    assert reward == 1.0
    assert game.state.places == (1,)
    assert Action("put", 0, 1) not in actions(task.home, game.state)


@pytest.mark.parametrize("language", LANGUAGES)
def test_whoever_thinks_aloud_says_what_each_action_is_for_and_does_the_same(language: str) -> None:
    thoughts: set[str] = set()
    found_here = 0
    for seed in range(120):
        aloud, silent = Household(language), Household(language)
        seen, _ = aloud.reset(seed).text, silent.reset(seed)
        # both guides look at their game only when they are asked, so that each step has been done by then
        for both in zip(seeking(aloud, aloud=True), seeking(silent), strict=False):
            thought, _, action = both[0].partition("\n> ")
            assert action == both[1]
            thoughts.add(thought)
            *_, last = re.split(r"(?<=\.) |(?<=。)", thought.rstrip("。")) if language == "zh" else thought.split(". ")
            where = re.fullmatch(r"The (\S+) is in the .+, and I am in the .+\.|([^要该]+)在.+，我在.+", last)
            if where:
                assert (where[1] or where[2]) in seen, "nobody knows where a thing is that it has not seen"
                found_here += 1
            seen += aloud.step(action)[0].text
            silent.step(action)
            if aloud.is_over:
                break
    mark = {
        "en": ("I look for the", "makes the", "belongs", "is to be", "empty", "All is done"),
        "zh": ("我在找", "能让", "该在", "要在", "空出来", "都做好"),
    }
    assert found_here > 100
    assert all(any(words in thought for thought in thoughts) for words in mark[language])


NOTES = {
    "en": re.compile(r"Hand: (.+?)\. Here: (.+?)\. Wanted: (.+?)\. Been: (.+?)\. Doors: (.+?)\. "),
    "zh": re.compile(r"手里：(.+?)。这里：(.+?)。要：(.+?)。去过：(.+?)。门：(.+?)。"),
}
GOAL_MEANT = {"en": re.compile(r"Wanted: (.+?)\."), "zh": re.compile("要：(.+?)。")}
PART = re.compile(r"([^,、(（]+?) ?[(（]([^)）]+)[)）]|([^,、(（]+)")


def drop(state: State) -> tuple[int, ...]:
    """The places of things, the held one anywhere: an empty hand can take all that is seen."""
    return tuple(0 if place == HELD else place for place in state.places)


def noted(text: str) -> dict[str, str]:
    """Of "cup (hall), clean (sink, hall), attic": what stands in brackets after each, "" where nothing does."""
    return {(m[1] or m[3]).strip(): m[2] or "" for m in PART.finditer(text)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_notes_say_what_is_held_what_is_here_where_something_is_still_closed_and_which_doors_are_new(
    language: str,
) -> None:
    say = SAYINGS[language]
    num_closed = num_new = 0
    for seed in range(60):
        game = Household(language)
        seen = game.reset(seed).text
        visited: list[str] = []
        opened = 0
        for said in seeking(game, aloud=True):
            home, state = game.task.home, game.state
            name = home.rooms[state.room].name(language)
            visited += [name] if name not in visited else []
            opened |= state.opened & sum(1 << f for f in home.in_room[state.room])
            match = NOTES[language].match(said)
            assert match
            hand, here, _, been, doors = match.groups()
            assert hand == (home.things[state.held].name(language) if state.held >= 0 else say["nothing"])
            furniture = [home.furniture[f].kind for f in home.in_room[state.room]]
            takeable = [a.thing for a in actions(home, state._replace(places=drop(state))) if a.verb == "take"]
            useful = {kind.name(language) for kind in furniture if kind.does}
            useful |= {home.things[t].name(language) for t in takeable if state.places[t] != HELD}
            listed = [] if here == say["nothing"] else here.split(say["comma"])
            assert set(listed) == useful
            assert len(listed) == len(useful)
            assert all(name in seen for name in listed)
            rooms = noted(been)
            assert list(rooms) == visited
            names = [home.rooms[room].name(language) for room in home.doors[state.room]]
            assert noted(doors) == {n: say["note_been" if n in visited else "note_new"] for n in names}
            num_new += any(n not in visited for n in names)
            closed = [f for f in home.in_room[state.room] if home.furniture[f].kind.opens and not opened >> f & 1]
            assert bool(rooms[name]) == bool(closed)
            num_closed += bool(closed)
            seen = game.step(said.split("> ")[-1])[0].text
            if game.is_over:
                break
    assert min(num_closed, num_new) > 50


@pytest.mark.parametrize("language", LANGUAGES)
def test_notes_say_how_far_each_part_of_what_is_wanted_is(language: str) -> None:
    """Of two things, which is done and which is not; of a treatment, what gives it and where that was seen."""
    say = SAYINGS[language]
    found: set[tuple[str, str]] = set()
    for seed in range(150):
        game = Household(language)
        game.reset(draw_task(seed, kinds={"two": 1, "treat": 1}))
        home, wishes = game.task.home, game.task.wishes
        kind = goal_kind(wishes)
        rooms, looked = set(), set()
        for said in seeking(game, aloud=True):
            match = NOTES[language].match(said)
            assert match
            wanted, state = noted(match[3]), game.state
            rooms.add(state.room)
            looked |= {f for f in home.in_room[state.room] if not home.furniture[f].kind.opens or state.opened >> f & 1}
            for wish in wishes:
                if wish.kind == "at":
                    name, place = home.things[wish.subject].name(language), state.places[wish.subject]
                    is_done = all(w.holds(state) for w in wishes if w.subject == wish.subject)
                    if place in looked:
                        known = home.rooms[home.furniture[place].room].name(language)
                    else:
                        known = say["note_hand"] if place == HELD else say["note_unseen"]
                    assert wanted[name] == (say["note_done"] if is_done else known)
                    found.add((kind, "done" if is_done else "hand" if place == HELD else wanted[name][:1]))
                elif say[f"state_{wish.kind}"] in wanted:
                    where = wanted[say[f"state_{wish.kind}"]]
                    tools = [piece for piece in home.furniture if piece.kind.does == VERBS[wish.kind]]
                    places = {
                        f"{t.kind.name(language)}{say['comma']}{home.rooms[t.room].name(language)}" for t in tools
                    }
                    if wish.holds(state):
                        assert where == say["note_done"]
                    elif rooms & {tool.room for tool in tools}:
                        assert where in places
                    else:
                        assert where == say["note_unseen"]
                    found.add((kind, "tool" if where in places else where))
            game.step(said.split("> ")[-1])
            if game.is_over:
                break
    marks = {say["note_unseen"], "done", "hand"}
    assert {("two", mark) for mark in marks} | {("treat", mark) for mark in (*marks, "tool")} <= found


def test_lessons_have_goals_of_several_steps_more_often_than_the_exam() -> None:
    def share(kinds: dict[str, int]) -> dict[str, float]:
        drawn = Counter(goal_kind(draw_task(seed, kinds=kinds).wishes) for seed in range(400))
        return {kind: drawn[kind] / 400 for kind in kinds}

    exam, lessons = share(KINDS), share(LESSON_KINDS)
    assert exam.keys() == lessons.keys()
    assert lessons["two"] > exam["two"] + 0.05
    assert lessons["two"] + lessons["treat"] > exam["two"] + exam["treat"] + 0.05
