"""Walking a recipe from the command line: the options that every recipe takes, and the display around it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.recipes import about_recipes

if TYPE_CHECKING:
    from jielong.recipes.shared.written import WrittenRecipe
    from jielong.runs import Run
    from jielong.stages.recipe import Recipe


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Which recipe: its name or a file, its size, and what own is made of."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help=f"{', '.join(about_recipes())}; a FILE.py with a recipe, or a FILE.json that jielong tune has written",
    )
    parser.add_argument("--source", type=Path, metavar="DIR", help="own: a folder of documents, text or code")
    parser.add_argument("--chat", type=Path, metavar="FILE.jsonl", help="own: conversations to learn from")
    parser.add_argument("--preferences", type=Path, metavar="FILE.jsonl", help="own: which of two answers is better")
    add_size(parser)


def add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", help="default or smoke (default: default)")


def written_recipe(arguments: argparse.Namespace) -> WrittenRecipe:
    """The recipe that the options name, without --set; what the command line says goes before what a file says."""
    from dataclasses import replace

    from jielong.recipes.shared.written import WrittenRecipe, read_recipe

    is_file = arguments.recipe.endswith(".json")
    written = read_recipe(Path(arguments.recipe)) if is_file else WrittenRecipe(arguments.recipe)
    given: dict[str, Any] = {n: v for n in ("size", "seed") if (v := getattr(arguments, n)) is not None}
    given |= {n: str(p) for n in ("source", "chat", "preferences") if (p := getattr(arguments, n)) is not None}
    return replace(written, **given)


def add_options(parser: argparse.ArgumentParser, seed: int | None = 0) -> None:
    """Seed, place and settings; a default seed of None leaves it to the recipe."""
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs lie (default: runs)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.FIELD=VALUE", help="change any field")


def walk(recipe: Recipe, root: Path) -> Run | None:
    """Take the recipe to its end under `root` and show how far it is; None on every process but the first."""
    from jielong.cli.display import Display
    from jielong.report.consoles import console
    from jielong.stages.execute import run_recipe
    from jielong.train.parallel import ranks_from_environment

    with ranks_from_environment() as ranks:
        names = [stage.name for stage in recipe.stages]
        with Display(names, title=recipe.run_name, console=console(is_quiet=not ranks.is_first)) as display:
            run = run_recipe(recipe, root, display, ranks)
        return run if ranks.is_first else None
