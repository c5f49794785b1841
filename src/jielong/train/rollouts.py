"""Reinforcement learning as a source of steps: the policy writes, a scorer judges, and advantages go into the batch.

A rollout draws prompts, generates with a fresh copy of the policy's weights, cuts every sample after its first stop id,
scores it, and computes log-probabilities of the policy and the reference and the critic's values with the trainer's own
modules. Then it is gone through a few times in minibatches, one for each optimizer step, and a new rollout begins. Whoever
generates is handed in.

A sample that never stopped keeps its tokens and its score loses a stated penalty. An unfinished rollout is part of the
state, so a run that is killed in the middle of one goes on bit for bit.
"""
# B rows of a rollout, T columns. Column t of a stream speaks about the token drawn after column t.

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from jielong.data.batches import PAD_ID, Batch
from jielong.errors import CheckpointError, ConfigError, DataError, did_you_mean
from jielong.model.adapters import weights_of
from jielong.model.transformer import LanguageModel
from jielong.records import LocalGenerator, Sampling, Scorer
from jielong.runs import derive_seed
from jielong.train.advantages import (
    AdaptiveKL,
    best_of_group,
    gae,
    group_advantages,
    group_spread,
    is_flat,
    kl_penalised_rewards,
    leave_one_out,
    whiten,
)
from jielong.train.mismatch import largest_mismatch
from jielong.train.objectives.policy import kl_estimate
from jielong.train.parallel import Ranks
from jielong.train.rewards import build_rewards
from jielong.train.roles import Modules, Role
from jielong.train.rollout_settings import RolloutSettings
from jielong.train.samples import (
    Drawn,
    batch_of_samples,
    by_length,
    draw,
    fresh_pairs,
    log_probabilities,
    rewards_of,
    take_rows,
)
from jielong.train.sources import Check, Feed, Prompt, SourceConfig, SourceContext
from jielong.train.watch import keep_apart, watch


@dataclass(frozen=True)
class RolloutConfig(RolloutSettings, SourceConfig):
    """The size of a rollout and the number of passes over it; `prompts * group_size` samples are generated."""

    def roles(self) -> tuple[Role, ...]:
        """Return the reference, the reward models, and for PPO the critic, which starts from the first reward model's
        weights, or where there is none from the policy's.
        """
        models = [role for reward in self.rewards for role in reward.roles()]
        compared = (Role("reference"), *dict.fromkeys(models))
        start = models[0].start if models else "start"
        return (*compared, Role("critic", start, "scalar", is_trained=True)) if self.algorithm == "ppo" else compared

    def check(self, inputs: Collection[str], rules: Collection[str]) -> None:
        """Raise ConfigError if a reward needs an input of the stage, or a rule, that is not among these."""
        for reward in self.rewards:
            for name in reward.inputs():
                if name not in inputs:
                    raise ConfigError(
                        f"the reward {reward.name!r} needs an input {name!r} of its stage; it has {', '.join(inputs)}"
                    )
            for name in reward.rules():
                if name not in rules:
                    raise ConfigError(
                        f"the reward {reward.name!r} asks for a rule {name!r}; {did_you_mean(name, rules)}"
                    )

    def build(self, context: SourceContext) -> Feed:
        """Build rollouts of the material's prompts, scored by the rewards."""
        assert context.modules is not None and context.open_engine is not None
        policy, asked = cast(LanguageModel, context.modules["policy"]), context.material.prompts()
        room = policy.config.max_position_embeddings - self.max_tokens
        prompts = [p for p in asked if len(p.ids) <= room]
        notes = []
        if asked and not prompts:
            raise DataError(
                f"none of {len(asked)} prompts leaves room for {self.max_tokens} tokens of an answer in "
                f"{policy.config.max_position_embeddings} positions; lower rollouts.max_tokens, or give shorter prompts"
            )
        if len(prompts) < len(asked):
            notes.append(
                f"{len(asked) - len(prompts)} prompts leave no room for {self.max_tokens} tokens of an answer "
                f"and are left out, {len(prompts)} remain"
            )
        watched: list[Prompt] = []
        if self.watch_every:
            prompts, watched = keep_apart(prompts, self.watch_prompts, context.seed)
            notes.append(f"{len(watched)} prompts are kept apart and watched, {len(prompts)} are learned from")
        engine, rewards = context.open_engine(policy), build_rewards(self.rewards, context)
        source = Rollouts(
            prompts,
            context.modules,
            engine,
            rewards,
            self,
            seed=context.seed,
            stop_ids=context.stop_ids,
            pad_id=context.pad_id,
            ranks=context.ranks,
        )
        if not watched:
            return Feed(source, notes=notes)
        looking = watch(
            watched,
            engine,
            rewards,
            self,
            context.stop_ids,
            seed=context.seed,
            pad_id=context.pad_id,
            ranks=context.ranks,
        )
        tracked = "held_out_reward" if self.watch_keeps_best else ""
        return Feed(source, notes=notes, checks=(Check(self.watch_every, looking, tracked, higher_is_better=True),))


class Rollouts:
    """A source of policy-gradient steps over `prompts`, in a fresh order each epoch.

    `modules` are the loop's own: "policy" and "reference" (`LanguageModel`), "critic" (`ScalarModel`) for PPO.
    `metrics()` describe the last rollout: "score" (the scorer's mean, in its unit; of a mixture the measures of its parts
    too), "kl" and "kl_k3" (nats per sequence to the reference), "entropy" (nats per token), "length" (tokens),
    "missing_stop" and "flat_groups" (shares; groups rewarded alike, which only the KL can move), "group_spread" (the mean
    standard deviation of rewards within groups), "mismatch" (mean absolute difference of trainer's and engine's
    log-probability), "mismatch_largest", "kl_coefficient", "drawn_at" (steps that the policy had taken when it wrote
    them); where a reward is named "labels" "fresh_pairs" and "fresh_accuracy" (see `samples.fresh_pairs`), with
    `max_redraws` "redraws" (groups drawn again, per group), with `kl_limit` "score_refused" (1 where the rollout was
    beyond it).
    """

    read_ahead = False

    def __init__(
        self,
        prompts: Sequence[Prompt],
        modules: Modules,
        engine: LocalGenerator,
        scorer: Scorer,
        config: RolloutConfig,
        *,
        seed: int,
        stop_ids: Sequence[int],
        pad_id: int = PAD_ID,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> None:
        needed = ("policy", "reference", *(("critic",) if config.algorithm == "ppo" else ()))
        for name in needed:
            if name not in modules:
                raise ConfigError(f"rollouts of {config.algorithm!r} need a module {name!r}; got {', '.join(modules)}")
        if not prompts or not all(p.ids for p in prompts):
            raise DataError(
                f"of {len(prompts)} prompts some or all are empty; expected at least one, each with a token"
            )
        if config.prompts % ranks.size or (config.prompts * config.group_size // ranks.size) % config.minibatches:
            raise ConfigError(f"rollouts.prompts is {config.prompts}, which {ranks.size} ranks cannot share equally")
        self.prompts, self.modules, self.engine, self.scorer = prompts, modules, engine, scorer
        self.config, self.seed, self.stop_ids, self.pad_id, self.ranks = config, seed, tuple(stop_ids), pad_id, ranks
        self.attempt = 0
        self.rollout = 0
        self.coefficient = config.kl_coefficient
        self._batch: Batch | None = None
        self._at = 0
        self._given = 0
        self._metrics: dict[str, float] = {}

    @property
    def steps_per_rollout(self) -> int:
        return self.config.epochs * self.config.minibatches

    def next_step(self) -> list[Batch]:
        """Return this rank's micro-batches of the next minibatch, after a new rollout where the last one is used up."""
        if self._batch is None:
            self._batch = self._roll_out()
        epoch, part = divmod(self._at, self.config.minibatches)
        random = np.random.default_rng(self._seed("minibatches", self.rollout, epoch))
        order = torch.from_numpy(random.permutation(self._batch.num_rows))
        rows = order.chunk(self.config.minibatches)[part].to(self._batch.inputs.device)
        batches = [take_rows(self._batch, some) for some in by_length(self._batch, rows, self.config.micro_rows)]
        self._at += 1
        self._given += 1
        if self._at == self.steps_per_rollout:
            self._finish()
        return batches

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Drop a rollout from which the policy has moved too far, or beyond the limit to the reference."""
        if self._batch is None:
            return
        config, kl = self.config, metrics.get("kl_now", 0.0) * self._metrics.get("length", 0.0)
        has_crossed = config.kl_limit and kl > config.kl_limit and not self._metrics.get("score_refused")
        if has_crossed or (config.kl_stop and metrics.get("shift", 0.0) > config.kl_stop):
            self._finish()

    def metrics(self) -> dict[str, float]:
        return dict(self._metrics)

    def reseed(self, attempt: int) -> None:
        """Draw other prompts and random numbers from here on; the rest of a rollout is dropped."""
        self.attempt = attempt
        if self._batch is not None:
            self._finish()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that resuming needs, the unfinished rollout included."""
        state = {n: getattr(self, n) for n in self._KEPT}
        batch = {} if self._batch is None else {**vars(self._batch), "extra": dict(self._batch.extra)}
        identity = {"num_prompts": len(self.prompts), "seed": self.seed, "num_ranks": self.ranks.size}
        return {**state, **identity, "batch": batch}

    _KEPT = ("attempt", "rollout", "coefficient", "_at", "_given", "_metrics")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`. Raises CheckpointError if it belongs to other prompts, another seed or half a rollout."""
        for key, mine in (("num_prompts", len(self.prompts)), ("seed", self.seed)):
            if state.get(key) != mine:
                raise CheckpointError(
                    f"the rollouts of the checkpoint had {key} {state.get(key)!r}; here it is {mine!r}"
                )
        if state["batch"] and state["num_ranks"] != self.ranks.size:
            raise CheckpointError(
                f"the checkpoint holds a rollout shared by {state['num_ranks']} processes; go on with as many, "
                f"not with {self.ranks.size}"
            )
        for name in self._KEPT:
            setattr(self, name, state.get(name, getattr(self, name)))  # earlier versions did not count steps given
        self._batch = Batch(**state["batch"]) if state["batch"] else None

    def _finish(self) -> None:
        self._batch, self._at = None, 0
        self.rollout += 1

    def _seed(self, *names: object) -> int:
        return derive_seed(self.seed, "rollouts", self.attempt, *names)

    # One rollout ---------------------------------------------------------------------------------------------------

    def _roll_out(self) -> Batch:
        """Generate, score, and compute log-probabilities and advantages: the batch of one rollout."""
        config, device = self.config, next(self.modules["policy"].parameters()).device
        drawn, redraws = self._draw()
        batch = batch_of_samples(drawn.samples, self.pad_id).to(device)
        streams = log_probabilities(self.modules, batch, drawn.samples, config.temperature, config.micro_rows)
        rewarded = torch.tensor(rewards_of(drawn, config), dtype=torch.float32, device=device)
        means = self._means(batch, streams, drawn, rewarded)
        if config.max_redraws:
            means["redraws"] = self.ranks.sum_numbers({"redraws": redraws})["redraws"] / config.prompts
        coefficient = self.coefficient
        if config.kl_limit:
            means["score_refused"] = float(means["kl"] > config.kl_limit)
            if means["score_refused"]:
                rewarded, coefficient = torch.zeros_like(rewarded), coefficient or 1.0
        advantages = self._advantages(batch, streams, rewarded, coefficient)
        self._metrics = {**means, "kl_coefficient": self.coefficient, "drawn_at": float(self._given)}
        if config.kl_target:
            self.coefficient = AdaptiveKL(config.kl_target).next(self.coefficient, means["kl"])
        numbers = {"temperature": config.temperature, "max_tokens": config.max_tokens}
        extra = {**streams, **advantages, **{n: torch.tensor(float(v), device=device) for n, v in numbers.items()}}
        return dataclasses.replace(batch, extra=extra)

    def _draw(self) -> tuple[Drawn, int]:
        """Draw this rank's samples with the newest weights, and groups that are rewarded alike again; return the samples
        and how many groups were drawn again.
        """
        config, share = self.config, self.config.prompts // self.ranks.size
        size, first = config.group_size, self.ranks.rank * share
        sampling = Sampling(max_tokens=config.max_tokens, temperature=config.temperature, stop_ids=self.stop_ids)

        def drawn(prompts: Sequence[Prompt], groups: Sequence[int], *names: object) -> Drawn:
            """Draw `size` samples for each prompt, the groups having these numbers over all ranks."""
            numbers = [group * size + i for group in groups for i in range(size)]
            repeated = [prompt for prompt in prompts for _ in range(size)]
            seeds = [self._seed("sample", self.rollout, *names, number) for number in numbers]
            return draw(repeated, seeds, self.engine, self.scorer, sampling)

        self.engine.load(weights_of(self.modules["policy"]), self.rollout)
        groups = range(first, first + share)
        found = drawn(self._prompts(self.rollout * config.prompts + first, share), groups)
        redraws = 0
        for attempt in range(config.max_redraws):
            alike = is_flat(torch.tensor(rewards_of(found, config)), size).nonzero()[:, 0].tolist()
            if not alike:
                break
            redraws += len(alike)
            chosen = [first + place for place in alike]
            found = found.with_groups(alike, size, drawn([self._other(attempt, g) for g in chosen], chosen, attempt))
        return found, redraws

    def _other(self, attempt: int, group: int) -> Prompt:
        """Return the prompt of a group that is drawn again, the same for any number of ranks."""
        random = np.random.default_rng(self._seed("redraw", self.rollout, attempt, group))
        return self.prompts[int(random.integers(len(self.prompts)))]

    def _prompts(self, start: int, count: int) -> list[Prompt]:
        """Return `count` prompts from number `start` on in the endless row of permutations."""
        epochs, places = np.divmod(np.arange(start, start + count), len(self.prompts))
        orders = {
            e: np.random.default_rng(self._seed("prompts", e)).permutation(len(self.prompts))
            for e in set(epochs.tolist())
        }
        return [self.prompts[int(orders[e][p])] for e, p in zip(epochs.tolist(), places.tolist(), strict=True)]

    def _advantages(
        self, batch: Batch, streams: Mapping[str, Tensor], rewarded: Tensor, coefficient: float
    ) -> dict[str, Tensor]:
        """Return the stream "advantages" of groups, or "advantages" and "returns" by GAE, from rewards with their KL
        penalty.
        """
        config, mask = self.config, batch.weights
        rewards = kl_penalised_rewards(rewarded, streams["old_logprobs"], streams["ref_logprobs"], mask, coefficient)
        if config.has_groups:
            totals, size = rewards.sum(dim=1), config.group_size
            if config.algorithm == "rloo":
                per_row = leave_one_out(totals, size)
            elif config.algorithm == "best":
                per_row = best_of_group(totals, size)
            else:
                per_row = group_advantages(totals, size, divide_by_std=config.divide_by_std)
                # Where all scores are equal only the KL differs, and the division would make a full step of it.
                is_equal = is_flat(rewarded, size).repeat_interleave(size)
                per_row = torch.where(is_equal, group_advantages(totals, size, divide_by_std=False), per_row)
            return {"advantages": torch.where(mask != 0, per_row[:, None], 0.0)}
        advantages, returns = gae(rewards, streams["old_values"], mask, gamma=config.gamma, lam=config.lam)
        if config.whiten_advantages:
            advantages = whiten(advantages, mask, ranks=self.ranks)
        return {"advantages": advantages, "returns": returns}

    def _means(self, batch: Batch, streams: Mapping[str, Tensor], drawn: Drawn, rewarded: Tensor) -> dict[str, float]:
        """Compute the metrics of this rollout over all ranks."""
        old, reference = streams["old_logprobs"], streams["ref_logprobs"]
        size, has_groups = self.config.group_size, self.config.group_size > 1
        pairs = fresh_pairs(drawn.judged, size)
        sums = {
            "fresh_pairs": float(len(pairs)),
            "fresh_right": float(sum(pairs)),
            "score": sum(drawn.judged.values),
            "missing_stop": drawn.has_stop.count(False),
            "length": batch.weights.sum(),
            "kl": kl_estimate(old, reference, "k1").sum(),
            "kl_k3": kl_estimate(old, reference, "k3").sum(),
            "entropy": -old.sum(),
            "mismatch": (old - streams["engine_logprobs"]).abs().sum(),
            "flat_groups": size * is_flat(rewarded, size).sum() if has_groups else 0.0,
            "group_spread": size * group_spread(rewarded, size).sum() if has_groups else 0.0,
            **{name: sum(values) for name, values in drawn.judged.measures.items()},
            "rows": batch.num_rows,
        }
        totals = self.ranks.sum_numbers({name: float(value) for name, value in sums.items()})
        tokens, decided, right = max(totals["length"], 1.0), totals.pop("fresh_pairs"), totals.pop("fresh_right")
        fresh = {"fresh_pairs": decided, "fresh_accuracy": right / decided} if decided else {}
        per_token = ("entropy", "mismatch")
        means = {n: t / (tokens if n in per_token else totals["rows"]) for n, t in totals.items() if n != "rows"}
        return fresh | means | {"mismatch_largest": largest_mismatch(old, streams["engine_logprobs"], self.ranks)}
