"""Rollouts as a source: what is generated, judged and handed on, and that a kill in the middle leaves no trace."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, nn

from jielong.data.batches import Batch, pad_rows
from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.generate.engine import Engine
from jielong.model.transformer import ModelConfig, fresh_language_model, scalar_from_language_model
from jielong.records import Conversation, Request, Sample, Score
from jielong.tokens.chat import Rendered
from jielong.train.advantages import gae, kl_penalised_rewards
from jielong.train.loop import Loop, LoopConfig, Progress
from jielong.train.mismatch import LARGEST_BOUND, MEAN_BOUND, mismatch_warning
from jielong.train.objectives.policy import PPO, PolicyConfig, PolicyGradient, PPOConfig
from jielong.train.online import ONLINE, with_method
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.parallel import Ranks, ranks_from_environment
from jielong.train.rewards import RewardModelScorer, score_rows
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.samples import by_length, cut_after_stop, take_rows
from jielong.train.sources import Prompt, SourceContext

TINY = ModelConfig(
    vocab_size=24,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    max_position_embeddings=32,
    initializer_range=0.3,
)
STOP = 3
PROMPTS = [Prompt((5, *range(6, 6 + n)), item=n) for n in range(1, 9)]
CONFIG = RolloutConfig(prompts=8, epochs=2, minibatches=2, micro_rows=3, max_tokens=10)
GROUPS = dataclasses.replace(CONFIG, algorithm="grpo", prompts=4, group_size=4, minibatches=4)


def build(config: RolloutConfig, *, reference_seed: int = 0, **options: Any) -> Rollouts:
    policy = fresh_language_model(TINY, seed=0)
    modules: dict[str, nn.Module] = {"policy": policy, "reference": fresh_language_model(TINY, seed=reference_seed)}
    if config.algorithm == "ppo":
        modules["critic"] = scalar_from_language_model(policy, seed=1)
    defaults: dict[str, Any] = {"seed": 7, "stop_ids": (STOP,), "scorer": likes_even, "engine": Engine(policy)}
    given = defaults | options
    return Rollouts(PROMPTS, modules, given.pop("engine"), given.pop("scorer"), config, **given)


def likes_even(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    return [Score(sum(i % 2 == 0 for i in sample.ids) / len(sample.ids)) for _, _, sample in items]


class Recorded:
    """Whoever generates, with everything that went in and came out."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.requests, self.samples, self.versions = inner, [], [], []

    def load(self, state: Mapping[str, Tensor], version: int) -> None:
        self.inner.load(state, version)
        self.versions.append(version)

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        samples = self.inner.generate(requests)
        self.requests.append(list(requests))
        self.samples.append(samples)
        return samples


class Replay:
    """An engine whose samples were written before."""

    def __init__(self, ids: tuple[int, ...], by_model: tuple[bool, ...] = ()) -> None:
        self.ids, self.by_model = ids, by_model

    def load(self, state: Mapping[str, Tensor], version: int) -> None:
        pass

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        return [Sample(r.prompt_ids, self.ids, by_model=self.by_model) for r in requests]


def written(batch: Batch) -> list[tuple[int, ...]]:
    """Prompt and sample of each row."""
    return [tuple(row[real].tolist()) for row, real in zip(batch.inputs, batch.segments != 0, strict=True)]


def test_rows_hold_the_prompt_and_what_was_written_up_to_the_stop_id() -> None:
    engine = Recorded(Engine(fresh_language_model(TINY, seed=0)))
    source = build(dataclasses.replace(CONFIG, minibatches=1), engine=engine)
    batches = source.next_step()
    assert [b.num_rows for b in batches] == [3, 3, 2]
    expected = sorted((*s.prompt_ids, *s.ids) for s in engine.samples[0])
    assert sorted(row for b in batches for row in written(b)) == expected
    assert sum(int(b.weights.sum()) for b in batches) == sum(len(s.ids) for s in engine.samples[0])
    assert any(s.ids[-1] == STOP for s in engine.samples[0])
    assert any(STOP not in s.ids for s in engine.samples[0])
    assert all(
        (s.temperature, s.max_tokens, s.stop_ids) == (1.0, 10, (STOP,))
        for r in engine.requests[0]
        for s in [r.sampling]
    )
    assert len({r.seed for r in engine.requests[0]}) == 8


def test_a_sample_ends_after_its_first_stop_id() -> None:
    cut, has_stop = cut_after_stop(Sample((5,), (9, STOP, 9, STOP), (-1.0, -2.0, -3.0, -4.0)), (STOP,))
    assert (cut.ids, cut.logprobs, cut.by_model, has_stop) == ((9, STOP), (-1.0, -2.0), (True, True), True)
    # a stop id in a tool's result ends nothing
    sample = Sample((5,), (9, STOP, 9), (-1.0, 0.0, -1.0), by_model=(True, False, True))
    assert cut_after_stop(sample, (STOP,)) == (sample, False)


def test_engine_and_trainer_agree_on_what_was_drawn() -> None:
    source = build(dataclasses.replace(CONFIG, temperature=0.7))
    for batch in source.next_step():
        is_written = batch.weights != 0
        torch.testing.assert_close(
            batch.extra["engine_logprobs"][is_written], batch.extra["old_logprobs"][is_written], atol=1e-4, rtol=0
        )
    assert source.metrics()["mismatch"] < 1e-4


@pytest.mark.parametrize("config", [CONFIG, GROUPS], ids=["ppo", "grpo"])
def test_the_ratio_is_one_on_the_first_pass(config: RolloutConfig) -> None:
    source = build(dataclasses.replace(config, temperature=0.7))
    for batch in source.next_step():
        metrics = PolicyGradient()(source.modules, batch).metrics
        assert metrics["clipped"][0].item() == 0.0
        assert abs(metrics["shift"][0].item()) < 1e-5


def test_the_reference_is_asked_at_the_temperature_of_sampling() -> None:
    source = build(dataclasses.replace(CONFIG, temperature=0.5), reference_seed=5)
    reference = source.modules["reference"]
    for batch in source.next_step():
        logits = reference.logits(reference(batch.inputs, batch.positions, batch.segments))
        expected = torch.log_softmax(2.0 * logits, -1).gather(2, batch.targets[:, :, None])[:, :, 0]
        expected = torch.where(batch.weights != 0, expected, 0.0)
        torch.testing.assert_close(batch.extra["ref_logprobs"], expected, atol=1e-5, rtol=1e-5)
    assert source.metrics()["kl"] != 0.0
    same = build(dataclasses.replace(CONFIG, temperature=0.5))
    same.next_step()
    assert same.metrics()["kl"] == same.metrics()["kl_k3"] == 0.0


def test_no_seed_is_given_twice_in_two_rollouts() -> None:
    source = build(dataclasses.replace(CONFIG, minibatches=1, epochs=1))
    source.engine = engine = Recorded(source.engine)
    source.next_step(), source.next_step()
    assert len({request.seed for requests in engine.requests for request in requests}) == 2 * 8


class Misled(Recorded):
    """An engine that says its first token was half a nat less likely, and each later one a quarter more, than it was."""

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        samples = super().generate(requests)
        return [
            dataclasses.replace(s, logprobs=tuple(p + (0.25 if i else -0.5) for i, p in enumerate(s.logprobs)))
            for s in samples
        ]


def test_the_mismatch_is_the_mean_distance_of_trainer_and_engine() -> None:
    source = build(CONFIG)
    source.engine = Misled(source.engine)
    source.next_step()
    tokens = 8 * source.metrics()["length"]
    # 8 first tokens by 0.5, all others by 0.25, whichever way
    assert source.metrics()["mismatch"] == pytest.approx((8 * 0.5 + (tokens - 8) * 0.25) / tokens, abs=1e-4)
    assert source.metrics()["mismatch_largest"] == pytest.approx(0.5, abs=1e-4)


def test_a_mismatch_beyond_the_bounds_is_told_once_and_one_within_never(tmp_path: Path) -> None:
    def warnings(directory: Path, is_misled: bool) -> list[str]:
        source = build(dataclasses.replace(GROUPS, minibatches=2, epochs=1))
        source.engine = Misled(source.engine) if is_misled else source.engine
        optimizers = {"policy": Optimizer(source.modules["policy"], OptimizerConfig(lr=1e-4))}
        config = LoopConfig(steps=4, save_every_s=1e9, diverged_above=0.0)  # two rollouts
        save = lambda model, path: None  # noqa: E731
        return Loop(source.modules, optimizers, source, PolicyGradient(), config, directory, save).run().warnings

    (told,) = warnings(tmp_path / "misled", is_misled=True)
    assert told.startswith("mismatch: ") and "0.50 at most" in told
    assert warnings(tmp_path / "right", is_misled=False) == []
    assert mismatch_warning({"mismatch": MEAN_BOUND, "mismatch_largest": LARGEST_BOUND}) == ""
    assert mismatch_warning({"mismatch": 0.0, "mismatch_largest": 1.01 * LARGEST_BOUND})
    assert mismatch_warning({"loss": 1.0}) == ""


def test_a_missing_stop_costs_the_stated_penalty_and_rewrites_nothing() -> None:
    config = dataclasses.replace(CONFIG, minibatches=1, gamma=1.0, lam=1.0, missing_stop_penalty=0.25)
    for ids, expected in (((8, 8, 9), 2 / 3 - 0.25), ((8, 8, STOP), 2 / 3)):
        source = build(config, engine=Replay(ids))
        batch = source.next_step()[0]
        assert {row[-3:] for row in written(batch)} == {ids}
        returns = batch.extra["returns"][batch.weights != 0]
        # policy and reference are one, so the return of every token is the score
        torch.testing.assert_close(returns, torch.full_like(returns, expected))
        assert source.metrics()["missing_stop"] == float(ids[-1] != STOP)
        assert source.metrics()["score"] == pytest.approx(2 / 3)


def test_a_tools_tokens_are_read_but_not_trained() -> None:
    by_model = (True, False, False, True, True)
    source = build(dataclasses.replace(CONFIG, minibatches=1), engine=Replay((8, 9, 9, 8, STOP), by_model))
    for batch in source.next_step():
        for row in range(batch.num_rows):
            real = int((batch.segments[row] != 0).sum())
            assert batch.weights[row, real - 6 : real].tolist() == [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
            assert not batch.extra["advantages"][row][batch.weights[row] == 0].any()
    assert source.metrics()["length"] == 3.0


def test_every_epoch_goes_through_every_row_once() -> None:
    source = build(CONFIG)
    assert source.steps_per_rollout == 4
    steps = [sorted(row for b in source.next_step() for row in written(b)) for _ in range(8)]
    assert all(len(step) == 4 for step in steps)
    assert sorted(steps[0] + steps[1]) == sorted(steps[2] + steps[3])
    assert sorted(steps[4] + steps[5]) != sorted(steps[0] + steps[1])
    assert steps[0] not in (steps[2], steps[3])


def test_every_rollout_is_written_by_the_newest_weights_on_the_next_prompts() -> None:
    source = build(dataclasses.replace(CONFIG, prompts=6, minibatches=1, epochs=1))
    source.engine = engine = Recorded(source.engine)
    source.next_step()
    with torch.no_grad():
        for parameter in source.modules["policy"].parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    source.next_step()
    assert source.metrics()["mismatch"] < 1e-4
    assert source.metrics()["kl"] != 0.0
    assert engine.versions == [0, 1]
    seen = [r.prompt_ids for requests in engine.requests for r in requests]
    assert sorted(seen[:8]) == sorted(p.ids for p in PROMPTS)


def test_metrics_describe_the_samples() -> None:
    source = build(dataclasses.replace(CONFIG, minibatches=1, micro_rows=8), reference_seed=5)
    (batch,) = source.next_step()
    log_ratio = (batch.extra["old_logprobs"] - batch.extra["ref_logprobs"]).sum(dim=1)
    metrics = source.metrics()
    assert metrics["kl"] == pytest.approx(log_ratio.mean().item(), rel=1e-4)
    assert metrics["kl_k3"] > 0
    assert metrics["length"] == batch.weights.sum().item() / 8
    assert metrics["entropy"] == pytest.approx(-batch.extra["old_logprobs"].sum().item() / batch.weights.sum().item())
    assert metrics["kl_coefficient"] == 0.05


def test_the_kl_penalty_lowers_the_return_of_what_the_reference_would_not_say() -> None:
    config = dataclasses.replace(
        CONFIG, minibatches=1, micro_rows=8, lam=1.0, kl_coefficient=0.5, missing_stop_penalty=0.0
    )
    (batch,) = build(config, reference_seed=5, scorer=lambda items: [Score(2.0)] * len(items)).next_step()
    log_ratio = batch.extra["old_logprobs"] - batch.extra["ref_logprobs"]
    to_come = log_ratio.flip(1).cumsum(1).flip(1)
    expected = torch.where(batch.weights != 0, 2.0 - 0.5 * to_come, 0.0)
    torch.testing.assert_close(batch.extra["returns"], expected, atol=1e-5, rtol=1e-5)


def test_the_critics_values_gamma_and_lambda_make_the_advantages() -> None:
    options = {"minibatches": 1, "micro_rows": 8, "gamma": 0.9, "lam": 0.5, "kl_coefficient": 0.5}
    config = dataclasses.replace(CONFIG, **options, missing_stop_penalty=0.0, whiten_advantages=False)  # type: ignore[arg-type]
    (batch,) = build(config, reference_seed=5, scorer=lambda items: [Score(2.0)] * len(items)).next_step()
    mask, values = batch.weights, batch.extra["old_values"]
    old, reference = batch.extra["old_logprobs"], batch.extra["ref_logprobs"]
    rewards = kl_penalised_rewards(torch.full((8,), 2.0), old, reference, mask, 0.5)
    advantages, returns = gae(rewards, values, mask, gamma=0.9, lam=0.5)
    torch.testing.assert_close(batch.extra["advantages"], advantages)
    torch.testing.assert_close(batch.extra["returns"], returns)
    assert values[mask != 0].abs().min() > 0 and not values[mask == 0].any()


def test_advantages_are_white_in_ppo_and_flat_groups_silent_in_grpo() -> None:
    (batch,) = build(dataclasses.replace(CONFIG, minibatches=1, micro_rows=8)).next_step()
    advantages = batch.extra["advantages"][batch.weights != 0]
    assert advantages.mean().abs().item() < 1e-5
    assert advantages.std().item() == pytest.approx(1.0, abs=1e-4)
    config = dataclasses.replace(GROUPS, kl_coefficient=0.0, missing_stop_penalty=0.0)
    source = build(config, scorer=lambda items: [Score(0.1)] * len(items))
    assert not any(b.extra["advantages"].any() for b in source.next_step())
    assert source.metrics()["flat_groups"] == 1.0


@pytest.mark.parametrize("divided", [True, False])
def test_grpo_compares_the_samples_of_a_prompt_by_their_scores(divided: bool) -> None:
    options = {"minibatches": 1, "micro_rows": 16, "kl_coefficient": 0.0, "missing_stop_penalty": 0.0}
    config = dataclasses.replace(GROUPS, **options, divide_by_std=divided)  # type: ignore[arg-type]
    source = build(config, scorer=lambda items: [Score(float(i % 4 == 0)) for i in range(len(items))])
    (batch,) = source.next_step()
    # each group scores 1, 0, 0, 0: mean 1/4, std sqrt((9/16 + 3/16) / 3) = 1/2
    scale = 0.5 + 1e-4 if divided else 1.0
    found = sorted((batch.extra["advantages"].sum(dim=1) / (batch.weights != 0).sum(dim=1)).tolist())
    assert found == pytest.approx([-0.25 / scale] * 12 + [0.75 / scale] * 4, abs=1e-5)
    assert source.metrics()["flat_groups"] == 0.0 and source.metrics()["score"] == 0.25


def test_equal_scores_leave_grpo_with_the_kl_as_it_is() -> None:
    config = dataclasses.replace(GROUPS, minibatches=1, micro_rows=16, kl_coefficient=0.01, missing_stop_penalty=0.0)
    (batch,) = build(config, reference_seed=5, scorer=lambda items: [Score(0.1)] * len(items)).next_step()
    log_ratio = (batch.extra["old_logprobs"] - batch.extra["ref_logprobs"]).sum(dim=1)
    found = batch.extra["advantages"].sum(dim=1) / (batch.weights != 0).sum(dim=1)
    # the rows are shuffled, and a group's mean is taken off: what is left is 0.01 of the spread, never a unit
    assert 0 < found.std() < 0.011 * log_ratio.std()


def test_micro_rows_change_no_stream() -> None:
    def streams(micro_rows: int) -> dict[tuple[int, ...], dict[str, Tensor]]:
        source = build(dataclasses.replace(CONFIG, minibatches=1, micro_rows=micro_rows))
        return {
            row: {n: t[i][batch.weights[i] != 0] for n, t in batch.extra.items() if t.dim()}
            for batch in source.next_step()
            for i, row in enumerate(written(batch))
        }

    one, eight = streams(1), streams(8)
    assert one.keys() == eight.keys()
    for row, expected in eight.items():
        for name, stream in expected.items():
            torch.testing.assert_close(one[row][name], stream, atol=1e-5, rtol=1e-4)


def test_a_rollout_is_left_when_the_policy_has_moved_too_far() -> None:
    source = build(dataclasses.replace(CONFIG, kl_stop=0.1))
    source.next_step()
    source.observe({"shift": 0.09})
    source.next_step()
    assert source.rollout == 0
    source.observe({"shift": 0.11})
    assert source.rollout == 1
    source.observe({"shift": 0.11})
    assert source.rollout == 1


def test_an_adaptive_coefficient_follows_the_kl() -> None:
    source = build(dataclasses.replace(CONFIG, kl_target=1e-3), reference_seed=5)
    source.next_step()
    assert source.metrics()["kl"] > 0.1
    assert source.metrics()["kl_coefficient"] == 0.05
    assert source.coefficient == pytest.approx(0.05 * 1.02)


def test_another_attempt_draws_other_samples() -> None:
    first, second = build(CONFIG), build(CONFIG)
    second.reseed(1)
    assert [written(b) for b in first.next_step()] != [written(b) for b in second.next_step()]
    first.reseed(1)
    assert first.rollout == 1


class Asked:
    """Material of prompts alone."""

    def __init__(self, prompts: list[Prompt]) -> None:
        self._prompts = prompts

    def prompts(self) -> list[Prompt]:
        return self._prompts


@pytest.mark.parametrize("config", [CONFIG, GROUPS], ids=["ppo", "grpo"])
def test_a_recipe_builds_rollouts_of_the_prompts_that_leave_room(config: RolloutConfig) -> None:
    modules = dict(build(config).modules)
    modules["reward"] = scalar_from_language_model(fresh_language_model(TINY, seed=2), seed=3)
    roles = {"reference", "reward", *(("critic",) if config.algorithm == "ppo" else ())}
    assert {role.name for role in config.roles()} == roles
    assert [role.name for role in config.roles() if role.is_trained] == [r for r in ("critic",) if r in roles]
    # 32 positions, 10 of them for the answer
    prompts = [Prompt((5,) * 22), Prompt((5,) * 23), Prompt((5,) * 3)]
    options: dict[str, Any] = {"modules": modules, "open_engine": Engine, "stop_ids": (STOP,), "pad_id": 9}
    feed = config.build(SourceContext(Asked(prompts), 7, **options))  # type: ignore[arg-type]
    assert feed.notes == ["1 prompts leave no room for 10 tokens of an answer and are left out, 2 remain"]
    assert isinstance(feed.source, Rollouts) and feed.source.prompts == [prompts[0], prompts[2]]
    steps = feed.source.next_step()
    assert feed.source.metrics()["score"] != 0.0
    assert all((b.inputs[b.segments == 0] == 9).all() for b in steps) and any((b.segments == 0).any() for b in steps)
    assert config.build(SourceContext(Asked([prompts[0]]), 7, **options)).notes == []  # type: ignore[arg-type]
    second = config.build(SourceContext(Asked(prompts), 7, Ranks(1, 2), **options)).source  # type: ignore[arg-type]
    assert isinstance(second, Rollouts) and (second.ranks, second.seed) == (Ranks(1, 2), 7)


def test_rows_of_like_length_go_together_and_are_cut_to_the_longest() -> None:
    rows = [Rendered((5,) * n, (True,) * n) for n in (9, 3, 7, 1, 5)]
    batch = dataclasses.replace(pad_rows(rows), extra={"row": torch.arange(5), "all": torch.tensor(3.0)})
    parts = [part.tolist() for part in by_length(batch, torch.arange(5), 2)]
    assert parts == [[3, 1], [4, 2], [0]]
    some = take_rows(batch, torch.tensor([3, 1]))
    assert some.inputs.shape == (2, 3) and some.extra["row"].tolist() == [3, 1] and some.extra["all"] == 3.0
    assert take_rows(batch, torch.tensor([3])).inputs.shape == (1, 2)  # never narrower than a target needs


def test_half_a_rollout_belongs_to_as_many_processes_and_a_whole_one_to_any() -> None:
    source, other = build(CONFIG), build(CONFIG)
    source.next_step()
    with pytest.raises(CheckpointError, match="shared by 2 processes"):
        other.load_state_dict({**source.state_dict(), "num_ranks": 2})
    other.load_state_dict({**build(CONFIG).state_dict(), "num_ranks": 2})
    with pytest.raises(CheckpointError, match="num_prompts 9"):
        other.load_state_dict({**source.state_dict(), "num_prompts": 9})
    with pytest.raises(ConfigError, match="3 ranks cannot share equally"):
        build(CONFIG, ranks=Ranks(0, 3))


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigError, match="group_size"):
        RolloutConfig(algorithm="grpo")
    with pytest.raises(ConfigError, match="minibatches"):
        RolloutConfig(prompts=10, minibatches=3)
    with pytest.raises(ConfigError, match="temperature"):
        RolloutConfig(temperature=0.0)
    source = build(CONFIG)
    with pytest.raises(ConfigError, match="critic"):
        Rollouts(
            PROMPTS,
            {"policy": nn.Linear(1, 1), "reference": nn.Linear(1, 1)},
            source.engine,
            likes_even,
            CONFIG,
            seed=0,
            stop_ids=(),
        )
    with pytest.raises(DataError, match="empty"):
        Rollouts([Prompt(())], source.modules, source.engine, likes_even, CONFIG, seed=0, stop_ids=())
    with pytest.raises(CheckpointError, match="seed"):
        source.load_state_dict({**source.state_dict(), "seed": 8})


# The reward model


def test_a_reward_model_scores_ragged_rows_as_it_does_one_by_one() -> None:
    model = scalar_from_language_model(fresh_language_model(TINY, seed=2), seed=3)
    model.reward_offset = 0.5
    samples = [Sample((5,) * (1 + n % 4), tuple(range(6, 7 + n % 7))) for n in range(9)]
    scores = RewardModelScorer(model, micro_rows=4)([(None, Conversation(()), s) for s in samples])
    alone = [model(torch.tensor([[*s.prompt_ids, *s.ids]]))[0, -1].item() for s in samples]
    assert [s.value for s in scores] == pytest.approx(alone, abs=1e-5)
    assert scores[0].source == "reward model"
    assert RewardModelScorer(model)([(None, Conversation(()), s) for s in samples]) == pytest.approx(scores)
    assert score_rows(model, []).shape == (0,)


# Through the loop


class Killed(Exception):
    pass


def stage(
    directory: Path,
    config: RolloutConfig,
    kill_at: int = -1,
    ranks: Ranks = Ranks(),  # noqa: B008
    policy: PolicyConfig = PolicyConfig(),  # noqa: B008
) -> tuple[Loop, Rollouts]:
    torch.manual_seed(0)
    source = build(dataclasses.replace(config, kl_target=0.05), ranks=ranks)
    trained = [n for n in ("policy", "critic") if n in source.modules]
    optimizers = {n: Optimizer(source.modules[n], OptimizerConfig(lr=3e-3, warmup_steps=2)) for n in trained}
    objective = PPOConfig(policy).build(TINY, source.modules)

    def report(progress: Progress) -> None:
        if progress.step == kill_at:
            raise Killed

    loop_config = LoopConfig(steps=10, save_every_s=-1.0, log_every=1, diverged_above=0.0)
    loop = Loop(
        source.modules,
        optimizers,
        source,
        objective,
        loop_config,
        directory,
        lambda model, path: None,
        ranks=ranks,
        report=report,
    )
    return loop, source


KILLS = [
    *((name, 7) for name in ONLINE),  # in the middle of a rollout
    *((name, at) for name in ("ppo", "grpo") for at in (3, 4)),  # early, and at the border of two rollouts
]


@pytest.mark.parametrize(("name", "kill_at"), KILLS)
def test_stopped_and_started_again_is_never_stopped_bit_for_bit(name: str, kill_at: int, tmp_path: Path) -> None:
    sized = dataclasses.replace(CONFIG if name == "ppo" else GROUPS, minibatches=2, kl_limit=2.0, overlong_tokens=3)
    config, policy = with_method(name, sized, PolicyConfig())
    whole, whole_source = stage(tmp_path / "whole", config, policy=policy)
    whole.run()
    killed, _ = stage(tmp_path / "killed", config, kill_at, policy=policy)
    with pytest.raises(Killed):
        killed.run()
    again, again_source = stage(tmp_path / "killed", config, policy=policy)
    again.run()
    assert again.step == whole.step == 10
    for name, module in whole.modules.items():
        for key, tensor in module.state_dict().items():
            assert torch.equal(tensor, again.modules[name].state_dict()[key]), (name, key)
    assert again_source.coefficient == whole_source.coefficient != 0.05
    assert again_source.metrics() == whole_source.metrics()
    left, right = (s.state_dict()["batch"] for s in (whole_source, again_source))
    assert left.keys() == right.keys()  # both empty where the limit of the KL has just ended the rollout
    assert all(torch.equal(t, right["extra"][n]) for n, t in left.get("extra", {}).items())
    logged = whole.last
    assert {"score", "kl", "kl_k3", "entropy", "missing_stop", "clipped", "shift", "grad_norm"} <= logged.keys()
    assert all(math.isfinite(v) for v in logged.values())


def test_ppo_learns_what_is_rewarded_and_a_blind_reward_teaches_nothing(tmp_path: Path) -> None:
    def last_share(directory: Path, is_blind: bool) -> tuple[float, float]:
        config = dataclasses.replace(CONFIG, prompts=64, micro_rows=64, kl_coefficient=0.02, missing_stop_penalty=0.0)
        shares: list[float] = []

        def scorer(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
            scores = likes_even(items)
            shares.append(sum(s.value for s in scores) / len(scores))
            # the same numbers, each given to somebody else's sample
            return scores[1:] + scores[:1] if is_blind else scores

        source = build(config, scorer=scorer)
        optimizers = {
            n: Optimizer(source.modules[n], OptimizerConfig(lr=3e-3, weight_decay=0.0)) for n in ("policy", "critic")
        }
        loop_config = LoopConfig(steps=80, save_every_s=1e9, diverged_above=0.0)
        Loop(source.modules, optimizers, source, PPO(), loop_config, directory, lambda model, path: None).run()
        return shares[0], shares[-1]

    before, after = last_share(tmp_path / "seeing", is_blind=False)
    assert after > before + 0.25
    before, after = last_share(tmp_path / "blind", is_blind=True)
    assert after < before + 0.15


# Several ranks


def _rank_of_two(rank: int, port: int, out: str) -> None:
    import os

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with ranks_from_environment() as ranks:
        _write_streams(ranks, Path(out) / f"{rank}.pt")
        _resume(ranks, Path(out))


def _resume(ranks: Ranks, out: Path) -> None:
    """Killed inside a rollout and started again, beside a run that was not; the weights of both."""
    config = dataclasses.replace(CONFIG, minibatches=2)
    found = []
    for name, tries in (("whole", (-1,)), ("killed", (3, -1))):
        for kill_at in tries:
            loop, _ = stage(out / name, config, kill_at, ranks)
            try:
                loop.run()
            except Killed:
                assert kill_at == 3
        found.append({n: t.clone() for n, t in loop.modules["policy"].state_dict().items()})
    torch.save(found, out / f"resumed-{ranks.rank}.pt")


def _write_streams(ranks: Ranks, path: Path) -> None:
    source = build(dataclasses.replace(CONFIG, minibatches=1, micro_rows=8, epochs=1), ranks=ranks)
    (batch,) = source.next_step()
    rows = {row: batch.extra["advantages"][i][batch.weights[i] != 0] for i, row in enumerate(written(batch))}
    torch.save({"rows": rows, "metrics": source.metrics()}, path)


@pytest.mark.ranks
def test_two_ranks_roll_out_what_one_does(tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_rank_of_two, (port, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    _write_streams(Ranks(), tmp_path / "one.pt")
    first, second, whole = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("0", "1", "one"))
    assert len(first["rows"]) == len(second["rows"]) == 4
    together = {**first["rows"], **second["rows"]}
    assert together.keys() == whole["rows"].keys()
    for row, advantages in whole["rows"].items():
        torch.testing.assert_close(together[row], advantages, atol=1e-5, rtol=1e-4)
    assert first["metrics"] == second["metrics"] == pytest.approx(whole["metrics"], abs=1e-6)
    for rank in (0, 1):
        never_stopped, resumed = torch.load(tmp_path / f"resumed-{rank}.pt", weights_only=True)
        assert all(torch.equal(tensor, resumed[name]) for name, tensor in never_stopped.items())
