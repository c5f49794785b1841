"""Objectives and advantages: formulas by hand, gradients that do not see micro-batches, masks that hide everything."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.data.batches import Batch, pack_chats, pad_rows
from jielong.data.steps import PackedPairs, PaddedPairs, micro_batches
from jielong.errors import ConfigError
from jielong.losses import Loss
from jielong.model.transformer import (
    LanguageModel,
    ModelConfig,
    ScalarModel,
    fresh_language_model,
    scalar_from_language_model,
)
from jielong.tokens.chat import Rendered, RenderedPair
from jielong.train.advantages import AdaptiveKL, gae, group_advantages, is_flat, kl_penalised_rewards, whiten
from jielong.train.objectives.logprobs import NegativeLogLikelihood, _cross_entropy, trained_logprobs
from jielong.train.objectives.next_token import NextToken, NextTokenConfig
from jielong.train.objectives.objective import Objective
from jielong.train.objectives.policy import (
    PPO,
    PolicyConfig,
    PolicyGradient,
    ValueConfig,
    ValueLoss,
    WithText,
    clipped_surrogate,
    kl_estimate,
)
from jielong.train.objectives.preferences import BradleyTerry, BradleyTerryConfig

TINY = ModelConfig(
    vocab_size=61,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
)


@pytest.fixture
def model() -> LanguageModel:
    return fresh_language_model(dataclasses.replace(TINY, initializer_range=0.3), seed=3)


@pytest.fixture
def scalar(model: LanguageModel) -> ScalarModel:
    return scalar_from_language_model(model, seed=4)


def rows(num: int, seed: int = 0) -> list[Rendered]:
    """Ragged rows, the last few tokens of each trained."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(num):
        size, prompt = int(random.integers(6, 15)), int(random.integers(2, 5))
        ids = tuple(random.integers(2, TINY.vocab_size, size).tolist())
        made.append(Rendered(ids, (False,) * prompt + (True,) * (size - prompt)))
    return made


def rollout(num: int, seed: int = 0) -> Batch:
    """Rows with every stream an objective reads, drawn at random."""
    batch = pad_rows(rows(num, seed))
    generator = torch.Generator().manual_seed(seed)
    names = ("advantages", "returns", "old_values")
    extra = {name: torch.randn(batch.weights.shape, generator=generator) for name in names}
    for name in ("old_logprobs", "engine_logprobs", "ref_logprobs"):
        extra[name] = -4.0 + 0.5 * torch.randn(batch.weights.shape, generator=generator)
    return dataclasses.replace(
        batch, extra={**extra, "temperature": torch.tensor(1.0), "max_tokens": torch.tensor(12.0)}
    )


def gradients(objective: Objective, modules: dict[str, nn.Module], batches: list[Batch]) -> list[Tensor]:
    """What the loop adds up: each term over its weight in the whole step."""
    totals: dict[str, float] = {}
    for batch in batches:
        for name, weight in objective.weights(batch).items():
            totals[name] = totals.get(name, 0.0) + weight
    for module in modules.values():
        module.zero_grad()
    for batch in batches:
        loss = objective(modules, batch)
        assert {n: w.item() for n, (_, w) in loss.terms.items()} == pytest.approx(objective.weights(batch))
        torch.stack([s / totals[n] for n, (s, _) in loss.terms.items()]).sum().backward()
    found = [p.grad for m in modules.values() for p in m.parameters()]
    return [g.clone() for g in found if g is not None]


def assert_same(left: list[Tensor], right: list[Tensor], atol: float = 1e-6) -> None:
    assert len(left) == len(right) > 0
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=atol)


# Next token


def test_next_token_is_cross_entropy_with_its_gradient(model: LanguageModel) -> None:
    batch = pad_rows(rows(5))
    found = gradients(NextToken(), {"policy": model}, [batch])
    loss = NextToken()({"policy": model}, batch)
    total, weight = loss.terms["loss"]
    model.zero_grad()
    logits = model.logits(model(batch.inputs, batch.positions, batch.segments))
    plain = (
        F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none") * batch.weights.flatten()
    ).sum()
    (plain / weight).backward()
    assert total.item() == pytest.approx(plain.item(), rel=1e-5)
    assert_same(found, [p.grad for p in model.parameters() if p.grad is not None])
    right = (logits.argmax(-1) == batch.targets) & (batch.weights > 0)
    assert loss.metrics["accuracy"][0].item() == right.sum().item()


@pytest.mark.parametrize("frozen", ["head", "body"])
def test_what_is_frozen_changes_no_gradient_of_the_rest(frozen: str) -> None:
    model = fresh_language_model(dataclasses.replace(TINY, tie_word_embeddings=False), seed=1)
    batch = pad_rows(rows(3))
    gradients(NextToken(), {"policy": model}, [batch])
    whole = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    (model.lm_head if frozen == "head" else model.model).requires_grad_(False)
    model.zero_grad()
    gradients(NextToken(), {"policy": model}, [batch])
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == {n for n in whole if n.startswith("lm_head") == (frozen == "body")}
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, whole[name])


def test_cross_entropy_without_the_native_code_by_hand() -> None:
    # float64 is torch's: softmax of (ln 1, ln 2, ln 5) is (1/8, 2/8, 5/8)
    logits = torch.tensor([[1.0, 2.0, 5.0], [5.0, 1.0, 2.0]], dtype=torch.float64).log() + 3.0
    losses, are_right = _cross_entropy(logits, torch.tensor([2, 2]), torch.tensor([1.0, 0.5]), True)
    assert losses.tolist() == pytest.approx([-math.log(5 / 8), -math.log(2 / 8)], abs=1e-6)
    assert are_right.tolist() == [True, False]
    # the gradients: the shares less 1 at the target, times 1 and times 0.5
    expected = [[0.125, 0.25, -0.375], [0.3125, 0.0625, -0.375]]
    torch.testing.assert_close(logits, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_next_token_works_with_an_untied_head() -> None:
    model = fresh_language_model(dataclasses.replace(TINY, tie_word_embeddings=False), seed=1)
    gradients(NextToken(), {"policy": model}, [pad_rows(rows(3))])
    assert model.lm_head.weight.grad is not None
    assert model.lm_head.weight.grad.abs().sum() > 0


def test_a_loss_on_a_cpu_is_not_compiled_unless_asked(model: LanguageModel) -> None:
    assert not NextToken().is_compiled
    assert not NextTokenConfig().build(TINY, ()).is_compiled
    assert NextTokenConfig().build(TINY, (), is_compiled=True).is_compiled
    assert dict(Loss({}).metrics) == {}


def test_a_batch_without_trained_tokens_gives_zero(model: LanguageModel, scalar: ScalarModel) -> None:
    empty = dataclasses.replace(rollout(3), weights=torch.zeros_like(rollout(3).weights))
    modules: dict[str, nn.Module] = {"policy": model, "critic": scalar}
    for objective in (NextToken(), PPO(), PolicyGradient(PolicyConfig(aggregation="grpo"))):
        for total, weight in objective(modules, empty).terms.values():
            total.backward()
            assert total.item() == 0.0
            assert weight.item() == 0.0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_packing_changes_no_gradient(model: LanguageModel) -> None:
    chats = rows(9)
    packed, _ = pack_chats(chats, 32)
    assert packed.num_rows < 9
    assert_same(
        gradients(NextToken(), {"policy": model}, [packed]),
        gradients(NextToken(), {"policy": model}, [pad_rows(chats)]),
    )


@pytest.mark.parametrize(
    "objective",
    [
        NextToken(),
        PolicyGradient(PolicyConfig(aggregation="dapo")),
        PolicyGradient(PolicyConfig(aggregation="grpo", loss_kl="k3", loss_kl_coefficient=0.1)),
        PolicyGradient(PolicyConfig(aggregation="dr_grpo", clip_high=0.28)),
        ValueLoss(),
        PPO(),
    ],
    ids=["next_token", "dapo", "grpo", "dr_grpo", "value", "ppo"],
)
def test_micro_batches_change_no_gradient(objective: Objective, model: LanguageModel, scalar: ScalarModel) -> None:
    modules: dict[str, nn.Module] = {"policy": model, "critic": scalar}
    batch = rollout(8)
    whole = gradients(objective, modules, [batch])
    assert_same(whole, gradients(objective, modules, micro_batches(batch, 3)))
    assert_same(whole, gradients(objective, modules, micro_batches(batch, 1)))


def test_more_positions_than_a_chunk_give_the_same_gradient(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = rollout(8)
    modules: dict[str, nn.Module] = {"policy": model}
    objectives = (NextToken(), PolicyGradient())
    whole = [gradients(o, modules, [batch]) for o in objectives]
    monkeypatch.setattr("jielong.train.objectives.logprobs.CHUNK_TOKENS", 5)
    for objective, expected in zip(objectives, whole, strict=True):
        assert_same(expected, gradients(objective, modules, [batch]))


# Preferences


def pairs(labels: list[float]) -> Batch:
    made = [
        RenderedPair(a, b, label)
        for a, b, label in zip(rows(len(labels), 1), rows(len(labels), 2), labels, strict=True)
    ]
    source = PaddedPairs(made, length=16, pairs_per_step=len(labels), micro_pairs=len(labels), seed=0)
    return source.next_step()[0]


class Given(nn.Module):
    """Scores that are handed in, read at the last real token; NaN everywhere else."""

    def __init__(self, scores: list[float], batch: Batch) -> None:
        super().__init__()
        self.scores, self.last = nn.Parameter(torch.tensor(scores)), batch.last

    def forward(self, inputs: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        everywhere = torch.full(inputs.shape, math.nan)
        return everywhere.scatter(1, self.last[:, None], self.scores[:, None])


def test_bradley_terry_by_hand() -> None:
    batch = pairs([1.0, 1.0])
    batch = dataclasses.replace(
        batch, extra={**batch.extra, "label": torch.tensor([1.0, 0.5]), "margin": torch.tensor([0.5, 0.0])}
    )
    total, weight = BradleyTerry()({"reward": Given([2.0, 0.5, 1.0, -1.0], batch)}, batch).terms["loss"]
    # pair 1: z = 2 - 0.5 - 0.5 = 1, log(1 + e^-1) = 0.313262; centre 0.01 * 2.5^2 = 0.0625
    # pair 2, a tie: z = 2, half of log(1 + e^-2) and half of log(1 + e^2): (0.126928 + 2.126928) / 2 = 1.126928
    assert total.item() == pytest.approx(0.313262 + 0.0625 + 1.126928, abs=1e-5)
    assert weight.item() == 2.0


def test_bradley_terry_counts_ties_out_of_its_accuracy() -> None:
    batch = pairs([1.0] * 5)
    batch = dataclasses.replace(batch, extra={**batch.extra, "label": torch.tensor([1.0, 0.0, 0.5, 0.9, 1.0])})
    scores = Given([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.5, 0.25, 0.5, 0.5], batch)
    metrics = BradleyTerry()({"reward": scores}, batch).metrics
    # of the four that are no tie the first and the fourth are right; an equal score is not. The gaps are 1, 1, 1, 0.25, 0
    assert [t.item() for t in metrics["accuracy"]] == [2.0, 4.0]
    assert [t.item() for t in metrics["gap"]] == [3.25, 5.0]


def test_label_smoothing_keeps_a_certain_pair_from_growing_for_ever() -> None:
    batch = pairs([1.0])
    scores = Given([20.0, -20.0], batch)
    config = BradleyTerryConfig(label_smoothing=0.1, centre=0.0)
    BradleyTerry(config)({"reward": scores}, batch).terms["loss"][0].backward()
    # d/dz of -(0.9 log s(z) + 0.1 log s(-z)) = s(z) - 0.9 -> 0.1
    assert scores.scores.grad is not None
    assert scores.scores.grad.tolist() == pytest.approx([0.1, -0.1], abs=1e-5)


def test_filler_pairs_change_no_gradient(scalar: ScalarModel) -> None:
    made = [RenderedPair(a, b) for a, b in zip(rows(5, 1), rows(5, 2), strict=True)]
    sources = [PaddedPairs(made, length=16, pairs_per_step=5, micro_pairs=m, seed=0) for m in (5, 2, 1)]
    whole, *others = [gradients(BradleyTerry(), {"reward": scalar}, s.next_step()) for s in sources]
    for other in others:
        assert_same(whole, other)


def test_packed_pairs_have_the_loss_and_the_gradients_of_padded_ones(scalar: ScalarModel) -> None:
    labels = [1.0, 0.5, 0.8, 0.0, 1.0]
    made = [RenderedPair(*p) for p in zip(rows(5, 1), rows(5, 2), labels, strict=True)]
    steps = [
        kind(made, length=16, pairs_per_step=5, micro_pairs=micro, seed=0).next_step()
        for kind, micro in ((PaddedPairs, 5), (PackedPairs, 5), (PackedPairs, 2))
    ]
    assert steps[1][0].num_rows < steps[0][0].num_rows
    padded, *packed = [gradients(BradleyTerry(), {"reward": scalar}, step) for step in steps]
    for other in packed:
        assert_same(padded, other)


class Held:
    """Material of held-out comparisons alone."""

    def __init__(self, pairs: list[RenderedPair]) -> None:
        self._pairs = pairs

    def pairs(self, part: str) -> list[RenderedPair]:
        return self._pairs if part == "held_out" else []


def test_a_reward_of_zero_is_the_mean_of_the_chosen_held_out_answers(scalar: ScalarModel) -> None:
    chosen, too_long = rows(4, 1), Rendered((5,) * 80, (False,) + (True,) * 79)
    scalar.config = dataclasses.replace(scalar.config, max_position_embeddings=13)
    assert max(len(c.ids) for c in chosen) == 13
    held = Held([RenderedPair(a, b) for a, b in zip([*chosen, too_long], rows(5, 2), strict=True)])
    with torch.no_grad():
        alone = [scalar(torch.tensor([c.ids]))[0, -1].item() for c in chosen]
    assert abs(sum(alone)) > 0.1  # or the zero would say nothing
    for before in (0.0, 3.0):  # what it was does not count, and done twice it comes to the same
        scalar.reward_offset = before
        assert BradleyTerryConfig().finish(lambda: scalar, held) is scalar  # type: ignore[arg-type]
        assert scalar.reward_offset == pytest.approx(sum(alone) / 4, abs=1e-5)
    assert BradleyTerryConfig().finish(lambda: scalar, Held([])) is None  # type: ignore[arg-type]


def test_bradley_terry_recovers_true_scores_up_to_a_constant() -> None:
    truth = torch.randn(6, generator=torch.Generator().manual_seed(0))
    first, second = torch.combinations(torch.arange(6)).T
    one = Rendered((2, 3), (False, True))
    batch = pad_rows([one] * 2 * len(first))
    likely = torch.sigmoid(truth[first] - truth[second])
    ones = torch.ones(len(first))
    batch = dataclasses.replace(batch, extra={"label": likely, "margin": 0 * ones, "weight": ones})
    scores = torch.zeros(6, requires_grad=True)

    class Table(nn.Module):
        def forward(self, inputs: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
            return scores[torch.stack([first, second], dim=1).flatten()][:, None].expand(inputs.shape)

    optimizer = torch.optim.LBFGS([scores], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        total, _ = BradleyTerry(BradleyTerryConfig(centre=0.0))({"reward": Table()}, batch).terms["loss"]
        total.backward()
        return total

    optimizer.step(closure)
    found = scores.detach()
    torch.testing.assert_close(found - found.mean(), truth - truth.mean(), atol=1e-3, rtol=0)


# Policy gradient


def test_the_clipped_surrogate_by_hand() -> None:
    logratio = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.0]).requires_grad_()
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    losses = clipped_surrogate(logratio, advantages, 0.2, 0.28)
    # ratios 1.6487, 1.6487, 0.6065, 0.6065, 1: clipped only where it would help: 1.28, and 0.8 for the fourth
    assert losses.tolist() == pytest.approx([-1.28, 1.64872, -0.60653, 0.8, -2.0], abs=1e-4)
    losses.sum().backward()
    assert logratio.grad is not None
    assert logratio.grad.tolist() == pytest.approx([0.0, 1.64872, -0.60653, 0.0, -2.0], abs=1e-4)


def test_kl_estimates_by_hand() -> None:
    logprobs, reference = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])
    # d = 0.5, -1
    assert kl_estimate(logprobs, reference, "k1").tolist() == [0.5, -1.0]
    assert kl_estimate(logprobs, reference, "k2").tolist() == [0.125, 0.5]
    # e^-0.5 - 1 + 0.5 = 0.106531; e - 1 - 1 = 0.718282
    assert kl_estimate(logprobs, reference, "k3").tolist() == pytest.approx([0.106531, 0.718282], abs=1e-6)


def on_policy(batch: Batch, model: LanguageModel, temperature: float = 1.0) -> Batch:
    """The batch with the model's own log-probabilities as those of old policy and engine."""
    old = torch.zeros_like(batch.weights)
    with torch.no_grad():
        old[batch.weights != 0] = trained_logprobs(model, batch, temperature)
    own = {"old_logprobs": old, "engine_logprobs": old, "temperature": torch.tensor(temperature)}
    return dataclasses.replace(batch, extra={**batch.extra, **own})


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    # rows of 2 and 4 tokens with advantages 1 and 3, ratio 1: dapo (2*1 + 4*3) / 6, grpo (1 + 3) / 2,
    # dr_grpo (2 + 12) / (2 * 5)
    [("dapo", 14 / 6), ("grpo", 2.0), ("dr_grpo", 1.4)],
)
def test_aggregations_by_hand(model: LanguageModel, aggregation: str, expected: float) -> None:
    rendered = [Rendered((5, 6, 7), (False, True, True)), Rendered((5, 6, 7, 8, 9), (False, True, True, True, True))]
    batch = on_policy(pad_rows(rendered), model)
    advantages = torch.tensor([[1.0], [3.0]]).expand(batch.weights.shape)
    numbers = {"max_tokens": torch.tensor(5.0), "ref_logprobs": batch.extra["old_logprobs"]}
    batch = dataclasses.replace(batch, extra={**batch.extra, "advantages": advantages, **numbers})
    total, weight = PolicyGradient(PolicyConfig(aggregation=aggregation))({"policy": model}, batch).terms["policy"]  # type: ignore[arg-type]
    assert -(total / weight).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_ratio_is_one_on_the_first_on_policy_pass(model: LanguageModel, temperature: float) -> None:
    batch = on_policy(rollout(6), model, temperature)
    loss = PolicyGradient()({"policy": model}, batch)
    expected = -(batch.extra["advantages"] * batch.weights).sum()
    assert loss.terms["policy"][0].item() == pytest.approx(expected.item(), abs=1e-4)
    assert loss.metrics["clipped"][0].item() == 0.0
    assert abs(loss.metrics["shift"][0].item()) < 1e-5


def drawn(model: LanguageModel, shifts: list[float], **streams: list[float]) -> Batch:
    """One row of written tokens, with old log-probabilities `shifts` below the model's own, and more streams."""
    size = len(shifts)
    batch = on_policy(pad_rows([Rendered(tuple(range(5, 6 + size)), (False,) + (True,) * size)]), model)
    own = batch.extra["old_logprobs"]

    def below(numbers: list[float]) -> Tensor:
        return own - F.pad(torch.tensor([numbers]), (0, 1))

    old = below(shifts)
    extra = {"old_logprobs": old, "engine_logprobs": old, "ref_logprobs": below(streams["reference"])}
    extra["advantages"] = F.pad(torch.tensor([streams["advantages"]]), (0, 1))
    return dataclasses.replace(batch, extra={**batch.extra, **extra, "max_tokens": torch.tensor(9.0)})


@pytest.mark.parametrize(
    ("form", "expected"),
    # log-ratios to the reference 0.5 and -1; k2: 0.125 + 0.5; k3: e^-0.5 - 1 + 0.5 and e - 1 - 1
    [("k2", 0.625), ("k3", 0.106531 + 0.718282)],
)
def test_a_kl_in_the_loss_is_added_to_it(model: LanguageModel, form: str, expected: float) -> None:
    batch = drawn(model, [0.0, 0.0], reference=[0.5, -1.0], advantages=[0.0, 0.0])
    config = PolicyConfig(loss_kl=form, loss_kl_coefficient=0.1)  # type: ignore[arg-type]
    total, weight = PolicyGradient(config)({"policy": model}, batch).terms["policy"]
    assert (total.item(), weight.item()) == (pytest.approx(0.1 * expected, abs=1e-5), 2.0)


def test_the_metrics_of_the_policy_by_hand(model: LanguageModel) -> None:
    ratios = [1.5, 1.5, 0.5, 0.5, 1.1, 0.5, 1.5]
    advantages = [0.5, -0.5, 3.0, -1.0, 0.5, 0.0, 2.0]
    reference = [0.5, -1.0, 0.25, 0.0, 0.0, 0.0, 0.0]
    batch = drawn(model, [math.log(r) for r in ratios], reference=reference, advantages=advantages)
    metrics = PolicyGradient()({"policy": model}, batch).metrics
    assert {weight.item() for _, weight in metrics.values()} == {7.0}
    sums = {name: total.item() for name, (total, _) in metrics.items()}
    # no gradient where a good token is above 1.2 or a bad one below 0.8: the first, the fourth and the last;
    # the sixth has no advantage, and so no gradient to lose
    assert sums["clipped"] == 3.0
    # k3 of old and new is r - 1 - ln r: 0.094535 and 0.193147, three times each, 0.1 - 0.095310
    assert sums["shift"] == pytest.approx(3 * 0.094535 + 3 * 0.193147 + 0.004690, abs=1e-5)
    assert sums["kl_now"] == pytest.approx(0.5 - 1.0 + 0.25, abs=1e-5)


def test_temperature_divides_the_logits(model: LanguageModel) -> None:
    batch = pad_rows(rows(2))
    logits = model.logits(model(batch.inputs, batch.positions, batch.segments))
    expected = torch.log_softmax(logits / 0.5, -1).gather(2, batch.targets[:, :, None])[:, :, 0]
    torch.testing.assert_close(trained_logprobs(model, batch, 0.5), expected[batch.weights != 0])


def test_nan_in_masked_slots_is_harmless(model: LanguageModel, scalar: ScalarModel) -> None:
    modules: dict[str, nn.Module] = {"policy": model, "critic": scalar}
    batch = rollout(5)
    poisoned = {n: t if t.dim() == 0 else torch.where(batch.weights != 0, t, math.nan) for n, t in batch.extra.items()}
    clean = gradients(PPO(), modules, [batch])
    dirty = gradients(PPO(), modules, [dataclasses.replace(batch, extra=poisoned)])
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a, b)


def test_the_mismatch_weight_is_capped(model: LanguageModel) -> None:
    batch = on_policy(rollout(4), model)
    far = dataclasses.replace(batch, extra={**batch.extra, "engine_logprobs": batch.extra["old_logprobs"] - 3.0})
    plain, weighted, off = (
        PolicyGradient(c)({"policy": model}, b).terms["policy"][0].item()
        for c, b in (
            (PolicyConfig(), batch),
            (PolicyConfig(mismatch_cap=2.0), far),
            (PolicyConfig(mismatch_cap=0.0), far),
        )
    )
    assert weighted == pytest.approx(2.0 * plain, rel=1e-5)
    assert off == pytest.approx(plain, rel=1e-5)


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="gradient is zero"):
        PolicyConfig(loss_kl="k1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="dr_grpo"):
        PolicyConfig(aggregation="sum")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="clip_low"):
        PolicyConfig(clip_low=1.5)
    with pytest.raises(ConfigError, match="label_smoothing"):
        BradleyTerryConfig(label_smoothing=0.5)
    with pytest.raises(ConfigError, match="groups"):
        group_advantages(torch.zeros(5), 2)
    with pytest.raises(ConfigError, match="target"):
        AdaptiveKL(0.0)


# Critic


def test_the_value_loss_by_hand() -> None:
    batch = pad_rows([Rendered((5, 6, 7, 8), (False, True, True, True))])
    streams = {"returns": torch.tensor([[1.0, 1.0, 0.0, 9.0]]), "old_values": torch.tensor([[0.0, 0.9, 0.0, 9.0]])}
    batch = dataclasses.replace(batch, extra=streams)
    values = torch.tensor([[0.6, 0.5, 0.1, math.nan]]).requires_grad_()

    class Values(nn.Module):
        def forward(self, inputs: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
            return values

    total, weight = ValueLoss(ValueConfig(clip=0.2, coefficient=0.1))({"critic": Values()}, batch).terms["value"]
    # errors 0.16, 0.25, 0.01; with values clipped to 0.2, 0.7, 0.1: 0.64, 0.09, 0.01; the larger: 0.64, 0.25, 0.01
    assert total.item() == pytest.approx(0.1 * 0.5 * 0.90, rel=1e-5)
    assert weight.item() == 3.0
    total.backward()
    # the first is held by the clip, the second pulled by 0.1 * (0.5 - 1), the third by 0.1 * 0.1
    assert values.grad is not None
    assert values.grad[0, :3].tolist() == pytest.approx([0.0, -0.05, 0.01], abs=1e-6)


def test_policy_and_critic_have_each_their_own_gradient(model: LanguageModel, scalar: ScalarModel) -> None:
    modules: dict[str, nn.Module] = {"policy": model, "critic": scalar}
    batch = rollout(4)
    both = gradients(PPO(), modules, [batch])
    apart = gradients(PolicyGradient(), {"policy": model}, [batch]) + gradients(
        ValueLoss(), {"critic": scalar}, [batch]
    )
    assert_same(both, apart)


def test_text_beside_the_policy_adds_its_own_mean_to_the_gradient(model: LanguageModel, scalar: ScalarModel) -> None:
    modules: dict[str, nn.Module] = {"policy": model, "critic": scalar}
    written, text = rollout(8), pad_rows(rows(5, seed=3))
    both = gradients(WithText(PPO(), 0.3), modules, [*micro_batches(written, 3), *micro_batches(text, 2)])
    policy = gradients(PPO(), modules, [written])
    spoken = gradients(NextToken(), {"policy": model}, [text])
    # the critic's gradient, which comes last, is untouched
    expected = [p + 0.3 * s for p, s in zip(policy, spoken, strict=False)] + policy[len(spoken) :]
    assert_same(both, expected)


# Advantages


def test_gae_by_hand() -> None:
    rewards, values = torch.tensor([[0.0, 0.0, 1.0, 7.0]]), torch.tensor([[0.5, 0.2, 0.4, 7.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    advantages, returns = gae(rewards, values, mask, gamma=0.9, lam=0.5)
    # deltas: 0.9 * 0.2 - 0.5 = -0.32; 0.9 * 0.4 - 0.2 = 0.16; 1 - 0.4 = 0.6 (nothing after the end)
    # advantages: 0.6; 0.16 + 0.45 * 0.6 = 0.43; -0.32 + 0.45 * 0.43 = -0.1265
    assert advantages[0].tolist() == pytest.approx([-0.1265, 0.43, 0.6, 0.0], abs=1e-6)
    assert returns[0].tolist() == pytest.approx([0.3735, 0.63, 1.0, 0.0], abs=1e-6)


def test_with_lambda_one_and_no_critic_gae_is_the_reward_still_to_come() -> None:
    rewards = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    advantages, _ = gae(rewards, torch.zeros(3, 6), torch.ones(3, 6), lam=1.0)
    torch.testing.assert_close(advantages, rewards.flip(1).cumsum(1).flip(1))


def test_gae_passes_over_tokens_that_the_policy_did_not_write() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 5, generator=generator), torch.randn(2, 5, generator=generator)
    apart = torch.tensor([0, 1, 4, 5, 7])
    wide_rewards, wide_values = torch.full((2, 9), math.nan), torch.full((2, 9), math.nan)
    wide_rewards[:, apart], wide_values[:, apart] = rewards, values
    mask = torch.zeros(2, 9)
    mask[:, apart] = 1.0
    close = gae(rewards, values, torch.ones(2, 5), gamma=0.9, lam=0.8)
    for wide, narrow in zip(gae(wide_rewards, wide_values, mask, gamma=0.9, lam=0.8), close, strict=True):
        torch.testing.assert_close(wide[:, apart], narrow)
        assert not wide[mask == 0].any()


def test_the_score_is_paid_at_the_last_written_token_and_the_kl_at_each() -> None:
    logprobs = torch.tensor([[math.nan, -1.0, -2.0, -1.0], [-1.0, -1.0, math.nan, math.nan], [0.0, 0.0, 0.0, 0.0]])
    reference = torch.tensor([[0.0, -1.5, -2.0, -0.5], [-3.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    rewards = kl_penalised_rewards(torch.tensor([2.0, -1.0, 5.0]), logprobs, reference, mask, 0.1)
    # row 1: -0.1 * 0.5, then -0.1 * -0.5 + 2; row 2: -0.1 * 2, then 0 - 1; row 3 wrote nothing
    expected = torch.tensor([[0.0, -0.05, 0.0, 2.05], [-0.2, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(rewards, expected)


def test_whitening_is_global_over_valid_tokens() -> None:
    values = torch.tensor([[1.0, 2.0, math.nan], [3.0, math.nan, math.nan]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    # mean 2, variance (1 + 0 + 1) / 2 = 1
    torch.testing.assert_close(whiten(values, mask), torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))


def test_group_advantages_by_hand() -> None:
    rewards = torch.tensor([1.0, 3.0, 0.1, 0.1])
    # mean 2, std sqrt(2): -+1 / (1.414214 + 0.0001)
    assert group_advantages(rewards, 2).tolist() == pytest.approx([-0.707057, 0.707057, 0.0, 0.0], abs=1e-6)
    assert group_advantages(rewards, 2, divide_by_std=False).tolist() == [-1.0, 1.0, 0.0, 0.0]
    assert is_flat(rewards, 2).tolist() == [False, True]


def test_groups_of_equal_rewards_give_exactly_no_gradient(model: LanguageModel) -> None:
    batch = on_policy(rollout(6), model)
    rewards = torch.full((6,), 0.1)  # the mean of three times 0.1 is not 0.1 in float32
    advantages = group_advantages(rewards, 3)[:, None].expand(batch.weights.shape)
    batch = dataclasses.replace(batch, extra={**batch.extra, "advantages": advantages})
    for gradient in gradients(PolicyGradient(PolicyConfig(aggregation="grpo")), {"policy": model}, [batch]):
        assert not gradient.any()


def test_adaptive_kl_by_hand() -> None:
    control = AdaptiveKL(target=2.0)
    assert control.next(0.1, 2.1) == pytest.approx(0.1 * 1.005)  # 5% above
    assert control.next(0.1, 9.0) == pytest.approx(0.1 * 1.02)  # clipped at 20%
    assert control.next(0.1, 0.0) == pytest.approx(0.1 * 0.98)
    assert AdaptiveKL(target=0.5, rate=1.0).next(0.1, 0.55) == pytest.approx(0.11)


def test_targets_that_are_likeliest_are_counted_by_their_weight() -> None:
    # the head is the identity, so hidden (2, 0) makes token 0 the likeliest and (0, 2) token 1; right are rows 0 and 2
    hidden = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    targets, weights = torch.tensor([0, 0, 1]), torch.tensor([1.0, 2.0, 4.0])
    total, num_right = NegativeLogLikelihood.apply(hidden, torch.eye(2), targets, weights, False)
    likely = math.log(1 + math.exp(-2.0))  # -log softmax of 2 beside 0; of 0 beside 2 it is 2 more
    assert num_right.item() == 5.0
    assert total.item() == pytest.approx(1 * likely + 2 * (likely + 2.0) + 4 * likely, rel=1e-5)
