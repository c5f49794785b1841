"""Learning from judged answers without a reward model: formulas by hand, gradients, known optima, and steps however they are cut."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.enumerable import L, TablePolicy, V, optimum, random_problem, token_logprobs_of
from torch import Tensor, nn

from jielong.cli.main import main
from jielong.data.answers import PackedAnswers, PaddedAnswers, answers_to_others
from jielong.data.batches import Batch
from jielong.data.forms import rating_of
from jielong.data.steps import PackedPairs, PaddedPairs
from jielong.errors import ConfigError, DataError
from jielong.model import hf
from jielong.model.adapters import AdaptedModel, AdapterConfig
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.recipes import build_recipe
from jielong.recipes.adapt import adapt
from jielong.recipes.shared.methods import METHODS, steps_for
from jielong.runs import read_json, read_metrics
from jielong.stages.files import file_stage
from jielong.stages.train import TrainStage
from jielong.tokens import Rendered, RenderedAnswer, RenderedPair
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer
from jielong.train.answers import AnswersConfig, with_baseline
from jielong.train.objectives.direct import PairLosses, baseline_of, dpo, ipo, kto, log1mexp, log_odds, orpo, simpo
from jielong.train.objectives.direct_answers import KTO, KTOConfig
from jielong.train.objectives.direct_pairs import DPOConfig, FromPairs, IPOConfig, ORPOConfig, PairConfig, SimPOConfig
from jielong.train.objectives.logprobs import sequence_logprobs
from jielong.train.objectives.policy import PolicyConfig, PPOConfig
from jielong.train.online import ONLINE
from jielong.train.parallel import Ranks
from jielong.train.reference import Reference

SHAPE = ModelConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=16, max_position_embeddings=64,
)  # fmt: skip
ON_PAIRS: tuple[PairConfig, ...] = (
    DPOConfig(), DPOConfig(label_smoothing=0.2), IPOConfig(), IPOConfig(over="mean"), SimPOConfig(), ORPOConfig(),
)  # fmt: skip


def t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Known answers -----------------------------------------------------------------------------------------------------


def test_dpo_and_its_conservative_form_have_their_values_by_hand() -> None:
    # d = (-4 + 5) - (-7 + 6) = 2, beta d = 0.5 * 2 = 1; -log sigmoid(1) = log(1 + e^-1) = 0.313262
    made = dpo(t(-4), t(-7), t(-5), t(-6), beta=0.5)
    assert made.losses.item() == pytest.approx(0.313262, abs=1e-6)
    assert (made.chosen_rewards.item(), made.rejected_rewards.item()) == (0.5, -0.5)
    # a fifth of the labels wrong: 0.8 * 0.313262 + 0.2 * 1.313262 = 0.513262
    assert dpo(t(-4), t(-7), t(-5), t(-6), beta=0.5, label_smoothing=0.2).losses.item() == pytest.approx(
        0.513262, abs=1e-6
    )
    # a tie: the mean of both directions, 0.813262, whatever the smoothing
    for smoothing in (0.0, 0.3):
        tie = dpo(t(-4), t(-7), t(-5), t(-6), beta=0.5, label_smoothing=smoothing, label=0.5)
        assert tie.losses.item() == pytest.approx(0.813262, abs=1e-6)


def test_ipo_has_its_value_by_hand() -> None:
    # d = 2, 1 / (2 * 0.2) = 2.5: (2 - 2.5)^2 = 0.25; the other way (2 + 2.5)^2 = 20.25
    assert ipo(t(-4), t(-7), t(-5), t(-6), beta=0.2).losses.item() == pytest.approx(0.25)
    assert ipo(t(-4), t(-7), t(-5), t(-6), beta=0.2, label=0.75).losses.item() == pytest.approx(
        0.75 * 0.25 + 0.25 * 20.25
    )


def test_simpo_has_its_value_by_hand() -> None:
    # 2 * (-0.5 + 1.5) - 0.5 = 1.5; log(1 + e^-1.5) = 0.201413
    assert simpo(t(-0.5), t(-1.5), beta=2.0, gamma=0.5).losses.item() == pytest.approx(0.201413, abs=1e-6)


def test_orpo_has_its_value_by_hand() -> None:
    # p = 1/2 and 1/5: odds 1 and 1/4, their ratio 4; -log(4 / 5) = 0.223144; log 2 + 0.3 * 0.223144 = 0.760090
    made = orpo(t(math.log(0.5)), t(math.log(0.2)), weight=0.3)
    assert made.losses.item() == pytest.approx(0.760090, abs=1e-6)


def test_kto_has_its_values_by_hand() -> None:
    # beta (2 - 1) = 0.5 and beta (-3 - 1) = -2: 1 - sigmoid(0.5) = 0.377541; 3 * (1 - sigmoid(2)) = 3 * 0.119203
    losses = kto(t(2, -3), torch.tensor([True, False]), t(1), beta=0.5, undesirable_weight=3.0)
    assert losses.tolist() == pytest.approx([0.377541, 0.357609], abs=1e-6)
    assert baseline_of(6.0, 4.0) == 1.5 and baseline_of(-6.0, 4.0) == 0.0 and baseline_of(0.0, 0.0) == 0.0


def test_log1mexp_keeps_its_digits_where_the_plain_formula_loses_them() -> None:
    # log(1 - e^-x) is log(x) - x/2 + .. for small x, and -e^-x for large x
    assert log1mexp(t(-1e-12)).item() == pytest.approx(math.log(1e-12), rel=1e-12)
    assert log1mexp(t(-40)).item() == pytest.approx(-math.exp(-40), rel=1e-12)
    assert log1mexp(t(-math.log(2))).item() == pytest.approx(-math.log(2))
    certain = torch.zeros(1, requires_grad=True)
    log_odds(certain).sum().backward()
    assert torch.isfinite(log_odds(certain)).all() and certain.grad is not None and torch.isfinite(certain.grad).all()


# Gradients ---------------------------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[..., Tensor]] = {
    "dpo": lambda a, b: dpo(a, b, a.detach() - 0.3, b.detach() + 0.2, label=t(1, 0.7, 0)).losses,
    "cdpo": lambda a, b: dpo(a, b, a.detach() - 0.3, b.detach() + 0.2, label_smoothing=0.1).losses,
    "ipo": lambda a, b: ipo(a, b, a.detach() - 0.3, b.detach() + 0.2, label=t(1, 0.7, 0)).losses,
    "simpo": lambda a, b: simpo(a, b, label=t(1, 0.7, 0)).losses,
    "orpo": lambda a, b: orpo(a, b, label=t(1, 0.7, 0)).losses,
    "kto": lambda a, b: kto(torch.cat([a + 1, b]), torch.tensor([True, False] * 3), t(0.4), undesirable_weight=2.0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    a = t(-0.2, -1.0, -3.0).requires_grad_()
    b = t(-0.9, -0.6931, -0.1).requires_grad_()
    fixed = (t(-0.5, -1.3, -3.3), t(-0.7, -0.5, 0.1))

    def loss(a: Tensor, b: Tensor) -> Tensor:
        if name in ("dpo", "cdpo", "ipo"):
            kind = ipo if name == "ipo" else dpo
            more = {"label_smoothing": 0.1} if name == "cdpo" else {"label": t(1, 0.7, 0)}
            return kind(a, b, *fixed, **more).losses  # type: ignore[operator]
        return LOSSES[name](a, b)

    assert torch.autograd.gradcheck(loss, (a, b))


# Optima on 256 sequences -------------------------------------------------------------------------------------------


def descend(loss_of: Callable[[Tensor], Tensor], table: Tensor) -> Tensor:
    """Log-probabilities of all sequences after some 70 evaluations of the gradient on the table's logits."""
    policy = TablePolicy(table.double())
    optimizer = torch.optim.LBFGS(
        policy.parameters(), max_iter=60, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(token_logprobs_of(policy.table).sum(dim=1))
        loss.backward()
        return loss.detach()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return token_logprobs_of(policy.table.detach()).sum(dim=1)


def variation(logprobs: Tensor, target: Tensor) -> float:
    return 0.5 * float((logprobs.exp() - target).abs().sum())


def every_pair(losses: Callable[..., PairLosses], reference: Tensor, label: Tensor) -> Callable[[Tensor], Tensor]:
    """The mean loss over all pairs of sequences, each labelled by how likely its first one is better."""

    def loss(logprobs: Tensor) -> Tensor:
        return losses(logprobs[:, None], logprobs[None], reference[:, None], reference[None], label=label).losses.mean()

    return loss


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_dpo_with_exact_labels_reaches_the_tilted_reference(seed: int, beta: float) -> None:
    table, rewards = random_problem(seed)
    rewards = rewards.double()
    reference = token_logprobs_of(table.double()).sum(dim=1)
    label = torch.sigmoid(rewards[:, None] - rewards[None])
    target = optimum(table, rewards, beta)
    assert variation(reference, target) > 0.3

    def losses(*sides: Tensor, label: Tensor) -> PairLosses:
        return dpo(*sides, beta=beta, label=label)

    assert variation(descend(every_pair(losses, reference, label), table), target) <= 0.02
    # the control: another beta misses this optimum

    def wrong(*sides: Tensor, label: Tensor) -> PairLosses:
        return dpo(*sides, beta=2 * beta, label=label)

    assert variation(descend(every_pair(wrong, reference, label), table), target) > 0.05


@pytest.mark.parametrize("seed", range(3))
def test_ipo_reaches_the_reference_tilted_by_how_often_an_answer_is_preferred(seed: int) -> None:
    table, rewards = random_problem(seed)
    rewards = rewards.double()
    reference = token_logprobs_of(table.double()).sum(dim=1)
    label = torch.sigmoid(rewards[:, None] - rewards[None])
    # eq. 6 of the paper: p_ref exp(E_y'[p(y > y')] / tau), with y' from the pairs, here uniform
    target = torch.softmax(reference + label.mean(dim=1) / 0.1, dim=0)

    def losses(*sides: Tensor, label: Tensor) -> PairLosses:
        return ipo(*sides, beta=0.1, label=label)

    assert variation(reference, target) > 0.3
    assert variation(descend(every_pair(losses, reference, label), table), target) <= 0.02


def test_conservative_dpo_stops_at_the_log_odds_of_the_labels_that_are_right() -> None:
    # one pair: sigmoid(beta d) = 1 - e, so d = log(0.9 / 0.1) / 0.5 = 4.394449
    logit = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logit], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = dpo(nn.functional.logsigmoid(logit), nn.functional.logsigmoid(-logit), t(math.log(0.5)), t(math.log(0.5)),
                   beta=0.5, label_smoothing=0.1).losses.sum()  # fmt: skip
        loss.backward()
        return loss.detach()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert logit.item() == pytest.approx(4.394449, abs=1e-4)


def test_simpo_without_a_margin_reaches_a_softmax_that_knows_no_reference() -> None:
    table, rewards = random_problem(0)
    rewards = rewards.double()
    label = torch.sigmoid(rewards[:, None] - rewards[None])
    target = torch.softmax(L * rewards / 4.0, dim=0)

    def losses(chosen: Tensor, rejected: Tensor, *_: Tensor, label: Tensor) -> PairLosses:
        return simpo(chosen / L, rejected / L, beta=4.0, gamma=0.0, label=label)

    found = descend(every_pair(losses, torch.zeros(V**L), label), table)
    assert variation(found, target) <= 0.02


def test_orpo_without_its_odds_reaches_the_answers_that_were_chosen() -> None:
    table, rewards = random_problem(0)
    chosen = torch.softmax(rewards.double(), dim=0)

    def loss(logprobs: Tensor) -> Tensor:
        return (chosen * orpo(logprobs / L, logprobs / L - 1, weight=0.0).losses).sum()

    assert variation(descend(loss, table), chosen) <= 0.02


def test_kto_puts_all_on_answers_that_are_more_often_desirable_than_not() -> None:
    """For a fixed baseline the loss is linear in the sigmoid, so that no answer that is mostly undesired is kept."""
    table, rewards = random_problem(0)
    reference = token_logprobs_of(table.double()).sum(dim=1)
    desired = torch.sigmoid(2 * rewards.double())
    yes, no = torch.ones(V**L, dtype=torch.bool), torch.zeros(V**L, dtype=torch.bool)

    def loss(logprobs: Tensor) -> Tensor:
        ratio = logprobs - reference
        baseline = (logprobs.exp() * ratio).sum().clamp(min=0).detach()
        liked, disliked = kto(ratio, yes, baseline, beta=1.0), kto(ratio, no, baseline, beta=1.0)
        return (reference.exp() * (desired * liked + (1 - desired) * disliked)).sum()

    # the baseline moves with the policy and gets no gradient, so that there is no function for a line search
    policy = TablePolicy(table.double())
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        loss(token_logprobs_of(policy.table).sum(dim=1)).backward()
        optimizer.step()
    found = token_logprobs_of(policy.table.detach()).sum(dim=1).exp()
    is_desired = desired > 0.5
    assert float(reference.exp()[is_desired].sum()) < 0.6
    assert float(found[is_desired].sum()) > 0.97


# Steps, however they are cut ---------------------------------------------------------------------------------------


def answer(generator: torch.Generator, prompt: int, size: int) -> Rendered:
    ids = torch.randint(4, 64, (prompt + size,), generator=generator).tolist()
    return Rendered(tuple(ids), (False,) * prompt + (True,) * size)


def some_pairs(count: int = 8, seed: int = 0) -> list[RenderedPair]:
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for number in range(count):
        chosen, rejected = answer(generator, 3, 2 + number % 5), answer(generator, 3, 1 + number % 7)
        label = (1.0, 0.8, 0.5, 0.0)[number % 4]
        reference = (-3.0 - number, -4.0 + 0.1 * number)
        pairs.append(RenderedPair(chosen, rejected, label, ref_logprobs=reference))
    return pairs


def model_of(seed: int = 3) -> LanguageModel:
    model = fresh_language_model(SHAPE, seed)
    for name, parameter in model.named_parameters():  # fresh models find all tokens equally likely
        if "norm" not in name:
            parameter.data.mul_(4.0)
    return model


def gradient(objective: Any, model: LanguageModel, batches: Sequence[Batch]) -> tuple[dict[str, float], Tensor]:
    """Loss and metrics of a step as the loop has them, and the gradient of all weights."""
    model.zero_grad()
    weight = sum(objective.weights(b)["loss"] for b in batches)
    sums: dict[str, list[float]] = {}
    for batch in batches:
        loss = objective({"policy": model}, batch)
        total, own = loss.terms["loss"]
        assert float(own) == pytest.approx(objective.weights(batch)["loss"])
        (total / weight).backward()
        for name, (value, count) in {**loss.metrics, "loss": (total, own)}.items():
            found = sums.setdefault(name, [0.0, 0.0])
            found[0], found[1] = found[0] + float(value.detach()), found[1] + float(count)
    told = {name: value / max(count, 1e-12) for name, (value, count) in sums.items()}
    return told, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def same(one: tuple[dict[str, float], Tensor], other: tuple[dict[str, float], Tensor]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5, abs=1e-5)
    assert float((one[1] - other[1]).norm()) <= 1e-5 * float(other[1].norm())


@pytest.mark.parametrize("config", ON_PAIRS, ids=["dpo", "cdpo", "ipo", "ipo-mean", "simpo", "orpo"])
def test_one_micro_batch_is_four_is_packed_and_is_two_ranks(config: PairConfig) -> None:
    model, objective, pairs = model_of(), FromPairs(config), some_pairs()

    def step(kind: type[PaddedPairs], micro: int, ranks: int = 1) -> list[Batch]:
        return [
            batch
            for rank in range(ranks)
            for batch in kind(
                pairs, length=16, pairs_per_step=7, micro_pairs=micro, seed=1, rank=rank, world_size=ranks
            ).next_step()
        ]

    whole = gradient(objective, model, step(PaddedPairs, 7))
    assert {"accuracy", "margin", "chosen_logprob", "rejected_logprob", "loss"} == whole[0].keys()
    assert whole[0]["chosen_logprob"] < 0 and float(whole[1].norm()) > 0
    for kind, micro, ranks in ((PaddedPairs, 2, 1), (PackedPairs, 7, 1), (PackedPairs, 2, 1), (PaddedPairs, 2, 2)):
        same(gradient(objective, model, step(kind, micro, ranks)), whole)


def marked(pairs: Sequence[RenderedPair]) -> list[RenderedAnswer]:
    return [RenderedAnswer(side, side is p.chosen) for p in pairs for side in (p.chosen, p.rejected)]


def test_kto_is_the_same_however_a_step_is_cut() -> None:
    model, objective = model_of(), KTO(KTOConfig(beta=0.3, undesirable_weight=1.5))
    answers = marked(some_pairs())
    others = answers_to_others(answers, seed=1)

    def step(kind: type[PaddedAnswers], micro: int) -> list[Batch]:
        def rows(which: Sequence[RenderedAnswer], reference: float) -> list[Batch]:
            known = [reference * (1 + 0.1 * i) for i in range(len(which))]
            source = kind(which, reference=known, length=20, answers_per_step=13, micro_answers=micro, seed=1)
            return source.next_step()

        return with_baseline(rows(answers, -4.0), rows(others, -30.0), model, Ranks())

    whole = gradient(objective, model, step(PaddedAnswers, 13))
    assert whole[0]["baseline"] > 0
    for kind, micro in ((PaddedAnswers, 4), (PackedAnswers, 13), (PackedAnswers, 4)):
        same(gradient(objective, model, step(kind, micro)), whole)


@torch.no_grad()
def test_log_probabilities_of_packed_sequences_are_those_of_each_alone() -> None:
    model, pairs = model_of(), some_pairs()
    packed = PackedPairs(pairs, length=16, pairs_per_step=8, micro_pairs=8, seed=0)
    (batch,) = packed.next_step()
    sums, counts = sequence_logprobs(model, batch)
    order = packed._order(0)
    for place, number in enumerate(order.tolist()):
        for side, whole in enumerate((pairs[number].chosen, pairs[number].rejected)):
            logits = model.logits(model(torch.tensor([whole.ids]))).float()[0]
            logprobs = torch.log_softmax(logits, -1)
            alone = sum(float(logprobs[t - 1, whole.ids[t]]) for t in range(1, len(whole.ids)) if whole.trained[t])
            assert float(sums[2 * place + side]) == pytest.approx(alone, abs=1e-4)
            assert float(counts[2 * place + side]) == sum(whole.trained)


def test_pairs_that_fill_up_a_micro_batch_change_nothing_and_give_no_nan() -> None:
    model, pairs = model_of(), some_pairs(1)
    for config in ON_PAIRS:
        filled, alone = (
            PaddedPairs(pairs, length=16, pairs_per_step=1, micro_pairs=micro, seed=0).next_step() for micro in (3, 1)
        )
        same(gradient(FromPairs(config), model, filled), gradient(FromPairs(config), model, alone))


def test_a_batch_without_a_reference_is_refused_where_the_method_needs_one() -> None:
    pairs = [dataclasses.replace(p, ref_logprobs=None) for p in some_pairs()]
    (batch,) = PaddedPairs(pairs, length=16, pairs_per_step=8, micro_pairs=8, seed=0).next_step()
    with pytest.raises(ConfigError, match=r"Given\.reference"):
        FromPairs(DPOConfig())({"policy": model_of()}, batch)
    assert FromPairs(SimPOConfig())({"policy": model_of()}, batch).terms


def test_each_prompt_gets_an_answer_that_was_meant_for_another() -> None:
    answers = marked(some_pairs())
    others = answers_to_others(answers, seed=1)
    for own, other in zip(answers, others, strict=True):
        assert other.answer.ids[:3] == own.answer.ids[:3] and other.answer.ids[3:] != own.answer.ids[3:]
        source = next(a for a in answers if a.answer.ids[3:] == other.answer.ids[3:])
        assert source.answer.ids[:3] != own.answer.ids[:3]
    assert answers_to_others(answers, seed=1) == others != answers_to_others(answers, seed=2)


# The reference -----------------------------------------------------------------------------------------------------


def test_the_reference_is_asked_once_and_kept(tmp_path: Path) -> None:
    model, sides = model_of(), [side for p in some_pairs() for side in (p.chosen, p.rejected)]
    ask = Reference(model, tmp_path, micro_rows=3, pad_id=1)
    found = ask("train", sides, 8)
    assert [n is None for n in found] == [len(s.ids) > 8 for s in sides] and any(n is None for n in found)
    for parameter in model.parameters():
        parameter.data.mul_(0.5)
    assert ask("train", sides, 8) == found  # from the file, whatever has become of the model
    assert ask("held_out", sides, 8) != found
    assert ask("train", sides[::-1], 8) != found[::-1]  # other answers are asked anew
    file = tmp_path / "reference-held_out.json"
    kept = ask("held_out", sides, 8)
    file.write_text(file.read_text().replace("-", "", 1))
    assert ask("held_out", sides, 8) == kept  # and so is what was damaged


def test_the_reference_beside_an_adapter_is_the_model_with_the_adapter_off(tmp_path: Path) -> None:
    sides = [side for p in some_pairs() for side in (p.chosen, p.rejected)]
    adapted = AdaptedModel(model_of(), AdapterConfig(rank=2, base="float32"))
    fresh = Reference(adapted, tmp_path, micro_rows=4, pad_id=1)("train", sides, 64)
    for linear in adapted.linears.values():
        linear.lora_B.data.normal_(generator=torch.Generator().manual_seed(0))
    with adapted.off():
        assert Reference(adapted, tmp_path / "off", micro_rows=4, pad_id=1)("train", sides, 64) == fresh
    assert Reference(adapted, tmp_path / "on", micro_rows=4, pad_id=1)("train", sides, 64) != fresh


# Roads -------------------------------------------------------------------------------------------------------------

SHORT = ("--rank", "4", "--set", "compare.max_tokens=4")
ANIMALS = "cat dog hen cow fox owl bee ant pig rat".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and files of pairs, of rated answers and of chats: the better answer names the food."""
    folder = tmp_path_factory.mktemp("preferences")
    pairs, ratings, chats = [], [], []
    for number in range(60):
        animal = ANIMALS[number % 10]
        asked = [{"role": "user", "content": f"What does the {animal} of farm {number} eat?"}]
        good, bad = f"The {animal} eats {animal} food.", "I do not know, ask somebody else about that."
        said = [[{"role": "assistant", "content": text}] for text in (good, bad)]
        pairs.append({"prompt": asked, "chosen": said[0], "rejected": said[1]})
        ratings += [{"prompt": asked, "completion": text, "label": n == 0} for n, text in enumerate(said)]
        chats.append({"messages": asked + said[0]})
    for name, records in (("pairs", pairs), ("ratings", ratings), ("chats", chats)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    texts = [json.dumps(p) for p in pairs] + [" ".join(ANIMALS)]
    tokenizer = train_tokenizer(texts, TokenizerConfig(vocab_size=400))
    shape = dataclasses.replace(SHAPE, vocab_size=tokenizer.vocab_size, max_position_embeddings=128)
    (folder / "model").mkdir()
    hf.save(fresh_language_model(shape, 1), folder / "model", eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
    tokenizer.save(folder / "model")
    return folder


def adapted(folder: Path, runs: Path, *more: str) -> Path:
    assert main(["adapt", str(folder / "model"), "--runs", str(runs), *SHORT, *more]) == 0
    (run,) = runs.iterdir()
    return run


@pytest.mark.parametrize("method", METHODS)
def test_every_method_teaches_an_adapter_to_prefer_what_was_preferred(
    method: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / ("ratings.jsonl" if method == "kto" else "pairs.jsonl")
    fast = ("--steps", "12", "--lr", "5e-3")
    run = adapted(folder, tmp_path / "runs", "--preferences", str(file), "--method", method, *fast)
    found = read_json(run / "compare.json")["measures"]
    assert found["after"]["accuracy"] == 1.0 and found["after"]["margin"] > 1
    assert "held-out pairs" in capsys.readouterr().out
    lines = read_metrics(run / method / "metrics.jsonl")
    assert all({"chosen_logprob", "rejected_logprob", "accuracy", "margin"} <= line.keys() for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"] and lines[-1]["held_out_accuracy"] == 1.0
    if METHODS[method].needs_reference:  # before training nothing has gained anything
        assert lines[0]["margin"] == pytest.approx(0, abs=0.05)
        assert (run / method / "reference-train.json").exists()


def test_preferences_go_on_with_the_adapter_that_the_chats_have_taught(folder: Path, tmp_path: Path) -> None:
    files = ("--chat", str(folder / "chats.jsonl"), "--preferences", str(folder / "pairs.jsonl"))
    fast = ("--steps", "adapt=20", "--lr", "adapt=5e-3", "--steps", "dpo=8", "--lr", "dpo=2e-3")
    run = adapted(folder, tmp_path / "runs", *files, "--merge", *fast)
    found = read_json(run / "compare.json")["measures"]
    # where it began is what the chats have taught, and not the base
    assert found["before"]["likelier"] == 1.0 and found["after"]["accuracy"] == 1.0
    lines = read_metrics(run / "dpo" / "metrics.jsonl")
    assert lines[0]["margin"] == pytest.approx(0, abs=0.05)
    assert (run / "merged" / "config.json").exists()
    kept = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert kept["base_model_name_or_path"] == str((folder / "model").resolve())


def test_training_that_was_stopped_goes_on_bit_for_bit_without_asking_the_reference_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jielong.train import loop

    arguments = ("--preferences", str(folder / "pairs.jsonl"), "--method", "kto", "--steps", "6")
    whole = adapted(folder, tmp_path / "whole", *arguments)
    one_step = loop.Loop._one_step

    def ends(self: loop.Loop) -> dict[str, float]:
        if self.step == 3:
            self._save()
            raise KeyboardInterrupt
        return one_step(self)

    with monkeypatch.context() as patched:
        patched.setattr(loop.Loop, "_one_step", ends)
        main(["adapt", str(folder / "model"), "--runs", str(tmp_path / "cut"), *SHORT, *arguments])
    (cut,) = (tmp_path / "cut").iterdir()
    stamps = {p: p.stat().st_mtime_ns for p in (cut / "kto").glob("reference-*.json")}
    assert len(stamps) == 4
    assert adapted(folder, tmp_path / "cut", *arguments) == cut
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    for name in ("adapter/adapter_model.safetensors", "kto/reference-train.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_shuffled_preferences_teach_nothing_about_held_out_ones(folder: Path, tmp_path: Path) -> None:
    """The control: the accuracies above are not an accident of the measure."""
    records = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    for number, record in enumerate(records):
        if number % 2:
            record["chosen"], record["rejected"] = record["rejected"], record["chosen"]
    file = tmp_path / "shuffled.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in records))
    run = adapted(folder, tmp_path / "runs", "--preferences", str(file), "--steps", "12", "--lr", "1e-3")
    assert abs(read_json(run / "compare.json")["measures"]["after"]["margin"]) < 0.5


def test_own_learns_preferences_without_a_reward_model(folder: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "a.txt").write_text("A page about animals. " * 20)
    given: dict[str, Any] = {"source": pages, "chat": folder / "chats.jsonl", "preferences": folder / "pairs.jsonl"}
    recipe = build_recipe("own", size="smoke", method="ipo", **given)
    stage = recipe.stage("ipo")
    assert isinstance(stage, TrainStage) and stage.objective == IPOConfig() and recipe.model == "ipo"
    assert not {"reward", "rl"} & {s.name for s in recipe.stages}
    assert {"reward", "rl"} <= {s.name for s in build_recipe("own", size="smoke", **given).stages}
    rl = build_recipe("own", size="smoke", method="gspo", **given).stage("rl")
    assert isinstance(rl, TrainStage) and rl.objective == PPOConfig(PolicyConfig(**ONLINE["gspo"].policy))
    kto = build_recipe("own", size="smoke", method="kto", **{**given, "preferences": folder / "ratings.jsonl"})
    source = kto.stage("kto")
    assert isinstance(source, TrainStage) and isinstance(source.source, AnswersConfig)


# Mistakes ----------------------------------------------------------------------------------------------------------


def test_mistakes_cost_one_sentence(folder: Path, tmp_path: Path) -> None:
    model, pairs, ratings = folder / "model", folder / "pairs.jsonl", folder / "ratings.jsonl"
    for options, told in (
        ({"preferences": pairs, "method": "dop"}, "no method is called 'dop'.*dpo"),
        ({"preferences": ratings, "method": "dpo"}, "single answers.*--method kto"),
        ({"preferences": pairs, "source": folder}, "--preferences FILE.jsonl goes alone or after --chat"),
    ):
        with pytest.raises(ConfigError, match=told):
            adapt(model, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="own way to learn"):
        build_recipe("quickstart", method="dpo")
    with pytest.raises(ConfigError, match="give them as --preferences"):
        build_recipe("own", method="dpo", source=folder)
    for config, values in (
        (DPOConfig, {"beta": 0}),
        (DPOConfig, {"label_smoothing": 0.5}),
        (IPOConfig, {"over": "max"}),
    ):
        with pytest.raises(ConfigError):
            config(**values)
    with pytest.raises(DataError, match="'label' is \"good\""):
        rating_of({"prompt": "a", "completion": "b", "label": "good"})
    liked = tmp_path / "liked.jsonl"
    liked.write_text("".join(line + "\n" for line in ratings.read_text().splitlines() if '"label": true' in line))
    assert file_stage("ratings", liked).holds == "ratings"
    assert (
        main(["adapt", str(model), "--preferences", str(liked), "--method", "kto", "--runs", str(tmp_path / "r")]) == 2
    )


def test_steps_suit_the_amount_of_data() -> None:
    # 20 pairs are 2.5 steps: eight times through; 1,000 pairs twice; 4,000 pairs once
    assert [steps_for(n) for n in (40, 2000, 8000)] == [20, 250, 500]
