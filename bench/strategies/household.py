"""Who reaches goals in the household: a trained model, with and without the nearest action, dice, and who knows the way.

Every row acts on the same goals of the test part: homes, things and sentences that no demonstration had. The control is
dice, which may go on to the last step and count as having reached the goal if they ever did. The bounds are the shortest
plan and the seeker, who made the demonstrations. The last lines pair the nearest action's episodes with those without it.

`python -m bench.strategies.household RUN`, from the root of the repository; RUN is what `jielong run household` made.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from dataclasses import replace

from jielong.cli.ports import open_port
from jielong.evaluate.acting import figures
from jielong.evaluate.many import many
from jielong.evaluate.statistics import paired_bootstrap
from jielong.recipes.acting import Trial
from jielong.use.agents.acting import Episode, Limits, by_letters
from jielong.use.port import Port, Scores
from jielong.worlds.household.game import Household
from jielong.worlds.household.things import LANGUAGES

STEPS = 40


def steps_per_second(steps: int = 20_000) -> float:
    """Random actions in a home of three rooms, texts included."""
    game, dice = Household("en", part="test"), random.Random(0)
    seen = game.reset(0)
    start_s = time.perf_counter()
    for _ in range(steps):
        seen, _, _ = game.step(dice.choice(seen.admissible[:-1]))
    return steps / (time.perf_counter() - start_s)


def rows(port: Port, rooms: int, seed: int) -> dict[str, Trial]:
    """Who acts, by the name of the row."""
    free = Limits(steps=STEPS, repeats=STEPS)
    model = Trial("model", seed, port, rooms=rooms, limits=Limits(steps=STEPS))
    found = {
        "shortest plan": replace(model, policy="solver"),
        "seeker": replace(model, policy="seeker"),
        "dice": replace(model, policy="random", limits=free),
        "model": model,
        "model, nearest": replace(model, nearest=by_letters),
        "model, train part": replace(model, part="train"),
    }
    if isinstance(port, Scores):
        found["model, likeliest"] = replace(model, policy="likeliest")
    for language in LANGUAGES:
        found[f"model, {language}"] = replace(model, languages=(language,))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a run's or model's folder, or a server's address")
    parser.add_argument("--goals", type=int, default=200, help="of each row and seed (default: 200)")
    parser.add_argument("--rooms", type=int, nargs="+", default=[3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows alone")
    arguments = parser.parse_args()
    port = open_port(arguments.model)
    print(f"the world alone: {steps_per_second():,.0f} steps/s")
    for rooms in arguments.rooms:
        episodes: dict[str, list[Episode]] = {}
        for seed in arguments.seeds:
            for name, trial in rows(port, rooms, seed).items():
                if not arguments.only or name in arguments.only:
                    episodes.setdefault(name, []).extend(asyncio.run(many(trial.episode, arguments.goals)))
        print(f"\n{rooms} rooms, seeds {', '.join(map(str, arguments.seeds))}, {arguments.goals} goals each")
        for name, found in episodes.items():
            print(f"{name:18} {figures(found)}", flush=True)
        if {"model", "model, nearest"} <= episodes.keys():
            with_it, without = ([float(e.is_success) for e in episodes[n]] for n in ("model, nearest", "model"))
            gain = paired_bootstrap(with_it, without)
            print(f"nearest action: success {gain.mean:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
