"""The whole road once: raw web pages in, a reinforced assistant out.

Pages and lessons are those of the embedded world; the road ends with the report about it.
"""

from __future__ import annotations

from dataclasses import replace

from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.shared.offers import FROM_RANDOM, FROM_WEIGHTS
from jielong.stages.exam import EvaluateStage
from jielong.stages.judgements import JudgementsStage
from jielong.stages.lessons import ItemCounts, LessonsStage
from jielong.stages.pages import WebStage
from jielong.stages.recipe import Recipe, Search, Stage
from jielong.stages.refine import RefineStage
from jielong.stages.tokens import TokenizerStage
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.objectives.policy import PPOConfig, PTXConfig, ValueConfig
from jielong.train.objectives.preferences import BradleyTerryConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.rollouts import RolloutConfig
from jielong.train.sources import RowsConfig, SourceConfig
from jielong.worlds.atlas.facts import facts_digest

SEARCHES = (
    # a third of the stage's 660 steps: a dozen trials fit into half an hour on two cores, where whole ones would be four
    Search("pretrain", FROM_RANDOM, steps=220),
    Search("sft", FROM_WEIGHTS),
    Search("reward", FROM_WEIGHTS),
)
"""Reinforcement is not among them: it has no held-out number that is cheap and means one thing."""


def quickstart(size: str = "default", seed: int = 0) -> Recipe:
    """`default` takes about a quarter of an hour on two cores, `smoke` two minutes (and proves only that all parts run)."""
    sizes = {"default": _default, "smoke": _smoke}
    if size not in sizes:
        raise ConfigError(f"quickstart has no size {size!r}; {did_you_mean(size, sizes)}")
    return sizes[size](seed)


def _default(seed: int) -> Recipe:
    """Build the full recipe."""
    model, facts = ModelConfig(), facts_digest()
    sft = TrainStage(
        "sft",
        {"data": "lessons", "start": "pretrain", "tokenizer": "tokenizer"},
        NextTokenConfig(),
        RowsConfig(length=256, rows_per_step=16, micro_rows=16),
        optimizer=OptimizerConfig(lr=5e-4, warmup_steps=10, decay_fraction=1.0),
        loop=LoopConfig(steps=180),
        check_every=60,
    )
    return Recipe(
        "quickstart",
        "default",
        seed,
        (
            WebStage("web", facts=facts),
            RefineStage("refine", {"pages": "web"}),
            TokenizerStage("tokenizer", {"documents": "refine"}, TokenizerConfig(vocab_size=4096)),
            TrainStage(
                "pretrain",
                {"data": "tokenizer", "tokenizer": "tokenizer"},
                NextTokenConfig(),
                RowsConfig(length=256, rows_per_step=32, micro_rows=16),
                model=model,
                optimizer=OptimizerConfig(name="muon", lr=3e-3, warmup_steps=30),
                loop=LoopConfig(steps=660),
                check_every=110,
            ),
            LessonsStage("lessons", facts=facts),
            sft,
            JudgementsStage("judgements", {"start": "sft", "lessons": "lessons", "tokenizer": "tokenizer"}),
            TrainStage(
                "reward",
                {"data": "judgements", "start": "sft", "tokenizer": "tokenizer"},
                BradleyTerryConfig(),
                RowsConfig(length=64, rows_per_step=64, micro_rows=64),
                optimizer=OptimizerConfig(lr=3e-4, warmup_steps=10, decay_fraction=1.0),
                loop=LoopConfig(steps=500),
                check_every=100,
            ),
            TrainStage(
                "rl",
                {"data": "lessons", "start": "sft", "reward": "reward", "tokenizer": "tokenizer"},
                PPOConfig(value=ValueConfig(clip=0.0, coefficient=0.5), ptx=PTXConfig(coefficient=1.0)),
                RolloutConfig(prompts=256, epochs=2, minibatches=2, max_tokens=32, kl_coefficient=0.4),
                # The critic learns first: advantages from a bad one are noise, and noise costs what was known before.
                optimizer=OptimizerConfig(lr=1.5e-5, warmup_steps=24, decay_fraction=0.5, weight_decay=0.0, eps=1e-5),
                critic_optimizer=OptimizerConfig(
                    lr=5e-4, warmup_steps=5, decay_fraction=0.5, weight_decay=0.0, eps=1e-5
                ),
                loop=LoopConfig(steps=100, diverged_above=0.0),
                check_every=0,
            ),
            # The same instruction tuning on weights that have read nothing: what the lessons alone can teach.
            TrainStage(
                "control",
                {"data": "lessons", "tokenizer": "tokenizer"},
                sft.objective,
                sft.source,
                model=model,
                optimizer=sft.optimizer,
                loop=sft.loop,
                check_every=sft.check_every,
            ),
            EvaluateStage(
                "evaluate",
                {
                    "base": "pretrain",
                    "sft": "sft",
                    "rl": "rl",
                    "random_init": "control",
                    "tokenizer": "tokenizer",
                    "held_out": "refine",
                },
                facts=facts,
            ),
        ),
        mirrored={"sft": "control"},
        model="rl",
        searches=SEARCHES,
    )


def _smoke(seed: int) -> Recipe:
    """Build the default road with a small world, a small model and few steps."""
    default = _default(seed)
    model = ModelConfig(
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
    )
    steps = {"pretrain": 60, "sft": 30, "reward": 10, "rl": 8, "control": 30}

    def shrink(stage: Stage) -> Stage:
        """Return a stage with less data, fewer steps or a smaller model."""
        match stage:
            case WebStage():
                return replace(stage, articles=400)
            case TokenizerStage():
                return replace(stage, tokenizer=TokenizerConfig(vocab_size=1024))
            case LessonsStage():
                return replace(stage, chats=ItemCounts(1, 1, 1, 1), prompts=ItemCounts(1, 1, 1, 1))
            case JudgementsStage():
                return replace(stage, num_prompts=200)
            case EvaluateStage():
                return replace(stage, limit=40, bootstrap=500)
            case TrainStage():
                return replace(
                    stage,
                    model=stage.model and model,
                    source=_fewer_rows(stage.source),
                    loop=replace(stage.loop, steps=steps[stage.name]),
                    check_every=stage.check_every and max(1, steps[stage.name] // 3),
                )
        return stage

    return replace(
        default,
        size="smoke",
        stages=tuple(shrink(s) for s in default.stages),
        searches=tuple(replace(s, steps=0) for s in SEARCHES),
    )


def _fewer_rows(source: SourceConfig) -> SourceConfig:
    """Return a source with fewer rows or prompts."""
    match source:
        case RolloutConfig():
            return replace(source, prompts=32)
        case RowsConfig():
            return replace(source, rows_per_step=8, micro_rows=8)
    return source
