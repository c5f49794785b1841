"""Whole roads as compositions of stages, a file each.

A recipe is a file with a function of the file's name, which takes `size` and `seed`, and what it is made of, and returns a
`Recipe`. Every such file in this folder is offered by `jielong run`; a file from elsewhere is run by
its path. Nothing is imported before a recipe is asked for: names and first sentences are read from the files' text.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jielong.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from jielong.stages.recipe import Recipe


@functools.cache
def about_recipes() -> dict[str, str]:
    """Return each recipe's first sentence, by name."""
    found = {}
    for folder in __path__:
        for file in sorted(Path(folder).glob("[!_]*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            made = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == file.stem]
            takes = {a.arg for f in made for a in (*f.args.args, *f.args.kwonlyargs)}
            if {"size", "seed"} <= takes:
                found[file.stem] = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    return dict(sorted(found.items()))


def build_recipe(
    name: str, *, size: str = "default", seed: int = 0, method: str | None = None, **data: Path | None
) -> Recipe:
    """Build the recipe called `name`, or the one in the file NAME.py; ConfigError for an unknown one, or data it does
    not take.

    `data` are the paths that a recipe may be made of: `source`, `chat`, `preferences`; `method` says how preferences
    are learned, for recipes that leave it open.
    """
    if name.endswith(".py"):
        module, function = _load(Path(name)), Path(name).stem
    elif name in about_recipes():
        module, function = importlib.import_module(f"{__name__}.{name}"), name
    else:
        raise ConfigError(f"unknown recipe {name!r}; {did_you_mean(name, about_recipes())}")
    make = getattr(module, function, None)
    if make is None:
        raise ConfigError(f"{name} is no recipe; it needs a function {function}(size, seed) that returns one")
    given: dict[str, Any] = {option: path for option, path in data.items() if path is not None}
    takes = inspect.signature(make).parameters
    if any(option not in takes for option in given):
        raise ConfigError(f"{name} brings its own data; use `jielong run own` with --source, --chat, --preferences")
    if method is not None:
        if "method" not in takes:
            raise ConfigError(f"{name} has its own way to learn from preferences; --method is for own and adapt")
        given["method"] = method
    recipe: Recipe = make(size=size, seed=seed, **given)
    return recipe


def _load(file: Path) -> ModuleType:
    """Import a module from a file outside the package."""
    spec = importlib.util.spec_from_file_location(f"recipe_{file.stem}", file)
    if spec is None or spec.loader is None or not file.exists():
        raise ConfigError(f"{file} does not exist; give a recipe's name, or a file with one")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses in it look their types up there
    spec.loader.exec_module(module)
    return module
