"""A small model that answers from passages, or says they do not say.

Everything it is told in training is invented, so nothing can be remembered and only reading helps. Two things make it learnable
(see the log): to copy words comes first, by itself, and to say whether a word is in a list; then short texts with several
questions, some asked twice and some never, and most of those without an answer about what is said of something near; a
statement in which the value follows what is asked for; and many wordings of a question, so that none is learned by its
place. It is the model for `jielong ask --library`.
"""

from __future__ import annotations

from dataclasses import replace

from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.shared.copying import copying
from jielong.stages.echo import EchoStage
from jielong.stages.reading import ReadingExamStage, ReadingStage
from jielong.stages.recipe import Recipe, Stage
from jielong.stages.tokens import TokenizerStage
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.sources import RowsConfig


def reader(size: str = "default", seed: int = 0) -> Recipe:
    """`default` takes some 17 minutes on one core, `smoke` seconds (and proves only that all parts run)."""
    if size not in ("default", "smoke"):
        raise ConfigError(f"reader has no size {size!r}; {did_you_mean(size, ('default', 'smoke'))}")
    model = ModelConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=768,
    )
    optimizer = OptimizerConfig(name="muon", lr=3e-3, warmup_steps=30)
    ids = {"tokenizer": "tokenizer"}
    short = RowsConfig(length=320, rows_per_step=12, micro_rows=12)

    stages: tuple[Stage, ...] = (
        ReadingStage("texts", holds="documents", lessons=3000),
        TokenizerStage(
            "tokenizer", {"documents": "texts"}, TokenizerConfig(vocab_size=2560, han="characters", digits="single")
        ),
        *copying(
            model,
            optimizer,
            short,
            repeat_steps=200,
            look_up_steps=800,
            check_every=100,
            kinds=("repeat", "record", "there"),
        ),
        ReadingStage("easy", lessons=12_000, max_sheets=2, turns=5),
        TrainStage(
            "short",
            {"data": "easy", "start": "look_up", **ids},
            NextTokenConfig(),
            short,
            optimizer=optimizer,
            loop=LoopConfig(steps=700),
            check_every=100,
        ),
        ReadingStage("lessons", lessons=12_000, max_sheets=6, turns=6),
        TrainStage(
            "sft",
            {"data": "lessons", "start": "short", **ids},
            NextTokenConfig(),
            RowsConfig(length=768, rows_per_step=8, micro_rows=8),
            optimizer=replace(optimizer, lr=2e-3, muon_lr=0.01),
            loop=LoopConfig(steps=900),
            check_every=100,
        ),
        ReadingExamStage("exam", {"model": "sft", **ids}),
    )
    if size == "smoke":
        stages = tuple(_smaller(s) for s in stages)
    return Recipe("reader", size, seed, stages, model="sft")


def _smaller(stage: Stage) -> Stage:
    """Return a stage with less data and few steps, for `smoke`."""
    match stage:
        case ReadingStage():
            return replace(stage, lessons=100)
        case EchoStage():
            return replace(stage, conversations=100)
        case ReadingExamStage():
            return replace(stage, each=4)
        case TokenizerStage():
            return replace(stage, tokenizer=replace(stage.tokenizer, vocab_size=1024))
        case TrainStage():
            rows = RowsConfig(
                length=stage.source.length if isinstance(stage.source, RowsConfig) else 2, rows_per_step=2
            )
            return replace(stage, source=replace(rows, micro_rows=2), loop=replace(stage.loop, steps=4), check_every=2)
    return stage
