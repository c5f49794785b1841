"""Whoever acts in a text world: it is told what it needs, stops where it must, and its trace can be read."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from jielong.cli.act import add_parser, turns_to_repeat
from jielong.cli.main import main
from jielong.errors import ConfigError, TooLongError
from jielong.evaluate.acting import HouseholdExam, figures
from jielong.evaluate.concurrently import run_concurrently
from jielong.generate.requests import check_request
from jielong.recipes.household import household
from jielong.records import Conversation, Message, Observation, Request, Sampling
from jielong.runs import Run, read_json
from jielong.stages import picking
from jielong.stages.execute import run_recipe
from jielong.stages.parts import read_conversations
from jielong.stages.recipe import change
from jielong.train.machine import has_compiler
from jielong.use.agents.acting import (
    Episode,
    Likeliest,
    Limits,
    ModelPolicy,
    Nearest,
    ScriptedPolicy,
    act,
    by_letters,
    by_meaning,
    conversation_of,
    split_thought,
    thought_before,
)
from jielong.use.ledger import Budget, BudgetSpent, Ledger
from jielong.use.port import Answer, Options, Scored, Usage
from jielong.use.strategies import Vote
from jielong.worlds.household.game import Household
from jielong.worlds.household.guides import shortest
from jielong.worlds.household.things import LANGUAGES

LIMITS = Limits()


def played(texts: Iterator[str], *, limits: Limits = LIMITS, nearest: Nearest | None = None, seed: int = 1) -> Episode:
    game = Household("en", rooms=2)
    return asyncio.run(act(game, game.reset(seed), ScriptedPolicy(texts), limits, nearest))


def solution(seed: int = 1) -> list[str]:
    game = Household("en", rooms=2)
    game.reset(seed)
    return list(shortest(game))


class Scripted:
    """A model that writes given texts in order and costs ten tokens a call."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self.asked = list(texts), []

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        self.asked.append((conversation, options))
        return Answer(Message("assistant", self.texts.pop(0)), Usage(8, 2, calls=1), "stop")


def written(model: Scripted, *, budget: Budget | None = None, limits: Limits = LIMITS, vote: int = 0) -> Episode:
    game = Household("en", rooms=2)
    policy = ModelPolicy(Ledger(model.ask, budget), Options(seed=5), Vote(n=vote) if vote else None)
    return asyncio.run(act(game, game.reset(1), policy, limits))


def test_a_plan_that_ends_with_finish_is_a_success() -> None:
    episode = played(iter(solution()))
    assert (episode.stop, episode.is_success, episode.is_reached) == ("over", True, True)
    assert [step.action for step in episode.steps] == solution()


def test_whoever_reaches_the_goal_and_never_says_so_has_reached_it_without_success() -> None:
    episode = played(iter(solution()[:-1]), limits=Limits(steps=len(solution()) - 1))
    assert (episode.stop, episode.is_success, episode.is_reached) == ("steps", False, True)


def test_whoever_says_it_is_finished_too_early_has_not_succeeded() -> None:
    episode = played(iter(["finish"]))
    assert (episode.stop, episode.is_success, len(episode.steps)) == ("over", False, 1)


def test_an_action_repeated_in_the_same_situation_is_broken_off() -> None:
    seen = Household("en", rooms=2).reset(1)
    door = next(text for text in seen.admissible if text.startswith("go"))
    back = f"go to the {seen.text.split(',')[0].removeprefix('You are in the ')}"
    there_and_back = played(iter([door, back] * 20), limits=Limits(steps=40, repeats=3))
    assert (there_and_back.stop, len(there_and_back.steps)) == ("repeated", 5)
    nonsense = played(iter(["fly"] * 40))
    assert (nonsense.stop, len(nonsense.steps)) == ("repeated", 4)


def test_nobody_goes_beyond_the_steps() -> None:
    for seed in range(5):
        trial = HouseholdExam("random", seed, limits=Limits(steps=12, repeats=100))
        for episode in asyncio.run(run_concurrently(trial.episode, 10)):
            assert len(episode.steps) == 12
            assert episode.stop == "steps"


def test_the_budget_ends_an_episode_and_is_not_exceeded() -> None:
    model = Scripted(["open the fridge", "fly", "swim", "dance"])
    episode = written(model, budget=Budget(tokens=30))
    assert episode.stop == "budget"
    assert (len(episode.steps), episode.usage.tokens, episode.usage.calls) == (3, 30, 3)
    assert written(Scripted([]), budget=Budget(seconds=1e-9)).steps == ()


def test_a_model_is_told_the_goal_all_it_has_done_and_what_it_sees() -> None:
    model = Scripted(solution())
    episode = written(model, limits=Limits(remember=40))
    assert episode.is_success
    last = model.asked[-1][0].messages
    assert [m.role for m in last] == ["system", *["user", "assistant"] * (len(solution()) - 1), "user"]
    assert [m.text for m in last if m.role == "assistant"] == solution()[:-1]
    told = [f"{step.seen.text}\nGoal: {episode.end.goal}" for step in episode.steps]
    assert [m.text for m in last if m.role == "user"] == told
    assert episode.conversation.messages == (*last, Message("assistant", "finish"))
    assert len({options.seed for _, options in model.asked}) == len(model.asked)


def test_only_the_last_turns_are_remembered() -> None:
    model = Scripted(solution())
    episode = written(model, limits=Limits(remember=2))
    for number, (conversation, _) in enumerate(model.asked):
        told = [m.text.split("\n") for m in conversation.messages if m.role == "user"]
        steps = episode.steps[max(0, number - 1) : number + 1]
        assert told == [[step.seen.text, f"Goal: {episode.end.goal}"] for step in steps]


def test_what_was_thought_in_the_last_turn_that_is_forgotten_is_told_with_the_first_that_is_remembered() -> None:
    texts = [f"Thought {number}.\n> {text}" for number, text in enumerate(solution())]
    model = Scripted(texts)
    episode = written(model, limits=Limits(remember=2))
    assert episode.is_success
    assert len(texts) > 3
    for number, (conversation, _) in enumerate(model.asked):
        first, *others = [m.text for m in conversation.messages if m.role == "user"]
        before = f"\nMy last thought: Thought {number - 2}."
        assert first.endswith(before) if number > 1 else "last thought" not in first
        assert not any("last thought" in text for text in others)
    later = conversation_of(episode.steps[2:], before=thought_before(episode.steps, 2))
    assert later.messages[:4] == model.asked[3][0].messages[:4], "a part of a demonstration reads as the model is asked"


class Short:
    """A model that reads so many words at most, and answers with the next of given texts."""

    def __init__(self, texts: Sequence[str], num_words: int) -> None:
        self.texts, self.num_words, self.turns = list(texts), num_words, list[int]()

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        if sum(len(m.text.split()) for m in conversation.messages) > self.num_words:
            raise TooLongError("too many words")
        self.turns.append(sum(m.role == "user" for m in conversation.messages))
        return Answer(Message("assistant", self.texts.pop(0)), Usage(8, 2, calls=1), "stop")


def test_the_oldest_turns_are_dropped_until_a_model_can_read_the_rest() -> None:
    roomy, narrow = (Short(solution(), num_words) for num_words in (10_000, 160))
    for model in (roomy, narrow):
        policy = ModelPolicy(Ledger(model.ask), Options())
        game = Household("en", rooms=2)
        assert asyncio.run(act(game, game.reset(1), policy, Limits(remember=40))).is_success
    assert roomy.turns == list(range(1, len(solution()) + 1))
    assert max(narrow.turns) < len(solution())
    assert narrow.turns[:2] == [1, 2]


def test_a_view_that_is_too_long_for_the_model_is_a_goal_not_reached() -> None:
    game = Household("en", rooms=2)
    episode = asyncio.run(act(game, game.reset(1), ModelPolicy(Ledger(Short([], 10).ask), Options()), LIMITS))
    assert (episode.stop, episode.is_success, episode.steps) == ("too long", False, ())
    assert figures([episode, played(iter(solution()))]).success == 0.5


def test_the_engine_says_that_a_prompt_is_too_long_so_that_less_can_be_said() -> None:
    with pytest.raises(TooLongError, match="9 tokens, but a slot has 9 positions"):
        check_request(Request((1,) * 9, Sampling(), 0), vocab_size=10, length=9)
    check_request(Request((1,) * 8, Sampling(), 0), vocab_size=10, length=9)


def test_only_the_first_line_that_a_model_writes_is_its_action() -> None:
    texts = solution()
    episode = written(Scripted([f" {texts[0]} \nand then\n", *texts[1:]]))
    assert episode.is_success


def test_what_is_thought_before_an_action_is_remembered_and_not_done() -> None:
    first, second, *_ = solution()
    model = Scripted([f"It must be somewhere.\n> {first}\n> finish", f"> {second}", "finish"])
    episode = written(model)
    assert [step.action for step in episode.steps] == [first, second, "finish"]
    assert [step.thought for step in episode.steps] == ["It must be somewhere.", "", ""]
    said = [m.text for m in model.asked[-1][0].messages if m.role == "assistant"]
    assert said == [f"It must be somewhere.\n> {first}", second]
    assert "(It must be somewhere.)" in str(episode)


def test_nothing_written_is_no_thought_and_no_action() -> None:
    assert split_thought("") == ("", "")
    assert split_thought("\n >  take the cup \n") == ("", "take the cup")


def test_a_strategy_chooses_each_action() -> None:
    texts = solution()
    model = Scripted([text for right in texts for text in (right, "dance", right)])
    episode = written(model, vote=3)
    assert episode.is_success
    assert episode.usage.calls == 3 * len(texts)


def test_what_cannot_be_done_is_mapped_to_the_nearest_and_the_conversation_has_the_mapped_action() -> None:
    right = solution()
    clumsy = [text.replace("the ", "that ").upper() for text in right]
    assert not played(iter([*clumsy, *["fly"] * 9])).is_reached
    mapped = played(iter(clumsy), nearest=by_letters)
    assert mapped.is_success
    assert all(step.is_executable and not step.is_written for step in mapped.steps[:-1])
    assert [m.text for m in mapped.conversation.messages if m.role == "assistant"] == right


def test_what_can_be_done_as_it_is_written_is_never_mapped() -> None:
    def never(text: str, actions: Sequence[str]) -> str:
        raise AssertionError(f"{text} was mapped")

    assert played(iter(solution()), nearest=never).is_success


def test_letters_find_the_likest_action_in_both_languages() -> None:
    actions = ("open the fridge", "take the cup from the table", "go to the hall")
    assert by_letters("grab the cup off the table", actions) == actions[1]
    assert by_letters("Go to the hallway!", actions) == actions[2]
    assert by_letters("拿起桌子上的杯子", ("打开冰箱", "从桌子拿杯子", "去走廊")) == "从桌子拿杯子"
    assert by_letters("", actions) == actions[0]


def test_meaning_is_the_smallest_angle_between_vectors() -> None:
    vectors = {"fetch it": (1.0, 0.1), "take": (9.0, 0.0), "drop": (0.0, 0.2), "wait": (-1.0, 0.0)}

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([vectors[t] for t in texts], np.float32)

    assert by_meaning(embed)("fetch it", ["drop", "take", "wait"]) == "take"


def test_the_likeliest_of_what_can_be_done_is_done() -> None:
    class Model:
        async def score(self, prompt: Conversation | str, answers: Sequence[str]) -> list[Scored]:
            return [Scored(-float(answer != "go"), 1, 1) for answer in answers]

    policy, seen = Likeliest(Model(), tokens=3), Observation("", ("stay", "go", "wait"), "")
    assert asyncio.run(policy.choose(Conversation(()), seen)) == "go"
    assert policy.usage == Usage(completion_tokens=3, calls=1)
    with pytest.raises(BudgetSpent, match="3 tokens"):
        asyncio.run(policy.choose(Conversation(()), seen))


def test_a_trace_says_what_was_seen_written_and_done() -> None:
    episode = played(iter(["Open that fridge", *["fly"] * 5]), nearest=None)
    trace = str(episode)
    assert trace.startswith(episode.end.goal)
    assert " 1 > Open that fridge   (cannot be done)" in trace
    assert trace.endswith(f"=> no success, repeated after {len(episode.steps)} steps")
    mapped = str(played(iter(["FINISHED"]), nearest=by_letters))
    assert " 1 > finish   (wrote: FINISHED)" in mapped


def test_dice_reach_few_goals_where_the_plan_reaches_all() -> None:
    limits = Limits(steps=30, repeats=30)
    found = {
        name: figures(asyncio.run(run_concurrently(HouseholdExam(name, limits=limits).episode, 60)))
        for name in ("random", "solver")
    }
    assert found["solver"].success == 1.0
    assert found["random"].reached < 0.3
    assert found["random"].success == 0.0
    assert found["random"].executable == 1.0


def test_figures_count_what_happened() -> None:
    right = solution()
    episodes = [played(iter(right)), played(iter(["fly"] * 9))]
    found = figures(episodes)
    assert (found.episodes, found.success, found.reached) == (2, 0.5, 0.5)
    assert found.executable == found.written == len(right) / (len(right) + 4)
    assert found.steps == (len(right) + 4) / 2
    assert found.stops == {"over": 1, "repeated": 1}
    assert "success 50.0%" in str(found)


def test_trials_are_the_same_again_and_half_in_each_language() -> None:
    first, second = (asyncio.run(run_concurrently(HouseholdExam("random", 3).episode, 6)) for _ in range(2))
    assert [e.steps for e in first] == [e.steps for e in second]
    assert ["You" in e.end.text for e in first] == [True, False] * 3


def test_the_command_says_what_was_reached_and_shows_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["act", "--policy", "solver", "--goals", "2", "--rooms", "1", "--language", "zh", "--show"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("=> success, over after") == 2
    assert " 1 > " in shown
    assert "success 100.0%, reached 100.0%, executable 100.0%" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--policy", "model"], "needs a model"),
        (["--policy", "random", "--goals", "0"], "at least 1"),
        (["--policy", "random", "--rooms", "9"], "1 to 5"),
        (["--policy", "random", "--world", "none.json"], "none.json cannot be read"),
    ],
)
def test_a_mistake_of_the_command_costs_one_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["act", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_policy_that_needs_a_model_says_so() -> None:
    with pytest.raises(ConfigError, match="policy model needs a model"):
        HouseholdExam("model")
    with pytest.raises(ConfigError, match="did you mean 'random'"):
        HouseholdExam("randon")
    with pytest.raises(ConfigError, match="steps of Limits is 0"):
        Limits(steps=0)


def test_turns_are_told_again_as_in_the_exam_of_the_run_unless_asked_otherwise(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.begin_stage("act", "fingerprint", {"remember": 1}, {})

    def turns(*words: str) -> int:
        parser = argparse.ArgumentParser()
        add_parser(parser.add_subparsers())
        return turns_to_repeat(parser.parse_args(["act", *words]))

    assert turns(str(tmp_path)) == turns(str(tmp_path / "sft")) == 1
    assert turns(str(tmp_path), "--remember", "5") == 5
    run.begin({}, [], {})
    assert turns(str(tmp_path)) == turns() == turns("http://localhost:1/v1#m") == Limits.remember


@pytest.mark.smoke
def test_the_recipe_ends_with_a_model_that_can_be_asked_to_act(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["demonstrations.episodes=60", "act.goals=2", "act.steps=3"]
    settings += [f"{stage}.loop.steps=2" for stage in ("copy", "look_up", "read", "sft")]
    run = run_recipe(change(household("smoke"), settings), tmp_path)
    measures = read_json(run.path / "acting.json")
    assert list(measures)[:3] == ["model", "model, nearest action", "random"]
    assert list(measures)[3:] == [f"{who}, {lang}" for lang in LANGUAGES for who in ("model", "model, nearest action")]
    assert measures["model"]["episodes"] == measures["model, en"]["episodes"] + measures["model, zh"]["episodes"]
    assert measures["model, nearest action"]["executable"] == 1.0
    assert "=> " in (run.path / "samples.txt").read_text(encoding="utf-8")
    for policy in ("model", "likeliest"):
        assert main(["act", str(run.path), "--policy", policy, "--goals", "2", "--steps", "3"]) == 0
        assert "executable" in capsys.readouterr().out
    held_out = read_conversations(run.path / "demonstrations" / "held_out.jsonl")
    assert {m.role for c in held_out for m in c.messages} == {"system", "user", "assistant"}
    parts = read_conversations(run.path / "demonstrations" / "chats.jsonl")
    assert {sum(m.role == "assistant" for m in c.messages) for c in parts} == {1}
    is_first = ["last thought" not in m.text and "我刚才想" not in m.text for c in parts for m in c.messages[1:2]]
    assert 0.18 < sum(is_first) / len(parts) < 0.4, "beginnings come twice: once they would be 13%"
    assert {c.messages[0].role for c in parts} == {"system"}
    goals = read_conversations(run.path / "goals" / "chats.jsonl")
    told = [[re.split("[:：]", m.text)[0] for m in c.messages] for c in goals]
    assert set(map(tuple, told)) == {("Goal", "Wanted"), ("目标", "要")}


@pytest.mark.skipif(not has_compiler(), reason="nothing is compiled here")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
def test_a_stage_trains_plain_and_notes_it_where_what_is_compiled_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "COMPILE_S", 0.0)
    monkeypatch.setattr(picking, "compiled_matches_eager", lambda *_: False)
    recipe = change(household("smoke"), ["demonstrations.episodes=60"])
    run = run_recipe(replace(recipe, stages=recipe.stages[:4], searches=(), model=""), tmp_path)
    assert read_json(run.path / "copy" / "picked.json")["compile"] is False
    assert run.record["stages"]["copy"]["summary"]["picked"]["compile"] is False


WITHOUT_COMPILER = """
import sys
from dataclasses import replace
from pathlib import Path

from jielong.stages import picking
from jielong.stages.execute import run_recipe
from jielong.recipes.household import household
from jielong.stages.recipe import change

picking.COMPILE_S = 0.0
recipe = change(household("smoke"), ["demonstrations.episodes=60"])
run = run_recipe(replace(recipe, stages=recipe.stages[:4], searches=(), model=""), Path(sys.argv[1]))
print(run.record["stages"]["copy"]["summary"]["picked"]["compile"])
"""


@pytest.mark.skipif(not has_compiler(), reason="nothing is compiled here")
def test_a_compiler_that_fails_costs_the_speed_and_not_the_run(tmp_path: Path) -> None:
    # in a process of its own, as torch keeps what it has found out about compilers
    changed = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", WITHOUT_COMPILER, str(tmp_path / "runs")]
    done = subprocess.run(command, env=os.environ | changed, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "False"
