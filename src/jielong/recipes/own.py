"""The same road on one's own text: a folder of pages, and, where one has them, chats and preferences.

Without chats the road ends after pretraining, without preferences after instruction tuning; the run says what to add.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from jielong.data.sources import list_pages
from jielong.data.talks import read_chats, read_preferences
from jielong.errors import ConfigError, DataError, did_you_mean
from jielong.model.transformer import ModelConfig
from jielong.recipes.offers import FROM_RANDOM, FROM_WEIGHTS
from jielong.recipes.recipe import (
    FileStage,
    FolderStage,
    NextTokenConfig,
    Recipe,
    RefineStage,
    RowsConfig,
    SamplesStage,
    Search,
    Stage,
    TokenizerStage,
    TrainStage,
)
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.objectives import BradleyTerryConfig, PolicyConfig, PPOConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.rollouts import RolloutConfig


def content_digest(paths: list[Path], root: Path) -> str:
    """Hex blake2b-128 of names and contents, so that a changed file is a changed run."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(str(path.relative_to(root)).encode("utf-8", "surrogateescape"))
        try:
            digest.update(hashlib.blake2b(path.read_bytes()).digest())
        except OSError as error:  # a file that cannot be read is counted when its turn comes
            digest.update(str(error.errno).encode())
    return digest.hexdigest()


def _file_stage(name: Literal["chats", "preferences"], path: Path) -> FileStage:
    """The stage for a file that was read once already, so that a bad line is told before hours of work."""
    found = read_chats(path) if name == "chats" else read_preferences(path)
    if len(found) < 20:
        raise DataError(f"{path} holds {len(found)} {name}; at least 20 are needed, and hundreds are better")
    return FileStage(name, str(path), name, content_digest([path], path.parent))


def own(source: Path, chat: Path | None, preferences: Path | None, size: str = "default", seed: int = 0) -> Recipe:
    """As far as the data allows; `size` is default or smoke."""
    if size not in ("default", "smoke"):
        raise ConfigError(f"own has no size {size!r}; {did_you_mean(size, ('default', 'smoke'))}")
    if preferences and not chat:
        raise ConfigError(
            "--preferences needs --chat as well: a model learns to answer before it learns which answer is better"
        )
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
    stages: list[Stage] = [
        FolderStage("folder", str(source), content_digest(list_pages(source), source)),
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
            _file_stage("chats", chat),
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
    if preferences:
        stages += [
            _file_stage("preferences", preferences),
            TrainStage(
                "reward",
                {"data": "preferences", "start": "sft", **ids},
                BradleyTerryConfig(),
                RowsConfig(length=2048, rows_per_step=32, micro_rows=4),
                optimizer=OptimizerConfig(lr=2e-4, warmup_steps=5, decay_fraction=1.0),
                loop=LoopConfig(steps=steps["reward"]),
                check_every=max(1, steps["reward"] // 10),
            ),
            TrainStage(
                "rl",
                {"data": "chats", "start": "sft", "reward": "reward", **ids},
                PPOConfig(PolicyConfig(aggregation="grpo")),
                RolloutConfig(
                    algorithm="grpo",
                    prompts=4 if is_smoke else 16,
                    group_size=4,
                    epochs=2,
                    max_tokens=64,
                    kl_coefficient=0.05,
                ),
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
    return Recipe("own", size_name, seed, tuple(stages), searches=tuple(searches))
