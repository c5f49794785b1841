"""A small model that acts in a household: demonstrations, a tokenizer, two trainings, the trial."""

from __future__ import annotations

from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.offers import FROM_RANDOM, FROM_WEIGHTS
from jielong.recipes.recipe import (
    ActStage,
    DemonstrationsStage,
    EchoStage,
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
    steps = {"copy": 200, "look_up": 800, "pretrain": 2000, "sft": 300}
    if is_smoke:
        steps = dict.fromkeys(steps, 20)
    exercises = 400 if is_smoke else 20_000
    rows = RowsConfig(length=256, rows_per_step=12, micro_rows=12)
    optimizer = OptimizerConfig(name="muon", lr=3e-3, warmup_steps=30)
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
            # Names that were never seen are to be copied: to repeat first, by itself, and then to look up.
            EchoStage("words", {"tokenizer": "tokenizer"}, ("repeat",), exercises),
            TrainStage(
                "copy",
                {"data": "words", "tokenizer": "tokenizer"},
                NextTokenConfig(),
                rows,
                model=model,
                optimizer=optimizer,
                loop=LoopConfig(steps=steps["copy"]),
                check_every=steps["copy"],
            ),
            EchoStage("records", {"tokenizer": "tokenizer"}, conversations=exercises),
            TrainStage(
                "look_up",
                {"data": "records", "start": "copy", "tokenizer": "tokenizer"},
                NextTokenConfig(),
                rows,
                optimizer=optimizer,
                loop=LoopConfig(steps=steps["look_up"]),
                check_every=steps["look_up"],
            ),
            # everything that is said: what is seen, what is done, and what comes of it
            TrainStage(
                "pretrain",
                {"data": "tokenizer", "start": "look_up", "tokenizer": "tokenizer"},
                NextTokenConfig(),
                rows,
                optimizer=optimizer,
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
