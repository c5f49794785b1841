"""The household: its laws hold in every home that a seed draws, in both languages, and in homes written by hand."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jielong.errors import ConfigError, DataError
from jielong.worlds.household.files import read_task, task_of
from jielong.worlds.household.game import Household
from jielong.worlds.household.goals import CLOSERS, GOALS, OPENERS, WORDS_THAT_MATTER, phrased
from jielong.worlds.household.guides import seeking, shortest
from jielong.worlds.household.layouts import draw_task, part_of
from jielong.worlds.household.phrases import CLAUSES, REFUSALS, SAYINGS
from jielong.worlds.household.rules import FINISH, HELD, Action, State, Task, actions, after, all_actions, refusal
from jielong.worlds.household.solver import shortest_plan
from jielong.worlds.household.things import HELD_OUT, LANGUAGES, THINGS, made_up_thing
from jielong.worlds.household.wording import goal_kind

TASKS = [draw_task(seed, rooms=1 + seed % 5, part="test" if seed % 2 else "train") for seed in range(100)]


def wander(task: Task, seed: int, steps: int = 30) -> Iterator[State]:
    """States that dice lead to."""
    rng, state = random.Random(seed), task.start
    for _ in range(steps):
        yield state
        state = after(state, rng.choice(actions(task.home, state)))


def test_the_shortest_plan_reaches_the_goal_by_actions_that_can_be_done() -> None:
    for task in TASKS:
        state = task.start
        for action in shortest_plan(task):
            assert action in actions(task.home, state)
            state = after(state, action)
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
                new = after(state, action)
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
            learned = {plain(phrased(language, "train", kind, number, words)) for number in range(4000)}
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
            text = phrased(language, "train", "two", number, words)
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
    with pytest.raises(DataError, match=r"home\.json cannot be read"):
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
    for seed in range(120):
        aloud, silent = Household(language), Household(language)
        seen, _ = aloud.reset(seed).text, silent.reset(seed)
        # both guides look at their game only when they are asked, so that each step has been done by then
        for both in zip(seeking(aloud, aloud=True), seeking(silent), strict=False):
            thought, _, action = both[0].partition("\n> ")
            assert action == both[1]
            thoughts.add(thought)
            where = re.fullmatch(r".+\. The (.+) is in the .+, and I am in the .+\.|.+。(.+)在.+，我在.+。", thought)
            if where and "拿着" not in thought:
                thing = where[1] or where[2]
                assert thing in seen, "nobody knows where a thing is that it has not seen"
            seen += aloud.step(action)[0].text
            silent.step(action)
            if aloud.is_over:
                break
    mark = {"en": ("look for", "belongs", "is to be", "empty", "done"), "zh": ("在找", "该在", "要", "空出来", "做好")}
    assert all(any(words in thought for thought in thoughts) for words in mark[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_notes_say_each_room_that_was_visited_and_what_was_seen_there_and_is_still_needed(language: str) -> None:
    for seed in range(60):
        game = Household(language)
        seen = game.reset(seed)
        visited: list[str] = []
        for said in seeking(game, aloud=True):
            here = game.task.home.rooms[game.state.room].name(language)
            visited += [here] if here not in visited else []
            notes = re.split(r"\. |。", said)[0].partition(": " if language == "en" else "：")[2]
            noted = re.findall(r"([^,(（、]+)(?:[(（]([^)）]+)[)）])?", notes.replace("、 ", ", "))
            rooms = [room.strip() for room, _ in noted]
            assert rooms == visited
            held = game.state.held
            if held >= 0:
                name = game.task.home.things[held].name(language)
                needed = [n.strip() for _, group in noted for n in re.split(r"[,、]", group)]
                assert name not in needed, "what is in the hand need not be found"
            game.step(said.split("> ")[-1])
            if game.is_over:
                break
        assert seen.goal
