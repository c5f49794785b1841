"""`jielong tune`: a search over the fields that a recipe offers, its table, and the recipe that came out best."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.cli.walk import add_options, add_recipe, written_recipe
from jielong.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from jielong.tuning.study import Trial
    from jielong.tuning.tune import Tuned

UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "tune",
        help="search the fields that a recipe offers, and write the best as a recipe",
        description=__doc__,
        usage="jielong tune RECIPE [OPTION ...]",
    )
    add_recipe(parser.add_argument_group("what is searched"))
    trials = parser.add_argument_group("trials")
    trials.add_argument("--stage", help="which training stage; without it, the first that offers something")
    trials.add_argument("--budget", default="30m", help="time for the whole search: 90s, 30m or 2h (default: 30m)")
    trials.add_argument("--trials", type=int, metavar="N", help="end after so many trials too")
    trials.add_argument("--steps", type=int, metavar="N", help="steps of a trial; without it, what the recipe says")
    add_options(parser.add_argument_group("the run"), seed=None)
    parser.set_defaults(command=run)


def seconds_of(budget: str) -> float:
    """Parse 90s, 30m or 2h to seconds. Raises ConfigError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", budget.strip())
    if not match or not float(match[1]):
        raise ConfigError(f"budget {budget!r} is no time to spend; write 90s, 30m or 2h")
    return float(match[1]) * UNIT_S[match[2]]


def run(arguments: argparse.Namespace) -> int:
    """Search, show the trials and what to do next; return exit code 0."""
    budget_s = seconds_of(arguments.budget)
    for name in ("trials", "steps"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise ConfigError(f"--{name} is {value}; it must be at least 1")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("jielong tune runs in one process; start it without torchrun")

    from jielong.cli.display import Display
    from jielong.report import consoles
    from jielong.tuning.proposals import library
    from jielong.tuning.tune import choose_search, tune

    library()
    written = written_recipe(arguments)
    recipe = written.changed(arguments.set).build()
    before = recipe.before(choose_search(recipe, arguments.stage, arguments.set).stage)
    console = consoles.console()
    with Display([s.name for s in before], title=f"tune {recipe.run_name}", console=console) as display:
        tuned = tune(
            written,
            arguments.runs,
            held=arguments.set,
            stage=arguments.stage,
            budget_s=budget_s,
            max_trials=arguments.trials,
            steps=arguments.steps,
            display=display,
        )
    print_trials(tuned, console)
    print(f"\nTrials:              {tuned.study.folder / 'trials.jsonl'}")
    print(f"The best as recipe:  {tuned.recipe_file}")
    where = [] if arguments.runs == Path("runs") else ["--runs", str(arguments.runs)]
    print(f"Run it:              {shlex.join(['jielong', 'run', str(tuned.recipe_file), *where])}")
    print("Search on:           the same command with a longer --budget, or more --trials")
    return 0


def print_trials(tuned: Tuned, console: Console) -> None:
    """Print all trials, the best first, the gain over the recipe's own settings, and the settings that mattered."""
    from rich.table import Table

    from jielong.report.words import duration
    from jielong.tuning.study import short_name

    study, best = tuned.study, tuned.best
    judged_by, stage = study.search.judged_by, study.search.stage
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trial", justify="right")
    # words, so that a narrow terminal breaks the headings and cuts none
    for name in (judged_by, *(short_name(o.field) for o in study.search.offers)):
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("time", justify="right")
    for trial in ranked(tuned.trials):
        shown = f"{trial.value:.4f}" if trial.value is not None else trial.state
        settings = [str(trial.settings.get(o.field, "–")) for o in study.search.offers]
        style = "bold green" if trial == best else "" if trial.state == "done" else "dim"
        table.add_row(str(trial.number), shown, *settings, duration(trial.seconds), style=style)
    console.print(table)
    for trial in tuned.trials:
        if trial.state == "failed":
            console.print(f"trial {trial.number} failed: {trial.cause}", markup=False, highlight=False)
    own = tuned.trials[0]
    console.print(f"\n{_describe_gain(own, best, judged_by)}", markup=False, highlight=False)
    steps = study.stage.loop.steps
    if steps < tuned.full_steps:
        console.print(
            f"A trial took {steps} of the {tuned.full_steps} steps that {stage} has; what is best there need not be best "
            "at full length.",
            markup=False,
            highlight=False,
        )
    if tuned.importances:
        shares = ", ".join(f"{short_name(n)} {v:.0%}" for n, v in tuned.importances.items())
        console.print(f"What mattered (PED-ANOVA): {shares}", markup=False, highlight=False)
    console.print(
        f"{len(tuned.trials)} trials in {duration(tuned.seconds)}; {tuned.ended}.", markup=False, highlight=False
    )


def ranked(trials: tuple[Trial, ...]) -> list[Trial]:
    """Sort trials: the done ones, the best first; then those stopped early, the farthest first; then the failed."""

    def rank(trial: Trial) -> tuple[float, ...]:
        """Return the sort key of a trial."""
        if trial.state == "done":
            assert trial.value is not None
            return (0, trial.value, trial.number)
        if trial.state == "pruned":
            step, value = trial.checks[-1]
            return (1, -step, value)
        return (2, trial.number)

    return sorted(trials, key=rank)


def _describe_gain(own: Trial, best: Trial, judged_by: str) -> str:
    """Describe the gain of the best trial over the recipe's own settings."""
    if own.value is None:
        return f"The recipe's own settings (trial 0) did not come to an end: {own.cause}"
    if best.number == 0:
        return f"Nothing was better than the recipe's own settings (trial 0, {judged_by} {own.value:.4f})."
    assert best.value is not None
    return (
        f"The recipe's own settings (trial 0) came to {judged_by} {own.value:.4f}, the best (trial {best.number}) to "
        f"{best.value:.4f}: {own.value - best.value:.4f} lower, with one seed."
    )
