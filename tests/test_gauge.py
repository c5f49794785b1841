"""The gauge: laws that are known come back, the rule sees neither gold nor the future, and the command says which model to keep."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.test_loop import make_loop
from tests.test_rollouts import GROUPS, build

from jielong.cli.main import main
from jielong.errors import ConfigError
from jielong.records import Conversation, Sample, Score
from jielong.report.words import WORDS
from jielong.runs import read_metrics, write_json
from jielong.train.gauge import (
    Reading,
    StopRule,
    best_of_n_kl,
    expected_maximum,
    kept_at,
    label_windows,
    measures,
    readings_of,
)
from jielong.train.laws import Form, fit
from jielong.train.loop import Loop, LoopConfig
from jielong.train.rewards import Items, Judged, Mixture, RuleReward
from jielong.train.samples import fresh_pairs

# The laws


@pytest.mark.parametrize(
    ("form", "alpha", "beta", "peak_kl"),
    [
        ("best_of_n", 2.0, 0.5, 4.0),  # alpha - 2 beta d = 0 at d = 2
        ("rl", 1.0, 0.5, math.exp(2)),  # log d = alpha / beta - 1 = 1, so d = e
    ],
)
def test_a_law_without_noise_comes_back(form: Form, alpha: float, beta: float, peak_kl: float) -> None:
    kls = [0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0]
    rewards = [
        3.0 + d * (alpha - beta * (d if form == "best_of_n" else math.log(d or 1.0))) for d in map(math.sqrt, kls)
    ]
    law = fit(kls, rewards, form)
    assert law is not None and law.error < 1e-9
    for found, right in ((law.start, 3.0), (law.alpha, alpha), (law.beta, beta), (law.peak_kl, peak_kl)):
        assert found.low <= found.value + 1e-9 and found.value == pytest.approx(right) == pytest.approx(found.high)
    assert [law.at(kl) for kl in kls] == pytest.approx(rewards)


def test_intervals_hold_the_truth_about_as_often_as_they_say_and_grow_with_the_noise() -> None:
    dice, kls, held, widths = random.Random(0), [0.25 * i for i in range(40)], 0, []
    for trial in range(40):
        noise = 0.02 if trial % 2 else 0.2
        rewards = [math.sqrt(kl) * (2 - 0.5 * math.sqrt(kl)) + dice.gauss(0, noise) for kl in kls]
        law = fit(kls, rewards, "best_of_n", draws=200, seed=trial)
        assert law is not None
        held += law.beta.low <= 0.5 <= law.beta.high
        widths.append(law.beta.high - law.beta.low)
    assert held >= 32
    assert sum(widths[0::2]) > 5 * sum(widths[1::2])


def test_a_curve_that_only_rises_has_its_peak_at_infinity() -> None:
    kls = [float(i) for i in range(10)]
    law = fit(kls, [math.sqrt(kl) + 0.1 * kl for kl in kls], "best_of_n")
    assert law is not None and law.peak_kl.value == math.inf


def test_nothing_is_fitted_to_few_points_or_to_one_distance() -> None:
    assert fit([0.0, 1.0, 2.0, 3.0, 4.0], [0.0] * 5, "rl") is None
    assert fit([1.0] * 9, [0.1 * i for i in range(9)], "rl") is None


# Readings


def lines(scores: Sequence[float], steps_per_rollout: int = 2) -> list[dict[str, float]]:
    """The lines of a log with two steps a rollout."""
    return [
        {"step": i + 1, "score": score, "kl": 0.1 * (i // steps_per_rollout), "length": 3.0, "loss": 0.1 * i}
        for i, score in enumerate(s for s in scores for _ in range(steps_per_rollout))
    ]


def test_a_rollout_is_read_once_at_the_step_that_its_policy_had() -> None:
    found = readings_of([{"step": 1, "loss": 2.0}, *lines([0.5, 0.7])])
    assert [(r.step, r.learned, r.gold) for r in found] == [(0, 0.5, None), (2, 0.7, None)]
    assert found[0].signals == {"length": 3.0}
    drawn = readings_of([{"step": 9, "score": 1.0, "kl": 0.0, "drawn_at": 6.0, "score_gold": 0.4}])
    assert [(r.step, r.gold) for r in drawn] == [(6, 0.4)] and "score_gold" not in drawn[0].signals


def test_a_log_without_rollouts_has_no_readings() -> None:
    assert readings_of([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "held_out_loss": math.nan}]) == []


def test_rollouts_say_at_which_step_they_were_drawn() -> None:
    source = build(dataclasses.replace(GROUPS, epochs=2, minibatches=2))
    seen = []
    for _ in range(9):
        source.next_step()
        seen.append(source.metrics()["drawn_at"])
    assert seen == [0.0] * 4 + [4.0] * 4 + [8.0]


def test_the_pairs_of_a_group_are_right_where_scores_and_labels_differ_alike() -> None:
    # groups of four: (2, 1) right; (1, 1) undecided; (0, 3) wrong; the labels of (5, 4) are equal
    scores, labels = [2.0, 1.0, 1.0, 1.0, 0.0, 3.0, 5.0, 4.0], [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    assert fresh_pairs(Judged(scores, {"score_labels": labels}), 4) == [True, False]
    # the third of a group of three has no neighbour
    assert fresh_pairs(Judged([1.0, 0.0, 9.0] * 2, {"score_labels": [1.0, 0.0, 0.0] * 2}), 3) == [True, True]
    assert fresh_pairs(Judged(scores, {}), 4) == []


def test_a_reward_named_labels_gives_the_accuracy_on_fresh_pairs_and_changes_nothing() -> None:
    def steps(*, is_labelled: bool) -> tuple[list[float], dict[str, float]]:
        def lengths(items: Items) -> list[Score]:
            return [Score(float(sum(sample.ids))) for _, _, sample in items]

        rewards = [(RuleReward("sum"), lengths), *([(RuleReward("labels", 0.0), lengths)] if is_labelled else [])]
        source = build(GROUPS, scorer=Mixture(rewards))
        batches = source.next_step()
        return [float(b.extra["advantages"].sum()) for b in batches], source.metrics()

    (plain, without), (labelled, measured) = steps(is_labelled=False), steps(is_labelled=True)
    assert plain == labelled and "fresh_accuracy" not in without
    assert measured["fresh_accuracy"] == 1.0 and measured["fresh_pairs"] > 0


# The rule


def labelled(accuracies: Sequence[float], pairs: float = 100.0) -> list[Reading]:
    return [
        Reading(2 * i, 0.5 * i, float(i), None, {"fresh_accuracy": share, "fresh_pairs": pairs})
        for i, share in enumerate(accuracies)
    ]


def test_the_rule_stops_where_fresh_pairs_are_no_better_than_a_coin_and_keeps_the_first_of_them() -> None:
    # windows of two rollouts: .8 .75 .6 .5 .45
    readings = labelled([0.8, 0.8, 0.7, 0.5, 0.5, 0.4])
    verdict = StopRule().stop(readings)
    assert (verdict.at, verdict.keep, verdict.reason) == (5, 4, "accuracy")
    assert StopRule().value(readings, verdict) == pytest.approx(0.45)
    assert [None if w is None else w[0] for w in label_windows(readings, 200)] == [None, 0, 1, 2, 3, 4]


def test_a_rollout_with_few_labels_is_taken_together_with_those_before_it() -> None:
    assert label_windows(labelled([1.0, 0.5, 0.0, 0.0], pairs=10.0), 30)[2:] == [(0, 0.5), (1, pytest.approx(1 / 6))]


def test_the_budget_holds_until_there_are_enough_labels() -> None:
    few = [dataclasses.replace(r, kl=4.0 * r.step) for r in labelled([0.9] * 5, pairs=10.0)]
    assert StopRule().stop(few).reason == "distance"
    many = [dataclasses.replace(r, kl=4.0 * r.step) for r in labelled([0.9] * 5, pairs=200.0)]
    assert StopRule().stop(many).reason == ""


def test_the_rule_does_not_see_what_comes_later() -> None:
    dice = random.Random(3)
    readings = labelled([0.9 - 0.03 * i + dice.gauss(0, 0.1) for i in range(30)])
    whole = StopRule().stop(readings)
    assert whole.reason
    assert all(not StopRule().stop(readings[:count]).reason for count in range(1, whole.at + 1))
    assert all(StopRule().stop(readings[:count]) == whole for count in range(whole.at + 1, len(readings) + 1))


@pytest.mark.parametrize("is_labelled", [True, False])
def test_the_rule_does_not_see_gold(is_labelled: bool) -> None:
    readings = labelled([0.9 - 0.05 * i for i in range(12)])
    other = [dataclasses.replace(r, gold=random.Random(r.step).random()) for r in readings]
    assert StopRule().stop(readings, is_labelled=is_labelled) == StopRule().stop(other, is_labelled=is_labelled)


def test_without_labels_a_budget_decides() -> None:
    # best of 24: log 24 - 23/24 = 2.22 nats; the means of three rollouts are 0, .5, 1, 2, 3
    far = [Reading(i, float(i), 0.0, None, {}) for i in range(5)]
    assert dataclasses.astuple(StopRule().stop(far)) == (4, 3, "distance")
    # the rewards of the start deviate by .5 in a group, and the best of 24 is 1.95 deviations up
    high = [Reading(i, 0.0, 0.6 * i, None, {"group_spread": 0.5}) for i in range(5)]
    assert dataclasses.astuple(StopRule().stop(high)) == (3, 2, "height")
    apart = [Reading(i, 0.0, 0.0, None, {"disagreement_ensemble": 1.0 + 0.3 * i}) for i in range(6)]
    assert dataclasses.astuple(StopRule().stop(apart)) == (3, 2, "disagreement")
    assert StopRule(disagreement=0.0).stop(apart).reason == ""
    assert measures([], 3)["distance"] == []


def test_the_budget_is_that_of_the_best_of_n() -> None:
    assert best_of_n_kl(4) == pytest.approx(math.log(4) - 0.75)
    # of two draws it is 1 / sqrt(pi), of ten 1.5388 (Harter 1961)
    assert expected_maximum(2) == pytest.approx(math.pi**-0.5, abs=0.03)
    assert expected_maximum(10) == pytest.approx(1.5388, abs=0.01)


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    for wrong in ({"accuracy": 1.5}, {"answers": 1.0}, {"pairs": 0}, {"window": 0}):
        with pytest.raises(ConfigError):
            StopRule(**wrong)  # type: ignore[arg-type]


# Models along the way


def test_models_along_the_way_are_kept_and_change_nothing(tmp_path: Path) -> None:
    def losses(name: str, keep_every: int) -> list[float]:
        loop: Loop = make_loop(tmp_path / name, 6)
        loop.config = dataclasses.replace(loop.config, keep_every=keep_every)
        loop.run()
        return [line["loss"] for line in read_metrics(tmp_path / name / "metrics.jsonl")]

    assert losses("plain", 0) == losses("kept", 2)
    assert not (tmp_path / "plain" / "kept").exists()
    kept = sorted((tmp_path / "kept" / "kept").iterdir())
    assert [path.name for path in kept] == ["000002", "000004", "000006"]
    last = tmp_path / "kept" / "steps" / "000006" / "model" / "model.safetensors"
    assert (kept[-1] / "model" / "model.safetensors").read_bytes() == last.read_bytes()


def test_keeping_models_does_not_move_a_fingerprint_unless_it_is_asked_for() -> None:
    from jielong.config import resolved

    assert "keep_every" not in resolved(LoopConfig(), is_fingerprint=True)
    assert resolved(LoopConfig(keep_every=5), is_fingerprint=True)["keep_every"] == 5


def test_the_model_to_keep_is_no_later_than_the_reading() -> None:
    assert kept_at([0, 10, 20], 19) == 10 and kept_at([0, 10, 20], 20) == 20 and kept_at([10], 5) is None


# The worlds of the benchmark


def test_gold_of_the_enumerable_world_has_mean_0_and_variance_1_and_turns_over_beyond_the_start() -> None:
    from bench.alignment.worlds.enumerable import make_world

    world = make_world(8)
    assert float(world.likely_N.sum()) == pytest.approx(1.0)
    assert float(world.likely_N @ world.gold_N) == pytest.approx(0.0, abs=1e-9)
    assert float(world.likely_N @ world.gold_N.square()) == pytest.approx(1.0)
    # beyond the turn it falls at least twice as steeply as it rose, so the lowest lies further from 0 than the highest
    assert -float(world.gold_N.min()) > float(world.gold_N.max()) > 1


def test_the_labeller_compares_neighbours_and_has_no_opinion_beyond_its_pairs() -> None:
    import numpy as np
    from bench.alignment.worlds.labels import Labels

    labeller = Labels(lambda left, right: np.array([1.0, 0.0, np.nan]), 3, seed=0)
    sample: Items = [(None, Conversation(()), Sample((), (1,)))] * 8
    assert [score.value for score in labeller(sample)] == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]


# The command


def make_run(path: Path, *, gold_weight: float = 0.0, has_labels: bool = True, is_done: bool = True) -> Path:
    """A run whose gold peaks at KL 4 and whose reward model falls below a coin there."""
    rewards = [{"kind": "ModelReward", "name": "model", "weight": 1.0}, {"name": "gold", "weight": gold_weight}]
    about = {"parents": {}, "seconds": 1.0}
    stages = {
        "sft": {**about, "fingerprint": "a", "done": "a", "summary": {"checkpoint": "000005"}},
        "rl": {
            **about,
            "fingerprint": "b",
            **({"done": "b"} if is_done else {}),
            "summary": {"checkpoint": "000040"},
            "config": {"inputs": {"start": "sft"}, "source": {"rewards": rewards}},
        },
    }
    write_json(
        path / "run.json", {"version": 1, "recipe": "toy", "size": "tiny", "seed": 0, "seconds": 2.0, "stages": stages}
    )
    for place in ("sft/steps/000005", "rl/kept/000010", "rl/kept/000020", "rl/steps/000040"):
        write_json(path / place / "model" / "config.json", {})
    made = []
    for i in range(20):
        d = 0.2 * i
        labels = {"fresh_pairs": 100.0, "fresh_accuracy": 0.8 - 0.15 * d} if has_labels else {}
        made.append(
            {
                "step": 2 * i + 1,
                "drawn_at": 2.0 * i,
                "kl": d * d,
                "score": 2 * d,
                "score_gold": d * (2 - 0.5 * d),
                **labels,
            }
        )
    (path / "rl" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in made))
    return path


def test_the_command_draws_and_says_which_model_to_keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "toy")
    assert main(["gauge", str(run), "--language", "en"]) == 0
    said = capsys.readouterr().out
    assert all(len(line) <= 80 or str(run) in line for line in said.splitlines())
    said = " ".join(said.split())
    # the accuracy is below a half from d = 2 on; of windows of two rollouts the first such one is that of 1.8 ... 2.2
    assert "Stop at step 22, 4.84 nats from the start: the reward model orders 48% of fresh" in said
    assert f"Keep the model of step 20: {run}/rl/kept/000020/model" in said
    assert "Gold there is 2.000; its highest is 2.000, at step 20 and 4.00 nats." in said
    assert f"Next: jielong chat {run}/rl/kept/000020/model" in said
    page = (run / "gauge.rl.html").read_text()
    HTMLParser().feed(page)
    assert page.count("<svg") == 2 and "gold reward" in page and "http" not in page


def test_the_command_speaks_chinese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "toy")
    assert main(["gauge", f"{run}:rl", "--language", "zh"]) == 0
    assert "应在第 22 步停止" in capsys.readouterr().out
    assert (run / "gauge.rl.zh.html").exists()


def test_the_command_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "toy")
    assert main(["gauge", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stop"], found["keep"], found["reason"], found["checkpoint_step"]) == (11, 10, "accuracy", 20)
    laws = {(law["reward"], law["form"]): law for law in found["laws"]}
    assert laws["gold", "best_of_n"]["beta"][0] == pytest.approx(0.5)
    assert laws["learned", "best_of_n"]["peak_kl"][0] is None or laws["learned", "best_of_n"]["peak_kl"][0] > 100
    assert not (run / "gauge.rl.html").exists()


def test_where_nothing_says_to_stop_the_newest_model_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "toy")
    log = run / "rl" / "metrics.jsonl"
    first = "".join(line for line in log.read_text().splitlines(keepends=True)[:3])
    log.write_text(first)  # the last rollout was written by the policy of step 4, and training ended at step 40
    assert main(["gauge", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stop"], found["reason"], found["checkpoint_step"]) == (None, "", 40)


def test_a_gold_that_is_trained_on_is_not_shown_as_gold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gauge", str(make_run(tmp_path / "toy", gold_weight=0.5)), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(point["gold"] is None for point in found["points"]) and "gauge gold trained" in found["notes"]


def test_without_labels_the_command_says_that_it_goes_by_a_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "toy", has_labels=False, is_done=False)
    assert main(["gauge", str(run), "--language", "en"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the reward model is trusted up to 2.22" in said and "No fresh pairs are labelled" in said
    assert "The stage is not finished." in said


def test_a_run_without_reinforcement_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "toy")
    assert main(["gauge", str(run), "--stage", "sft"]) == 2
    assert "stages with rollouts: rl" in capsys.readouterr().err
    (run / "rl" / "metrics.jsonl").unlink()
    assert main(["gauge", str(run)]) == 2
    assert "was not reinforced" in capsys.readouterr().err


def test_every_reason_and_form_has_words() -> None:
    for name in ("accuracy", "distance", "height", "disagreement", "learned", "gold", "best_of_n", "rl"):
        assert f"gauge.{name}" in WORDS
