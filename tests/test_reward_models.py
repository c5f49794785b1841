"""Reward models out of pairs, rankings and marks: losses by hand, steps however they are cut, and the whole road with best-of-n."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.test_alignment_optimum import random_problem, token_logprobs_of
from torch import Tensor, nn

from jielong.cli.main import main
from jielong.data.answers import PackedAnswers, PaddedAnswers
from jielong.data.chat_files import judgement_kinds_in, read_ratings
from jielong.data.judged import pairs_of_ratings
from jielong.data.judged_files import export_judgements
from jielong.errors import DataError
from jielong.evaluate.statistics import calibration_error
from jielong.model import hf
from jielong.model.transformer import ModelConfig, fresh_language_model, scalar_from_language_model
from jielong.recipes.own import own
from jielong.recipes.reward import mostly_comparable, reward_model
from jielong.records import Message, Preference, Ranking, Rating
from jielong.runs import find_model, read_json, read_metrics
from jielong.stages.rewarded import RewardedStage
from jielong.stages.train import TrainStage
from jielong.tokens import Rendered, RenderedAnswer
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer
from jielong.train.objectives.marks import Marked, MarkedConfig, marked
from jielong.train.objectives.preferences import BradleyTerryConfig, bradley_terry

ANIMALS = "cat dog hen cow fox owl bee ant pig rat".split()


def t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def said(role: str, text: str) -> tuple[Message, ...]:
    return (Message(role, text),)


# Losses ------------------------------------------------------------------------------------------------------------


def test_bradley_terry_with_a_margin_a_tie_and_wrong_labels_by_hand() -> None:
    # d = 2 - 0.5 - 0.5 = 1: log(1 + e^-1) = 0.313262
    assert bradley_terry(t(2), t(0.5), margin=0.5).item() == pytest.approx(0.313262, abs=1e-6)
    # a tie at d = 2: (0.126928 + 2.126928) / 2
    assert bradley_terry(t(2), t(0), label=0.5).item() == pytest.approx(1.126928, abs=1e-6)
    # a fifth wrong at d = 1: 0.8 * 0.313262 + 0.2 * 1.313262
    assert bradley_terry(t(1), t(0), label_smoothing=0.2).item() == pytest.approx(0.513262, abs=1e-6)
    # turned round, with the other label, it is the same
    assert bradley_terry(t(1), t(3), label=0.3, margin=0.5).item() == pytest.approx(
        bradley_terry(t(3), t(1), label=0.7, margin=-0.5).item()
    )


def test_marks_by_hand() -> None:
    # s = 1: mark 1 costs log(1 + e^-1) = 0.313262, mark 0 costs 1.313262, three quarters lie between
    losses = marked(t(1, 1, 1), t(1, 0, 0.75))
    assert losses.tolist() == pytest.approx([0.313262, 1.313262, 0.75 * 0.313262 + 0.25 * 1.313262], abs=1e-6)


def test_the_best_score_of_an_answer_is_the_log_odds_of_its_mean_mark() -> None:
    marks = t(1, 0.75, 0.5, 0.75, 0.25)
    score = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([score], max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = marked(score.expand(5), marks).sum()
        loss.backward()
        return loss.detach()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert score.item() == pytest.approx(math.log(0.65 / 0.35), abs=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    scores = t(-2.0, 0.1, 3.0).requires_grad_()
    other = t(0.5, -0.1, 3.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: marked(s, t(0, 0.3, 1)), (scores,))

    def compared(a: Tensor, b: Tensor) -> Tensor:
        return bradley_terry(a, b, label=t(1, 0.5, 0), margin=t(0.5, 0, 0.2), label_smoothing=0.1)

    assert torch.autograd.gradcheck(compared, (scores, other))


def answers() -> list[RenderedAnswer]:
    sizes, marks = (5, 9, 3, 12, 7), (1.0, 0.0, 0.25, 0.5, 0.75)
    return [
        RenderedAnswer(Rendered(tuple(range(2, 2 + n)), (False,) + (True,) * (n - 1)), m >= 0.5, m)
        for n, m in zip(sizes, marks, strict=True)
    ]


def gradients_of(model: nn.Module, steps: Sequence[Any]) -> tuple[float, list[Tensor]]:
    """The loss of a step and its gradients, divided by the weight of the whole step."""
    model.zero_grad()
    total = weight = 0.0
    for batch in steps:
        loss, count = Marked()({"reward": model}, batch).terms["loss"]
        loss.backward()
        total, weight = total + loss.item(), weight + float(count)
    assert weight == sum(Marked().weights(batch)["loss"] for batch in steps)
    return total / weight, [p.grad / weight for p in model.parameters() if p.grad is not None]


def test_marked_answers_have_the_same_gradients_however_a_step_is_cut_and_packed() -> None:
    shape = ModelConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=64,
    )  # fmt: skip
    model = scalar_from_language_model(fresh_language_model(shape, 1), 2)
    cuts = ((PaddedAnswers, 5), (PaddedAnswers, 2), (PackedAnswers, 5), (PackedAnswers, 2))
    found = [
        gradients_of(model, kind(answers(), length=16, answers_per_step=5, micro_answers=m, seed=0).next_step())
        for kind, m in cuts
    ]
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], abs=1e-6)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients, found[0][1], strict=True))


def test_accuracy_leaves_out_marks_in_the_middle() -> None:
    class Fixed(nn.Module):
        def forward(self, inputs: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
            return torch.ones(inputs.shape)

    (batch,) = PaddedAnswers(answers(), length=16, answers_per_step=5, micro_answers=5, seed=0).next_step()
    found = Marked(MarkedConfig(centre=0.0))({"reward": Fixed()}, batch).metrics["accuracy"]
    assert [x.item() for x in found] == [2.0, 4.0]


# Data --------------------------------------------------------------------------------------------------------------


def test_marks_of_one_prompt_make_pairs_with_their_gap_as_margin() -> None:
    def mark(prompt: str, answer: str, score: float, by: str = "") -> Rating:
        return Rating(said("user", prompt), said("assistant", answer), score, by)

    ratings = [
        mark("p", "a", 0.25),
        mark("p", "b", 1.0),
        mark("q", "a", 1.0),
        mark("p", "a", 0.75, "bo"),
        mark("p", "c", 0.5),
    ]
    found = [(p.chosen[0].text, p.rejected[0].text, p.margin, p.label) for p in pairs_of_ratings(ratings)]
    assert found == [("b", "a", 0.5, 1.0), ("a", "c", 0.0, 0.5), ("b", "c", 0.5, 1.0)]


def test_question_answer_and_score_of_any_scale_are_marks(tmp_path: Path) -> None:
    file = tmp_path / "scored.jsonl"
    rows = [{"question": f"q{n}", "answer": f"a{n}", "score": score} for n, score in enumerate((1, 10, 5.5))]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert judgement_kinds_in(file) == {"ratings"}
    found = read_ratings(file)
    assert [r.score for r in found.records] == [0.0, 1.0, 0.5]
    assert "scores from 1 to 10, which are taken as marks from 0 to 1" in found.tally.sentences()
    file.write_text(json.dumps({"question": "q", "answer": "a", "score": "high"}) + "\n")
    with pytest.raises(DataError, match="'score' is \"high\"; expected a finite number"):
        read_ratings(file)


def test_calibration_error_by_hand() -> None:
    # the bin from 0.6: 0.65 and 0.65 said, 1 and 0 came, |1.3 - 1| = 0.3; that of 0.9: |0.9 + 1 - 2| = 0.1; of four
    assert calibration_error([0.65, 0.65, 0.9, 1.0], [1, 0, 1, 1]) == pytest.approx(0.1)


# The road ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and files of judgements in which the answer that names the food is the best one."""
    folder = tmp_path_factory.mktemp("farm")
    pairs, rankings, marks, alone = [], [], [], []
    for number in range(60):
        animal = ANIMALS[number % 10]
        asked = said("user", f"What does the {animal} of farm {number} eat?")
        texts = (f"The {animal} eats {animal} food.", "Food.", "I do not know, ask somebody else about that.")
        best, middle, worst = (said("assistant", text) for text in texts)
        pairs.append(Preference(asked, best, worst, label=1.0 if number % 10 else 0.5))
        rankings.append(Ranking(asked, (worst, best, middle), (2, 0, 1)))
        marks += [Rating(asked, best, 1.0), Rating(asked, worst, 0.0)]
        alone.append(Rating(asked, best, 1.0) if number % 2 else Rating(asked, worst, 0.25))
    for name, nouns in (("pairs", pairs), ("rankings", rankings), ("marks", marks), ("alone", alone)):
        (folder / f"{name}.jsonl").write_text(export_judgements(nouns, "own").text)
    tokenizer = train_tokenizer(
        [*(m.text for p in pairs for m in (*p.prompt, *p.chosen, *p.rejected))], TokenizerConfig(400)
    )
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=128,
    )  # fmt: skip
    (folder / "model").mkdir()
    hf.save(fresh_language_model(shape, 1), folder / "model", eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
    tokenizer.save(folder / "model")
    return folder


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("pairs", BradleyTerryConfig),
        ("rankings", BradleyTerryConfig),
        ("marks", BradleyTerryConfig),
        ("alone", MarkedConfig),
    ],
)
def test_every_kind_of_judgement_makes_a_reward_model(
    name: str, objective: type, farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = farm / f"{name}.jsonl"
    training = reward_model(farm / "model", file).stage("reward")
    assert isinstance(training, TrainStage) and isinstance(training.objective, objective)
    arguments = ["--preferences", str(file), "--method", "reward", "--steps", "25", "--lr", "3e-3"]
    assert main(["adapt", str(farm / "model"), *arguments, "--runs", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    (run,) = tmp_path.iterdir()
    found = read_json(run / "reward.json")
    assert "calibration error" in told and f"--reward {run}" in told
    if name == "alone":
        assert found["pairs"] == 0 and found["marks_accuracy"] == 1.0 and found["marks_calibration_error"] < 0.3
    else:
        assert found["accuracy"] == 1.0 and 0 <= found["calibration_error"] < 0.5
    lines = read_metrics(run / "reward" / "metrics.jsonl")
    assert lines[-1]["loss"] < lines[0]["loss"] and lines[-1]["held_out_accuracy"] == 1.0


def test_a_reward_model_picks_the_best_of_several_answers(
    farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--preferences", str(farm / "pairs.jsonl"), "--method", "reward", "--steps", "3"]
    assert main(["adapt", str(farm / "model"), *arguments, "--runs", str(tmp_path)]) == 0
    (run,) = tmp_path.iterdir()
    ask = ["ask", str(farm / "model"), "What does the cat eat?", "--max-tokens", "6", "--strategy", "best-of:n=3"]
    assert main([*ask, "--reward", str(run), "--show"]) == 0
    assert "* scores" in capsys.readouterr().err


def test_several_members_are_trained_alike_and_told_together(
    farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--preferences", str(farm / "pairs.jsonl"), "--method", "reward", "--members", "3", "--steps", "4"]
    assert main(["adapt", str(farm / "model"), *arguments, "--runs", str(tmp_path)]) == 0
    (run,) = tmp_path.iterdir()
    heads = [hf.load(find_model(run, name)).score.weight for name in ("reward", "reward_2", "reward_3")]
    assert not torch.equal(heads[0], heads[1]) and not torch.equal(heads[1], heads[2])
    assert all(len(read_metrics(run / name / "metrics.jsonl")) == 4 for name in ("reward", "reward_2", "reward_3"))
    found, told = read_json(run / "reward.json"), capsys.readouterr().out
    assert found["together_members"] == 3 and "accuracy_cautious" in str(sorted(found)) and found["words_pairs"] > 0
    assert "3 reward models together: mean" in told and "a bag of words" in told and f"{run / 'reward_3'}" in told
    assert main(["adapt", str(farm / "model"), *arguments[:2], "--members", "2"]) == 2
    assert main(["adapt", str(farm / "model"), *arguments[:4], "--members", "17"]) == 2


def test_the_reward_model_of_ones_own_text_is_measured_too(farm: Path, tmp_path: Path) -> None:
    pages, chats = tmp_path / "pages", tmp_path / "chats.jsonl"
    pages.mkdir()
    (pages / "farm.md").write_text("# A farm\n\nThe cat eats cat food.\n")
    asked = [{"messages": [{"role": r, "content": f"{r} {n}"} for r in ("user", "assistant")]} for n in range(20)]
    chats.write_text("".join(json.dumps(one) + "\n" for one in asked))
    stages = {s.name: s for s in own(pages, chats, farm / "pairs.jsonl", "smoke").stages}
    measured = stages["measure"]
    assert isinstance(measured, RewardedStage) and list(stages).index("measure") == list(stages).index("reward") + 1
    assert measured.inputs == {"reward": "reward", "data": "preferences", "tokenizer": "tokenizer"}
    assert "measure" not in {s.name for s in own(pages, chats, farm / "pairs.jsonl", "smoke", method="dpo").stages}


def test_options_that_a_reward_model_does_not_take_are_refused(farm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = str(farm / "pairs.jsonl")
    assert main(["adapt", str(farm / "model"), "--preferences", pairs, "--method", "reward", "--merge"]) == 2
    assert main(["adapt", str(farm / "model"), "--method", "reward"]) == 2
    assert "learns from --preferences alone" in (said := capsys.readouterr().err) and "add --preferences" in said


def test_marks_are_compared_where_most_prompts_have_several(farm: Path) -> None:
    assert mostly_comparable(farm / "marks.jsonl") and not mostly_comparable(farm / "alone.jsonl")


# Best of n ---------------------------------------------------------------------------------------------------------


def best_of(probabilities: Tensor, rewards: Tensor, n: int) -> Tensor:
    """How likely each answer is the one with the highest reward among n draws: F(r)^n - F(r-)^n."""
    order = rewards.argsort()
    upto = probabilities[order].cumsum(0)
    found = torch.empty_like(probabilities)
    found[order] = upto**n - torch.cat([t(0), upto[:-1]]) ** n
    return found


def test_the_best_of_n_is_the_one_that_enumeration_finds() -> None:
    probabilities, rewards = t(0.1, 0.4, 0.2, 0.3), t(3, -1, 0.5, 2)
    found = torch.zeros(4, dtype=torch.float64)
    for draws in itertools.product(range(4), repeat=3):
        found[max(draws, key=lambda i: float(rewards[i]))] += math.prod(float(probabilities[i]) for i in draws)
    assert torch.allclose(best_of(probabilities, rewards, 3), found)


@pytest.mark.parametrize("n", [1, 2, 8, 64])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_n_is_no_further_from_one_draw_than_its_bound(n: int, seed: int) -> None:
    table, rewards = random_problem(seed)
    reference = token_logprobs_of(table.double()).sum(dim=1).exp()
    chosen = best_of(reference, rewards.double(), n)
    divergence = float((chosen * (chosen / reference).clamp(min=1e-300).log()).sum())
    bound = math.log(n) - (n - 1) / n
    assert chosen.sum().item() == pytest.approx(1) and -1e-12 <= divergence <= bound + 1e-12
    even = torch.full((100_000,), 1e-5, dtype=torch.float64)
    fine = best_of(even, torch.arange(100_000.0, dtype=torch.float64), n)
    # of answers that are all rare it is met
    assert float((fine * (fine / even).clamp(min=1e-300).log()).sum()) == pytest.approx(bound, abs=1e-3)
