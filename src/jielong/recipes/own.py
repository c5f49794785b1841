"""One's own text as a model; with chats and preferences, an assistant.

Without chats the road ends after pretraining, without preferences after instruction tuning; the run says what to add.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from jielong.data.sources import list_pages
from jielong.errors import ConfigError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.shared.methods import check_method, kind_of_judgements, num_answers, preference_training
from jielong.recipes.shared.offers import FROM_RANDOM, FROM_WEIGHTS
from jielong.stages.files import file_stage
from jielong.stages.pages import FolderStage, content_digest
from jielong.stages.recipe import Recipe, Search, Stage
from jielong.stages.refine import RefineStage
from jielong.stages.rewarded import RewardedStage
from jielong.stages.samples import SamplesStage
from jielong.stages.tokens import TokenizerStage
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.objectives.policy import PolicyConfig, PPOConfig
from jielong.train.objectives.preferences import BradleyTerryConfig
from jielong.train.online import ONLINE, with_method
from jielong.train.optim import OptimizerConfig
from jielong.train.rollouts import RolloutConfig
from jielong.train.sources import RowsConfig


def own(
    source: Path | None = None,
    chat: Path | None = None,
    preferences: Path | None = None,
    size: str = "default",
    seed: int = 0,
    method: str = "ppo",
) -> Recipe:
    """Build the recipe for one's own data, as far as the data allows; `size` is default or smoke.

    `method` says how preferences are learned: by a reward model and reinforcement (ppo, which compares groups as grpo
    does, or one of `train/online`), or by one that needs neither.
    """
    if source is None:
        raise ConfigError("own needs --source DIR, a folder of HTML, Markdown, PDF, text or code")
    if size not in ("default", "smoke"):
        raise ConfigError(f"own has no size {size!r}; {did_you_mean(size, ('default', 'smoke'))}")
    if preferences and not chat:
        raise ConfigError(
            "--preferences needs --chat as well: a model learns to answer before it learns which answer is better"
        )
    if method not in ONLINE:
        check_method(method, also=ONLINE)
    if method != "ppo":
        if preferences is None:
            raise ConfigError(f"--method {method} learns from judged answers; give them as --preferences FILE.jsonl")
    is_smoke = size == "smoke"
    steps = {"pretrain": 900, "sft": 200, "reward": 60, "rl": 80}
    if is_smoke:
        steps = {"pretrain": 20, "sft": 10, "reward": 6, "rl": 4}
    # Rows of twice the quickstart's length: real pages and chats are longer. Judged answers are longer still and count
    # only whole, so the reward model's rows are four times that.
    model = ModelConfig(max_position_embeddings=512)
    if is_smoke:
        model = ModelConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            max_position_embeddings=512,
        )
    rows = RowsConfig(length=512, rows_per_step=4 if is_smoke else 16, micro_rows=4 if is_smoke else 8)
    ids = {"tokenizer": "tokenizer"}
    judged = kind_of_judgements(preferences, method) if preferences else "preferences"
    stages: list[Stage] = [
        FolderStage("folder", str(source), content_digest(list_pages(source), source)),
        # before hours of pretraining, so that what is wrong with them is told first
        *([file_stage("chats", chat)] if chat else []),
        *([file_stage(judged, preferences)] if preferences else []),
        RefineStage("refine", {"pages": "folder"}),
        TokenizerStage("tokenizer", {"documents": "refine"}, TokenizerConfig(vocab_size=1024 if is_smoke else 4096)),
        TrainStage(
            "pretrain",
            {"data": "tokenizer", **ids},
            NextTokenConfig(),
            rows,
            model=model,
            optimizer=OptimizerConfig(name="muon", lr=3e-3, warmup_steps=30),
            loop=LoopConfig(steps=steps["pretrain"]),
            check_every=max(1, steps["pretrain"] // 9),
        ),
    ]
    if chat:
        stages += [
            TrainStage(
                "sft",
                {"data": "chats", "start": "pretrain", **ids},
                NextTokenConfig(),
                rows,
                optimizer=OptimizerConfig(lr=1e-3, warmup_steps=10, decay_fraction=1.0),
                loop=LoopConfig(steps=steps["sft"]),
                check_every=max(1, steps["sft"] // 10),
            ),
        ]
    if preferences and method not in ONLINE:
        inputs = {"data": judged, "start": "sft", **ids}
        training = preference_training(method, inputs, num_answers(preferences, judged), length=2048)
        stages.append(replace(training, loop=LoopConfig(steps=steps["rl"])) if is_smoke else training)
    elif preferences:
        rollouts = RolloutConfig(
            algorithm="grpo",
            prompts=4 if is_smoke else 16,
            group_size=4,
            epochs=2,
            max_tokens=64,
            kl_coefficient=0.05,
        )
        rollouts, policy = with_method("grpo" if method == "ppo" else method, rollouts, PolicyConfig())
        stages += [
            TrainStage(
                "reward",
                {"data": "preferences", "start": "sft", **ids},
                BradleyTerryConfig(),
                RowsConfig(length=2048, rows_per_step=32, micro_rows=4),
                optimizer=OptimizerConfig(lr=2e-4, warmup_steps=5, decay_fraction=1.0),
                loop=LoopConfig(steps=steps["reward"]),
                check_every=max(1, steps["reward"] // 10),
            ),
            RewardedStage("measure", {"reward": "reward", "data": "preferences", **ids}),
            TrainStage(
                "rl",
                {"data": "chats", "start": "sft", "reward": "reward", **ids},
                PPOConfig(policy),
                rollouts,
                optimizer=OptimizerConfig(lr=1e-5, warmup_steps=5, decay_fraction=0.5, weight_decay=0.0),
                loop=LoopConfig(steps=steps["rl"], diverged_above=0.0),
                check_every=0,
            ),
        ]
    trained = {s.name: s.name for s in stages if isinstance(s, TrainStage) and s.name != "reward"}
    chats = {"chats": "chats"} if chat else {}
    stages.append(SamplesStage("samples", {**trained, **ids, "held_out": "refine", **chats}))
    folder = hashlib.blake2b(str(source.resolve()).encode("utf-8", "surrogateescape"), digest_size=3).hexdigest()
    # a quarter of the way through pretraining; what follows is short as it is
    searches = [Search("pretrain", FROM_RANDOM, steps=0 if is_smoke else steps["pretrain"] // 4)]
    searches += [Search(name, FROM_WEIGHTS) for name in ("sft", "reward") if any(s.name == name for s in stages)]
    size_name = f"{source.resolve().name}-{folder}-{size}"
    last = ("rl" if method in ONLINE else method) if preferences else "sft" if chat else "pretrain"
    return Recipe("own", size_name, seed, tuple(stages), searches=tuple(searches), model=last)
