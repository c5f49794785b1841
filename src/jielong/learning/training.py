"""An attempt's judgements as files, and the recipe that trains an adapter on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.evaluate.votes import prompt_key
from jielong.learning import attempt as attempts
from jielong.learning.advice import Plan, thumbs_of
from jielong.learning.fresh_answers import answer_limit
from jielong.recipes.adapt import adapt
from jielong.recipes.reinforced import reinforced
from jielong.records import Message, to_dict
from jielong.runs import Run, canonical_json, find_model, now_s, write_text
from jielong.stages.execute import run_recipe
from jielong.stages.picking import known_picks, write_picked
from jielong.stages.recipe import Context, Display, Recipe, Silent, Stage, Summary, change
from jielong.stages.train import TrainStage
from jielong.tokens.tokenizer import Tokenizer

FOLDER = "training"
"""The run's, in the attempt's."""

TRAINING = 0.5
"""The share of the bar that training fills; the comparison has the rest."""

_EVERY_S = 0.5

RATE = 2e-4
"""Of every training: fast enough that a few dozen judgements show, as what it costs the model is given back by weakening the adapter.

Measured in log 2026-12-01-learn.
"""


@dataclass(frozen=True)
class SteadyTraining(TrainStage):
    """A training stage whose settings do not depend on the machine's load, so that the same judgements give the same
    adapter.

    Pairs are packed, which is faster, and nothing is compiled: at the lowest priority compiling takes longer than the
    training.
    """

    def run(self, context: Context) -> Summary:
        """Train as `TrainStage` does."""
        file, rows = context.directory(self.name) / "picked.json", self.source.rows()
        if context.machine.device == "cpu" and rows is not None and not known_picks(file):
            is_packed = context.summary(self.inputs["data"]).get("holds") in ("preferences", "ratings")
            shape = [rows.micro_rows, rows.length]
            write_picked(file, {"compile": False, "micro_rows": rows.micro_rows, "shape": shape, "packed": is_packed})
        return super().run(context)


def write_files(folder: Path, plan: Plan) -> dict[str, Path]:
    """Write the input files of the recipes, by the names of their options: chats, preferences or ratings, prompts."""
    files: dict[str, Path] = {}
    if "sft" in plan.steps:
        chats = ({"messages": _told((*one.prompt, *one.answer))} for one in plan.policy.written)
        files["chat"] = _write(folder / "chats.jsonl", chats)
    if "dpo" in plan.steps or "reward" in plan.steps:
        pairs = (
            {"prompt": _told(p.prompt), "chosen": _told(p.better), "rejected": _told(p.worse)}
            for p in plan.policy.pairs
        )
        files["preferences"] = _write(folder / "preferences.jsonl", pairs)
    if "kto" in plan.steps:
        rated = (
            {"prompt": _told(t.prompt), "completion": _told(t.answer), "label": t.is_liked}
            for t in thumbs_of(plan.policy)
        )
        files["preferences"] = _write(folder / "ratings.jsonl", rated)
    if "ppo" in plan.steps:
        # a prompt is what stands before an answer, whichever that is
        asked = {prompt_key(p.prompt): {"messages": _told((*p.prompt, *p.better))} for p in plan.policy.pairs}
        files["prompts"] = _write(folder / "prompts.jsonl", asked.values())
    return files


def recipe_of(folder: Path, base: Path, plan: Plan, seed: int) -> Recipe:
    """Build the training of an attempt, with its files written. Its effect is compared by the gate, and not by the
    recipe.
    """
    files = write_files(folder, plan)
    if "ppo" in plan.steps:
        limit = answer_limit(plan, Tokenizer.load(base))
        recipe = reinforced(base, files["preferences"], files["prompts"], max_tokens=limit, seed=seed)
        return dataclasses.replace(recipe, stages=tuple(map(_steady, recipe.stages)), folder=FOLDER)
    preferring = next((step for step in plan.steps if step != "sft"), "dpo")
    recipe = adapt(base, **files, method=preferring, seed=seed)  # type: ignore[arg-type]
    recipe = dataclasses.replace(recipe, stages=tuple(map(_steady, recipe.stages[:-1])), folder=FOLDER)
    return change(recipe, [f"{s.name}.optimizer.lr={RATE}" for s in recipe.stages if isinstance(s, TrainStage)])


def _steady(stage: Stage) -> Stage:
    """Return a training whose picks are fixed; other stages as they are."""
    if not isinstance(stage, TrainStage):
        return stage
    return SteadyTraining(**{field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)})


def train(recipe: Recipe, folder: Path, display: Display) -> Path:
    """Start or resume the training and run it to its end; return the adapter's folder."""
    run: Run = run_recipe(recipe, folder, display)
    return find_model(run.path, recipe.model)


def trained_in(folder: Path) -> Path:
    """Return the folder of the adapter from an attempt's finished training."""
    return find_model(folder / FOLDER)


def _told(messages: Sequence[Message]) -> Any:
    return to_dict(messages)


def _write(path: Path, rows: Iterable[Any]) -> Path:
    write_text(path, "".join(canonical_json(row) + "\n" for row in rows))
    return path


class FileDisplay(Silent):
    """A display of a recipe that writes its progress to a file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._said_s = folder, 0.0

    def stage(self, name: str) -> None:
        print(f"{name} begins", flush=True)

    def update(
        self,
        step: int,
        steps: int,
        loss: float | None,
        tokens_per_s: float,
        seconds_left: float,
        note: str = "",
        mfu: float = 0.0,
    ) -> None:
        """Store the training's progress, twice a second at most."""
        if now_s() - self._said_s >= _EVERY_S or step == steps:
            self._said_s = now_s()
            share = step / steps if steps else 0.0
            attempts.report(self._folder, TRAINING * share, seconds_left or None, note)

    def message(self, text: str) -> None:
        print(text, flush=True)
