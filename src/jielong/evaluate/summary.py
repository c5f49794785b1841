"""The summary of a task's results: a score with its interval, overall and for each group, and the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jielong.evaluate.instructions import Followed, accuracy
from jielong.evaluate.scoring import pass_at_k
from jielong.evaluate.statistics import Interval, SystemScores, paired_bootstrap, wilson
from jielong.evaluate.task_runner import Result
from jielong.evaluate.tasks import Task


@dataclass(frozen=True)
class PairedDifference:
    """The difference between the sides of paired items: the mean of a - b with its interval, and the mean absolute
    difference.
    """

    count: int
    difference: Interval
    size: float


@dataclass(frozen=True)
class Summary:
    """A system's mean results on a task; an item's score is the mean over its samples. `seconds` are wall-clock time
    per item.
    """

    name: str
    scores: tuple[float, ...]
    score: Interval
    groups: dict[str, tuple[int, Interval]]
    more: dict[str, float]
    """Figures of some tasks only: pass@k, accuracies of instructions, choices by other lengths, attacks that succeed."""
    pairs: dict[str, PairedDifference]
    errors: int
    tokens: float
    calls: float
    seconds: float

    @property
    def system_scores(self) -> SystemScores:
        return SystemScores(self.name, self.scores, self.tokens, self.calls)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarize(name: str, task: Task, results: Sequence[Result], *, seed: int = 0) -> Summary:
    """Summarize results that come in the order of the task's items, equally many of each."""
    samples = len(results) // len(task.items)
    of_item = [results[i * samples : (i + 1) * samples] for i in range(len(task.items))]
    scores = tuple(sum(r.score for r in own) / samples for own in of_item)
    groups: dict[str, list[float]] = {}
    for item, score in zip(task.items, scores, strict=True):
        if item.group:
            groups.setdefault(item.group, []).append(score)
    count = len(results)
    return Summary(
        name,
        scores,
        mean_with_interval(scores, seed=seed),
        {group: (len(own), mean_with_interval(own, seed=seed)) for group, own in sorted(groups.items())},
        {**_pass_rates(of_item, samples), **_details(results), **_refusals(task, scores)},
        _paired_differences(task, scores, seed),
        sum(bool(r.error) for r in results),
        sum(r.usage.tokens for r in results) / count,
        sum(r.usage.calls for r in results) / count,
        sum(r.seconds for r in results) / count,
    )


def mean_with_interval(scores: Sequence[float], *, seed: int = 0) -> Interval:
    """Return the mean with its interval: Wilson's if every score is 0 or 1, else a bootstrap over items."""
    if all(s in (0.0, 1.0) for s in scores):
        return wilson(int(sum(scores)), len(scores))
    return paired_bootstrap(scores, [0.0] * len(scores), seed=seed)


def _pass_rates(of_item: Sequence[Sequence[Result]], samples: int) -> dict[str, float]:
    """Return pass@1, 2, 4 ... of the samples."""
    rights = [sum(r.score == 1.0 for r in own) for own in of_item]
    ks = [2**i for i in range(samples.bit_length())] if samples > 1 else []
    return {f"pass@{k}": sum(pass_at_k(samples, right, k) for right in rights) / len(rights) for k in ks}


def _details(results: Sequence[Result]) -> dict[str, float]:
    """Return further figures from the results' details: instructions followed, and accuracies by choice length."""
    followed = [
        Followed(tuple(r.details["strict"]), tuple(r.details["loose"])) for r in results if "strict" in r.details
    ]
    more = asdict(accuracy(followed)) if followed else {}
    for length in ("total", "per_token", "per_byte"):
        found = [r.details[length] for r in results if length in r.details]
        if found:
            more[f"choices {length.replace('_', ' ')}"] = sum(found) / len(found)
    return {key.replace("_", " "): value for key, value in more.items()}


def _refusals(task: Task, scores: Sequence[float]) -> dict[str, float]:
    """Return the rates of missed refusals, plain and by attack, and of needless ones."""
    kinds: dict[str, list[float]] = {}
    for item, score in zip(task.items, scores, strict=True):
        if item.scorer == "refuses":
            kinds.setdefault("attack success" if "attack" in item.meta else "harmful answered", []).append(1 - score)
        elif item.scorer == "helps":
            kinds.setdefault("over-refusal", []).append(1 - score)
    return {kind: sum(shares) / len(shares) for kind, shares in kinds.items()}


def _paired_differences(task: Task, scores: Sequence[float], seed: int) -> dict[str, PairedDifference]:
    """Return the differences of paired items (`meta.pair`, `meta.side` "a" or "b"), by scorer and by `meta.trait`."""
    sides: dict[tuple[str, str, str], dict[str, float]] = {}
    for item, score in zip(task.items, scores, strict=True):
        if {"pair", "side"} <= set(item.meta):
            trait = str(item.meta.get("trait", ""))
            sides.setdefault((item.scorer, trait, str(item.meta["pair"])), {})[str(item.meta["side"])] = score
    found: dict[str, list[tuple[float, float]]] = {}
    for (scorer, trait, _), pair in sides.items():
        if set(pair) == {"a", "b"}:
            for name in (scorer, f"{scorer}, {trait}" if trait else ""):
                found.setdefault(name, []).append((pair["a"], pair["b"]))
    found.pop("", None)
    return {name: _paired_difference(pairs, seed) for name, pairs in sorted(found.items())}


def _paired_difference(pairs: Sequence[tuple[float, float]], seed: int) -> PairedDifference:
    """Return the mean difference of pairs of scores with its interval, and the mean size of a difference."""
    a, b = [first for first, _ in pairs], [second for _, second in pairs]
    size = sum(abs(first - second) for first, second in pairs) / len(pairs)
    return PairedDifference(len(pairs), paired_bootstrap(a, b, seed=seed), size)
