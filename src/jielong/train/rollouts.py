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
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from jielong.config import later
from jielong.data.batches import PAD_ID, Batch
from jielong.errors import CheckpointError, ConfigError, DataError, did_you_mean
from jielong.model.adapters import weights_of
from jielong.model.transformer import LanguageModel
from jielong.records import LocalGenerator, Request, Sample, Sampling, Scorer
from jielong.runs import derive_seed
from jielong.train.advantages import (
    AdaptiveKL,
    gae,
    group_advantages,
    group_spread,
    is_flat,
    kl_penalised_rewards,
    whiten,
)
from jielong.train.objectives.logprobs import trained_logprobs
from jielong.train.objectives.policy import kl_estimate
from jielong.train.parallel import Ranks
from jielong.train.rewards import Items, Judged, Mixture, ModelReward, RewardConfig, build_rewards
from jielong.train.roles import Modules, Role
from jielong.train.samples import batch_of_samples, by_length, cut_after_stop, engine_logprobs, take_rows
from jielong.train.sources import Feed, Prompt, SourceConfig, SourceContext


@dataclass(frozen=True)
class RolloutConfig(SourceConfig):
    """The size of a rollout and the number of passes over it; `prompts * group_size` samples are generated."""

    algorithm: Literal["ppo", "grpo"] = "ppo"
    """ppo has a critic and generalised advantages, grpo compares the samples of a prompt with each other."""
    prompts: int = 128
    """Prompts of one rollout, whose samples are the batch."""
    group_size: int = 1
    """Samples of each prompt."""
    epochs: int = 4
    """How often a rollout is gone through."""
    minibatches: int = 1
    """Optimizer steps of one pass over a rollout."""
    micro_rows: int = 32
    """Samples that are computed at a time, as memory allows."""
    temperature: float = 1.0
    """How evenly samples are drawn."""
    max_tokens: int = 32
    """The longest a sample may be."""
    kl_coefficient: float = 0.05
    """What a nat of distance from the start costs, in reward units."""
    kl_target: float = 0.0
    """Nats per sample that `kl_coefficient` adapts to; 0 leaves it as it is."""
    kl_stop: float = 0.0
    """Nats per token from the policy that wrote a rollout at which the rollout is left; 0 is off."""
    gamma: float = 1.0
    """What a reward one token later is worth."""
    lam: float = 0.95
    """How far advantages look ahead (lambda of GAE)."""
    missing_stop_penalty: float = 1.0
    """What a sample without an end loses, in reward units."""
    whiten_advantages: bool = True
    """Whether advantages are brought to mean 0 and variance 1."""
    divide_by_std: bool = True
    """grpo: whether advantages are divided by their group's deviation."""
    rewards: tuple[RewardConfig, ...] = later((ModelReward(),))
    """The rewards whose weighted sum is the score of a sample."""

    def __post_init__(self) -> None:
        if self.algorithm not in ("ppo", "grpo"):
            raise ConfigError(f"rollouts.algorithm is {self.algorithm!r}; expected 'ppo' or 'grpo'")
        for name in ("prompts", "group_size", "epochs", "minibatches", "micro_rows", "max_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"rollouts.{name} is {getattr(self, name)}; it must be at least 1")
        if self.algorithm == "grpo" and self.group_size < 2:
            raise ConfigError(f"rollouts.group_size is {self.group_size}; GRPO compares at least 2 samples of a prompt")
        if self.temperature <= 0:
            raise ConfigError(f"rollouts.temperature is {self.temperature}; a policy is sampled above 0")
        if (self.prompts * self.group_size) % self.minibatches:
            raise ConfigError(
                f"{self.prompts * self.group_size} samples of a rollout cannot be cut into "
                f"{self.minibatches} equal minibatches"
            )

    def roles(self) -> tuple[Role, ...]:
        """Return the reference, the reward models, and for PPO the critic, which starts from the first reward model's
        weights, or where there is none from the policy's.
        """
        models = [role for reward in self.rewards for role in reward.roles()]
        compared = (Role("reference"), *dict.fromkeys(models))
        start = models[0].start if models else "start"
        return (*compared, Role("critic", start, "scalar", is_trained=True)) if self.algorithm == "ppo" else compared

    def check(self, inputs: Collection[str], rules: Collection[str]) -> None:
        """Raise ConfigError where a reward needs an input of the stage, or a rule, that is not among these."""
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
        if len(prompts) < len(asked):
            notes.append(
                f"{len(asked) - len(prompts)} prompts leave no room for {self.max_tokens} tokens of an answer "
                f"and are left out, {len(prompts)} remain"
            )
        source = Rollouts(
            prompts,
            context.modules,
            context.open_engine(policy),
            build_rewards(self.rewards, context),
            self,
            seed=context.seed,
            stop_ids=context.stop_ids,
            pad_id=context.pad_id,
            ranks=context.ranks,
        )
        return Feed(source, notes=notes)


class Rollouts:
    """A source of policy-gradient steps over `prompts`, in a fresh order each epoch.

    `modules` are the loop's own: "policy" and "reference" (`LanguageModel`), "critic" (`ScalarModel`) for PPO.
    `metrics()` describe the last rollout: "score" (the scorer's mean, in its unit; of a mixture the measures of its parts
    too), "group_spread" (standard deviation of what the samples of a prompt are rewarded with, mean), "kl" and "kl_k3" (nats per sequence
    to the reference), "entropy" (nats per token), "length" (tokens), "missing_stop" and "flat_groups" (shares; groups
    of equal scores, which only the KL can move), "mismatch" (mean absolute difference of trainer's and engine's
    log-probability), "kl_coefficient".
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
        if self._at == self.steps_per_rollout:
            self._finish()
        return batches

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Drop a rollout from which the policy has moved too far."""
        if self.config.kl_stop and self._batch is not None and metrics.get("shift", 0.0) > self.config.kl_stop:
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

    _KEPT = ("attempt", "rollout", "coefficient", "_at", "_metrics")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`; CheckpointError when it belongs to other prompts, another seed or half a rollout."""
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
            setattr(self, name, state[name])
        self._batch = Batch(**state["batch"]) if state["batch"] else None

    def _finish(self) -> None:
        self._batch, self._at = None, 0
        self.rollout += 1

    def _seed(self, *names: object) -> int:
        return derive_seed(self.seed, "rollouts", self.attempt, *names)

    # One rollout ---------------------------------------------------------------------------------------------------

    def _roll_out(self) -> Batch:
        """Generate, score, and compute log-probabilities and advantages: the batch of one rollout."""
        policy = self.modules["policy"]
        prompts, samples, has_stop = self._generate()
        judged = self._judge([(p.item, p.conversation, s) for p, s in zip(prompts, samples, strict=True)])
        device = next(policy.parameters()).device
        batch = batch_of_samples(samples, self.pad_id).to(device)
        scores = torch.tensor(judged.values, dtype=torch.float32, device=device)
        stopped = torch.tensor(has_stop, device=device)
        rewarded = scores - self.config.missing_stop_penalty * ~stopped
        streams = self._logprobs(batch, samples)
        advantages = self._advantages(batch, streams, rewarded)
        numbers = {"temperature": self.config.temperature, "max_tokens": self.config.max_tokens}
        extra = {**streams, **advantages, **{n: torch.tensor(float(v), device=device) for n, v in numbers.items()}}
        self._note(batch, streams, scores, rewarded, stopped, judged.measures)
        return dataclasses.replace(batch, extra=extra)

    def _judge(self, items: Items) -> Judged:
        """Score samples; a scorer that is no mixture has no measures beside its score."""
        if isinstance(self.scorer, Mixture):
            return self.scorer.judge(items)
        return Judged([score.value for score in self.scorer(items)], {})

    def _generate(self) -> tuple[list[Prompt], list[Sample], list[bool]]:
        """Return this rank's prompts, each repeated for its group, with the policy's samples."""
        config, share = self.config, self.config.prompts // self.ranks.size
        start = self.rollout * config.prompts + self.ranks.rank * share
        chosen = [prompt for prompt in self._prompts(start, share) for _ in range(config.group_size)]
        sampling = Sampling(max_tokens=config.max_tokens, temperature=config.temperature, stop_ids=self.stop_ids)
        first = self.ranks.rank * share * config.group_size
        requests = [
            Request(prompt.ids, sampling, self._seed("sample", self.rollout, first + i))
            for i, prompt in enumerate(chosen)
        ]
        self.engine.load(weights_of(self.modules["policy"]), self.rollout)
        cut = [cut_after_stop(sample, self.stop_ids) for sample in self.engine.generate(requests)]
        return chosen, [sample for sample, _ in cut], [has_stop for _, has_stop in cut]

    def _prompts(self, start: int, count: int) -> list[Prompt]:
        """Return `count` prompts from number `start` on in the endless row of permutations."""
        epochs, places = np.divmod(np.arange(start, start + count), len(self.prompts))
        orders = {
            e: np.random.default_rng(self._seed("prompts", e)).permutation(len(self.prompts))
            for e in set(epochs.tolist())
        }
        return [self.prompts[int(orders[e][p])] for e, p in zip(epochs.tolist(), places.tolist(), strict=True)]

    @torch.no_grad()
    def _logprobs(self, batch: Batch, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Return streams (B, T) float32, 0 where nothing is trained: log-probabilities of three models, and the
        critic's values.
        """
        streams = {n: torch.zeros_like(batch.weights) for n in ("old_logprobs", "ref_logprobs", "old_values")}
        for rows in by_length(batch, torch.arange(batch.num_rows, device=batch.inputs.device), self.config.micro_rows):
            part = take_rows(batch, rows)
            for name, module in (("old_logprobs", "policy"), ("ref_logprobs", "reference")):
                found = torch.zeros_like(part.weights)
                found[part.weights != 0] = trained_logprobs(self.modules[module], part, self.config.temperature)
                streams[name][rows, : part.length] = found
            if "critic" in self.modules:
                values = self.modules["critic"](part.inputs, part.positions, part.segments)
                streams["old_values"][rows, : part.length] = torch.where(part.weights != 0, values, 0.0)
        streams["engine_logprobs"] = engine_logprobs(batch, samples, streams["old_logprobs"])
        return streams

    def _advantages(self, batch: Batch, streams: Mapping[str, Tensor], rewarded: Tensor) -> dict[str, Tensor]:
        """Return the stream "advantages" by GRPO, or "advantages" and "returns" by GAE, from rewards with their KL
        penalty.
        """
        config, mask = self.config, batch.weights
        rewards = kl_penalised_rewards(
            rewarded, streams["old_logprobs"], streams["ref_logprobs"], mask, self.coefficient
        )
        if config.algorithm == "grpo":
            totals, size = rewards.sum(dim=1), config.group_size
            per_row = group_advantages(totals, size, divide_by_std=config.divide_by_std)
            # Where all scores are equal only the KL differs, and the division would make a full step of it.
            is_equal = is_flat(rewarded, size).repeat_interleave(size)
            per_row = torch.where(is_equal, group_advantages(totals, size, divide_by_std=False), per_row)
            return {"advantages": torch.where(mask != 0, per_row[:, None], 0.0)}
        advantages, returns = gae(rewards, streams["old_values"], mask, gamma=config.gamma, lam=config.lam)
        if config.whiten_advantages:
            advantages = whiten(advantages, mask, ranks=self.ranks)
        return {"advantages": advantages, "returns": returns}

    def _note(
        self,
        batch: Batch,
        streams: Mapping[str, Tensor],
        scores: Tensor,
        rewarded: Tensor,
        stopped: Tensor,
        measures: Mapping[str, list[float]],
    ) -> None:
        """Compute the metrics of this rollout over all ranks, and the KL coefficient of the next one."""
        old, reference = streams["old_logprobs"], streams["ref_logprobs"]
        group_size = self.config.group_size
        sums = {
            "score": scores.sum(),
            "missing_stop": (~stopped).sum(),
            "length": batch.weights.sum(),
            "kl": kl_estimate(old, reference, "k1").sum(),
            "kl_k3": kl_estimate(old, reference, "k3").sum(),
            "entropy": -old.sum(),
            "mismatch": (old - streams["engine_logprobs"]).abs().sum(),
            "flat_groups": group_size * is_flat(rewarded, group_size).sum() if group_size > 1 else 0.0,
            "group_spread": group_size * group_spread(rewarded, group_size).sum() if group_size > 1 else 0.0,
            **{name: sum(values) for name, values in measures.items()},
            "rows": float(len(scores)),
        }
        totals = self.ranks.sum_numbers({name: float(value) for name, value in sums.items()})
        tokens = max(totals["length"], 1.0)
        per_token = ("entropy", "mismatch")
        means = {n: t / (tokens if n in per_token else totals["rows"]) for n, t in totals.items() if n != "rows"}
        self._metrics = {**means, "kl_coefficient": self.coefficient}
        if self.config.kl_target:
            self.coefficient = AdaptiveKL(self.config.kl_target).next(self.coefficient, means["kl"])
