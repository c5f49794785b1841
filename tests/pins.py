"""What must not move when the code does: fingerprints of stages, the first steps of each kind of training, options, keys.

`python -m tests.pins` writes `tests/pins.json` from the code as it stands; whoever means to change a result runs it and
says why in the commit. `tests/test_pins.py` holds the code against the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from jielong.model.adapters import AdapterConfig
from jielong.model.transformer import ModelConfig
from jielong.recipes import about_recipes, build_recipe
from jielong.recipes.adapt import adapt
from jielong.runs import Run, read_json, read_metrics, write_json, write_text
from jielong.stages.execute import run_recipe
from jielong.stages.files import FileStage
from jielong.stages.judgements import JudgementsStage
from jielong.stages.lessons import ItemCounts, LessonsStage
from jielong.stages.models import ModelStage
from jielong.stages.pages import FolderStage
from jielong.stages.reading import ReadingStage
from jielong.stages.recipe import Recipe, Stage
from jielong.stages.tokens import TokenizerStage
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.machine import Machine
from jielong.train.objectives.next_token import NextTokenConfig
from jielong.train.objectives.policy import PolicyConfig, PPOConfig, PTXConfig
from jielong.train.objectives.preferences import BradleyTerryConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.rollouts import RolloutConfig
from jielong.train.sources import RowsConfig
from jielong.use.strategies import STRATEGIES

FILE = Path(__file__).with_name("pins.json")
STEPS = 50
KINDS = ("pretrain", "experts", "sft", "adapter", "reward", "ppo", "grpo")
"""Training stages of the recipe below, one a kind."""

FROM_RANDOM = ("pretrain", "experts")
"""Those that take no weights of an earlier one: on another processor only they start from the same numbers."""


# Fingerprints ------------------------------------------------------------------------------------------------------


def recipes(folder: Path) -> Iterable[Recipe]:
    """Every recipe in every size; `folder` takes the files that `own` and `adapt` are made for."""
    for name in sorted(about_recipes().keys() - {"own"}):
        for size in ("default", "smoke"):
            yield build_recipe(name, size=size)
    pages = folder / "pages"
    pages.mkdir(parents=True)
    for number in range(3):
        (pages / f"{number}.md").write_text(f"# Page {number}\n\nA text of some length about the number {number}.\n")
    chats, preferences = folder / "chats.jsonl", folder / "preferences.jsonl"
    asked = [[{"role": "user", "content": f"What is {n}?"}] for n in range(20)]
    chats.write_text("".join(json.dumps({"messages": [*a, _said("A number.")]}) + "\n" for a in asked))
    preferences.write_text(
        "".join(json.dumps({"prompt": a, "chosen": [_said("Yes.")], "rejected": [_said("No.")]}) + "\n" for a in asked)
    )
    for size in ("default", "smoke"):
        made = [build_recipe("own", size=size, source=pages)]
        made.append(build_recipe("own", size=size, source=pages, chat=chats))
        made.append(build_recipe("own", size=size, source=pages, chat=chats, preferences=preferences))
        for number, recipe in enumerate(made):
            yield replace(_anywhere(recipe), size=f"{size}-{number}")
    model = folder / "model"
    model.mkdir()
    write_json(model / "config.json", {"model_type": "qwen3", **_QWEN3})
    for number, learned in enumerate(({"source": pages}, {"chat": chats})):
        yield replace(_anywhere(adapt(model, **learned)), size=str(number))


_QWEN3 = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _anywhere(recipe: Recipe) -> Recipe:
    """The recipe as if what it reads lay in one place for everybody."""
    outside = (FolderStage, FileStage, ModelStage)
    stages = tuple(replace(s, path=f"/{Path(s.path).name}") if isinstance(s, outside) else s for s in recipe.stages)
    return replace(recipe, stages=stages)


def fingerprints(*, with_places: bool = False) -> dict[str, dict[str, str]]:
    """Recipe and size -> stage -> fingerprint; `with_places` as they were before content alone decided them."""
    with tempfile.TemporaryDirectory() as folder:
        return {f"{r.name} {r.size}": r.fingerprints(with_places=with_places) for r in recipes(Path(folder))}


def options() -> dict[str, list[str]]:
    """Strategy -> its fields, which are options on the command line."""
    return {name: [f.name for f in dataclasses.fields(kind)] for name, kind in STRATEGIES.items()}


# Steps -------------------------------------------------------------------------------------------------------------


def recipe_of_steps() -> Recipe:
    """Every kind of training on the smallest data that feeds it."""
    model = ModelConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=256,
    )
    ids, rows = {"tokenizer": "tokenizer"}, RowsConfig(length=96, rows_per_step=4, micro_rows=2)
    loop = LoopConfig(steps=STEPS, log_every=1, diverged_above=0.0)
    pairs = RowsConfig(length=128, rows_per_step=8, micro_rows=4)
    muon, adam = OptimizerConfig(name="muon", lr=3e-3, warmup_steps=5), OptimizerConfig(lr=1e-3, warmup_steps=5)
    slow = replace(adam, lr=1e-4)
    rollouts = RolloutConfig(prompts=8, epochs=2, minibatches=2, micro_rows=4, max_tokens=8)

    def training(name: str, inputs: Mapping[str, str], *config: Any, **more: Any) -> TrainStage:
        return TrainStage(
            name, {**inputs, **ids}, *config, **{"optimizer": adam, "loop": loop, "check_every": 25, **more}
        )

    from_sft = {"data": "lessons", "start": "sft"}
    stages: tuple[Stage, ...] = (
        ReadingStage("texts", holds="documents", lessons=120, max_sheets=2),
        TokenizerStage("tokenizer", {"documents": "texts"}, TokenizerConfig(vocab_size=768)),
        training("pretrain", {"data": "tokenizer"}, NextTokenConfig(), rows, model=model, optimizer=muon),
        training(
            "experts",
            {"data": "tokenizer"},
            NextTokenConfig(router_aux_loss_coef=0.01),
            rows,
            model=replace(
                model, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, model_type="qwen3_moe"
            ),
        ),
        LessonsStage("lessons", chats=ItemCounts(1, 1, 1, 1, 1, 20, 20), prompts=ItemCounts(1, 1, 1, 1, 20, 20, 20)),
        training("sft", {"data": "lessons", "start": "pretrain"}, NextTokenConfig(), rows),
        training("adapter", from_sft, NextTokenConfig(), rows, adapter=AdapterConfig(rank=4, alpha=8.0, base="int8")),
        JudgementsStage("judgements", {"start": "sft", "lessons": "lessons", **ids}, num_prompts=60, max_tokens=8),
        training("reward", {"data": "judgements", "start": "sft"}, BradleyTerryConfig(), pairs),
        training(
            "ppo",
            {**from_sft, "reward": "reward"},
            PPOConfig(ptx=PTXConfig(coefficient=0.5, rows=2, length=96)),
            rollouts,
            optimizer=slow,
            critic_optimizer=adam,
            check_every=0,
        ),
        training(
            "grpo",
            {**from_sft, "reward": "reward"},
            PPOConfig(PolicyConfig(aggregation="grpo", loss_kl="k3", loss_kl_coefficient=0.01)),
            replace(rollouts, algorithm="grpo", prompts=4, group_size=2),
            optimizer=slow,
            check_every=0,
        ),
    )
    return Recipe("pins", "steps", 0, stages)


def processor() -> str:
    """What decides how sums are rounded: the processor's name and what it can do, and torch."""
    name, can = platform.processor(), ""
    if Path("/proc/cpuinfo").exists():
        told = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in told.items()}
        name = " ".join(fields.get(key, "") for key in ("model name", "cpu family", "model"))
        can = hashlib.blake2b(fields.get("flags", "").encode(), digest_size=4).hexdigest()
    return f"{name.strip()} [{can}], torch {torch.__version__}"


def steps() -> tuple[dict[str, list[list[float]]], dict[str, list[str]]]:
    """Training stage -> [loss, gradient norm] of each step, in float32 on one thread; and `keys` of the run."""
    recipe, threads = recipe_of_steps(), torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / recipe.run_name)
        run.update(machine=dataclasses.asdict(Machine(threads=1)), stages={})
        try:
            run_recipe(recipe, Path(folder))
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(False)
        found = {name: read_metrics(run.stage_path(name) / "metrics.jsonl") for name in KINDS}
        return {name: [[m["loss"], m["grad_norm"]] for m in lines] for name, lines in found.items()}, keys(run.path)


def keys(run: Path) -> dict[str, list[str]]:
    """File of a run -> its keys; those of a stage's summary under the stage's name, and of metrics those of all lines."""
    found = {}
    for file in sorted(run.rglob("*.json*")):
        place = file.relative_to(run)
        if "steps" in place.parts or "tokenizer" in place.parts[1:]:
            continue  # models and tokenizers in formats of others
        lines = read_metrics(file) if file.suffix == ".jsonl" else [read_json(file)]
        found[str(place)] = sorted({key for line in lines for key in line})
    for name, entry in read_json(run / "run.json")["stages"].items():
        found[f"run.json: {name}"] = sorted([*entry, *(f"summary.{key}" for key in entry["summary"])])
    return found


def main() -> None:
    """Write the file from the code as it stands."""
    numbers, names = steps()
    pins = {
        "fingerprints": fingerprints(),
        "fingerprints with places": fingerprints(with_places=True),
        "options": options(),
        "keys": names,
        "processor": processor(),
        "steps": numbers,
    }
    text = json.dumps(pins, indent=1)
    write_text(FILE, re.sub(r"\[\s+([^\[\]\"]+?),\s+([^\[\]\"]+?)\s+\]", r"[\1, \2]", text) + "\n")  # a step a line
    print(f"{FILE}: {sum(map(len, pins['fingerprints'].values()))} fingerprints, {len(numbers)} trainings")


if __name__ == "__main__":
    main()
