"""Goals in a household told in text, and who reaches them: a model, dice, or somebody who knows the house."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.parsing import former_name
from jielong.cli.tools import add_timeout
from jielong.opening.ports import MODEL_HELP, open_port


def add_parser(commands: Any) -> None:
    """Add `jielong act` to the commands."""
    act = commands.add_parser(
        "act",
        help="let a model reach goals in a household told in text",
        description=__doc__,
        usage="jielong act [MODEL] [OPTION ...]",
    )
    actor = act.add_argument_group("who acts")
    actor.add_argument(
        "model", nargs="?", metavar="MODEL", help=f"{MODEL_HELP}; the policies random, solver and seeker need none"
    )
    actor.add_argument("--stage", help="of a run; without it, the last one trained")
    actor.add_argument(
        "--policy",
        default="model",
        help="who acts: model (what it writes), likeliest (what it finds likeliest of what can be done), random, solver "
        "(the shortest plan) or seeker (who has to look around) (default: model)",
    )
    actor.add_argument("--strategy", help="how the model is asked for each action, such as vote:n=5")
    actor.add_argument("--nearest", action="store_true", help="map what cannot be done to the nearest action that can")
    actor.add_argument(
        "--remember",
        type=int,
        metavar="TURNS",
        help="tell so many of the last turns again (default: as in the run's own exam, or else 3)",
    )
    goals = act.add_argument_group("goals and homes")
    goals.add_argument(
        "--goals", type=int, default=100, metavar="N", help="how many, each in a home of its own (default: 100)"
    )
    goals.add_argument("--rooms", type=int, default=3, metavar="N", help="of each home, 1 to 5 (default: 3)")
    goals.add_argument(
        "--part", choices=("test", "train"), default="test", help="homes, things and sentences of which part"
    )
    goals.add_argument("--language", choices=("en", "zh", "both"), default="both", help="of goals (default: both)")
    goals.add_argument("--world", type=Path, metavar="FILE", help="a home of one's own (.json) instead")
    goals.add_argument("--seed", type=int, default=0, metavar="N")
    limits = act.add_argument_group("limits")
    most = limits.add_argument(
        "--max-steps", type=int, default=40, metavar="N", help="stop an episode after so many (default: 40)"
    )
    former_name(limits, most, "--steps")
    limits.add_argument(
        "--budget-tokens",
        type=int,
        default=0,
        metavar="N",
        help="stop an episode after so many, read and written",
    )
    add_timeout(limits)
    output = act.add_argument_group("output")
    output.add_argument("--show", action="store_true", help="show each episode, step by step")
    add_json(output)
    act.set_defaults(command=_act)


def _act(arguments: argparse.Namespace) -> int:
    """Run the episodes of a policy and print their figures."""
    import asyncio

    from jielong.errors import ConfigError
    from jielong.evaluate.acting import HouseholdExam, figures
    from jielong.evaluate.concurrently import run_concurrently
    from jielong.use.agents.acting import Episode, Limits, by_letters
    from jielong.use.ledger import Budget
    from jielong.use.strategies import named
    from jielong.worlds.household.files import read_task
    from jielong.worlds.household.things import LANGUAGES

    if arguments.goals < 1:
        raise ConfigError(f"--goals is {arguments.goals}; at least 1 is needed")
    needs_model = arguments.policy in ("model", "likeliest")
    task = read_task(arguments.world) if arguments.world else None
    languages = LANGUAGES if arguments.language == "both" else (arguments.language,)
    exam = HouseholdExam(
        arguments.policy,
        arguments.seed,
        open_port(arguments.model, stage=arguments.stage, timeout_s=arguments.timeout)
        if needs_model and arguments.model
        else None,
        task,
        arguments.rooms,
        arguments.part,
        languages,
        Limits(steps=arguments.max_steps, remember=turns_to_repeat(arguments)),
        by_letters if arguments.nearest else None,
        Budget(tokens=arguments.budget_tokens),
        named(arguments.strategy) if arguments.strategy else None,
    )
    num_goals = len(languages) if task else arguments.goals

    async def work() -> list[Episode]:
        """Run the episodes, then close the port."""
        try:
            return await run_concurrently(exam.episode, num_goals)
        finally:
            if exam.port:
                await exam.port.close()

    episodes = asyncio.run(work())
    if arguments.show:
        print("\n\n".join(map(str, episodes)), end="\n\n")
    found = figures(episodes)
    if arguments.json:
        print_json({"policy": arguments.policy, **vars(found)})
        return 0
    print(found)
    return 0


def turns_to_repeat(arguments: argparse.Namespace) -> int:
    """Return how many past turns the model is shown again: the number given by the option, or else that of the stage
    `act` in the model's run, or else the default.
    """
    from jielong.runs import named_stage, run_around
    from jielong.use.agents.acting import Limits

    if arguments.remember is not None:
        return int(arguments.remember)
    run = run_around(named_stage(Path(arguments.model))[0]) if arguments.model else None
    if run is None:
        return Limits.remember
    exam = run.record["stages"].get("act", {})
    return int(exam.get("config", {}).get("remember", Limits.remember))
