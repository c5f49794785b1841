"""The package's own tasks, by name."""

from __future__ import annotations

from pathlib import Path

from jielong.errors import ConfigError, did_you_mean
from jielong.evaluate.attacks import add_attacks
from jielong.evaluate.bias import bias_pairs
from jielong.evaluate.tasks import Task, read_task

_SETS = Path(__file__).parent / "sets"
BUILT_IN = ("bias", "code", "instructions", "safety")


def built_in(name: str) -> Task:
    """Return the task of BUILT_IN with this name."""
    if name not in BUILT_IN:
        raise ConfigError(f"there is no built-in task {name!r}; {did_you_mean(name, BUILT_IN)}")
    if name == "bias":
        return bias_pairs(_SETS / "bias.json")
    task = read_task(_SETS / f"{name}.jsonl")
    return add_attacks(task) if name == "safety" else task
