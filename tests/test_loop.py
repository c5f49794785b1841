"""The one loop: divided right, resumed exactly, and honest when training goes wrong."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from jielong.data.shards import TokenArray
from jielong.data.steps import PackedTokens, held_out
from jielong.errors import CheckpointError, DivergedError
from jielong.losses import Loss
from jielong.model import hf
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.recipes import build_recipe
from jielong.runs import read_metrics
from jielong.stages.train import TrainStage
from jielong.train.checks import held_out_loss
from jielong.train.loop import Loop, LoopConfig, Progress
from jielong.train.objectives.next_token import NextToken
from jielong.train.optim import Optimizer, OptimizerConfig, gradient_norm, rate_factor
from jielong.train.parallel import Ranks
from jielong.train.sources import Check

TINY = ModelConfig(
    vocab_size=128, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=16, max_position_embeddings=32,
)  # fmt: skip


def documents(count: int = 40, seed: int = 0) -> TokenArray:
    rng = np.random.default_rng(seed)
    return TokenArray.of([[*rng.integers(64, 128, rng.integers(5, 40)).tolist(), 0] for _ in range(count)])


def source(micro_rows: int = 4, ranks: Ranks = Ranks()) -> PackedTokens:  # noqa: B008
    return PackedTokens(
        documents(), length=32, rows_per_step=8, micro_rows=micro_rows, seed=5, rank=ranks.rank, world_size=ranks.size
    )


def save_model(module: nn.Module, path: Path) -> None:
    hf.save(module, path, eos_token_id=3, pad_token_id=1)  # type: ignore[arg-type]


def make_loop(
    directory: Path, steps: int = 6, *, lr: float = 1e-2, objective=None, micro_rows=4, optimizer="adamw", **more
):
    policy = fresh_language_model(TINY, seed=1)
    more.setdefault("ranks", Ranks())
    config = LoopConfig(steps=steps, save_every_s=more.pop("save_every_s", 1e9), log_every=more.pop("log_every", 1))
    # Warm-up and decay depend on the number of steps; a constant rate makes runs of different lengths comparable.
    rate = OptimizerConfig(name=optimizer, lr=lr, warmup_steps=0, decay_fraction=0.0)
    return Loop(
        {"policy": policy},
        {"policy": Optimizer(policy, rate)},
        source(micro_rows, more["ranks"]),
        objective or NextToken(),
        config,
        directory,
        save_model,
        **more,
    )


def weights_of(loop: Loop) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in loop.modules["policy"].state_dict().items()}


def test_loss_falls_and_metrics_name_every_step(tmp_path):
    outcome = make_loop(tmp_path, steps=30).run()
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.1
    assert all(line["tokens_per_s"] > 0 and line["source_s"] >= 0 and line["mfu"] == 0 for line in lines)
    assert outcome.checkpoint.name == "000030"


def test_what_is_reported_and_logged_of_a_step(tmp_path):
    told: list[Progress] = []
    check = Check(2, lambda modules, step: {"looked": float(step)})
    loop = make_loop(tmp_path, steps=5, checks=[check], mfu_per_rate=1e-6, report=told.append, log_every=3)
    outcome = loop.run()
    assert [(p.step, p.steps) for p in told] == [(n, 5) for n in range(1, 6)]
    # every second step and the last
    assert [dict(p.found) for p in told] == [{}, {"looked": 2.0}, {}, {"looked": 4.0}, {"looked": 5.0}]
    assert all(p.mfu == pytest.approx(1e-6 * p.tokens_per_s) and p.seconds_left >= 0 for p in told)
    assert told[0].seconds_left > 0 == told[-1].seconds_left
    # the first, the last, every third, and those with a check
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line.get("looked") for line in lines] == [None, 2.0, None, 4.0, 5.0]
    tokens = [line["tokens"] for line in lines]
    assert tokens == sorted(tokens) and outcome.tokens == tokens[-1] <= 5 * 8 * 32
    assert (outcome.step, outcome.last["looked"], outcome.warnings) == (5, 5.0, [])


class Late(PackedTokens):
    """A source whose first step takes a second."""

    def next_step(self):
        time.sleep(1.0 if self.step == 0 else 0.0)
        return super().next_step()


def test_the_speed_that_is_told_is_that_of_the_last_twenty_steps(tmp_path):
    told: list[tuple[float, int, float]] = []
    loop = make_loop(tmp_path, steps=24)
    loop.source = Late(documents(), length=32, rows_per_step=8, micro_rows=4, seed=5)
    loop.report = lambda progress: told.append((time.monotonic(), loop.tokens, progress.tokens_per_s))
    loop.run()
    assert told[19][2] < told[19][1] / 1.0, "the second of the first step counts"
    (began_s, before, _), (ended_s, after, rate) = told[3], told[23]
    assert rate == pytest.approx((after - before) / (ended_s - began_s), rel=0.3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_stopped_and_resumed_equals_never_stopped_bit_for_bit(tmp_path, optimizer):
    whole = make_loop(tmp_path / "whole", 8, optimizer=optimizer)
    whole.run()
    make_loop(tmp_path / "parts", 4, optimizer=optimizer).run()
    resumed = make_loop(tmp_path / "parts", 8, optimizer=optimizer)
    resumed.run()
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name
    first, second = (read_metrics(tmp_path / p / "metrics.jsonl") for p in ("whole", "parts"))
    assert [m["loss"] for m in first] == [m["loss"] for m in second]


def test_gradient_is_the_same_however_the_step_is_cut(tmp_path):
    """Documents of many lengths, so micro-batches differ in how many tokens they train on."""
    gradients = []
    for micro_rows in (8, 2, 1):
        loop = make_loop(tmp_path / str(micro_rows), micro_rows=micro_rows)
        kept: dict[str, torch.Tensor] = {}
        policy = loop.modules["policy"]

        def keep(factor: float, policy=policy, kept=kept) -> None:
            kept.update({n: p.grad.clone() for n, p in policy.named_parameters()})

        loop.optimizers["policy"].step = keep  # type: ignore[method-assign]
        loop._one_step()
        gradients.append(kept)
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


def test_eps_is_added_to_the_root_of_the_square():
    weight = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(weight.weight)
    optimizer = Optimizer(weight, OptimizerConfig(lr=0.1, eps=3.0, weight_decay=0.0))
    weight.weight.grad = torch.ones(1, 1)
    optimizer.step(0.5)
    assert weight.weight.item() == pytest.approx(-0.5 * 0.1 * 1 / (1 + 3.0))
    assert weight.weight.grad is None
    assert gradient_norm([weight.weight]) == 0.0


def two_modules(directory: Path) -> Loop:
    """A loop over two modules of two weights each, whose gradients are given by hand."""
    modules = {name: nn.Linear(2, 1, bias=False) for name in ("policy", "critic")}
    optimizers = {name: Optimizer(module, OptimizerConfig(beta1=0.9)) for name, module in modules.items()}
    return Loop(modules, optimizers, source(), NextToken(), LoopConfig(max_grad_norm=1.0), directory, save_model)


@pytest.mark.parametrize(
    ("critic", "clipped"),
    # the policy's gradient (3, 4) has norm 5 and becomes (0.6, 0.8); the critic's has norm 0.5 and stays, or 10 and is cut
    [((0.3, 0.4), (0.3, 0.4)), ((6.0, 8.0), (0.6, 0.8))],
)
def test_each_gradient_is_clipped_by_the_norm_of_its_own_module(tmp_path, critic, clipped):
    loop = two_modules(tmp_path)
    for name, gradient in (("policy", (3.0, 4.0)), ("critic", critic)):
        loop.modules[name].weight.grad = torch.tensor([gradient])
    told = loop._update()
    assert (told["grad_norm"], told["grad_norm_critic"]) == (5.0, pytest.approx(np.hypot(*critic)))
    for name, gradient in (("policy", (0.6, 0.8)), ("critic", clipped)):
        # AdamW's first mean is (1 - beta1) times the gradient that it was given
        mean = loop.optimizers[name].state_dict()[0]["state"][0]["exp_avg"]
        torch.testing.assert_close(mean, 0.1 * torch.tensor([gradient]))


RANK_SCRIPT = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_loop import make_loop, weights_of
from jielong.train.parallel import ranks_from_environment
torch.set_num_threads(1)
with ranks_from_environment() as ranks:
    loop = make_loop(Path({out!r}), steps=3, micro_rows=2, ranks=ranks)
    loop.run()
    torch.save(weights_of(loop), {out!r} + f"/rank{{ranks.rank}}.pt")
"""


def test_two_gloo_ranks_equal_one(tmp_path):
    out = tmp_path / "two"
    out.mkdir()
    script = tmp_path / "ranks.py"
    script.write_text(RANK_SCRIPT.format(tests=str(Path(__file__).parent), out=str(out)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one = make_loop(tmp_path / "one", steps=3, micro_rows=2)
    one.run()
    expected = weights_of(one)
    for rank in (0, 1):
        found = torch.load(out / f"rank{rank}.pt")
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
    single, double = (read_metrics(tmp_path / p / "metrics.jsonl") for p in ("one", "two"))
    assert [m["tokens"] for m in single] == [m["tokens"] for m in double]


class Spoiled(NextToken):
    """Next-token loss that turns to NaN at chosen calls."""

    def __init__(self, at: set[int]) -> None:
        super().__init__()
        self.calls, self.at = 0, at

    def __call__(self, modules, batch) -> Loss:
        self.calls += 1
        loss = super().__call__(modules, batch)
        if self.calls in self.at:
            value, weight = loss.terms["loss"]
            return Loss({"loss": (value * float("nan"), weight)}, loss.metrics)
        return loss


def test_one_step_that_is_not_finite_is_refused_and_training_goes_on(tmp_path):
    loop = make_loop(tmp_path, steps=5, objective=Spoiled({5}))  # two micro-batches a step: call 5 is in step 3
    loop.run()
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["refused"] for line in lines] == [0, 0, 1, 0, 0]
    assert ["lr" in line for line in lines] == [True, True, False, True, True], "no rate where nothing was learned"
    assert all(torch.isfinite(t).all() for t in weights_of(loop).values())


def test_three_bad_steps_go_back_with_half_the_rate(tmp_path):
    loop = make_loop(tmp_path, steps=6, objective=Spoiled({5, 7, 9}))
    outcome = loop.run()
    assert loop.attempt == 1
    assert "half the rate, attempt 1" in outcome.warnings[0]
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["lr"] == pytest.approx(0.5e-2)


class Raised(NextToken):
    """Next-token loss with 10 nats more at chosen calls, of which no gradient is made."""

    def __init__(self, at: range) -> None:
        super().__init__()
        self.calls, self.at = 0, at

    def __call__(self, modules, batch) -> Loss:
        self.calls += 1
        loss = super().__call__(modules, batch)
        value, weight = loss.terms["loss"]
        return Loss({"loss": (value + 10 * weight * (self.calls in self.at), weight)}, loss.metrics)


def test_nothing_is_saved_while_the_loss_rises_and_the_way_back_leads_before_the_rise(tmp_path):
    steps: list[int] = []
    # two micro-batches a step: calls 7 to 12 are steps 4, 5 and 6
    loop = make_loop(tmp_path, steps=6, lr=1e-9, objective=Raised(range(7, 13)), save_every_s=-1.0)
    loop.report = lambda progress: steps.append(progress.step)
    loop.run()
    # the mean of the loss rises by 1.0, then 0.9 * 1.0 + 1.0 = 1.9, then 0.9 * 1.9 + 1.0 = 2.71, give or take what
    # batches differ: above 2.0 / 4 nothing is saved, above 2.0 it goes back, to step 3 and not to step 5
    assert steps == [1, 2, 3, 4, 5, 4, 5, 6]
    assert loop.attempt == 1


def test_a_run_that_always_diverges_stops_and_says_what_to_change(tmp_path):
    with pytest.raises(DivergedError, match=r"lower optimizer\.lr"):
        make_loop(tmp_path, steps=6, objective=Spoiled(set(range(1, 100)))).run()


def test_a_rising_loss_counts_as_divergence(tmp_path):
    loop = make_loop(tmp_path)
    for _ in range(30):
        loop._watch({"loss": 2.0})
    with pytest.raises(Exception, match=r"the loss rose from 2\.00"):
        for _ in range(100):
            loop._watch({"loss": 9.0})


def test_overfitting_is_told_and_the_best_checkpoint_kept(tmp_path):
    held = iter([3.0, 2.0, 2.5, 2.6])
    check = Check(2, lambda modules, step: {"held_out_loss": next(held)}, "held_out_loss")
    outcome = make_loop(tmp_path, steps=8, checks=[check]).run()
    assert outcome.checkpoint.name == "000004"
    assert (outcome.checkpoint / "model" / "model.safetensors").exists()
    assert "turned up from 2.0000 at step 4 to 2.6000 at step 8" in outcome.warnings[0]
    assert sorted(p.name for p in (tmp_path / "steps").iterdir()) == ["000004", "000008"]


def test_of_equal_checks_the_first_is_the_best_and_one_that_nothing_tracks_is_none(tmp_path):
    told = iter([3.0, 2.0, 2.0, 2.005])
    tracked = Check(2, lambda modules, step: {"held_out_loss": next(told), "other": -float(step)}, "held_out_loss")
    untracked = Check(2, lambda modules, step: {"held_out_accuracy": -float(step)})
    outcome = make_loop(tmp_path, steps=8, checks=[tracked, untracked]).run()
    assert outcome.checkpoint.name == "000004"
    # 2.005 is no more than 2 * 1.005 + 0.001: no overfitting yet
    assert outcome.warnings == []


def test_attempts_halve_the_rate_until_there_are_no_more(tmp_path):
    loop = make_loop(tmp_path, steps=6, objective=Spoiled(set(range(1, 100))))
    with pytest.raises(DivergedError, match="also at rates halved 3 times"):
        loop.run()
    assert (loop.attempt, len(loop.warnings)) == (3, 3)


def test_held_out_loss_of_equal_models_is_equal_and_draws_on_no_random_state(tmp_path):
    batches = held_out(source())
    loop = make_loop(tmp_path)
    before = torch.get_rng_state()
    with torch.no_grad():
        losses = [[float(NextToken()(loop.modules, b).terms["loss"][0]) for b in batches] for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.equal(before, torch.get_rng_state())


class Counted(NextToken):
    """A loss that a batch brings along: its sum, its weight, and how many were right of how many."""

    def weights(self, batch) -> dict[str, float]:
        return {"loss": float(batch.extra["weight"])}

    def __call__(self, modules, batch) -> Loss:
        told = batch.extra
        return Loss({"loss": (told["loss"], told["weight"])}, {"accuracy": (told["right"], told["decided"])})


def test_the_held_out_loss_is_the_sum_over_all_batches_divided_by_their_weight(tmp_path):
    batch = held_out(source())[0]
    numbers = [{"loss": 6.0, "weight": 2.0, "right": 1.0, "decided": 4.0}]
    numbers += [{"loss": 9.0, "weight": 8.0, "right": 5.0, "decided": 8.0}]
    batches = [dataclasses.replace(batch, extra={k: torch.tensor(v) for k, v in one.items()}) for one in numbers]
    check = held_out_loss(Counted(), batches, Ranks())
    # (6 + 9) / (2 + 8), which is not the mean of 3 and 1.125; (1 + 5) / (4 + 8)
    assert check(make_loop(tmp_path).modules, 7) == {"held_out_loss": 1.5, "held_out_accuracy": 0.5}
    assert held_out_loss(Counted(), [], Ranks())({"policy": nn.Linear(1, 1)}, 7)["held_out_loss"] == 0.0


@pytest.mark.parametrize("file", ["training/state.pt", "sums.json"])
def test_training_goes_on_from_the_newest_checkpoint_that_is_whole(tmp_path, file):
    whole = make_loop(tmp_path / "whole", 4)
    whole.run()
    loop = make_loop(tmp_path / "damaged", steps=2)
    loop.run()
    shutil.copytree(tmp_path / "damaged" / "steps" / "000002", tmp_path / "damaged" / "steps" / "000003")
    damaged = tmp_path / "damaged" / "steps" / "000003" / file
    damaged.write_bytes(flipped(damaged.read_bytes()))
    resumed = make_loop(tmp_path / "damaged", steps=4)
    warnings = resumed.run().warnings
    assert len(warnings) == 1 and "000003 is damaged" in warnings[0] and file in warnings[0]
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name


def test_without_a_whole_checkpoint_training_begins_anew(tmp_path):
    make_loop(tmp_path / "damaged", steps=2).run()
    file = tmp_path / "damaged" / "steps" / "000002" / "training" / "state.pt"
    file.write_bytes(flipped(file.read_bytes()))
    again, whole = make_loop(tmp_path / "damaged", steps=4), make_loop(tmp_path / "whole", steps=4)
    assert "training began anew" in again.run().warnings[0]
    whole.run()
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(again)[name]), name


def test_the_model_of_a_checkpoint_is_written_again_from_its_state(tmp_path):
    loop = make_loop(tmp_path, steps=2)
    loop.run()
    file = tmp_path / "steps" / "000002" / "model" / "model.safetensors"
    before = file.read_bytes()
    file.write_bytes(flipped(before))
    make_loop(tmp_path, steps=2).run()
    assert file.read_bytes() == before


def test_a_checkpoint_of_an_earlier_version_that_cannot_be_read_is_named(tmp_path):
    make_loop(tmp_path, steps=2).run()
    (tmp_path / "steps" / "000002" / "sums.json").unlink()
    file = tmp_path / "steps" / "000002" / "training" / "state.pt"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"state\.pt cannot be read"):
        make_loop(tmp_path, steps=4).run()


def saved(directory: Path) -> list[str]:
    """The checkpoints that lie there."""
    return sorted(path.name for path in (directory / "steps").iterdir())


def flipped(content: bytes) -> bytes:
    """With one bit in the middle turned."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_a_killed_process_loses_nothing_that_was_saved(tmp_path):
    """kill -9 in the middle; what comes after equals a run that was never disturbed."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nimport os, signal\nfrom test_loop import make_loop\n"
        f"loop = make_loop(Path({str(tmp_path / 'killed')!r}), steps=8, save_every_s=0.0)\n"
        "loop.report = lambda p: os.kill(os.getpid(), signal.SIGKILL) if p.step == 5 else None\n"
        "loop.run()\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    assert killed.returncode == -9
    assert saved(tmp_path / "killed") == ["000004"]  # step 5 was done but not yet saved
    resumed, whole = make_loop(tmp_path / "killed", 8), make_loop(tmp_path / "whole", 8)
    resumed.run()
    whole.run()
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name


def test_sigterm_saves_the_step_that_is_under_way_and_ends(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nimport os, signal\nfrom jielong import stopping\nfrom test_loop import make_loop\n"
        f"loop = make_loop(Path({str(tmp_path / 'ended')!r}), steps=8, save_every_s=1000.0)\n"
        "loop.report = lambda p: [os.kill(os.getpid(), signal.SIGTERM) for _ in '12'] if p.step == 5 else None\n"
        "stopping.listen()\n"
        "try:\n    loop.run()\nexcept stopping.Terminated:\n    sys.exit(143)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    assert ended.returncode == 143
    assert saved(tmp_path / "ended") == ["000005"]
    resumed, whole = make_loop(tmp_path / "ended", 8), make_loop(tmp_path / "whole", 8)
    resumed.run()
    whole.run()
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name


def test_rate_warms_up_stays_and_decays():
    config = OptimizerConfig(warmup_steps=10, decay_fraction=0.5, final_fraction=0.1)
    factors = [rate_factor(config, step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[50] == 1.0
    assert factors[75] == pytest.approx(0.1 + 0.9 * 25 / 50)
    assert factors[99] == pytest.approx(0.1 + 0.9 * 1 / 50)


def test_a_short_run_warms_up_in_a_quarter_of_it_and_reaches_its_rate():
    config = OptimizerConfig(warmup_steps=30, decay_fraction=0.5)
    assert [rate_factor(config, step, 20) for step in (0, 3, 4, 10)] == pytest.approx([1 / 5, 4 / 5, 1.0, 1.0])
    assert [rate_factor(config, step, 3) for step in (0, 1)] == [1.0, 1.0]


@pytest.mark.parametrize("name", ["quickstart", "reader", "calls", "household"])
def test_trainings_of_the_recipes_are_long_enough_for_their_whole_warm_up(name):
    trainings = [s for s in build_recipe(name).stages if isinstance(s, TrainStage)]
    for stage in trainings:
        for optimizer in filter(None, (stage.optimizer, stage.critic_optimizer)):
            assert optimizer.warmup_steps <= stage.loop.steps // 4, stage.name


def test_two_steps_of_adamw_by_hand():
    weight = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(weight.weight)
    optimizer = Optimizer(weight, OptimizerConfig(lr=0.1, beta1=0.8, beta2=0.5, weight_decay=0.0))
    for gradient in (1.0, 0.0):
        weight.weight.grad = torch.tensor([[gradient]])
        optimizer.step(1.0)
    # step 1: 1 / sqrt(1) = 1. Step 2: mean 0.8 * 0.2 / (1 - 0.64) = 0.444444, square 0.5 * 0.5 / (1 - 0.25) = 0.333333,
    # 0.444444 / 0.577350 = 0.769800. Together -0.1 * 1.769800
    assert weight.weight.item() == pytest.approx(-0.1769800, abs=1e-6)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_matrices_decay_and_vectors_do_not(name):
    model = fresh_language_model(TINY, seed=1)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = Optimizer(model, OptimizerConfig(name=name, lr=0.1, muon_lr=0.4, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.5)
    for n, parameter in model.named_parameters():
        # without a gradient a step only decays: 1 - 0.5 * 0.1 * 0.5 with AdamW, 1 - 0.5 * 0.4 * 0.5 with Muon
        rest = 1.0 if parameter.dim() < 2 else 0.9 if name == "muon" and ".layers." in n else 0.975
        torch.testing.assert_close(parameter.detach(), rest * before[n], rtol=1e-6, atol=0)
