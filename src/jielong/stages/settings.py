"""The main settings of a stage in words. Of a training: steps, rate, rows and size. Of others: fields not at their
default.

They are read from a run's record, so stages of finished runs can be described without their recipe.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jielong.stages
from jielong.config import format_value, resolved
from jielong.model import hf
from jielong.model.presets import num_parameters
from jielong.runs import Run, model_of
from jielong.stages.recipe import Stage

_ABOUT_ALL = ("kind", "version", "facts")
"""Parts of a config that follow from the code."""


def settings_in_words(run: Run, name: str, entry: Mapping[str, Any]) -> str:
    """Describe the settings of the stage `name`, whose `entry` the run's record holds. Returns "" if all are at their
    defaults.
    """
    config = entry.get("config", {})
    if "loop" in config and "source" in config:
        return ", ".join(_training_settings(config, _model_of(run, name, entry)))
    kind = _stage_classes().get(config.get("kind", ""))
    if kind is None:
        return ""
    places = [str(config[place]) for place in kind.only_places if place in config]
    return ", ".join([*places, *(f"{path} {format_value(value)}" for path, value in _changed_fields(kind, config))])


def _training_settings(config: Mapping[str, Any], model: Path | None) -> Iterator[str]:
    """Yield steps, rate, rows and size of a training."""
    optimizer, source = config["optimizer"], config["source"]
    yield f"{config['loop']['steps']:,} steps"
    yield f"lr {optimizer['lr']:g} ({optimizer['name']})"
    if "rows_per_step" in source:
        yield f"{source['rows_per_step']} rows x {source['length']} tokens"
    else:
        yield f"{source['prompts'] * source['group_size']} samples a rollout ({source['algorithm']})"
    if config.get("adapter"):
        yield f"adapter of rank {config['adapter']['rank']}"
    elif model is not None:
        yield f"{num_parameters(hf.read_config(model)[0]) / 1e6:,.1f}M parameters"


def _model_of(run: Run, name: str, entry: Mapping[str, Any]) -> Path | None:
    """Return the model that a training ended with, if it is there."""
    model = model_of(run.stage_path(name), entry)
    return model if model is not None and (model / "config.json").exists() else None


@functools.cache
def _stage_classes() -> dict[str, type[Stage]]:
    """Import all modules of `jielong.stages` and return every stage class by its name."""
    for module in pkgutil.iter_modules(jielong.stages.__path__):
        importlib.import_module(f"jielong.stages.{module.name}")
    found, kinds = {}, [Stage]
    while kinds:
        kind = kinds.pop()
        found[kind.__name__] = kind
        kinds += kind.__subclasses__()
    return found


def _changed_fields(kind: type[Stage], config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield fields of a stage's config that differ from the class's defaults, with their values."""
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default is not dataclasses.MISSING and field.name in config and field.name not in (*_ABOUT_ALL, "inputs"):
            yield from _differing(field.name, resolved(default), config[field.name])


def _differing(path: str, default: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the paths within a field at which values differ from the default."""
    if isinstance(default, dict) and isinstance(value, dict):
        for name in value:
            if name not in _ABOUT_ALL:
                yield from _differing(f"{path}.{name}", default.get(name), value[name])
    elif default != value:
        yield path, value
