"""Figures of reward models on comparisons: accuracy by length, calibration and temperature, ensembles, a bag of words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jielong.errors import ConfigError
from jielong.evaluate.bag_of_words import fit_bag_of_words, words_of
from jielong.evaluate.comparing_scores import (
    Compared,
    by_length,
    ensemble,
    ensemble_figures,
    figures_of,
    fit_temperature,
    lines_of,
)


def drawn_gaps(count: int, scale: float, seed: int) -> np.ndarray:
    """Gaps whose signs are drawn as Bradley and Terry have it, then multiplied by `scale`."""
    dice = np.random.default_rng(seed)
    sizes = np.abs(dice.normal(0, 2, count))
    return scale * np.where(dice.random(count) < 1 / (1 + np.exp(-sizes)), sizes, -sizes)


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_the_temperature_is_what_the_gaps_were_multiplied_with(scale: float) -> None:
    assert fit_temperature(drawn_gaps(4000, scale, 1)) == pytest.approx(scale, rel=0.1)


def test_a_temperature_mends_scores_that_are_too_sure_on_comparisons_that_it_was_not_fitted_to() -> None:
    gaps = drawn_gaps(2000, 5.0, 2)
    found = figures_of(gaps.tolist(), [Compared(0, n // 2) for n in range(2000)])
    assert found["temperature"] == pytest.approx(5, rel=0.15) and found["pairs_of_temperature"] == 1000
    assert found["calibration_error_before"] > 0.1 and found["calibration_error_after"] < 0.05
    # its figure without a temperature is of all comparisons
    assert found["calibration_error"] == pytest.approx(found["calibration_error_before"], abs=0.03)


def test_a_few_comparisons_that_are_all_right_do_not_make_a_model_infinitely_sure() -> None:
    # eight gaps of 1, all right: sigmoid(1 / T) = 9 / 10, so T = 1 / ln 9
    assert fit_temperature(np.ones(8)) == pytest.approx(1 / math.log(9), rel=1e-3)


def test_equal_scores_are_half_right() -> None:
    assert figures_of([0.0, 1.0, -1.0, 0.0], [Compared(0, n) for n in range(4)])["accuracy"] == 0.5


def test_a_judge_of_length_alone_is_found_out_by_its_thirds() -> None:
    longer_by = np.arange(-30, 30)
    right = (longer_by > 0).astype(float)
    found = by_length(right, longer_by)
    assert [found[f"third_{n}_accuracy"] for n in (1, 2, 3)] == [0.0, 9 / 20, 1.0]
    assert (found["third_1_from"], found["third_1_to"], found["third_3_pairs"]) == (-30, -11, 20)
    assert by_length(right[:20], longer_by[:20]) == {}


def test_ensembles_combine_as_they_are_named() -> None:
    scores = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert ensemble(scores, "mean").tolist() == [2.0, 5.0] and ensemble(scores, "min").tolist() == [1.0, 5.0]
    # mean 2, standard deviation 1
    assert ensemble(scores, "cautious", caution=0.5).tolist() == [1.5, 5.0]
    with pytest.raises(ConfigError, match="'median'; expected mean, min, cautious"):
        ensemble(scores, "median")  # type: ignore[arg-type]


def test_an_ensemble_of_noisy_scores_decides_better_than_its_members() -> None:
    dice = np.random.default_rng(0)
    truth = np.stack([np.ones(400), np.zeros(400)], 1).ravel()
    found = ensemble_figures(truth + dice.normal(0, 2, (9, 800)), [Compared(0, n) for n in range(400)])
    assert found["members"] == 9 and found["accuracy_mean"] > found["accuracy_member"] + 0.1
    # two draws of deviation 2 differ with deviation 2 sqrt 2, and nine of them show sqrt(8 / 9) of it
    assert found["disagreement"] == pytest.approx(2 * math.sqrt(2) * math.sqrt(8 / 9), rel=0.1)


def test_a_bag_of_words_learns_a_word_and_nothing_from_shuffled_labels() -> None:
    dice = np.random.default_rng(0)
    filler = "the a one some of to in it was there".split()

    def answer(*more: str) -> str:
        return " ".join([*dice.choice(filler, 12), *more])

    good, bad = [answer("sorry") for _ in range(200)], [answer("surely") for _ in range(200)]
    prompts = list(range(150))
    bag = fit_bag_of_words(good[:150], bad[:150], prompts)
    assert bag.weights["sorry"] > 0 > bag.weights["surely"]
    assert all(bag.score(a) > bag.score(b) for a, b in zip(good[150:], bad[150:], strict=True))
    turned = dice.random(150) < 0.5
    one, other = (
        [b if t != side else a for a, b, t in zip(good[:150], bad[:150], turned, strict=True)] for side in (False, True)
    )
    chance = fit_bag_of_words(one, other, prompts)
    assert abs(chance.weights["sorry"]) < bag.weights["sorry"] / 3


def test_chinese_words_are_characters_and_their_pairs() -> None:
    assert dict(words_of("你好，World's")) == {"你": 1, "好": 1, "你好": 1, ",": 1, "world's": 1}


def test_lines_tell_the_figures() -> None:
    gaps = drawn_gaps(60, 2.0, 3)
    said = "\n".join(lines_of(figures_of(gaps.tolist(), [Compared(n - 30, n) for n in range(60)])))
    assert "of 60 held-out comparisons" in said and "fitted to 30 of them" in said
    assert "its length less the other's is -30 to -11" in said and lines_of({"pairs": 0.0}) == []
