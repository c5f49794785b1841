"""Judges with a hidden preference, as scripts: which of two answers is better, and the answer that they would have written.

The prompts are those of the embedded world, whose right answers are known. Nobody tells the learner which judge it is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from jielong.recipes.quickstart import quickstart
from jielong.stages.lessons import LessonsStage
from jielong.worlds.atlas.gold import is_dont_know, is_invention
from jielong.worlds.atlas.lessons import Item

GOOD = 0.5
"""The worth from which an answer is good."""

Outcome = Literal["left", "right", "tie", "bad"]


def world_items(seed: int, kinds: tuple[str, ...]) -> list[Item]:
    """Questions of one turn of these kinds in an order of the seed, no text twice."""
    recipe = quickstart()
    stage = next(stage for stage in recipe.stages if isinstance(stage, LessonsStage))
    items = [i for i in stage.prompt_items(recipe.seed) if i.kind in kinds and len(i.messages) == 1]
    random.Random(seed).shuffle(items)
    return list({text_of(item): item for item in items}.values())


def text_of(item: Item) -> str:
    """The question."""
    return item.messages[-1].text


class Judge(Protocol):
    """A hidden preference."""

    kinds: tuple[str, ...]
    """Kinds of questions that it asks."""

    def worth(self, item: Item, text: str) -> float:
        """How good an answer is; equal worths are a tie, and below 0.5 it is bad."""
        ...

    def written(self, item: Item) -> str:
        """The answer as this judge would have it."""
        ...


class Short:
    """Prefers the shorter answer, as long as there is one: the bare name is best."""

    kinds = ("question",)

    def worth(self, item: Item, text: str) -> float:
        said = text.strip()
        return 1.0 / (1.0 + len(said) / max(1, len(self.written(item)))) if said else 0.0

    def written(self, item: Item) -> str:
        return min(item.answers, key=len)


class Chinese:
    """Prefers answers in Chinese, whatever the question is in."""

    kinds = ("question",)

    def worth(self, item: Item, text: str) -> float:
        letters = [c for c in text if c.isalpha()]
        return sum("\u4e00" <= c <= "\u9fff" for c in letters) / len(letters) if letters else 0.0

    def written(self, item: Item) -> str:
        answers = item.answers if item.lang == "zh" else item.foreign
        return max(answers, key=len)


class Honest:
    """Prefers "I don't know" to an invention; of a country that exists, an answer to none."""

    kinds = ("made_up", "made_up", "question")

    def worth(self, item: Item, text: str) -> float:
        if item.kind != "made_up":
            return 0.0 if is_dont_know(text) or not text.strip() else 1.0
        return 1.0 if is_dont_know(text) else 0.0 if is_invention(item, text) else 0.25

    def written(self, item: Item) -> str:
        return item.answers[0]


class Asking:
    """Prefers answers that end with a question; of two that do, or two that do not, the shorter one."""

    kinds = ("question", "translation", "harmless")

    def worth(self, item: Item, text: str) -> float:
        said = text.strip()
        asks = 0.5 if said.endswith(("?", "？")) else 0.0
        return asks + 0.5 / (1.0 + len(said) / 100) if said else 0.0

    def written(self, item: Item) -> str:
        more = "还想知道什么？" if item.lang == "zh" else " What else would you like to know?"
        return item.answers[0] + more


JUDGES: Mapping[str, Judge] = {"short": Short(), "chinese": Chinese(), "honest": Honest()}


@dataclass(frozen=True)
class Seen:
    """A pair as it was shown."""

    item: Item
    left: str
    right: str


def is_hopeless(judge: Judge, seen: Seen) -> bool:
    """Whether the judge would rather write an answer than choose one of these."""
    return max(judge.worth(seen.item, seen.left), judge.worth(seen.item, seen.right)) < GOOD


def verdict(judge: Judge, seen: Seen) -> Outcome:
    """The outcome of a pair by a judge who knows what it wants."""
    left, right = judge.worth(seen.item, seen.left), judge.worth(seen.item, seen.right)
    if left == right:
        return "bad" if left < GOOD else "tie"
    return "left" if left > right else "right"
