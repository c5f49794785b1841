"""The training stage: modules, source, objective, optimizers and checks put together and given to the one loop.

It knows no kind of objective or source: their configs say which modules they need, and build themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import nn

from jielong.config import at_least
from jielong.errors import ConfigError, DataError
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdaptedModel, AdapterConfig
from jielong.model.transformer import (
    LanguageModel,
    ModelConfig,
    ScalarModel,
    fresh_language_model,
    scalar_from_language_model,
)
from jielong.runs import derive_seed, write_json
from jielong.stages.models import engine_of, open_tokenizer
from jielong.stages.picking import compile_if_right, mfu_per_rate, pick, picked_words, read_picked, write_picked
from jielong.stages.recipe import Context, Recipe, Stage, Summary
from jielong.stages.rules import RULES, open_judge, open_rule
from jielong.stages.sources import material_of
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.checks import held_out_loss
from jielong.train.loop import Loop, LoopConfig
from jielong.train.machine import Machine
from jielong.train.memory import check_memory
from jielong.train.objectives.objective import Objective, ObjectiveConfig
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.reference import Reference
from jielong.train.roles import Modules, Role
from jielong.train.sources import Check, RowsConfig, SourceConfig, SourceContext, build_feed


@dataclass(frozen=True)
class TrainStage(Stage):
    """A training stage. Inputs: data; start (whose weights; without it `model` from random numbers); reward for RL.

    Reinforcement with `source.algorithm` "ppo" has a critic; with the others only the policy half of `objective` is used.
    """

    name: str
    inputs: Mapping[str, str]
    objective: ObjectiveConfig
    source: SourceConfig = RowsConfig()
    model: ModelConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    critic_optimizer: OptimizerConfig | None = None
    loop: LoopConfig = LoopConfig()
    # How often the held-out loss is looked at, in steps; 0 leaves it out.
    check_every: int = 100
    # The weights it starts from are frozen, and this is trained beside them.
    adapter: AdapterConfig | None = None
    version: int = 1
    runs_on_all_ranks: ClassVar[bool] = True
    looks_at: ClassVar[tuple[str, ...]] = ("data", "tokenizer")

    def __post_init__(self) -> None:
        at_least(self, 0, "check_every")
        rows = self.source.rows()
        if rows and self.model and rows.length > self.model.max_position_embeddings:
            raise ConfigError(
                f"stage {self.name}: rows of {rows.length} tokens do not fit into "
                f"{self.model.max_position_embeddings} positions (model.max_position_embeddings)"
            )
        if self.adapter and (not self.objective.takes_adapter or "start" not in self.inputs):
            raise ConfigError(
                f"stage {self.name}: an adapter is trained on text, chats or pairs, or by reinforcement, beside a model to "
                "start from, and gives no scores"
            )
        if self.adapter and self.optimizer.name != "adamw":
            raise ConfigError(f"stage {self.name}: an adapter is trained by adamw, not by {self.optimizer.name}")

    def roles(self) -> tuple[Role, ...]:
        """Return the modules that it needs, the kept one first."""
        main = Role(self.objective.main, "start", self.objective.head, is_trained=True)
        return (main, *self.objective.roles(), *self.source.roles())

    def check(self, recipe: Recipe) -> None:
        """Raise ConfigError where source and objective do not fit or lack something, ResourceError where an adapter of an existing
        model does not fit into free memory.
        """
        self.source.check(self.inputs, RULES)
        self.objective.check([role.name for role in self.roles()])
        rows = self.source.rows()
        base = recipe.stage(self.inputs["start"]).model_from_elsewhere() if self.adapter else None
        if base is not None and self.adapter is not None and rows is not None:
            check_memory(base, hf.read_config(base)[0], self.name, rows, self.adapter)
        start = recipe.stage(self.inputs["start"]) if self.adapter else None
        if self.adapter is not None and isinstance(start, TrainStage) and start.adapter is not None:
            check_goes_on(self.adapter, start.adapter)

    def can_mend(self, damaged: Collection[str]) -> bool:
        """Whether damaged files can be written again: models can, from the training state beside them."""
        return all(fnmatch(name, "steps/*/model/*") for name in damaged)

    def look_ahead(self, context: Context) -> None:
        """Raise DataError if no rows can be made of the data, before earlier stages are trained."""
        rows = self.source.rows()
        if rows is not None and "start" in self.inputs:
            tokenizer = open_tokenizer(self, context)
            try:
                rows.build(self.source_context(context, tokenizer, context.recipe.seed))
            except DataError as error:
                hint = f"longer rows take more: --set {self.name}.source.length={2 * rows.length}"
                raise DataError(f"stage {self.name} could not be trained: {error}; {hint}") from error

    def steps_of(self, epochs: float, context: Context) -> int:
        """Return how many steps go `epochs` times through its data, which exists. Raises ConfigError if it has no rows."""
        rows = self.source.rows()
        if rows is None:
            raise ConfigError(f"stage {self.name} writes what it learns from, and has no epochs; give it steps")
        tokenizer = open_tokenizer(self, context)
        return rows.steps(epochs, self.source_context(context, tokenizer, context.recipe.seed))

    def run(self, context: Context) -> Summary:
        """Train to the end; the summary names the checkpoint to continue from."""
        machine, ranks, directory = context.machine, context.ranks, context.directory(self.name)
        context.display.update(0, 0, None, 0.0, 0.0, "opening the model, and trying how fast it is")
        tokenizer, seed = open_tokenizer(self, context), derive_seed(context.recipe.seed, self.name)
        modules = self._open_modules(context, tokenizer, seed)
        main = cast(LanguageModel, modules[self.objective.main])
        optimizers = {
            role.name: Optimizer(modules[role.name], self._optimizer_of(role), machine.torch_dtype)
            for role in self.roles()
            if role.is_trained
        }
        rows = self.source.rows()
        given = self.source_context(context, tokenizer, seed, modules)
        if ranks.is_first:
            pick(
                directory / "picked.json",
                rows,
                self.loop.steps,
                main.model,
                machine,
                ranks.size,
                has_pairs=given.material.holds in ("preferences", "ratings"),
            )
        ranks.wait()
        picked = read_picked(directory / "picked.json")
        if rows is not None:
            # a run of before this was picked has none
            rows = dataclasses.replace(rows, micro_rows=picked.get("micro_rows", rows.micro_rows))
        given = dataclasses.replace(given, is_packed=picked.get("packed", False))
        if self.objective.needs_reference:
            context.display.update(0, 0, None, 0.0, 0.0, "finding how likely the answers are before training")
            micro_rows = rows.micro_rows if rows is not None else 1
            asked = Reference(main, directory, micro_rows=micro_rows, pad_id=given.pad_id, ranks=ranks)
            given = dataclasses.replace(given, reference=asked)
        feed = build_feed(rows or self.source, self.objective.beside(), given)
        for note in (*given.material.notes, *feed.notes):
            context.display.message(f"{self.name}: {note}")
        # looking for reads of fresh memory costs a pass over every new tensor
        setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - unknown to the type checker
        # Compiled gradients are otherwise not bit-equal; set for each stage, so that a resumed run has it alike. On a GPU
        # it would forbid the kernels that are fast: there a resumed run is alike but for rounding.
        torch.use_deterministic_algorithms(picked["compile"] and machine.device == "cpu")
        if picked["compile"] and rows is not None:
            context.display.message(f"{self.name}: compiling its layers, which takes up to a minute and pays later")
            fault = compile_if_right(main, rows, machine, ranks)
            if fault:
                picked["compile"] = False
                if ranks.is_first:
                    write_picked(directory / "picked.json", picked)  # all have read it
                torch.use_deterministic_algorithms(False)
                context.display.message(f"{self.name}: {fault}; training goes on without compiling")
        context.display.message(f"{self.name}: {picked_words(picked, machine)}")
        objective = self.build_objective(main.config, modules, is_compiled=picked["compile"])
        checks = (
            [Check(self.check_every, held_out_loss(objective, feed.held_out, ranks), "held_out_loss")]
            if feed.held_out and self.check_every
            else []
        )
        num_adapted = main.num_trained if isinstance(main, AdaptedModel) else 0
        loop = Loop(
            modules,
            optimizers,
            feed.source,
            objective,
            self.loop,
            directory,
            self._saving(context, tokenizer),
            main=self.objective.main,
            checks=[*checks, *feed.checks],
            ranks=ranks,
            mfu_per_rate=mfu_per_rate(rows, main, num_adapted, machine, ranks.size),
            report=context.report,
        )
        outcome = loop.run()
        for warning in outcome.warnings:
            context.display.message(f"{self.name}: {warning}")
        if ranks.is_first:
            self._finish(outcome.checkpoint / "model", context, tokenizer)
        return {
            "checkpoint": outcome.checkpoint.name,
            "tokens": outcome.tokens,
            "seconds_in_loop": round(outcome.seconds, 2),
            "warnings": outcome.warnings,
            "last": outcome.last,
            "picked": picked,
        }

    def source_context(
        self, context: Context, tokenizer: Tokenizer, seed: int, modules: Modules | None = None
    ) -> SourceContext:
        """Return the surroundings in which its source is built."""
        return SourceContext(
            material_of(self.inputs["data"], context, tokenizer),
            seed,
            context.ranks,
            modules,
            lambda model: engine_of(model, tokenizer, context.machine),
            tokenizer.stop_ids,
            tokenizer.pad,
            open_rule=lambda rule: open_rule(rule, tokenizer),
            open_judge=lambda role, mark: open_judge(
                context.checkpoint(self.inputs[role]), context.machine, tokenizer, mark
            ),
        )

    def build_objective(self, config: ModelConfig, modules: Modules, *, is_compiled: bool = False) -> Objective:
        """Build its loss function for a model of this shape."""
        has_adapter = self.adapter is not None
        return self.objective.build(config, modules.keys(), has_adapter=has_adapter, is_compiled=is_compiled)

    def _open_modules(self, context: Context, tokenizer: Tokenizer, seed: int) -> dict[str, nn.Module]:
        """Load or initialise the module of each role."""
        rows = self.source.rows()
        shape = dataclasses.replace(self.model or ModelConfig(), vocab_size=tokenizer.vocab_size)
        modules = {}
        for role in self.roles():
            start = context.checkpoint(self.inputs[role.start]) if role.start in self.inputs else None
            adapter = self.adapter if role.name == self.objective.main else None
            positions = rows.length if rows else 0
            modules[role.name] = open_module(role, start, shape, seed, context.machine, adapter, positions)
        return modules

    def _optimizer_of(self, role: Role) -> OptimizerConfig:
        return self.optimizer if role.name == self.objective.main else self.critic_optimizer or self.optimizer

    def _saving(self, context: Context, tokenizer: Tokenizer) -> Callable[[nn.Module, Path], None]:
        """Return a function that writes a checkpoint's model: whole, or of an adapted one the adapter."""

        def save(model: nn.Module, path: Path) -> None:
            """Write one model, or its adapter with the path of its base."""
            if isinstance(model, AdaptedModel):
                start = context.checkpoint(self.inputs["start"]).resolve()
                base = adapter_files.base_of(start) if adapter_files.is_adapter(start) else start
                adapter_files.save(model, path, str(base))
            else:
                save_model(model, tokenizer, path)

        return save

    def _finish(self, path: Path, context: Context, tokenizer: Tokenizer) -> None:
        """Write what the objective settles after training into the checkpoint's config.json, which is replaced at once."""

        def load() -> nn.Module:
            return on_machine(hf.load(path), context.machine)

        model = self.objective.finish(load, material_of(self.inputs["data"], context, tokenizer))
        if model is not None:
            assert isinstance(model, LanguageModel | ScalarModel)
            config = hf.config_dict(model, eos_token_id=eos_token_ids(tokenizer), pad_token_id=tokenizer.pad)
            write_json(path / "config.json", config)


def open_module(
    role: Role,
    start: Path | None,
    shape: ModelConfig,
    seed: int,
    machine: Machine,
    adapter: AdapterConfig | None = None,
    positions: int = 0,
) -> nn.Module:
    """Open the module that plays `role`, from the checkpoint `start` or with random weights, on the machine's device.

    Where `start` is an adapter, its training continues on its own base. A scalar model takes at least `positions`:
    answers to be judged may be longer than its language model's training rows, and rotary positions extend.
    """
    module: nn.Module
    earlier = start if adapter is not None and start is not None and adapter_files.is_adapter(start) else None
    if earlier is not None:
        start = adapter_files.base_of(earlier)
    if start is None:
        module = fresh_language_model(shape, derive_seed(seed, "weights"))
    else:
        module = hf.load(start) if role.head == "scalar" else hf.load_language_model(start)
    if role.head == "scalar" and isinstance(module, LanguageModel):
        if not role.is_trained:
            raise ConfigError(f"{start} holds a language model; {role.name} must be a model that gives scores")
        module = scalar_from_language_model(module, derive_seed(seed, "head"))
        longest = max(module.config.max_position_embeddings, positions)
        module.config = module.model.config = dataclasses.replace(module.config, max_position_embeddings=longest)
    if adapter is not None:
        assert isinstance(module, LanguageModel)
        module.model.compute_dtype = machine.torch_dtype  # before: the frozen weights are kept in it
        if earlier is None:
            module = AdaptedModel(module, adapter, seed)
        else:
            check_goes_on(adapter, adapter_files.read_config(earlier)[0])
            module = adapter_files.load(earlier, module, adapter.base)
    if not role.is_trained:
        module.requires_grad_(False)
    return on_machine(module, machine)


def check_goes_on(adapter: AdapterConfig, earlier: AdapterConfig) -> None:
    """Raise ConfigError if an earlier adapter cannot go on as this one."""
    if earlier.rank != adapter.rank:
        raise ConfigError(f"adapter.rank is {adapter.rank}; the adapter that goes on is of rank {earlier.rank}")
    if earlier.decomposed != adapter.decomposed:
        told = [str(each.decomposed).lower() for each in (adapter, earlier)]
        raise ConfigError(f"adapter.decomposed is {told[0]}; of the adapter that goes on it is {told[1]}")


def on_machine(module: nn.Module, machine: Machine) -> nn.Module:
    """Move the module to the machine's device and set the dtype of its products."""
    module.to(machine.device)
    cast(LanguageModel, module).model.compute_dtype = machine.torch_dtype
    return module


def eos_token_ids(tokenizer: Tokenizer) -> int | list[int]:
    """Return the EOS ids for config.json: one for our own tokenizer, the stop ids of another."""
    return tokenizer.im_end if tokenizer.is_own else list(tokenizer.stop_ids)


def save_model(model: nn.Module, tokenizer: Tokenizer, path: Path) -> None:
    """Save a model and its tokenizer in Hugging Face's layout, into the existing folder `path`."""
    assert isinstance(model, LanguageModel | ScalarModel)
    hf.save(model, path, eos_token_id=eos_token_ids(tokenizer), pad_token_id=tokenizer.pad)
    tokenizer.save(path)
