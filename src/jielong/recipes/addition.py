"""A small model that learns to add from a reward that says only right or wrong.

It begins with random weights. Some sums are shown to it with their answers, until it gets about four in ten right; of the
others it is given the question alone, writes several answers, and a rule compares each with the right one. An exam on sums
that it never met says what that has taught, beside what the shown sums had.
"""

from __future__ import annotations

from dataclasses import replace

from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.shared.verified import verified_training
from jielong.stages.problems import AdditionStage
from jielong.stages.recipe import Recipe
from jielong.stages.solving import SolvingStage
from jielong.stages.tokens import TokenizerStage
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.sources import RowsConfig

LONGEST = 6
"""Tokens of an answer: three digits, the end, and two to be wrong with."""


def addition(size: str = "default", seed: int = 0) -> Recipe:
    """`default` takes a few minutes on two cores, the exam included; `smoke` proves only that all parts run."""
    if size not in ("default", "smoke"):
        raise ConfigError(f"addition has no size {size!r}; {did_you_mean(size, ('default', 'smoke'))}")
    is_smoke = size == "smoke"
    model = ModelConfig(
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=16,
        max_position_embeddings=64,
    )
    sums = AdditionStage("sums")
    sft = TrainStage(
        "sft",
        {"data": "sums", "tokenizer": "tokenizer"},
        NextTokenConfig(),
        RowsConfig(length=64, rows_per_step=16, micro_rows=16),
        model=model,
        optimizer=OptimizerConfig(lr=2e-3, decay_fraction=0.4),
        loop=LoopConfig(steps=10 if is_smoke else 1500),
        check_every=0,
    )
    rl = verified_training(
        {"data": "sums", "start": "sft", "tokenizer": "tokenizer"},
        "exact",
        steps=4 if is_smoke else 500,
        rate=3e-4,
        prompts=4 if is_smoke else 32,
        group_size=4 if is_smoke else 8,
        max_tokens=LONGEST,
        micro_rows=256,
        # half of the groups are alike at first, and would be trained on for nothing
        max_redraws=3,
        watch_prompts=4 if is_smoke else 200,
    )
    exam = SolvingStage(
        "solved",
        {"sft": "sft", "rl": "rl", "data": "sums", "tokenizer": "tokenizer"},
        rule="exact",
        limit=500,
        max_tokens=LONGEST,
    )
    if is_smoke:
        sums = replace(sums, demonstrations=40, prompts=40, held_out=20)
        exam = replace(exam, samples=2)
    digits = TokenizerStage("tokenizer", {"chats": "sums"}, TokenizerConfig(vocab_size=320, digits="single"))
    return Recipe("addition", size, seed, (sums, digits, sft, rl, exam), model="rl")
