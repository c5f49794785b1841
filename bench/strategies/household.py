"""Who reaches goals in the household: a trained model, with and without the nearest action, dice, and who knows the way.

`python -m bench.strategies.household` examines what `jielong run household` made. Every row acts on the same goals of the test
part: homes, things and sentences that no demonstration had. The control is dice, which may go on to the last step and
count as having reached the goal if they ever did. The bounds are the shortest plan and the seeker, who made the
demonstrations.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import replace
from functools import partial

from bench.strategies.asking import cost
from bench.strategies.command import main
from bench.strategies.line import Line, Wanted, shares
from bench.strategies.setting import Result, Setting
from jielong.evaluate.acting import HouseholdExam
from jielong.evaluate.concurrently import run_concurrently
from jielong.recipes.household import household
from jielong.stages.household import ActStage
from jielong.use.agents.acting import Limits, by_letters
from jielong.use.port import Port, Scores, Usage
from jielong.worlds.household.game import Household
from jielong.worlds.household.things import LANGUAGES

STEPS = 40
REMEMBER = next(stage.remember for stage in household().stages if isinstance(stage, ActStage))
"""Turns told again, as in the exam of `jielong run household`."""


def rows(port: Port, rooms: int, seed: int) -> dict[str, HouseholdExam]:
    """Who acts, by the name of the row; dice come first, to be compared to."""
    free = Limits(steps=STEPS, repeats=STEPS)
    model = HouseholdExam("model", seed, port, rooms=rooms, limits=Limits(steps=STEPS, remember=REMEMBER))
    found = {
        "dice": replace(model, policy="random", limits=free),
        "shortest plan": replace(model, policy="solver"),
        "seeker": replace(model, policy="seeker"),
        "model": model,
        "model, nearest": replace(model, nearest=by_letters),
        "model, train part": replace(model, part="train"),
    }
    if isinstance(port, Scores):
        found["model, likeliest"] = replace(model, policy="likeliest")
    for language in LANGUAGES:
        found[f"model, {language}"] = replace(model, languages=(language,))
    return found


def steps_per_second(steps: int = 5_000) -> float:
    """Random actions in a home of three rooms, texts included."""
    game, dice = Household("en", part="test"), random.Random(0)
    seen = game.reset(0)
    start_s = time.perf_counter()
    for _ in range(steps):
        seen, _, _ = game.step(dice.choice(seen.admissible[:-1]))
    return steps / (time.perf_counter() - start_s)


async def _world() -> list[Line]:
    return [Line("the world alone", (steps_per_second(),), Wanted("at least", 100), unit="steps/s")]


async def _acted(at: Setting, name: str, exam: HouseholdExam, dice: Line | None) -> list[Line]:
    start_s = time.monotonic()
    episodes = await run_concurrently(exam.episode, at.num(200, 4))
    spent = cost(sum((e.usage for e in episodes), Usage()), len(episodes), time.monotonic() - start_s)
    wanted = {"model": Wanted("more"), "model, nearest": Wanted("at least", 0.8)}.get(name)
    place = f"{exam.rooms} rooms, {name}"
    success = Line(
        f"{place}: success", shares(e.is_success for e in episodes), wanted, dice and dice.beside, cost=spent
    )
    if exam.policy != "model":
        return [success]
    stopped = shares(len(e.steps) <= STEPS for e in episodes)
    could = shares(step.is_written for e in episodes for step in e.steps)
    return [
        success,
        Line(f"{place}: within its stops", stopped, Wanted("at least", 1.0)),
        Line(f"{place}: steps that could be done as written", could),
    ]


async def measure(at: Setting) -> Result:
    port = at.ports.to(at.trained("household"))
    parts = [await at.part("world", _world)]
    for rooms in (3,) if at.is_quick else (3, 1):
        dice: Line | None = None
        for name, exam in rows(port, rooms, at.seed).items():
            part = await at.part(f"{rooms} rooms {name}", partial(_acted, at, name, exam, dice))
            parts.append(part)
            dice = dice or part.lines[0]
    return at.result(parts)


if __name__ == "__main__":
    sys.exit(main({"household": measure}))
