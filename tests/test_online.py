"""Online methods: their losses and advantages by hand, what is refused, and what a rollout does for each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.test_rewards import built
from tests.test_rollouts import CONFIG, GROUPS, PROMPTS, STOP, Recorded, Replay, build, likes_even, written
from torch import Tensor

from jielong.errors import ConfigError, DataError
from jielong.recipes.quickstart import quickstart
from jielong.records import Score
from jielong.stages.recipe import change
from jielong.train.advantages import leave_one_out, overlong_penalty
from jielong.train.loop import Loop, LoopConfig
from jielong.train.objectives.policy import PPO, PolicyConfig, PolicyGradient, PPOConfig, cispo, of_whole_samples
from jielong.train.online import ONLINE, with_method
from jielong.train.optim import Optimizer, OptimizerConfig
from jielong.train.rollouts import RolloutConfig, Rollouts
from jielong.train.sources import Prompt
from jielong.train.watch import keep_apart

# Losses and advantages


def test_the_baseline_of_rloo_is_the_mean_of_the_others() -> None:
    # 3 - (1 + 2) / 2, 1 - (3 + 2) / 2, 2 - (3 + 1) / 2; then equal rewards
    found = leave_one_out(torch.tensor([3.0, 1.0, 2.0, 0.1, 0.1, 0.1]), 3)
    assert found.tolist() == pytest.approx([1.5, -1.5, 0.0, 0.0, 0.0, 0.0])


def test_the_penalty_of_length_grows_over_the_last_tokens() -> None:
    # at most 20 tokens, of which the last 4 cost a quarter each
    assert [overlong_penalty(n, 20, 4) for n in (1, 16, 17, 19, 20, 25)] == [0, 0, -0.25, -0.75, -1, -1]
    assert overlong_penalty(20, 20, 0) == 0.0


def test_a_ratio_of_whole_samples_is_the_geometric_mean_or_the_product() -> None:
    rows, values = torch.tensor([0, 0, 0, 2, 2]), torch.tensor([0.1, 0.2, 0.6, -0.4, 0.8])
    assert torch.equal(of_whole_samples(values, rows, 3, "token"), values)
    torch.testing.assert_close(of_whole_samples(values, rows, 3, "sequence"), torch.tensor([0.3, 0.3, 0.3, 0.2, 0.2]))
    torch.testing.assert_close(of_whole_samples(values, rows, 3, "product"), torch.tensor([0.9, 0.9, 0.9, 0.4, 0.4]))


def test_cispo_bounds_the_weight_of_a_token_and_never_its_gradient() -> None:
    logprobs = torch.tensor([-1.0, -1.0, -1.0], requires_grad=True)
    # ratios 2, 3 and 9, of which the last is above the bound of 4; the bound is of the ratio, not of its distance from 1
    logratio, advantages = torch.tensor([2.0, 3.0, 9.0]).log(), torch.tensor([1.0, -2.0, 0.5])
    cispo(logprobs, logratio, advantages, 4.0).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-2.0, 6.0, -2.0])


@pytest.mark.parametrize("form", ["k2", "k3"])
def test_a_kl_in_the_loss_leads_towards_the_reference(form: str, tmp_path: Path) -> None:
    config = dataclasses.replace(GROUPS, kl_coefficient=0.0, missing_stop_penalty=0.0, epochs=1, minibatches=1)
    source = build(config, reference_seed=5, scorer=lambda items: [Score(0.0)] * len(items))
    loss = PolicyGradient(PolicyConfig(loss_kl=form, loss_kl_coefficient=1.0))  # type: ignore[arg-type]
    optimizers = {"policy": Optimizer(source.modules["policy"], OptimizerConfig(lr=3e-3, weight_decay=0.0))}
    loop_config = LoopConfig(steps=40, save_every_s=1e9, diverged_above=0.0)
    found: list[float] = []
    report = lambda progress: found.append(source.metrics()["kl"])  # noqa: E731
    Loop(source.modules, optimizers, source, loss, loop_config, tmp_path, lambda model, path: None, report=report).run()
    # all scores are equal, so nothing else moves it
    assert sum(found[-5:]) < 0.7 * sum(found[:5])


# Methods


def test_a_method_is_settings_of_rollouts_and_loss() -> None:
    for name, method in ONLINE.items():
        config, policy = with_method(name, RolloutConfig(), PolicyConfig())
        assert {n: getattr(config, n) for n in method.rollouts} == method.rollouts
        assert {n: getattr(policy, n) for n in method.policy} == method.policy
        assert (config.group_size > 1) == config.has_groups == (name != "ppo")
    assert with_method("rloo", GROUPS, PolicyConfig())[0].group_size == GROUPS.group_size
    with pytest.raises(ConfigError, match="did you mean 'dr_grpo'"):
        with_method("drgrpo", RolloutConfig(), PolicyConfig())


@pytest.mark.parametrize("name", ONLINE)
def test_every_method_begins_at_the_plain_policy_gradient(name: str) -> None:
    """On the policy that drew the samples all ratios are 1: the gradient is that of -A log p, summed as its name says."""
    sized = CONFIG if name == "ppo" else GROUPS
    config, policy = with_method(name, dataclasses.replace(sized, minibatches=1, micro_rows=16), PolicyConfig())
    source = build(config, reference_seed=5)
    (batch,) = source.next_step()
    model = source.modules["policy"]

    def gradient(total: Tensor) -> Tensor:
        model.zero_grad()
        total.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    found = gradient(PolicyGradient(policy)(source.modules, batch).terms["policy"][0])
    logits = model.logits(model(batch.inputs, batch.positions, batch.segments))  # type: ignore[operator]
    logprobs = torch.log_softmax(logits, -1).gather(2, batch.targets[:, :, None])[:, :, 0]
    terms = -batch.extra["advantages"] * logprobs * (batch.weights != 0)
    if policy.aggregation == "grpo" and policy.ratio != "product":
        terms = terms / batch.weights.sum(dim=1, keepdim=True)
    right = gradient(terms.sum())
    assert (found - right).norm() < 1e-5 * right.norm()


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (PolicyConfig, {"largest_ratio": 1.0}, "the ratio itself is bounded, so it must be above 1"),
        (PolicyConfig, {"largest_ratio": 4.0}, "is cispo's; loss 'clip' has clip_high"),
        (PolicyConfig, {"loss": "cispo", "ratio": "sequence"}, "token by token"),
        (PolicyConfig, {"loss": "likelihood", "ratio": "product"}, "token by token"),
        (PolicyConfig, {"ratio": "sequence"}, "counts long samples more"),
        (PolicyConfig, {"ratio": "product", "aggregation": "dr_grpo"}, "expected 'grpo'"),
        (PolicyConfig, {"ratio": "word"}, "expected one of token, sequence, product"),
        (PolicyConfig, {"loss": "cipso"}, "expected one of clip, cispo, likelihood"),
        (PolicyConfig, {"loss_kl": "k1"}, "its? gradient is zero|whose gradient is zero"),
        (RolloutConfig, {"algorithm": "rloo"}, "RLOO compares at least 2"),
        (RolloutConfig, {"algorithm": "reinforce"}, "expected one of ppo, grpo, rloo, best"),
        (RolloutConfig, {"max_redraws": 1}, "ppo compares none"),
        (RolloutConfig, {"overlong_tokens": 33}, "at most 32 tokens"),
        (RolloutConfig, {"kl_limit": 1.0, "kl_target": 2.0}, "within the limit"),
        (RolloutConfig, {"kl_limit": -1.0}, "at least 0"),
        (RolloutConfig, {"watch_keeps_best": True}, "nothing is watched"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: type, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        kind(**settings)


def test_a_critic_takes_no_ratio_of_whole_samples_which_is_said_before_the_first_stage_runs() -> None:
    config = PPOConfig(PolicyConfig(ratio="sequence", aggregation="grpo"))
    with pytest.raises(ConfigError, match="advantages differ from token to token"):
        PPO(config)
    told = ["rl.objective.policy.ratio=sequence", "rl.objective.policy.aggregation=grpo"]
    recipe = change(quickstart("smoke"), told)
    with pytest.raises(ConfigError, match="advantages differ from token to token"):
        recipe.stage("rl").check(recipe)
    groups = ["rl.source.algorithm=rloo", "rl.source.group_size=4"]
    recipe = change(quickstart("smoke"), [*told, *groups])
    recipe.stage("rl").check(recipe)


# Groups that are drawn again, length, and the limit of the KL


def test_groups_that_are_rewarded_alike_are_drawn_again_with_other_prompts_and_dice() -> None:
    looks: list[int] = []

    def scorer(items: Sequence[Any]) -> list[Score]:
        looks.append(len(items))
        # at the first look the first two groups are flat, at the second look the first one that was drawn again still is
        flat = {1: 8, 2: 4}.get(len(looks), 0)
        return [Score(0.0 if n < flat else float(n % 2)) for n in range(len(items))]

    config = dataclasses.replace(GROUPS, max_redraws=3, minibatches=1, missing_stop_penalty=0.0)
    source = build(config, scorer=scorer)
    source.engine = engine = Recorded(source.engine)
    batches = source.next_step()
    assert looks == [16, 8, 4]
    found = source.metrics()
    assert found["redraws"] == 3 / 4 and found["flat_groups"] == 0.0 and found["score"] == 0.5
    assert len({r.seed for requests in engine.requests for r in requests}) == 16 + 8 + 4
    # the rows are those that were kept: groups 2 and 3 of the first look, 1 of the second, 0 of the third
    kept = [*engine.samples[0][8:], *engine.samples[1][4:], *engine.samples[2]]
    cut = [tuple(s.ids[: s.ids.index(STOP) + 1]) if STOP in s.ids else s.ids for s in kept]
    rows = sorted((*s.prompt_ids, *ids) for s, ids in zip(kept, cut, strict=True))
    assert sorted(row for batch in batches for row in written(batch)) == rows
    for requests in engine.requests:
        assert all(len({r.prompt_ids for r in requests[i : i + 4]}) == 1 for i in range(0, len(requests), 4))


def test_flat_groups_are_drawn_again_only_so_often() -> None:
    source = build(
        dataclasses.replace(GROUPS, max_redraws=2, missing_stop_penalty=0.0),
        scorer=lambda items: [Score(1.0)] * len(items),
    )
    source.next_step()
    assert source.metrics()["redraws"] == 2.0 and source.metrics()["flat_groups"] == 1.0


def test_long_samples_are_rewarded_less() -> None:
    lengths = {1: 0.0, 7: 0.0, 8: -0.5, 9: -1.0}  # max_tokens 9, of which the last 2 cost
    for length, penalty in lengths.items():
        config = dataclasses.replace(
            CONFIG,
            minibatches=1,
            max_tokens=9,
            lam=1.0,
            missing_stop_penalty=0.0,
            overlong_tokens=2,
            overlong_penalty=2.0,
        )
        source = build(config, engine=Replay((8,) * length))
        batch = source.next_step()[0]
        returns = batch.extra["returns"][batch.weights != 0]
        torch.testing.assert_close(returns, torch.full_like(returns, 1.0 + 2.0 * penalty))
        assert source.metrics()["score"] == 1.0


def test_beyond_the_limit_scores_are_refused_and_only_the_way_back_is_learned() -> None:
    # the reference is another model: the policy is about 10 nats a sample away from the start
    config = dataclasses.replace(CONFIG, minibatches=1, micro_rows=8, lam=1.0, kl_coefficient=0.5)
    far = build(dataclasses.replace(config, kl_limit=0.5), reference_seed=5)
    near = build(dataclasses.replace(config, kl_limit=100.0, missing_stop_penalty=0.0), reference_seed=5)
    (batch,), (other,) = far.next_step(), near.next_step()
    log_ratio = batch.extra["old_logprobs"] - batch.extra["ref_logprobs"]
    to_come = log_ratio.flip(1).cumsum(1).flip(1)
    expected = torch.where(batch.weights != 0, -0.5 * to_come, 0.0)
    torch.testing.assert_close(batch.extra["returns"], expected, atol=1e-5, rtol=1e-5)
    assert far.metrics()["score_refused"] == 1.0 and near.metrics()["score_refused"] == 0.0
    assert far.metrics()["score"] == near.metrics()["score"] > 0
    assert not torch.equal(batch.extra["returns"], other.extra["returns"])
    assert "score_refused" not in build(config).metrics()


def test_a_step_beyond_the_limit_ends_the_rollout() -> None:
    source = build(dataclasses.replace(CONFIG, kl_limit=0.5))
    source.next_step()
    length = source.metrics()["length"]
    source.observe({"kl_now": 0.49 / length})
    assert source.rollout == 0
    source.observe({"kl_now": 0.51 / length})
    assert source.rollout == 1
    far = build(dataclasses.replace(CONFIG, kl_limit=0.5), reference_seed=5)
    far.next_step()
    far.observe({"kl_now": 1.0})  # this rollout is the way back
    assert far.rollout == 0


def test_a_limit_holds_the_policy_where_nothing_else_does(tmp_path: Path) -> None:
    def furthest(directory: Path, limit: float) -> float:
        config = dataclasses.replace(
            GROUPS, prompts=8, minibatches=1, epochs=1, kl_coefficient=0.0, missing_stop_penalty=0.0, kl_limit=limit
        )
        source = build(config, scorer=likes_even)
        optimizers = {"policy": Optimizer(source.modules["policy"], OptimizerConfig(lr=3e-3, weight_decay=0.0))}
        found: list[float] = []
        Loop(
            source.modules,
            optimizers,
            source,
            PolicyGradient(),
            LoopConfig(steps=40, save_every_s=1e9, diverged_above=0.0),
            directory,
            lambda model, path: None,
            report=lambda progress: found.append(source.metrics()["kl"]),
        ).run()
        return max(found[20:])

    free, held = furthest(tmp_path / "free", 0.0), furthest(tmp_path / "held", 0.5)
    assert free > 6.0 and held < 2.0


# The watch


def test_prompts_are_kept_apart_whole_kinds_at_a_time() -> None:
    prompts = [Prompt((n % 5,), item=n) for n in range(20)]
    learned, watched = keep_apart(prompts, 2, seed=3)
    assert len(learned) == 12 and len(watched) == 8
    assert not {p.ids for p in learned} & {p.ids for p in watched}
    assert keep_apart(prompts, 2, seed=3) == (learned, watched) != keep_apart(prompts, 2, seed=4)
    with pytest.raises(DataError, match="lower watch_prompts"):
        keep_apart(prompts, 5, seed=3)


def test_the_watch_scores_prompts_that_are_not_learned_from() -> None:
    config = dataclasses.replace(GROUPS, prompts=2, watch_every=3, watch_prompts=4, kl_coefficient=0.25)
    feed = built(config)
    (check,), source = feed.checks, feed.source
    assert isinstance(source, Rollouts)
    assert feed.notes == ["4 prompts are kept apart and watched, 4 are learned from"]
    assert (check.every, check.tracks, check.higher_is_better) == (3, "", True)
    source.engine = engine = Recorded(source.engine)
    for _ in range(40):
        source.next_step()
    learned = {r.prompt_ids for requests in engine.requests for r in requests}
    assert len(learned) == 4 < len(PROMPTS)
    first, again = check.run(source.modules, 3), check.run(source.modules, 6)
    assert first == again  # the same dice
    assert first["held_out_kl"] == 0.0 and 1 <= first["held_out_length"] <= 10
    assert first["held_out_score"] == first["held_out_score_model"] > first["held_out_reward"] - 1e-9
    with torch.no_grad():
        for parameter in source.modules["policy"].parameters():
            parameter.mul_(1.3)
    assert check.run(source.modules, 9)["held_out_kl"] > 0


def test_the_best_watched_checkpoint_is_the_result(tmp_path: Path) -> None:
    config = dataclasses.replace(
        GROUPS,
        prompts=2,
        minibatches=1,
        watch_every=2,
        watch_prompts=4,
        watch_keeps_best=True,
        missing_stop_penalty=0.0,
    )
    feed = built(config)
    (check,) = feed.checks
    assert check.tracks == "held_out_reward"
    # the policy's score as it is found at each look, in place of what this little model learns
    told = iter([0.2, 0.9, 0.3, 0.1])
    check = dataclasses.replace(check, run=lambda modules, step: {"held_out_reward": next(told)})
    optimizers = {"policy": Optimizer(feed.source.modules["policy"], OptimizerConfig())}  # type: ignore[attr-defined]
    loop = Loop(
        feed.source.modules,  # type: ignore[attr-defined]
        optimizers,
        feed.source,
        PolicyGradient(),
        LoopConfig(steps=8, save_every_s=1e9, diverged_above=0.0),
        tmp_path,
        lambda model, path: None,
        checks=[check],
    )
    outcome = loop.run()
    assert outcome.step == 4 and outcome.checkpoint.name == "000004"
    assert outcome.warnings == [
        "overfitting: held_out_reward fell from 0.9000 at step 4 to 0.1000 at step 8; the checkpoint of step 4 is kept as "
        "the result"
    ]
    assert math.isfinite(outcome.last["score"])
