"""A small model that reaches goals in a household told in text.

It learns to copy, to look up, and to act, one turn at a time. A thought before each action lists what is here, how far each
part of what is wanted is, where something is still closed and which doors are new; so the last thought and what is seen
now tell all that a decision rests on, and lessons are short rows without older turns. The meaning of goals is learned before
that from goals alone, which are a quarter as long.
"""

from __future__ import annotations

from dataclasses import replace

from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.shared.copying import copying
from jielong.recipes.shared.offers import FROM_RANDOM, FROM_WEIGHTS
from jielong.stages.household import ActStage, DemonstrationsStage, GoalsStage
from jielong.stages.recipe import Recipe, Search
from jielong.stages.tokens import TokenizerStage
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.sources import RowsConfig

SIZES = ("default", "smoke")


def household(size: str = "default", seed: int = 0) -> Recipe:
    """`default` took 80 minutes on one core beside other work; `smoke` half a minute, and proves that it runs."""
    if size not in SIZES:
        raise ConfigError(f"household has no size {size!r}; {did_you_mean(size, SIZES)}")
    is_smoke = size == "smoke"
    steps = {"copy": 200, "look_up": 500, "read": 600, "sft": 3200}
    if is_smoke:
        steps = dict.fromkeys(steps, 20)
    optimizer = OptimizerConfig(name="muon", lr=3e-3, warmup_steps=30)
    model = ModelConfig(
        hidden_size=64 if is_smoke else 128,
        intermediate_size=128 if is_smoke else 384,
        num_hidden_layers=2 if is_smoke else 6,
        num_attention_heads=2 if is_smoke else 4,
        num_key_value_heads=2 if is_smoke else 4,
        head_dim=32,
        max_position_embeddings=1024,
    )
    short = RowsConfig(length=256, rows_per_step=12, micro_rows=12)
    return Recipe(
        "household",
        size,
        seed,
        (
            DemonstrationsStage("demonstrations", episodes=200 if is_smoke else 16_000, window=1),
            # Han characters one by one: a name that was never seen is cut like one that was
            TokenizerStage(
                "tokenizer", {"chats": "demonstrations"}, TokenizerConfig(vocab_size=1536, han="characters")
            ),
            *copying(
                model,
                optimizer,
                short,
                repeat_steps=steps["copy"],
                look_up_steps=steps["look_up"],
                check_every=steps["look_up"],
                exercises=400 if is_smoke else 20_000,
                kinds=("repeat", "record", "common", "there"),
            ),
            GoalsStage("goals", goals=400 if is_smoke else 30_000),
            TrainStage(
                "read",
                {"data": "goals", "start": "look_up", "tokenizer": "tokenizer"},
                NextTokenConfig(),
                short,
                optimizer=optimizer,
                loop=LoopConfig(steps=steps["read"]),
                check_every=steps["read"],
            ),
            TrainStage(
                "sft",
                {"data": "demonstrations", "start": "read", "tokenizer": "tokenizer"},
                NextTokenConfig(),
                RowsConfig(length=576, rows_per_step=8, micro_rows=8),  # two turns a row
                optimizer=replace(optimizer, lr=2e-3, muon_lr=0.015, decay_fraction=0.6),
                loop=LoopConfig(steps=steps["sft"]),
                check_every=steps["sft"] // 6,
            ),
            ActStage("act", {"model": "sft", "tokenizer": "tokenizer"}, goals=4 if is_smoke else 100, remember=1),
        ),
        model="sft",
        searches=(Search("copy", FROM_RANDOM), Search("sft", FROM_WEIGHTS)),
    )
