"""Running a recipe: stage after stage, each only if its fingerprint is new, each resumed where a kill left it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from jielong.config import resolved
from jielong.errors import CheckpointError, ConfigError, ResourceError
from jielong.runs import MemoryWatch, Run, describe_damage, is_run, now_s
from jielong.stages.recipe import Context, Display, Recipe, Silent, Stage, Summary, change
from jielong.stages.timing import time_ahead
from jielong.stages.train import TrainStage
from jielong.train.machine import Machine, has_device, keep_freed_memory, measure_machine, return_freed_memory
from jielong.train.parallel import Ranks


def run_recipe(recipe: Recipe, root: Path, display: Display | None = None, ranks: Ranks = Ranks()) -> Run:  # noqa: B008
    """Run a recipe to its end in `root`/RECIPE-SIZE-SEED; finished stages are skipped, unfinished ones resumed."""
    with open_context(recipe, root, display or Silent(), ranks) as context:
        if ranks.size == 1:
            for line in time_ahead(context):
                context.display.message(line)
        for stage in recipe.stages:
            if pass_or_run(stage, context) and ranks.is_first:
                look_ahead(stage, context)
    return context.run


def resolve_epochs(
    recipe: Recipe,
    epochs: Mapping[str, float],
    root: Path,
    display: Display,
    ranks: Ranks = Ranks(),  # noqa: B008
) -> Recipe:
    """Return the recipe with trainings given in epochs converted to steps; their data is made first."""
    for name in [s.name for s in recipe.stages if s.name in epochs]:
        stage = recipe.stage(name)
        assert isinstance(stage, TrainStage)
        material = {stage.inputs[role] for role in stage.looks_at}
        needed = {before.name for role in material for before in recipe.before(role)} | material
        with open_context(recipe, root, display, ranks) as context:
            for before in recipe.stages:
                if before.name in needed:
                    pass_or_run(before, context)
            steps = stage.steps_of(epochs[name], context)
        recipe = change(recipe, [f"{name}.loop.steps={steps}"])
    return recipe


def look_ahead(stage: Stage, context: Context) -> None:
    """Ask coming stages to check their data, if this stage made the last of it."""
    ran = context.recipe.stages.index(stage)
    done = {s.name for s in context.recipe.stages[: ran + 1]}
    for later in context.recipe.stages[ran + 1 :]:
        seen = {later.inputs[role] for role in later.looks_at if role in later.inputs}
        if stage.name in seen <= done:
            later.look_ahead(context)


@contextmanager
def open_context(recipe: Recipe, root: Path, display: Display, ranks: Ranks = Ranks()) -> Iterator[Context]:  # noqa: B008
    """Prepare a run of `recipe` in `root`/RECIPE-SIZE-SEED and yield the context for its stages.

    Errors that would stop a stage later are raised here. As long as it is open no other process works on the run, and
    memory is watched; run.json is written and threads are set.
    """
    fingerprints, run = recipe.fingerprints(), Run(root / recipe.run_name)
    _refuse_another(recipe, run)
    if ranks.is_first:
        before = recipe.fingerprints(with_places=True)
        run.rename_fingerprints({before[name]: fingerprints[name] for name in before})
    ranks.wait()
    for stage in recipe.stages:
        if not run.is_done(stage.name, fingerprints[stage.name]):
            stage.check(recipe)
    with run.alone() if ranks.is_first else nullcontext():
        if ranks.is_first:
            display.message("looking at the machine, and at what is there")
            for note in run.begin(recipe.about(), [s.name for s in recipe.stages], _machine_of(run)):
                display.message(note)
            set_damaged_aside(recipe, run, display)
        ranks.wait()
        machine = Machine(**run.record["machine"])
        if machine.device == "mps" and ranks.size > 1:
            raise ResourceError(f"{ranks.size} processes cannot share one Apple GPU; start one, without torchrun")
        torch.set_num_threads(max(1, machine.threads // ranks.size))
        keep_freed_memory()
        with MemoryWatch() as memory:
            yield Context(recipe, run, machine, display, memory, ranks)


def _refuse_another(recipe: Recipe, run: Run) -> None:
    """Raise ConfigError if the run's folder holds a run of something else, which this one would take apart."""
    if not recipe.folder or not is_run(run.path):
        return
    names = ("recipe", "size", "seed")
    there, mine = ([about.get(name) for name in names] for about in (run.record, recipe.about()))
    if any(known not in (None, own) for known, own in zip(there, mine, strict=True)):
        told_of = "{} ({}, seed {})".format(*there)
        raise ConfigError(
            f"{run.path} is a run of {told_of} and not of {recipe.name} ({recipe.size}, seed {recipe.seed}); "
            "choose another --name"
        )


def set_damaged_aside(recipe: Recipe, run: Run, display: Display) -> None:
    """Check every file of the finished stages, and move damaged ones away, so that they are made again.

    A result is a function of its config, its parents and the seed: results made from it stay as they are.
    """
    fingerprints, known = recipe.fingerprints(), run.record["stages"]
    for stage in recipe.stages:
        entry = known.get(stage.name, {})
        if entry.get("done") != fingerprints[stage.name]:
            continue
        wrong = run.damage(stage.name, entry)
        if not wrong:
            continue
        folder = run.stage_path(stage.name)
        inside = [path.relative_to(folder).as_posix() for path in wrong if folder in path.parents]
        if len(inside) == len(wrong) and stage.can_mend(inside):
            place, what = run.reopen(stage.name, wrong), "these files are"
        else:
            place, what = run.set_aside_damaged(stage.name), "the stage is"
        display.message(f"{stage.name}: {describe_damage(wrong)}; {what} made again, and the old is kept in {place}")
        stage.check(recipe)


def _machine_of(run: Run) -> dict[str, Any]:
    """Return the run's machine: measured once, and kept on resume."""
    seen = measure_machine().__dict__
    machine: dict[str, Any] = run.record.get("machine") or seen
    # a busy neighbour at the first start makes a machine look slow: the best figure is the truest
    machine["gflops"] = max(machine["gflops"], seen["gflops"])
    if not has_device(machine["device"]):
        raise ResourceError(
            f"{run.path} was begun on a GPU ({machine['device']}) and torch sees none now; go on where there is one, "
            f"or use --runs"
        )
    return machine


def pass_or_run(stage: Stage, context: Context) -> bool:
    """Skip the stage if its fingerprint is known, else run it; return whether it was run."""
    run, ranks, fingerprint = context.run, context.ranks, context.recipe.fingerprints()[stage.name]
    if ranks.is_first:
        run.take_back(stage.name, fingerprint)
    ranks.wait()
    is_done = run.is_done(stage.name, fingerprint)
    ranks.wait()  # all have looked before the first one writes
    if is_done:
        context.display.skip(stage.name)
        return False
    context.display.stage(stage.name)
    if ranks.is_first:
        known = run.record["stages"]
        for parent in stage.inputs.values():
            wrong = run.damage(parent, known[parent], only_small=True)
            if wrong:
                raise CheckpointError(
                    f"{describe_damage(wrong)}, since this run was started; start it again to have it made again"
                )
    run_stage(stage, context)
    return True


def run_stage(stage: Stage, context: Context) -> None:
    """Run the stage from wherever it is; its cost is recorded however it ends."""
    run, ranks, memory, fingerprints = context.run, context.ranks, context.memory, context.recipe.fingerprints()
    if ranks.is_first:
        parents = {parent: fingerprints[parent] for parent in stage.inputs.values()}
        run.begin_stage(stage.name, fingerprints[stage.name], resolved(stage), parents)
    ranks.wait()
    context.stage_began_s = now_s()
    memory.peak_bytes = 0
    summary: Summary = {}
    try:
        if ranks.is_first or stage.runs_on_all_ranks:
            summary = stage.run(context)
    finally:
        if ranks.is_first:
            run.add_costs(stage.name, now_s() - context.stage_began_s, memory.peak_bytes)
    release_memory()
    if ranks.is_first:
        run.end_stage(stage.name, fingerprints[stage.name], summary)
    ranks.wait()


def release_memory() -> None:
    """Free the stage's modules, engines and compiled graphs, which refer to each other, and their pages."""
    if "torch._dynamo" in sys.modules:  # loading it only to forget nothing takes seconds
        torch.compiler.reset()
    gc.collect()
    return_freed_memory()
