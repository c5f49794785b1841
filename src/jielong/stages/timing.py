"""Time estimates of a recipe's trainings before the first one begins: a layer of each shape is timed on this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from jielong.model import hf
from jielong.model.presets import flops_per_token
from jielong.model.transformer import Embedding, Layer, ModelConfig, Transformer
from jielong.stages.recipe import Context, Recipe, Stage
from jielong.stages.train import TrainStage
from jielong.train.machine import Machine, seconds_of_layers
from jielong.train.sources import RowsConfig


def time_ahead(context: Context) -> list[str]:
    """Return a line for each training that is still to be done, and one for all of them if they are several.

    A training whose rows are not all of one length has no figure: reinforcement, which writes its own, and pairs.
    """
    if context.machine.device != "cpu":
        return []  # how many rows a GPU takes at a time is decided when the model is on it
    fingerprints = context.recipe.fingerprints()
    stages = [
        s
        for s in context.recipe.stages
        if isinstance(s, TrainStage) and not context.run.is_done(s.name, fingerprints[s.name])
    ]
    lines, total_s, unknown = [], 0.0, []
    for stage in stages:
        config, rows = shape_of(stage, context.recipe), stage.source.rows()
        if config is None or rows is None or stage.objective.head == "scalar":
            unknown.append(stage.name)
            continue
        steps = stage.loop.steps - _steps_before(context.run.stage_path(stage.name), stage, context)
        step_s = seconds_of_step(config, rows, context.machine, has_adapter=stage.adapter is not None)
        total_s += steps * step_s
        tokens = rows.rows_per_step * rows.length
        lines.append(
            f"{stage.name}: about {_roughly(steps * step_s)}: {steps:,} steps of {tokens:,} tokens at ~{tokens / step_s:,.0f} "
            "tokens/s"
        )
    if len(stages) > 1:
        left_out = f", without {' and '.join(unknown)}" if unknown else ""
        lines.append(f"all trainings{left_out}: about {_roughly(total_s)}")
    return lines


def seconds_of_step(config: ModelConfig, rows: RowsConfig, machine: Machine, *, has_adapter: bool = False) -> float:
    """Estimate the seconds of a step of full rows with eager layers: one layer is measured, the head follows by its
    FLOPs.
    """
    with torch.device("meta"):
        transformer = Transformer(config)
    transformer.compute_dtype = machine.torch_dtype
    with torch.random.fork_rng(devices=[]):
        transformer.embed_tokens, transformer.layers[-1] = Embedding(1, config.hidden_size), Layer(config)
    transformer.layers[-1].requires_grad_(not has_adapter)
    layers_s = seconds_of_layers(transformer, rows.micro_rows, rows.length)
    whole, without_head = (
        flops_per_token(dataclasses.replace(config, vocab_size=size), rows.length, int(has_adapter))
        for size in (config.vocab_size, 1)
    )
    return layers_s * rows.rows_per_step / rows.micro_rows * whole / without_head


def shape_of(stage: Stage, recipe: Recipe) -> ModelConfig | None:
    """Return the shape of a training's model, found where its weights begin, or None if that is not known yet."""
    while isinstance(stage, TrainStage) and stage.model is None and "start" in stage.inputs:
        stage = recipe.stage(stage.inputs["start"])
    elsewhere = stage.model_from_elsewhere()
    if elsewhere is not None:
        return hf.read_config(elsewhere)[0]
    return (stage.model or ModelConfig()) if isinstance(stage, TrainStage) else None


def _roughly(seconds: float) -> str:
    """Format a time that is known to about a quarter."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _steps_before(folder: Path, stage: TrainStage, context: Context) -> int:
    """Return the number of the last step that an earlier start saved; 0 if there is none or the stage's fingerprint
    has changed.
    """
    entry = context.run.record["stages"].get(stage.name, {})
    if entry.get("fingerprint") != context.recipe.fingerprints()[stage.name]:
        return 0
    return max((int(p.name) for p in (folder / "steps").glob("[0-9]*") if p.name.isdigit()), default=0)
