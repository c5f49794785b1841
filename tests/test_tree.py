"""Tree search: what its branching allows with a perfect valuer, both orders, both languages, the game of 24."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Sequence

import pytest
from bench.strategies import twentyfour
from bench.strategies.calibrated import Calibrated, Known

from jielong.errors import ConfigError
from jielong.records import Conversation, Message
from jielong.use.port import Options
from jielong.use.strategies import named
from jielong.use.strategies.tree import Tree, read_value
from jielong.use.strategy import Outcome, run

WALK = "Which way leads through the maze?"
PUZZLES = twentyfour.puzzles(6, seed=0)


def answered(tree: Tree, question: str, model: Calibrated, seed: int = 0) -> Outcome:
    return asyncio.run(run(tree, Conversation((Message("user", question),)), model.ask, Options(seed=seed)))


def walker(p: float) -> Calibrated:
    """Proposes the right step with probability p."""
    return Calibrated((), react=lambda said, known, dice: "left" if dice.random() < p else "right")


def all_left(question: str, steps: Sequence[str]) -> float:
    return float(set(steps) == {"left"})


@pytest.mark.parametrize("search", ["breadth", "depth"])
def test_a_perfect_valuer_solves_what_the_branching_allows(search: str) -> None:
    goal = {"is_goal": lambda question, steps: list(steps) == ["left"] * 3}
    tree = named(f"tree:search={search},propose=sample,branches=3,steps=3", {"value": all_left, **goal})
    assert isinstance(tree, Tree)
    solved = [answered(tree, WALK, walker(0.4), seed).answer.text == "left\nleft\nleft" for seed in range(400)]
    # each of 3 steps needs one of 3 draws to be right
    expected = (1 - 0.6**3) ** 3
    assert sum(solved) / 400 == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 400))


def test_without_a_choice_of_steps_the_tree_is_a_chain() -> None:
    outcome = answered(Tree(steps=3, branches=1, propose="sample", value=all_left), WALK, walker(1.0))
    assert [call.label for call in outcome.calls] == ["step 1", "step 2", "step 3", "answer"]


def test_depth_first_leaves_bad_paths_and_finds_its_way_back() -> None:
    paths: list[tuple[str, ...]] = []

    def sly(question: str, steps: Sequence[str]) -> float:
        """Holds the wrong first step for the better one."""
        paths.append(tuple(steps))
        return {("left",): 0.5, ("right",): 0.9}.get(tuple(steps), all_left(question, steps))

    both = Calibrated((), react=lambda said, known, dice: "1. left\n2. right")
    tree = Tree(steps=2, search="depth", value=sly, is_goal=lambda question, steps: list(steps) == ["left", "left"])
    outcome = answered(tree, WALK, both)
    assert outcome.answer.text == "left\nleft"
    assert paths[2:4] == [("right", "left"), ("right", "right")]
    assert len(outcome.calls) == 3


def test_a_step_that_answers_ends_the_search() -> None:
    model = Calibrated((), react=lambda said, known, dice: "Answer: left, then left")
    outcome = answered(Tree(steps=3, value=lambda question, steps: 1.0), WALK, model)
    assert outcome.answer.text == "Answer: left, then left"
    assert len(outcome.calls) == 1


def test_what_the_model_says_of_a_path_is_its_value() -> None:
    assert read_value("It cannot be sure, so it is impossible.") == 0.0
    assert read_value("可能吗？肯定") == 1.0
    assert read_value("不可能") == 0.0
    assert read_value("maybe") == read_value("well") == read_value("也许") == 0.05


# --- the game of 24


def player(dice_only: bool = False) -> Calibrated:
    """Lists legal steps in an order of dice; as the valuer it is right."""

    def react(conversation: Conversation, known: Known | None, dice: random.Random) -> str:
        text = conversation.messages[-1].text
        asked, _, rest = re.split(r"(Steps so far:|已有的步骤：)\n", text)
        steps = [line for line in rest.split("\n\n")[0].splitlines() if "=" in line]
        if "impossible" in text or "不可能" in text:
            sure, never = ("肯定", "不可能") if "不可能" in text else ("sure", "impossible")
            return sure if twentyfour.value(asked, steps) else never
        left = twentyfour.position(asked, steps)
        assert left
        written = [step for step, _ in twentyfour.moves(left)]
        dice.shuffle(written)
        return "\n".join(f"{number}. {step}" for number, step in enumerate(written, 1))

    return Calibrated((), react=react)


def test_every_puzzle_can_be_won_and_the_program_knows_lost_positions() -> None:
    assert len(set(PUZZLES)) == 6
    asked = twentyfour.question((4, 9, 10, 13))
    won = ["13 - 9 = 4 (left: 4 4 10)", "10 - 4 = 6", "4 × 6 = 24"]
    assert twentyfour.is_goal(asked, won)
    assert twentyfour.is_solved(asked, "I try this.\n" + "\n".join(won) + "\nDone!")
    assert twentyfour.value(asked, won[:1]) == 1.0
    assert twentyfour.value(asked, ["13 - 9 = 5"]) == 0.0, "wrong"
    assert twentyfour.value(asked, ["4 * 6 = 24"]) == 0.0, "there is no 6"
    assert twentyfour.value(twentyfour.question((1, 1, 1, 1)), []) == 0.0
    assert twentyfour.position(twentyfour.question((1, 3, 4, 6)), ["3 / 4 = 3/4", "1 - 0.75 = 1/4", "6 / 0.25 = 24"])


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("search", ["breadth", "depth"])
@pytest.mark.parametrize("valuer", ["program", "model"])
def test_the_tree_wins_every_game_when_it_sees_all_moves(language: str, search: str, valuer: str) -> None:
    program = {"is_goal": twentyfour.is_goal} | ({"value": twentyfour.value} if valuer == "program" else {})
    tree = named(f"tree:search={search},branches=36,beam=3", program)
    assert isinstance(tree, Tree)
    for numbers in PUZZLES[:2]:
        asked = twentyfour.question(numbers, language)
        assert twentyfour.is_goal(asked, answered(tree, asked, player()).answer.text.splitlines())


def test_the_tree_needs_at_least_one_branch() -> None:
    with pytest.raises(ConfigError, match="branches of Tree is 0"):
        named("tree:branches=0")
