"""A recipe as a person or `jielong tune` writes it down: its name, its size and its changed settings.

The file is a small JSON object; `settings` are arguments of `--set`. It holds no more than a command line could say, so
a file can be read, changed by hand and kept beside the text it belongs to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jielong.errors import CheckpointError, ConfigError, did_you_mean
from jielong.recipes import build_recipe
from jielong.runs import read_json, write_json
from jielong.stages.recipe import Recipe, change

VERSION = 1

_KINDS: dict[str, tuple[type, str]] = {
    "seed": (int, "a whole number"),
    "settings": (list, 'a list such as ["pretrain.optimizer.lr=0.002"]'),
}
"""What JSON holds for each field that is no string, and the words for it."""


@dataclass(frozen=True)
class WrittenRecipe:
    """`source`, `chat` and `preferences` are paths as they were given, seen from where the command is run.

    `method` says how preferences are learned; None is as the recipe has it. `about` says where it came from and decides nothing.
    """

    recipe: str
    size: str = "default"
    seed: int = 0
    source: str | None = None
    chat: str | None = None
    preferences: str | None = None
    method: str | None = None
    settings: tuple[str, ...] = ()
    about: str = ""

    def build(self) -> Recipe:
        """Build the recipe with its settings; ConfigError names what it does not know."""
        paths = {n: Path(p) for n in ("source", "chat", "preferences") if (p := getattr(self, n)) is not None}
        recipe = build_recipe(self.recipe, size=self.size, seed=self.seed, method=self.method, **paths)
        return change(recipe, self.settings)

    def changed(self, settings: Iterable[str]) -> WrittenRecipe:
        """Add settings, each in place of an earlier one of the same field."""
        kept = {s.partition("=")[0].strip(): s for s in (*self.settings, *settings)}
        return dataclasses.replace(self, settings=tuple(kept.values()))


def write_recipe(path: Path, written: WrittenRecipe) -> None:
    fields = {n: v for n, v in dataclasses.asdict(written).items() if v is not None and v != ""}
    write_json(path, {"version": VERSION, **fields})


def read_recipe(path: Path) -> WrittenRecipe:
    """Read the recipe in a file; ConfigError says what is wrong with it."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist; give a recipe's name, or a file that jielong tune has written")
    try:
        data = read_json(path)
    except CheckpointError as error:
        raise ConfigError(f"{path} is no recipe: {error.__cause__}") from error
    if not isinstance(data, dict) or not isinstance(data.get("recipe"), str):
        raise ConfigError(f'{path} is no recipe; expected an object such as {{"version": 1, "recipe": "quickstart"}}')
    if data.pop("version", None) != VERSION:
        raise ConfigError(f"{path} has another version of the format; this jielong reads version {VERSION}")
    fields = [f.name for f in dataclasses.fields(WrittenRecipe)]
    for name, value in data.items():
        if name not in fields:
            raise ConfigError(f"{path} has an unknown field {name!r}; {did_you_mean(name, fields)}")
        kind, expected = _KINDS.get(name, (str, "a string"))
        is_kind = isinstance(value, kind) and not isinstance(value, bool)
        if not is_kind or (kind is list and not all(isinstance(setting, str) for setting in value)):
            raise ConfigError(f"{path}: {name} is {value!r}; expected {expected}")
    return WrittenRecipe(**{**data, "settings": tuple(data.get("settings", ()))})
