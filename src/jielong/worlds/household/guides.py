"""Whoever knows how, as a stream of texts beside a game: the shortest plan, and the seeker's way with or without slips.

Each is a generator that is asked for the next text once the game has been reset, and after each step.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from jielong.worlds.household.game import Household
from jielong.worlds.household.rules import FINISH, all_actions
from jielong.worlds.household.solver import Seeker, shortest_plan


def shortest(game: Household) -> Iterator[str]:
    """The fewest actions to the goal, of somebody who knows where everything is."""
    for action in shortest_plan(game.task):
        yield game.spell(action)


def seeking(
    game: Household, slips: float = 0.0, rng: random.Random | None = None, *, aloud: bool = False
) -> Iterator[str]:
    """What the seeker does; `aloud`, with what it keeps in mind and what the action is for in a line before it.

    Thinking before acting is ReAct's (Yao et al. 2022, arXiv 2210.03629).

    With `slips`, now and then something else, of which half cannot even be done: who learns from demonstrations without
    slips has never seen what to do after one.
    """
    seeker = Seeker(game.task)
    while True:
        action = seeker.next_action(game.state)
        thought = f"{game.explain(seeker.why, seeker.notes(game.state))}\n> " if aloud else ""
        if rng and action != FINISH and rng.random() < slips:
            possible = game.admissible[:-1]
            anything = [game.spell(a) for a in all_actions(game.task.home)[:-1]]
            yield thought + rng.choice(possible if rng.random() < 0.5 else anything)
        else:
            yield thought + game.spell(action)
