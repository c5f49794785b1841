"""Preferences of a model on held-out answers: how often it prefers the better one, and their log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from jielong.model.transformer import LanguageModel
from jielong.stages.sources import FolderMaterial
from jielong.tokens.chat import Rendered
from jielong.train.reference import answer_logprobs

MOST_ANSWERS = 256
"""Held-out answers that are looked at."""


@dataclass(frozen=True)
class HeldOutAnswers:
    """Answers, and the better and the worse one of each comparison, by number."""

    answers: list[Rendered]
    comparisons: list[tuple[int, int]]

    def logprobs(self, model: LanguageModel, pad_id: int) -> list[float]:
        """Return the nats of each answer."""
        return answer_logprobs(model, self.answers, 4, pad_id)

    def measure(self, found: list[float], reference: list[float] | None = None) -> dict[str, float]:
        """Compute how often the better answer is the likelier one, and both means in nats, from a model's
        log-probabilities.

        With `reference`, those of before training: "accuracy" is how often the better answer has gained more, and
        "margin" by how many nats more.
        """
        count = max(len(self.comparisons), 1)
        measured = {
            "comparisons": float(len(self.comparisons)),
            "likelier": sum(found[better] > found[worse] for better, worse in self.comparisons) / count,
            "chosen_logprob": sum(found[better] for better, _ in self.comparisons) / count,
            "rejected_logprob": sum(found[worse] for _, worse in self.comparisons) / count,
        }
        if reference is None:
            return measured
        gained = [now - before for now, before in zip(found, reference, strict=True)]
        margins = [gained[better] - gained[worse] for better, worse in self.comparisons]
        return measured | {"accuracy": sum(m > 0 for m in margins) / count, "margin": sum(margins) / count}


def held_out_answers(material: FolderMaterial, length: int) -> HeldOutAnswers:
    """Return the held-out answers of at most `length` tokens: pairs that are no tie, or each desirable rating with each
    other one.
    """
    if material.holds == "ratings":
        fitting = [a for a in material.answers("held_out") if len(a.answer.ids) <= length][:MOST_ANSWERS]
        liked, disliked = ([i for i, a in enumerate(fitting) if a.is_desirable == side] for side in (True, False))
        return HeldOutAnswers([a.answer for a in fitting], list(product(liked, disliked)))
    answers: list[Rendered] = []
    for pair in material.pairs("held_out")[: MOST_ANSWERS // 2]:
        sides = (pair.chosen, pair.rejected) if pair.label > 0.5 else (pair.rejected, pair.chosen)
        if pair.label != 0.5 and max(len(side.ids) for side in sides) <= length:
            answers += sides
    return HeldOutAnswers(answers, [(i, i + 1) for i in range(0, len(answers), 2)])


def preference_figures(found: Mapping[str, Mapping[str, float]]) -> str:
    """Format the figures before and after in a line."""
    before, after = found["before"], found["after"]
    return (
        f"of {after['comparisons']:.0f} held-out pairs the better answer has gained more in {after['accuracy']:.0%}, by "
        f"{after['margin']:.2f} nats, and is the likelier one in {before['likelier']:.0%} -> {after['likelier']:.0%}; "
        f"chosen answers {before['chosen_logprob']:.2f} -> {after['chosen_logprob']:.2f} nats, "
        f"rejected ones {before['rejected_logprob']:.2f} -> {after['rejected_logprob']:.2f}"
    )
