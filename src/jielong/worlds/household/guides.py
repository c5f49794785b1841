"""Expert policies as streams of actions beside a game: the shortest plan, and the seeker's way with or without slips.

Each is a generator that is asked for the next action in words once the game has been reset, and after each step.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from jielong.worlds.household.game import Household
from jielong.worlds.household.rules import FINISH, all_actions
from jielong.worlds.household.solver import Seeker, shortest_plan


def shortest(game: Household) -> Iterator[str]:
    """Yield the fewest actions to the goal, knowing where everything is."""
    for action in shortest_plan(game.task):
        yield game.spell(action)


def seeking(
    game: Household, slips: float = 0.0, rng: random.Random | None = None, *, aloud: bool = False
) -> Iterator[str]:
    """Yield the seeker's actions; `aloud`, each after a line of thought: its notes and the action's purpose.

    Thinking before acting is ReAct's (Yao et al. 2022, arXiv 2210.03629).

    With `slips`, now and then a wrong action, half of them impossible: a model trained on demonstrations without slips
    has never seen how to recover from one.
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
