"""A training stage: its modules, source, objective, optimizers and checks put together and given to the one loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from jielong.data.batches import Batch
from jielong.data.shards import Shards
from jielong.data.steps import PackedChats, PackedTokens, PaddedPairs, Source, Together, held_out
from jielong.errors import DataError
from jielong.model import adapter_files, hf
from jielong.model.adapters import AdaptedModel
from jielong.model.presets import flops_per_token, kept_bytes
from jielong.model.transformer import (
    LanguageModel,
    ModelConfig,
    ScalarModel,
    fresh_language_model,
    scalar_from_language_model,
)
from jielong.recipes.prepare import open_engine, open_tokenizer, read_conversations, read_jsonl
from jielong.recipes.recipe import NextTokenConfig, RowsConfig, TrainStage
from jielong.records import Preference
from jielong.runs import derive_seed, read_json, write_json
from jielong.tokens.chat import render, render_preference, render_prompt
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.loop import Check, Loop, Objective
from jielong.train.machine import Machine, compile_layers, compiled_like_plain, leave_plain, seconds_of_layers
from jielong.train.objectives import (
    PPO,
    BradleyTerry,
    BradleyTerryConfig,
    NextToken,
    PolicyGradient,
    PPOConfig,
    WithText,
    cross_entropy_like_plain,
)
from jielong.train.optim import Optimizer
from jielong.train.parallel import Ranks
from jielong.train.rewards import RewardModelScorer, score_rows
from jielong.train.rollouts import Prompt, RolloutConfig, Rollouts

if TYPE_CHECKING:
    from jielong.recipes.execute import Context

COMPILE_S, WARM_COMPILE_S = 20.0, 3.0
"""What compiling takes on two ordinary cores, cold and from the cache; it pays when ten times that lie ahead."""

GPU_TOKENS = 2**16
"""Tokens of a micro-batch beyond which a GPU gains nothing."""

CHECK_ROWS = 64
"""Held-out rows that a check looks at."""


def train(stage: TrainStage, context: Context) -> dict[str, Any]:
    """Take the stage to its end; the summary names the checkpoint to go on from."""
    tokenizer = open_tokenizer(stage, context)
    directory = context.directory(stage.name)
    seed = derive_seed(context.recipe.seed, stage.name)
    modules = build_modules(stage, context, tokenizer, seed)
    main = "reward" if isinstance(stage.objective, BradleyTerryConfig) else "policy"
    dtype = context.machine.torch_dtype
    optimizers = {main: Optimizer(modules[main], stage.optimizer, dtype)}
    if "critic" in modules:
        optimizers["critic"] = Optimizer(modules["critic"], stage.critic_optimizer or stage.optimizer, dtype)
    if context.ranks.is_first:
        pick(stage, context, modules[main])
    context.ranks.wait()
    picked = read_json(directory / "picked.json")
    if isinstance(stage.source, RowsConfig):
        # a run of before this was picked has none
        source_rows = dataclasses.replace(stage.source, micro_rows=picked.get("micro_rows", stage.source.micro_rows))
        stage = dataclasses.replace(stage, source=source_rows)
    source, test = build_source(stage, context, tokenizer, modules, seed)
    # looking for reads of fresh memory costs a pass over every new tensor
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - unknown to the type checker
    # Compiled gradients are otherwise not bit-equal; set for each stage, so that a resumed run has it alike. On a GPU it
    # would forbid the kernels that are fast: there a resumed run is alike but for rounding.
    torch.use_deterministic_algorithms(picked["compile"] and context.machine.device == "cpu")
    if picked["compile"]:
        fault = compile_if_right(stage, context, cast(LanguageModel, modules[main]))
        if fault:
            picked["compile"] = False
            if context.ranks.is_first:
                write_json(directory / "picked.json", picked)  # all have read it
            torch.use_deterministic_algorithms(False)
            context.display.message(f"{stage.name}: {fault}; training goes on without compiling")
    context.display.message(f"{stage.name}: {picked_words(picked, context.machine)}")
    objective = build_objective(
        stage,
        cast(LanguageModel, next(iter(modules.values()))).config,
        is_compiled=picked["compile"],
    )
    checks = (
        [Check(stage.check_every, held_out_loss(objective, test, context.ranks), "held_out_loss")]
        if test and stage.check_every
        else []
    )

    def save(model: nn.Module, path: Path) -> None:
        if isinstance(model, AdaptedModel):
            adapter_files.save(model, path, str(context.checkpoint(stage.inputs["start"]).resolve()))
        else:
            save_model(model, tokenizer, path)

    loop = Loop(
        modules,
        optimizers,
        source,
        objective,
        stage.loop,
        directory,
        save,
        main=main,
        checks=checks,
        ranks=context.ranks,
        mfu_per_rate=mfu_per_rate(stage, context, modules[main]),
        report=context.report,
    )
    outcome = loop.run()
    for warning in outcome.warnings:
        context.display.message(f"{stage.name}: {warning}")
    name = outcome.checkpoint.name
    if main == "reward" and context.ranks.is_first:
        centre_rewards(outcome.checkpoint / "model", stage, context, tokenizer)
    return {
        "checkpoint": name,
        "tokens": outcome.tokens,
        "seconds_in_loop": round(outcome.seconds, 2),
        "warnings": outcome.warnings,
        "last": outcome.last,
        "picked": picked,
    }


# Parts -------------------------------------------------------------------------------------------------------------


def build_modules(stage: TrainStage, context: Context, tokenizer: Tokenizer, seed: int) -> dict[str, nn.Module]:
    """The modules by role, on the machine's device, multiplying in the machine's dtype."""
    modules: dict[str, nn.Module] = {}
    if "start" not in stage.inputs:
        shape = dataclasses.replace(stage.model or ModelConfig(), vocab_size=tokenizer.vocab_size)
        modules["policy"] = fresh_language_model(shape, derive_seed(seed, "weights"))
    elif isinstance(stage.objective, BradleyTerryConfig):
        start = hf.load_language_model(context.checkpoint(stage.inputs["start"]))
        reward = scalar_from_language_model(start, derive_seed(seed, "head"))
        # answers to be judged may be longer than what the policy was trained on; rotary positions go on
        positions = max(reward.config.max_position_embeddings, cast(RowsConfig, stage.source).length)
        reward.config = reward.model.config = dataclasses.replace(reward.config, max_position_embeddings=positions)
        modules["reward"] = reward
    else:
        policy = hf.load_language_model(context.checkpoint(stage.inputs["start"]))
        policy.model.compute_dtype = context.machine.torch_dtype  # before: the frozen weights are kept in it
        modules["policy"] = AdaptedModel(policy, stage.adapter, seed) if stage.adapter else policy
    if isinstance(stage.source, RolloutConfig):
        modules["reference"] = hf.load_language_model(context.checkpoint(stage.inputs["start"]))
        modules["reward"] = hf.load(context.checkpoint(stage.inputs["reward"]))
        if stage.source.algorithm == "ppo":
            modules["critic"] = hf.load(context.checkpoint(stage.inputs["reward"]))
        for name in ("reference", "reward"):
            modules[name].requires_grad_(False)
    for module in modules.values():
        module.to(context.machine.device)
        cast(LanguageModel, module).model.compute_dtype = context.machine.torch_dtype
    return modules


def build_objective(stage: TrainStage, config: ModelConfig, *, is_compiled: bool = False) -> Objective:
    """What the stage makes small in a model of this shape; `is_compiled` is `NextToken`'s."""
    match stage.objective:
        case NextTokenConfig():
            own = stage.objective.router_aux_loss_coef
            coefficient = config.router_aux_loss_coef if own is None else own
            # beside an adapter the routers are frozen
            balance = coefficient if config.num_experts and not stage.adapter else 0.0
            return NextToken(balance=balance, is_compiled=is_compiled)
        case BradleyTerryConfig():
            return BradleyTerry(stage.objective)
        case PPOConfig():
            has_critic = isinstance(stage.source, RolloutConfig) and stage.source.algorithm == "ppo"
            policy = PPO(stage.objective) if has_critic else PolicyGradient(stage.objective.policy)
            coefficient = stage.objective.ptx.coefficient
            return WithText(policy, coefficient) if coefficient else policy


def build_source(
    stage: TrainStage, context: Context, tokenizer: Tokenizer, modules: Mapping[str, nn.Module], seed: int
) -> tuple[Source, list[Batch]]:
    """Where steps come from, and held-out batches of the same kind (none for reinforcement)."""
    data = context.parent(stage, "data")
    ranks = {"rank": context.ranks.rank, "world_size": context.ranks.size}
    if isinstance(stage.source, RolloutConfig):
        rollouts = build_rollouts(stage.source, stage, context, tokenizer, modules, seed)
        ptx = cast(PPOConfig, stage.objective).ptx
        if not ptx.coefficient:
            return rollouts, []
        text = RowsConfig(ptx.length, ptx.rows, ptx.rows)
        return Together(
            rollouts, build_chats(data / "chats.jsonl", text, tokenizer, derive_seed(seed, "ptx"), ranks)
        ), []
    rows = stage.source
    if (data / "train").exists():

        def documents(part: str) -> PackedTokens:
            return PackedTokens(
                Shards(data / part),
                length=rows.length,
                rows_per_step=rows.rows_per_step,
                micro_rows=rows.micro_rows,
                seed=seed,
                **ranks,
            )

        return documents("train"), held_out(documents("held_out"), CHECK_ROWS)
    if (data / "chats.jsonl").exists():
        train = build_chats(data / "chats.jsonl", rows, tokenizer, seed, ranks)
        if train.fit.num_cut or train.fit.num_dropped:
            context.display.message(
                f"{stage.name}: of {train.fit.num_sequences} chats {train.fit.num_cut} are longer than {rows.length} tokens and "
                f"lose their end, {train.fit.num_dropped} have no answer within them and are left out"
            )
        return train, held_out(build_chats(data / "held_out.jsonl", rows, tokenizer, seed, ranks), CHECK_ROWS)

    def pairs(file: str) -> PaddedPairs:
        made = [render_preference(Preference.from_dict(d), tokenizer) for d in read_jsonl(data / file)]
        return PaddedPairs(
            made,
            length=rows.length,
            pairs_per_step=rows.rows_per_step // 2,
            micro_pairs=rows.micro_rows // 2,
            seed=seed,
            **ranks,
        )

    train_pairs = pairs("preferences.jsonl")
    if train_pairs.num_dropped:
        context.display.message(
            f"{stage.name}: {train_pairs.num_dropped} pairs are longer than {rows.length} tokens and left out, "
            f"{train_pairs.num_rows} remain"
        )
    return train_pairs, held_out(pairs("held_out.jsonl"), CHECK_ROWS * 4)


def build_chats(file: Path, rows: RowsConfig, tokenizer: Tokenizer, seed: int, ranks: Mapping[str, int]) -> PackedChats:
    """Rows of the file's conversations, in which the assistant's turns are trained."""
    talks = [render(c.messages, tokenizer) for c in read_conversations(file)]
    if not any(any(t.trained) for t in talks):
        raise DataError(f"{file} holds no assistant turn to learn from; each chat needs at least one")
    return PackedChats(
        talks,
        length=rows.length,
        rows_per_step=rows.rows_per_step,
        micro_rows=rows.micro_rows,
        seed=seed,
        **ranks,
    )


def build_rollouts(
    config: RolloutConfig,
    stage: TrainStage,
    context: Context,
    tokenizer: Tokenizer,
    modules: Mapping[str, nn.Module],
    seed: int,
) -> Source:
    """Reinforcement's source: the engine writes, the reward model judges."""
    policy = cast(LanguageModel, modules["policy"])
    asked = [
        Prompt(render_prompt(c.messages, tokenizer), c)
        for c in read_conversations(context.parent(stage, "data") / "prompts.jsonl")
    ]
    room = policy.config.max_position_embeddings - config.max_tokens
    prompts = [p for p in asked if len(p.ids) <= room]
    if len(prompts) < len(asked):
        context.display.message(
            f"{stage.name}: {len(asked) - len(prompts)} prompts leave no room for {config.max_tokens} tokens of an answer "
            f"and are left out, {len(prompts)} remain"
        )
    scorer = RewardModelScorer(cast(ScalarModel, modules["reward"]))
    return Rollouts(
        prompts,
        modules,
        open_engine(policy, context),
        scorer,
        config,
        seed=seed,
        stop_ids=tokenizer.stop_ids,
        pad_id=tokenizer.pad,
        ranks=context.ranks,
    )


def held_out_loss(
    objective: Objective, batches: list[Batch], ranks: Ranks
) -> Callable[[Mapping[str, nn.Module], int], dict[str, float]]:
    """A check: the objective's "loss" on batches that are never trained on, divided by its weight over all ranks."""

    @torch.no_grad()
    def run(modules: Mapping[str, nn.Module], step: int) -> dict[str, float]:
        del step
        device = next(next(iter(modules.values())).parameters()).device
        sums = {"loss": 0.0, "weight": 0.0, "right": 0.0, "decided": 0.0}
        for batch in batches:
            loss = objective(modules, batch.to(device))
            sums["loss"] += float(loss.terms["loss"][0])
            sums["weight"] += objective.weights(batch)["loss"]
            right, decided = loss.metrics["accuracy"]
            sums["right"] += float(right)
            sums["decided"] += float(decided)
        sums = ranks.sum_numbers(sums)
        return {
            "held_out_loss": sums["loss"] / max(sums["weight"], 1e-12),
            "held_out_accuracy": sums["right"] / max(sums["decided"], 1e-12),
        }

    return run


def centre_rewards(path: Path, stage: TrainStage, context: Context, tokenizer: Tokenizer) -> None:
    """Subtract the mean score of the chosen held-out answers, so that a reference answer is worth 0.

    The offset lies in config.json, which is replaced at once; done twice it comes to the same.
    """
    model = hf.load(path)
    assert isinstance(model, ScalarModel)
    model.to(context.machine.device)
    model.model.compute_dtype = context.machine.torch_dtype
    file = context.parent(stage, "data") / "held_out.jsonl"
    chosen = [render_preference(Preference.from_dict(d), tokenizer).chosen.ids for d in read_jsonl(file)]
    longest = model.config.max_position_embeddings
    model.reward_offset = 0.0
    model.reward_offset = float(score_rows(model, [ids for ids in chosen if len(ids) <= longest]).mean())
    write_json(path / "config.json", hf.config_dict(model, eos_token_id=ends(tokenizer), pad_token_id=tokenizer.pad))


def ends(tokenizer: Tokenizer) -> int | list[int]:
    """What config.json says of the ids that end an answer."""
    return tokenizer.im_end if tokenizer.is_own else list(tokenizer.stop_ids)


def save_model(model: nn.Module, tokenizer: Tokenizer, path: Path) -> None:
    """A model and its tokenizer in Hugging Face's layout, into the existing folder `path`."""
    assert isinstance(model, LanguageModel | ScalarModel)
    hf.save(model, path, eos_token_id=ends(tokenizer), pad_token_id=tokenizer.pad)
    tokenizer.save(path)


def mfu_per_rate(stage: TrainStage, context: Context, module: nn.Module) -> float:
    """FLOPs utilisation of one token per second; 0 for rollouts, whose tokens are written as well as trained on."""
    if not isinstance(stage.source, RowsConfig):
        return 0.0
    machine = context.machine
    devices = context.ranks.size if machine.device == "cuda" else 1
    adapter = module.num_trained if isinstance(module, AdaptedModel) else 0
    per_token = flops_per_token(cast(LanguageModel, module).config, stage.source.length, adapter)
    return per_token / (machine.gflops * 1e9 * devices)


def pick(stage: TrainStage, context: Context, module: nn.Module) -> None:
    """Decide once how many rows go at a time, and whether to compile; picked.json is kept when the stage resumes."""
    file = context.directory(stage.name) / "picked.json"
    if file.exists():
        return
    transformer, seconds_ahead, rows = cast(LanguageModel, module).model, 0.0, stage.source
    # how many tokens an expert gets changes in every step, and with it the graph
    can_compile = context.machine.can_compile and not transformer.config.num_experts
    picked: dict[str, Any] = {"compile": False}
    if isinstance(rows, RowsConfig):
        picked["micro_rows"] = rows.micro_rows
        if context.machine.device == "cuda":
            picked["micro_rows"] = rows_for_gpu(rows, module, context.ranks.size)
        picked["shape"] = [picked["micro_rows"], rows.length]
        if can_compile:
            micro_batches = stage.loop.steps * rows.rows_per_step / picked["micro_rows"]
            seconds_ahead = micro_batches * seconds_of_layers(transformer, *picked["shape"])
    before = [read_json(p) for p in sorted(context.run.path.glob("*/picked.json"))]
    is_warm = any(earlier["compile"] and earlier.get("shape") == picked.get("shape") for earlier in before)
    picked["compile"] = can_compile and seconds_ahead > 10 * (WARM_COMPILE_S if is_warm else COMPILE_S)
    write_json(file, picked | {"seconds_ahead": round(seconds_ahead, 1)})


def picked_words(picked: Mapping[str, Any], machine: Machine) -> str:
    """What was picked, for whoever watches."""
    threads = "1 thread" if machine.threads == 1 else f"{machine.threads} threads"
    where = threads if machine.device == "cpu" else machine.device
    rows = f", {picked['micro_rows']} rows at a time" if "micro_rows" in picked else ""
    return f"on {where}, products in {machine.dtype}{rows}, {'compiled' if picked['compile'] else 'not compiled'}"


def rows_for_gpu(rows: RowsConfig, module: nn.Module, ranks: int) -> int:
    """Rows of a micro-batch that keep a GPU busy: as many of a step as half of what is free can hold, at least the recipe's.

    The result does not depend on how a step is cut. The other half is for gradients, moments, logits and what is passing.
    """
    transformer, of_step = cast(LanguageModel, module).model, rows.rows_per_step // ranks
    kept = transformer.config.num_hidden_layers * kept_bytes(transformer.config, transformer.compute_dtype.itemsize)
    torch.cuda.empty_cache()  # what torch keeps for itself counts as taken
    fitting = min(torch.cuda.mem_get_info()[0] / 2 / kept, GPU_TOKENS) / rows.length
    wholes = [n for n in range(2, of_step + 1, 2) if of_step % n == 0 and n <= fitting]
    return max([rows.micro_rows, *wholes])


def compile_if_right(stage: TrainStage, context: Context, model: LanguageModel) -> str:
    """Compile the layers, or leave them plain on all ranks if what was compiled is wrong on one, and say why."""
    rows = cast(RowsConfig, stage.source)
    fault = ""
    try:
        compile_layers(model.model)
        if not compiled_like_plain(model.model, rows.micro_rows, rows.length):
            fault = "compiled layers do not give this machine the plain ones' gradients"
        elif context.machine.device != "cpu" and not cross_entropy_like_plain(model):
            fault = "a compiled loss does not give this machine the plain one's gradients"
    except Exception as error:  # of compilers and drivers: whatever they raise, plain layers need neither
        reason = " ".join(str(error).split())[:200]
        fault = f"this machine's compiler fails ({type(error).__name__}: {reason})"
    if not context.ranks.sum_numbers({"wrong": float(bool(fault))})["wrong"]:
        return ""
    leave_plain(model.model)
    return fault or "compiled layers are wrong on another rank"
