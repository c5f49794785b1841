"""Estimates of a recipe's training stages from their configs, before anything runs."""

from __future__ import annotations

import dataclasses
import math

from jielong.model import hf
from jielong.model.config import ModelConfig
from jielong.model.presets import Estimate, activation_bytes, flops_per_token, num_parameters
from jielong.stages.recipe import Recipe, Stage
from jielong.stages.tokens import TokenizerStage
from jielong.stages.train import TrainStage
from jielong.train.memory import memory_needed, memory_total
from jielong.train.rollouts import RolloutConfig
from jielong.train.sources import RowsConfig

ITEM = 4
"""Bytes of a number in matrix products; in bfloat16 activations take less."""


def estimate_stages(recipe: Recipe, flops_per_s: float) -> dict[str, Estimate]:
    """Estimate the cost of each training stage on a machine that sustains so many FLOP/s.

    Rows are counted as full, rollouts as if every answer was as long as it may be and its prompt as long as that.
    """
    trainings = [stage for stage in recipe.stages if isinstance(stage, TrainStage)]
    return {stage.name: _estimate(stage, shape_of(recipe, stage), flops_per_s) for stage in trainings}


def shape_of(recipe: Recipe, stage: Stage) -> ModelConfig:
    """Return the shape of the model that a stage trains, or stands for, with the vocabulary of its tokenizer."""
    elsewhere = stage.model_from_elsewhere()
    if elsewhere is not None:
        return hf.read_config(elsewhere)[0]
    if "start" in stage.inputs:
        return shape_of(recipe, recipe.stage(stage.inputs["start"]))
    shape = (stage.model if isinstance(stage, TrainStage) else None) or ModelConfig()
    tokenizer = recipe.stage(stage.inputs["tokenizer"])
    if isinstance(tokenizer, TokenizerStage):
        return dataclasses.replace(shape, vocab_size=tokenizer.tokenizer.vocab_size)
    return shape


def _estimate(stage: TrainStage, config: ModelConfig, flops_per_s: float) -> Estimate:
    """Estimate one stage: tokens and FLOPs of its sources, memory of its modules."""
    rows, parameters = stage.source.rows(), num_parameters(config)
    adapted, memory = 0, 0.0
    if stage.adapter is not None and rows is not None:
        parts = memory_needed(config, stage.adapter, rows, ITEM)
        adapted, memory = round(parts["adapter and optimizer"] / 16), memory_total(parts)
    else:
        trained = sum(role.is_trained for role in stage.roles())
        # float32 weights, and of what is trained the gradient and two moments too
        memory = parameters * (16.0 * trained + 4.0 * (len(stage.roles()) - trained)) + _activations(stage, config)
    tokens = flops = 0.0
    for source in (stage.source, stage.objective.beside()):
        if isinstance(source, RowsConfig):
            count = stage.loop.steps * source.rows_per_step * source.length
            tokens, flops = tokens + count, flops + count * flops_per_token(config, source.length, adapted)
        elif isinstance(source, RolloutConfig):
            count = _rollouts(stage, source) * source.prompts * source.group_size * 2 * source.max_tokens
            tokens, flops = tokens + count, flops + count * _flops_of_rollouts(stage, source, config)
    return Estimate(parameters, tokens, flops, memory, flops / flops_per_s)


def _activations(stage: TrainStage, config: ModelConfig) -> float:
    """Return the bytes that the backward pass of one micro-batch needs."""
    source = stage.source
    length = 2 * source.max_tokens if isinstance(source, RolloutConfig) else getattr(source, "length", 0)
    return float(getattr(source, "micro_rows", 0) * length * config.num_hidden_layers * activation_bytes(config, ITEM))


def _rollouts(stage: TrainStage, source: RolloutConfig) -> int:
    return math.ceil(stage.loop.steps / (source.epochs * source.minibatches))


def _flops_of_rollouts(stage: TrainStage, source: RolloutConfig, config: ModelConfig) -> float:
    """Return the FLOPs per rollout token: written once, read once by every module, and trained on in each epoch."""
    roles = stage.roles()
    trained = sum(role.is_trained for role in roles)
    forward = flops_per_token(config, 2 * source.max_tokens) / 3
    return forward * (1 + len(roles) + 3 * source.epochs * trained)
