"""A recipe in one file: proverbs, and a model that learns to say what it reads."""

from __future__ import annotations

from tests.toys.copying import CopyConfig
from tests.toys.proverbs import ProverbsStage

from jielong.model.config import ModelConfig
from jielong.stages.recipe import Recipe
from jielong.stages.tokens import TokenizerStage
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.sources import RowsConfig


def echoes(size: str = "default", seed: int = 0) -> Recipe:
    model = ModelConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
    )
    stages = (
        ProverbsStage("proverbs"),
        TokenizerStage("tokenizer", {"documents": "proverbs"}, TokenizerConfig(vocab_size=360)),
        TrainStage(
            "parrot",
            {"data": "tokenizer", "tokenizer": "tokenizer"},
            CopyConfig(),
            RowsConfig(length=32, rows_per_step=4, micro_rows=4),
            model=model,
            optimizer=OptimizerConfig(lr=1e-2, warmup_steps=2),
            loop=LoopConfig(steps=30, log_every=1),
            check_every=15,
        ),
    )
    return Recipe("echoes", size, seed, stages, model="parrot")
