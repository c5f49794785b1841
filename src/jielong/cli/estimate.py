"""`jielong estimate`: FLOPs, memory and time of a model shape, or of a recipe's training stages, without running them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jielong.cli.as_json import add_json, print_json
from jielong.cli.fields import recipe_of
from jielong.cli.walk import add_size
from jielong.errors import ConfigError, did_you_mean
from jielong.recipes import about_recipes

if TYPE_CHECKING:
    from jielong.model.config import ModelConfig
    from jielong.stages.recipe import Recipe

SUSTAINED = 0.5
"""Of what its matrix products reach a machine sustains about this share in training."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "estimate",
        help="FLOPs, memory and time of a model shape or a recipe, without running it",
        description=__doc__,
        usage="jielong estimate SHAPE|RECIPE [OPTION ...]",
    )
    parser.add_argument(
        "what",
        metavar="SHAPE|RECIPE",
        help="a preset (1m, s, m, gpt1, gpt2, gpt2-xl, gpt3 ...), a run's or model's folder, a config.json, fields that "
        f"differ from those of s (num_hidden_layers=8,hidden_size=512), or a recipe: {', '.join(about_recipes())}, FILE.py",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field of the shape or the recipe"
    )
    parser.add_argument("--source", type=Path, metavar="DIR", help="own: a folder of documents, text or code")
    add_size(parser)
    parser.add_argument("--tokens", type=float, metavar="N", help="a shape: training tokens; without it 20 a parameter")
    parser.add_argument(
        "--gflops",
        type=float,
        metavar="N",
        help="what the machine sustains (default: half of what its matrix products reach now)",
    )
    add_json(parser)
    parser.set_defaults(command=_estimate, seed=None, chat=None, preferences=None)


def _estimate(arguments: argparse.Namespace) -> int:
    """Estimate a shape or a recipe, and print it."""
    name, settings = arguments.what, arguments.set
    if "=" in name and not Path(name).exists():
        name, settings = "s", [*re.split(r",(?=\w+=)", name), *settings]
    if name in about_recipes() or (name.endswith((".py", ".json")) and Path(name).name != "config.json"):
        return _estimate_recipe(name, settings, arguments)
    from jielong.model.presets import estimate

    config = with_fields(shape_of(name), settings)
    speed, about = _speed_of_machine(arguments.gflops)
    found = estimate(config, tokens=arguments.tokens, flops_per_s=speed)
    if arguments.json:
        print_json({"shape": config, "flops_per_s": speed, **vars(found)})
    else:
        print(f"{describe_shape(config)}\n{found}\n{about}")
    return 0


def shape_of(name: str) -> ModelConfig:
    """Return the shape of a preset's name, a folder or a config.json. Raises ConfigError for an unknown name, and
    suggests known ones.
    """
    from jielong.model.hf import read_config
    from jielong.model.presets import PRESETS
    from jielong.runs import find_model

    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if path.exists():
        return read_config(path.parent if path.is_file() else find_model(path))[0]
    raise ConfigError(
        f"nothing to estimate is called {name!r}; {did_you_mean(name, [*PRESETS, *about_recipes()])} (or a model's folder, "
        "a config.json, or fields such as num_hidden_layers=8)"
    )


def with_fields(config: ModelConfig, settings: Sequence[str]) -> ModelConfig:
    """Return the shape with fields changed, as `settings` (FIELD=VALUE) say."""
    from jielong.config import set_fields

    pairs = (setting.partition("=") for setting in settings)
    return set_fields(config, {path.strip(): value.strip() for path, _, value in pairs})


def describe_shape(config: ModelConfig) -> str:
    """Describe a shape in a line or two."""
    experts = f", {config.num_experts} experts" if config.num_experts else ""
    return (
        f"shape       {config.num_hidden_layers} layers, width {config.hidden_size:,}, feed-forward "
        f"{config.intermediate_size:,}, {config.num_attention_heads} heads of {config.head_dim}\n"
        f"            ({config.num_key_value_heads} of keys), vocabulary {config.vocab_size:,}, "
        f"{config.max_position_embeddings:,} positions{experts}"
    )


def _speed_of_machine(gflops: float | None) -> tuple[float, str]:
    """Return the FLOP/s that the machine sustains, and where the figure comes from."""
    if gflops is not None:
        return gflops * 1e9, f"at          {gflops:,.0f} GFLOP/s, as given"
    from jielong.train.machine import measure_machine

    reached = measure_machine().gflops
    about = f"at          {SUSTAINED * reached:,.0f} GFLOP/s: half of what matrix products reach here now"
    return SUSTAINED * reached * 1e9, about


def _estimate_recipe(name: str, settings: Sequence[str], arguments: argparse.Namespace) -> int:
    """Estimate the training stages of a recipe."""
    from jielong.stages.recipe import change

    if arguments.tokens is not None:
        raise ConfigError(f"--tokens is for shapes; {name} says how long it trains: set STAGE.loop.steps=N")
    with recipe_of(argparse.Namespace(**{**vars(arguments), "recipe": name})) as recipe:
        _print_stages(change(recipe, settings), arguments)
    return 0


def _print_stages(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Print a line for each training stage, and their sum."""
    from rich import box
    from rich.table import Table

    from jielong.report import consoles
    from jielong.report.words import duration, size
    from jielong.stages.estimating import estimate_stages

    speed, about = _speed_of_machine(arguments.gflops)
    found = estimate_stages(recipe, speed)
    flops, seconds = (sum(getattr(e, field) for e in found.values()) for field in ("flops", "seconds"))
    if arguments.json:
        stages = [{"stage": name, **vars(e)} for name, e in found.items()]
        print_json({"recipe": recipe.name, "flops_per_s": speed, "stages": stages, "flops": flops, "seconds": seconds})
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("stage", "parameters", "tokens", "FLOPs", "memory", "time"):
        table.add_column(column, justify="right" if column != "stage" else "left")
    for name, e in found.items():
        numbers = (f"{e.parameters / 1e6:,.1f}M", f"{e.tokens:,.0f}", f"{e.flops:.2e}", size(e.memory_bytes))
        table.add_row(name, *numbers, duration(e.seconds))
    table.add_row("together", "", "", f"{flops:.2e}", "", duration(seconds), style="bold")
    consoles.console(highlight=False).print(table)
    print(f"{about}\nRows count as full; reading text, exams and samples come on top.")
