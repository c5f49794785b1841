"""A small model that learns one skill: to answer from the passages before the question, or to say that they do not say.

Everything it is told in training is invented, so nothing can be remembered and only reading helps. What made copying
learnable is known from the needle (see the log): several questions for each text, some asked twice and some never, short
texts first, and a statement in which the value follows what is asked for. It is the model for `jielong ask --library`.
"""

from __future__ import annotations

from dataclasses import replace

from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.recipe import NextTokenConfig, ReadingStage, Recipe, RowsConfig, Stage, TokenizerStage, TrainStage
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.optim import OptimizerConfig


def reader(size: str = "default", seed: int = 0) -> Recipe:
    """`default` takes some ten minutes on one core, `smoke` seconds (and proves only that all parts run)."""
    if size not in ("default", "smoke"):
        raise ConfigError(f"reader has no size {size!r}; {did_you_mean(size, ('default', 'smoke'))}")
    # Embeddings are not tied: answers alone are trained, and a shared head would push all other words down alike.
    model = ModelConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=768,
        tie_word_embeddings=False,
    )
    optimizer = OptimizerConfig(name="muon", lr=2e-3, muon_lr=0.006, warmup_steps=30)
    ids = {"tokenizer": "tokenizer"}
    stages: tuple[Stage, ...] = (
        ReadingStage("texts", holds="documents", lessons=3000),
        TokenizerStage("tokenizer", {"documents": "texts"}, TokenizerConfig(vocab_size=2560, han="characters")),
        ReadingStage("easy", lessons=12_000, max_sheets=2, turns=5),
        TrainStage(
            "short",
            {"data": "easy", **ids},
            NextTokenConfig(),
            RowsConfig(length=320, rows_per_step=16, micro_rows=16),
            model=model,
            optimizer=optimizer,
            loop=LoopConfig(steps=700),
            check_every=100,
        ),
        ReadingStage("lessons", lessons=6000, max_sheets=6, turns=6),
        TrainStage(
            "sft",
            {"data": "lessons", "start": "short", **ids},
            NextTokenConfig(),
            RowsConfig(length=768, rows_per_step=8, micro_rows=8),
            optimizer=replace(optimizer, lr=1e-3, muon_lr=0.003),
            loop=LoopConfig(steps=300),
            check_every=100,
        ),
    )
    if size == "smoke":
        stages = tuple(_smaller(s) for s in stages)
    return Recipe("reader", size, seed, stages)


def _smaller(stage: Stage) -> Stage:
    match stage:
        case ReadingStage():
            return replace(stage, lessons=100)
        case TokenizerStage():
            return replace(stage, tokenizer=replace(stage.tokenizer, vocab_size=1024))
        case TrainStage():
            rows = RowsConfig(
                length=stage.source.length if isinstance(stage.source, RowsConfig) else 2, rows_per_step=2
            )
            return replace(stage, source=replace(rows, micro_rows=2), loop=replace(stage.loop, steps=4), check_every=2)
    return stage
