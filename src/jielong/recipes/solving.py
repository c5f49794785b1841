"""Reinforcement of a model that exists, on prompts whose right answer is known: a rule compares, and GRPO learns.

The problems are those of a file of one's own, puzzles that a generator makes and judges, or sums. An adapter is trained beside
the frozen model, or all weights. At the end held-out problems are solved by both, with their likeliest answer and within
several samples, so that it can be seen whether the training taught or only sharpened.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jielong.errors import ConfigError, did_you_mean
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdapterConfig
from jielong.recipes.shared.verified import verified_training
from jielong.runs import find_model
from jielong.stages.models import ModelStage, model_digest
from jielong.stages.problems import FEWEST, AdditionStage, problems_stage, puzzles_stage
from jielong.stages.recipe import Recipe, Stage
from jielong.stages.rules import RULES
from jielong.stages.solving import SolvingStage

PUZZLES, SUMS = "reasoning-gym:", "sums"
"""Prompts that are no file: puzzles of a generator, and sums of two terms below 100."""

STEPS, PROMPTS, GROUP_SIZE = 100, 16, 8

WATCHED = 8
"""Prompts that are kept apart from the others, and watched: few, as each look takes time and the exam follows."""

USUAL_TOKENS = 128
"""The longest answer, where the model has twice the room."""

ADAPTER_RATE, FULL_RATE = 2e-4, 1e-5
"""Learning rates of an adapter and of all weights."""


def solving(
    model: Path,
    prompts: str,
    *,
    rule: str = "stated",
    rank: int = 16,
    base: str = "compute",
    max_tokens: int | None = None,
    seed: int = 0,
) -> Recipe:
    """An adapter of `rank` for `model`, or with rank 0 all its weights, reinforced by `rule` on `prompts`.

    `prompts` is a file, reasoning-gym:GENERATOR, or sums.
    """
    if rule not in RULES:
        raise ConfigError(f"there is no rule {rule!r}; {did_you_mean(rule, RULES)}")
    path = find_model(model).resolve()
    if adapter_files.is_adapter(path):
        raise ConfigError(f"{path} is an adapter; merge it first with: jielong export {model}")
    longest = hf.read_config(path)[0].max_position_embeddings
    max_tokens = min(USUAL_TOKENS, longest // 2) if max_tokens is None else max_tokens
    if not 1 <= max_tokens < longest:
        raise ConfigError(f"answers of {max_tokens} tokens leave no room for a question in {longest} positions")
    if base not in ("compute", "float32", "int8"):
        raise ConfigError(f"base is {base!r}; expected compute, float32 or int8")
    problems, name = _problems(prompts)
    training = verified_training(
        {"data": "problems", "start": "base", "tokenizer": "base"},
        rule,
        steps=STEPS,
        rate=ADAPTER_RATE if rank else FULL_RATE,
        prompts=PROMPTS,
        group_size=GROUP_SIZE,
        max_tokens=max_tokens,
        micro_rows=16,
        watch_prompts=WATCHED,
        kl_coefficient=0.001,
        adapter=AdapterConfig(rank=rank, alpha=2.0 * rank, base=base) if rank else None,  # type: ignore[arg-type]
    )
    before_and_after = {"before": "base", "after": "rl", "data": "problems", "tokenizer": "base"}
    exam = SolvingStage("solved", before_and_after, rule=rule, limit=100, samples=8, max_tokens=max_tokens)
    what = f"{path}\n{Path(prompts).resolve()}\n{rule}\n{rank}"
    where = hashlib.blake2b(what.encode("utf-8", "surrogateescape"), digest_size=3).hexdigest()
    stages = (ModelStage("base", str(path), model_digest(path)), problems, training, exam)
    return Recipe("solving", f"{name}-{where}", seed, stages, model="rl")


def _problems(prompts: str) -> tuple[Stage, str]:
    """Make the stage that brings the problems, and a name for the run."""
    if prompts.startswith(PUZZLES):
        generator = prompts.removeprefix(PUZZLES)
        return puzzles_stage("problems", generator), generator
    if prompts == SUMS:
        return AdditionStage("problems", demonstrations=FEWEST, prompts=2000, held_out=200), SUMS
    return problems_stage("problems", Path(prompts)), Path(prompts).stem
