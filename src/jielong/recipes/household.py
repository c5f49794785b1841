"""A small model that acts in a household: demonstrations, a tokenizer, two trainings, the trial."""

from __future__ import annotations

from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.offers import FROM_RANDOM, FROM_WEIGHTS
from jielong.recipes.recipe import (
    ActStage,
    DemonstrationsStage,
    NextTokenConfig,
    Recipe,
    RowsConfig,
    Search,
    TokenizerStage,
    TrainStage,
)
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.optim import OptimizerConfig

SIZES = ("default", "smoke")


def household(size: str = "default", seed: int = 0) -> Recipe:
    """`default` takes about twenty minutes on two cores, `smoke` half a minute (and proves only that all parts run)."""
    if size not in SIZES:
        raise ConfigError(f"household has no size {size!r}; {did_you_mean(size, SIZES)}")
    is_smoke = size == "smoke"
    steps = {"pretrain": 20, "sft": 20} if is_smoke else {"pretrain": 3000, "sft": 300}
    model = ModelConfig(
        hidden_size=64 if is_smoke else 128,
        intermediate_size=128 if is_smoke else 384,
        num_hidden_layers=2 if is_smoke else 4,
        num_attention_heads=2 if is_smoke else 4,
        num_key_value_heads=2 if is_smoke else 4,
        head_dim=32,
        max_position_embeddings=2048,
    )
    return Recipe(
        "household",
        size,
        seed,
        (
            DemonstrationsStage("demonstrations", episodes=200 if is_smoke else 20_000),
            # Han characters one by one: a name that was never seen is cut like one that was
            TokenizerStage(
                "tokenizer", {"chats": "demonstrations"}, TokenizerConfig(vocab_size=1536, han="characters")
            ),
            # everything that is said: most of it is seen twice, and so names are learned to be copied
            TrainStage(
                "pretrain",
                {"data": "tokenizer", "tokenizer": "tokenizer"},
                NextTokenConfig(),
                RowsConfig(length=256, rows_per_step=12, micro_rows=12),
                model=model,
                optimizer=OptimizerConfig(name="muon", lr=3e-3, warmup_steps=30),
                loop=LoopConfig(steps=steps["pretrain"]),
                check_every=steps["pretrain"] // 5,
            ),
            # whole episodes, the actions alone; with Muon's rates copying was forgotten here
            TrainStage(
                "sft",
                {"data": "demonstrations", "start": "pretrain", "tokenizer": "tokenizer"},
                NextTokenConfig(),
                RowsConfig(length=768, rows_per_step=8, micro_rows=8),
                optimizer=OptimizerConfig(lr=7e-4, warmup_steps=10, decay_fraction=1.0),
                loop=LoopConfig(steps=steps["sft"]),
                check_every=steps["sft"] // 5,
            ),
            ActStage("act", {"model": "sft", "tokenizer": "tokenizer"}, goals=4 if is_smoke else 100),
        ),
        searches=(Search("pretrain", FROM_RANDOM), Search("sft", FROM_WEIGHTS)),
    )
