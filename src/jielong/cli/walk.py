"""Running a recipe from the command line: the options that every recipe takes, and the display around it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.shortcuts import add_words, epochs_of, settings_of
from jielong.errors import ConfigError
from jielong.outside import is_name
from jielong.recipes import about_recipes

if TYPE_CHECKING:
    from jielong.recipes.shared.written import WrittenRecipe
    from jielong.runs import Run
    from jielong.stages.differences import Difference
    from jielong.stages.recipe import Recipe

MOST_SHOWN = 12
"""Fields that are shown one by one where more differ from last time."""


def add_recipe(parser: argparse._ActionsContainer) -> None:
    """Add the options that name a recipe: its name or file, its size, and its data."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help=f"{', '.join(about_recipes())}; a FILE.py with a recipe, or a FILE.json that jielong tune has written",
    )
    parser.add_argument("--source", type=Path, metavar="DIR", help="own: a folder of documents, text or code")
    parser.add_argument("--chat", type=Path, metavar="FILE.jsonl", help="own: conversations to learn from")
    parser.add_argument("--preferences", type=Path, metavar="FILE.jsonl", help="own: which of two answers is better")
    parser.add_argument(
        "--method",
        help="own: how preferences are learned: ppo (default), grpo, dr_grpo, dapo, gspo, cispo, rloo by a reward model; "
        "dpo, cdpo, ipo, kto, simpo, orpo without one",
    )
    add_size(parser)


def add_size(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--size", help="default or smoke (default: default)")


def written_recipe(arguments: argparse.Namespace) -> WrittenRecipe:
    """Return the recipe that the options name, without --set; the command line goes before a file."""
    from dataclasses import replace

    from jielong.recipes.shared.written import WrittenRecipe, read_recipe

    is_file = arguments.recipe.endswith(".json")
    written = read_recipe(Path(arguments.recipe)) if is_file else WrittenRecipe(arguments.recipe)
    given: dict[str, Any] = {n: v for n in ("size", "seed", "method") if (v := getattr(arguments, n, None)) is not None}
    given |= {n: str(p) for n in ("source", "chat", "preferences") if (p := getattr(arguments, n)) is not None}
    return replace(written, **given)


def add_options(parser: argparse._ActionsContainer, seed: int | None = 0) -> None:
    """Add seed, place and settings; a default seed of None leaves it to the recipe."""
    parser.add_argument("--seed", type=int, default=seed, metavar="N")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs lie (default: runs)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.FIELD=VALUE", help="change any field")


def add_walk_options(parser: argparse.ArgumentParser, seed: int | None = 0) -> None:
    """Add these, shortcuts for fields, and the name of the run, for commands that run a recipe."""
    add_options(parser, seed)
    add_words(parser)
    parser.add_argument(
        "--name", help="name of the run's folder below --runs (default: made of the recipe, its size and the seed)"
    )


def walk(recipe: Recipe, arguments: argparse.Namespace, kept: Sequence[str] = ()) -> Run | None:
    """Run the recipe, changed as the command line says, to its end, with a display of its progress.

    `kept` are settings from elsewhere, which the command line goes before. None on every process but the first, and
    where a person wanted to go no further.
    """
    from dataclasses import replace

    from jielong.cli.display import Display
    from jielong.native.build import WITHOUT, is_built
    from jielong.report.consoles import console
    from jielong.stages.execute import resolve_epochs, run_recipe
    from jielong.stages.recipe import change
    from jielong.train.parallel import ranks_from_environment

    epochs = epochs_of(recipe, arguments)
    settings = [*kept, *settings_of(recipe, arguments), *arguments.set]
    recipe = replace(change(recipe, settings), folder=_name(arguments.name))
    chosen = _as_last_time(recipe, arguments, settings, epochs)
    if chosen is None:
        return None
    recipe, root = chosen, arguments.runs
    if not is_built():
        say_at_once(f"The C++ part of jielong is not installed: {WITHOUT}.")
    with ranks_from_environment() as ranks:
        names = [stage.name for stage in recipe.stages]
        with Display(names, title=recipe.run_name, console=console(is_quiet=not ranks.is_first)) as display:
            if epochs:
                recipe = resolve_epochs(recipe, epochs, root, display, ranks)
            run = run_recipe(recipe, root, display, ranks)
        return run if ranks.is_first else None


def say_at_once(text: str) -> None:
    """Print a line before slow imports, on the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def say_what_next(run: Run, *, can_talk: bool) -> None:
    """Print the commands that continue with a run's model, as they can be typed."""
    path = shlex.quote(str(run.path))
    # the library that writes GGUF is not part of every installation
    kind = "gguf" if find_spec("gguf") else "hf"
    if run.models():
        print(
            f"Talk to it:          jielong chat {path}"
            if can_talk
            else f"Let it write:        jielong generate {path} TEXT"
        )
        if can_talk:
            print(f"On a page:           jielong serve {path}")
        print(f"For other programs:  jielong export {path} --format {kind}")
    print(f"Where it came from:  jielong lineage {path}")


def _name(name: str | None) -> str:
    """Return the name of a run's folder; ConfigError for one that is no plain folder name."""
    if name is not None and (not is_name(name) or name[0] in ".-" or ":" in name or name != name.strip()):
        raise ConfigError(f"--name {name!r} is no plain name of a folder; expected one such as tea-50-steps")
    return name or ""


# What differs from last time -------------------------------------------------------------------------------------------


def _as_last_time(
    recipe: Recipe, arguments: argparse.Namespace, settings: Sequence[str], epochs: Collection[str]
) -> Recipe | None:
    """Return the recipe, with the last start's settings where a person wants these; None where they want neither.

    Differences are always printed. A person is asked where training would begin anew for a field that this command line
    does not name: then it was probably forgotten. With other text or chats all is made anew in any case, and nobody is
    asked.
    """
    from jielong.runs import BEFORE, Run, is_run
    from jielong.stages.differences import differences, trainings_to_replace, without_settings

    run = Run(arguments.runs / recipe.run_name)
    if os.environ.get("RANK", "0") != "0" or not is_run(run.path):
        return recipe
    # how many steps so many epochs are is known when the data is there
    found = [d for d in differences(recipe, run.record) if d.path not in {f"{stage}.loop.steps" for stage in epochs}]
    if not found:
        return recipe
    forgotten = without_settings(found, settings)
    finished, half_done = trainings_to_replace(recipe, run)
    _say_differences(run.path, found)
    if finished:
        print(f"What {' and '.join(finished)} came to last time is kept in {run.path / BEFORE}.")
    if half_done:
        print(f"The half-done training of {' and '.join(half_done)} is begun anew.")
    if not (finished or half_done) or not forgotten:
        return recipe
    repeat = [word for d in forgotten for word in ("--set", d.setting)]
    line = shlex.join(["jielong", *arguments.words, *repeat])
    print(f"To keep last time's settings:  {line}")
    print("To have both side by side:     the same command with --name NAME")
    is_alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if any(d.content for d in found) or not (is_alone and sys.stdin.isatty() and sys.stdout.isatty()):
        print("Going on with the settings of this command.")
        return recipe
    return _asked(recipe, forgotten)


def _say_differences(path: Path, found: Sequence[Difference]) -> None:
    """Print the settings that differ from the last start."""
    print(f"{path} was started otherwise last time:")
    for difference in found[:MOST_SHOWN]:
        print(f"  {difference}")
    if len(found) > MOST_SHOWN:
        print(f"  and {len(found) - MOST_SHOWN} more fields")


def _asked(recipe: Recipe, forgotten: Sequence[Difference]) -> Recipe | None:
    """Ask a person at the terminal which settings to use."""
    from jielong.stages.recipe import change

    answers: Mapping[str, Recipe | None] = {
        "k": change(recipe, [d.setting for d in forgotten]),
        "n": recipe,
        "q": None,
    }
    while True:
        try:
            said = input("[k]eep last time's settings, take the [n]ew ones, or [q]uit? ").strip().lower()
        except EOFError:  # Ctrl-D
            said = "q"
        if said[:1] in answers:
            return answers[said[:1]]
