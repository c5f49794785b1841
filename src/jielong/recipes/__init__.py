"""Whole roads as plain data, and what runs them."""

from __future__ import annotations

from pathlib import Path

from jielong.errors import ConfigError, did_you_mean
from jielong.recipes.calls import calls
from jielong.recipes.household import household
from jielong.recipes.own import own
from jielong.recipes.quickstart import quickstart
from jielong.recipes.reader import reader
from jielong.recipes.recipe import Recipe

WITH_DATA = {"calls": calls, "household": household, "quickstart": quickstart, "reader": reader}
"""Recipes that bring their own data."""

RECIPES = (*WITH_DATA, "own")


def build_recipe(
    name: str,
    *,
    size: str = "default",
    seed: int = 0,
    source: Path | None = None,
    chat: Path | None = None,
    preferences: Path | None = None,
) -> Recipe:
    """The recipe called `name`; ConfigError for an unknown one, or for options it does not have."""
    if name in WITH_DATA:
        if source or chat or preferences:
            raise ConfigError(f"{name} brings its own data; use `jielong run own` with --source, --chat, --preferences")
        return WITH_DATA[name](size, seed)
    if name == "own":
        if source is None:
            raise ConfigError("own needs --source DIR, a folder of HTML, Markdown, PDF, text or code")
        return own(source, chat, preferences, size=size, seed=seed)
    raise ConfigError(f"unknown recipe {name!r}; {did_you_mean(name, RECIPES)}")
