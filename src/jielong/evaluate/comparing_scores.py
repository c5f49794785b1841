"""Figures of scores on comparisons: how often the better answer scores higher, and whether differences are odds.

A comparison is a gap, the score of the better answer less that of the other one. Under Bradley and Terry its sigmoid is
the probability that the answer with the higher score is the better one; the calibration error says how far that is from
the outcomes. One temperature, fitted to a part of the comparisons, mends scores that are merely too large or too small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jielong.errors import ConfigError
from jielong.evaluate.statistics import calibration_error, wilson

Floats = NDArray[np.float64]

FEWEST = 8
"""Comparisons with which a temperature is fitted, and fewest in a third of the lengths."""

COLDEST, WARMEST = 0.02, 50.0
"""The bounds of a temperature."""

Agreement = Literal["mean", "min", "cautious"]
"""How the scores of an ensemble become one: their mean, the least, or the mean less `caution` standard deviations."""

ENSEMBLES: tuple[Agreement, ...] = ("mean", "min", "cautious")


@dataclass(frozen=True)
class Compared:
    """A comparison without its scores: by how much the better answer is longer, and the number of its prompt."""

    longer_by: int
    prompt: int


def figures_of(gaps: Sequence[float], compared: Sequence[Compared]) -> dict[str, float]:
    """Compute the figures of gaps, one for each comparison; {"pairs": 0} where there are none.

    "accuracy": how often the gap is above 0, half where it is 0; also where the better answer is the "longer" or the
    "shorter" one, and in thirds of the comparisons by `longer_by`. "calibration_error": of sigmoid(|gap|). Where there
    are enough, "temperature" is fitted to every other prompt, and "calibration_error_before" and "_after" are of the rest.
    """
    if not gaps:
        return {"pairs": 0.0}
    values = np.asarray(gaps, dtype=np.float64)
    right = np.sign(values) / 2 + 0.5
    found = {"pairs": float(len(values)), "accuracy": float(right.mean()), "gap": float(values.mean())}
    found["calibration_error"] = error_of(values)
    longer_by = np.asarray([c.longer_by for c in compared])
    for name, chosen in (("longer", longer_by > 0), ("shorter", longer_by < 0)):
        if chosen.any():
            found |= {f"pairs_{name}": float(chosen.sum()), f"accuracy_{name}": float(right[chosen].mean())}
    return found | by_length(right, longer_by) | with_temperature(values, [c.prompt for c in compared])


def by_length(right: Floats, longer_by: NDArray[np.int64]) -> dict[str, float]:
    """Compute the accuracy in thirds of the comparisons, from those whose better answer is the shortest beside the other.

    For third n: "third_n_from" and "third_n_to" are its bounds of `longer_by`, then "third_n_pairs" and "third_n_accuracy".
    """
    if len(right) < 3 * FEWEST:
        return {}
    found: dict[str, float] = {}
    for number, part in enumerate(np.array_split(np.argsort(longer_by, kind="stable"), 3), 1):
        found |= {
            f"third_{number}_from": float(longer_by[part].min()),
            f"third_{number}_to": float(longer_by[part].max()),
            f"third_{number}_pairs": float(len(part)),
            f"third_{number}_accuracy": float(right[part].mean()),
        }
    return found


def with_temperature(gaps: Floats, prompts: Sequence[int]) -> dict[str, float]:
    """Fit a temperature to the comparisons of every other prompt, and compute the error on the rest before and after."""
    order = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    fitted = np.asarray([order[prompt] % 2 == 0 for prompt in prompts], dtype=bool)
    if min(fitted.sum(), (~fitted).sum()) < FEWEST:
        return {}
    temperature = fit_temperature(gaps[fitted])
    return {
        "temperature": temperature,
        "pairs_of_temperature": float(fitted.sum()),
        "calibration_error_before": error_of(gaps[~fitted]),
        "calibration_error_after": error_of(gaps[~fitted] / temperature),
    }


def error_of(gaps: Floats) -> float:
    """Compute the calibration error of sigmoid(|gap|) as the probability that the answer with the higher score is better."""
    return calibration_error(_sigmoid(np.abs(gaps)).tolist(), (np.sign(gaps) / 2 + 0.5).tolist())


def fit_temperature(gaps: Floats) -> float:
    """Fit the temperature T of sigmoid(gap / T) by likelihood (Guo et al. 2017, arXiv 1706.04599), by golden sections.

    Outcomes are drawn in by Platt's rule, (n + 1) / (n + 2), so that a few comparisons, all decided right, do not make
    the scores infinitely sure.
    """
    sure = (len(gaps) + 1) / (len(gaps) + 2)

    def loss(log_temperature: float) -> float:
        scaled = gaps / math.exp(log_temperature)
        return float((sure * np.logaddexp(0, -scaled) + (1 - sure) * np.logaddexp(0, scaled)).mean())

    low, high, golden = math.log(COLDEST), math.log(WARMEST), (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    return math.exp((low + high) / 2)


def ensemble(scores: Floats, how: Agreement, caution: float = 1.0) -> Floats:
    """Combine the scores (K, N) of K reward models into (N,); the models' means are taken to be comparable."""
    if how == "mean":
        return np.asarray(scores.mean(0))
    if how == "min":
        return np.asarray(scores.min(0))
    if how == "cautious":
        return np.asarray(scores.mean(0) - caution * scores.std(0))
    raise ConfigError(f"an ensemble is combined by {how!r}; expected {', '.join(ENSEMBLES)}")


def ensemble_figures(scores: Floats, compared: Sequence[Compared]) -> dict[str, float]:
    """Compute the figures of an ensemble whose scores (K, 2 P) alternate between the better and the worse answers.

    Accuracy and calibration error of each combination, the mean accuracy of one "member", and "disagreement": the mean
    over comparisons of the standard deviation of the members' gaps.
    """
    gaps = scores[:, 0::2] - scores[:, 1::2]
    members = [figures_of(row.tolist(), compared)["accuracy"] for row in gaps]
    found = {"members": float(len(scores)), "accuracy_member": sum(members) / len(members)}
    found["disagreement"] = float(gaps.std(0).mean())
    for how in ENSEMBLES:
        one = ensemble(scores, how)
        of_how = figures_of((one[0::2] - one[1::2]).tolist(), compared)
        found |= {f"accuracy_{how}": of_how["accuracy"], f"calibration_error_{how}": of_how["calibration_error"]}
    return found


def lines_of(found: Mapping[str, float], who: str = "the reward model") -> list[str]:
    """Format the figures of comparisons in lines."""
    count = int(found["pairs"])
    if not count:
        return []
    sure = wilson(round(found["accuracy"] * count), count)
    lines = [
        f"of {count:,} held-out comparisons {who} decides {found['accuracy']:.1%} as people did "
        f"({sure.low:.1%} to {sure.high:.1%}); calibration error {found['calibration_error']:.3f}"
    ]
    if "temperature" in found:
        lines.append(
            f"  temperature {found['temperature']:.2f}, fitted to {found['pairs_of_temperature']:,.0f} of them: calibration "
            f"error {found['calibration_error_before']:.3f} -> {found['calibration_error_after']:.3f} on the others"
        )
    lines += [
        f"  where the better answer is the {name} one: {found[f'accuracy_{name}']:.1%} of {found[f'pairs_{name}']:,.0f}"
        for name in ("longer", "shorter")
        if f"pairs_{name}" in found
    ]
    lines += [
        f"  where its length less the other's is {found[f'third_{n}_from']:+,.0f} to {found[f'third_{n}_to']:+,.0f}: "
        f"{found[f'third_{n}_accuracy']:.1%} of {found[f'third_{n}_pairs']:,.0f}"
        for n in (1, 2, 3)
        if f"third_{n}_pairs" in found
    ]
    return lines


def ensemble_lines(found: Mapping[str, float]) -> list[str]:
    """Format the figures of an ensemble in lines."""
    told = [
        f"{how} {found[f'accuracy_{how}']:.1%} (calibration error {found[f'calibration_error_{how}']:.3f})"
        for how in ENSEMBLES
    ]
    return [
        f"{found['members']:.0f} reward models together: {', '.join(told)}; one by itself {found['accuracy_member']:.1%}, "
        f"their gaps differ by {found['disagreement']:.2f}"
    ]


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)))
