"""Walking a recipe from the command line: the options that every recipe takes, and the display around it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jielong.recipes.recipe import Recipe
    from jielong.runs import Run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Seed, place and settings."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs lie (default: runs)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.FIELD=VALUE", help="change any field")


def walk(recipe: Recipe, root: Path) -> Run | None:
    """Take the recipe to its end under `root` and show how far it is; None on every process but the first."""
    from rich.console import Console

    from jielong.cli.display import Display
    from jielong.recipes.execute import run_recipe
    from jielong.train.parallel import ranks_from_environment

    with ranks_from_environment() as ranks:
        console = Console(quiet=not ranks.is_first)
        with Display([s.name for s in recipe.stages], title=recipe.run_name, console=console) as display:
            run = run_recipe(recipe, root, display, ranks)
        return run if ranks.is_first else None
