"""Methods that propose instructions: a model as optimiser, a rewarded policy, or chance."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jielong.config import at_least
from jielong.records import Conversation, Message
from jielong.runs import derive_seed
from jielong.use.examples import Example
from jielong.use.port import Ask, Options
from jielong.use.prompting import fill
from jielong.use.spells.search import ScoredInstruction
from jielong.use.strategy import together

_LONGEST = 400
"""Characters of a proposal that are kept: a model that does not stop has proposed nothing better by it."""


@dataclass(frozen=True)
class Opro:
    """A language model as the optimiser (OPRO, Yang et al. 2023, arXiv 2309.03409).

    Its prompt has three examples of the task, drawn anew for each step, and the best `kept` instructions so far with
    their scores, the worst first; `proposals` new ones are drawn from it at temperature 1. Zhang et al. 2024
    (arXiv 2405.10276) find that models of 7B parameters and less gain little by it.
    """

    examples: tuple[Example, ...]
    language: str = "en"
    proposals: int = 8
    kept: int = 20
    name: str = field(default="opro", init=False)

    def __post_init__(self) -> None:
        at_least(self, 1, "proposals", "kept")

    async def propose(self, trials: Sequence[ScoredInstruction], ask: Ask, options: Options) -> list[str]:
        """Ask the model for new instructions, given the best so far with their scores."""
        rng = random.Random(derive_seed(options.seed, "examples"))
        shown = rng.sample(self.examples, min(3, len(self.examples)))
        tried = sorted({t.instruction: t for t in trials}.values(), key=lambda t: t.value)[-self.kept :]
        prompt = fill(
            "opro",
            self.language,
            examples="\n\n".join(f"{e.question}\n{e.answer}" for e in shown),
            tried="\n".join(f"<INS>{t.instruction}</INS> {100 * t.value:.0f}" for t in tried),
        )
        conversation = Conversation((Message("user", prompt),))
        draws = (options.draw("opro", n, temperature=1.0) for n in range(self.proposals))
        return [proposal(answer.text) for answer in await together(ask(conversation, draw) for draw in draws)]


def proposal(text: str) -> str:
    """Extract the instruction from a model's proposal: the text between the marks, or else its first line."""
    marked = re.search(r"<INS>(.*?)</INS>", text, re.DOTALL | re.IGNORECASE)
    lines = re.sub(r"</?INS>", "", text, flags=re.IGNORECASE).strip().splitlines()
    found = marked[1] if marked else lines[0] if lines else ""
    return " ".join(found.split()).strip("\"'“”「」")[:_LONGEST]


@dataclass(frozen=True)
class Chance:
    """`length` words, each drawn evenly from the list of words: the control."""

    language: str = "en"
    length: int = 5
    proposals: int = 8
    name: str = field(default="random", init=False)

    async def propose(self, trials: Sequence[ScoredInstruction], ask: Ask, options: Options) -> list[str]:
        """Draw instructions of random words."""
        words = known_words(self.language)
        rng = np.random.default_rng(options.seed)
        picks = rng.integers(0, len(words), (self.proposals, self.length))
        return [_joined([words[i] for i in row], self.language) for row in picks.tolist()]


class Reinforce:
    """A policy over words that is rewarded for how a frozen model answers (after RLPrompt, Deng et al. 2022, arXiv 2205.12548).

    Each of the `length` places of the instruction has a softmax over the same words that `Chance` draws from. As there,
    a step draws `proposals` instructions and standardises the rewards of each question over them, so that hard and easy
    questions count alike; an instruction's advantage is the mean over the questions, and the policy follows its
    gradient (REINFORCE, Williams 1992). RLPrompt's policy is a layer over a frozen model's states, which a port
    does not show; here it is a table.
    """

    name = "reinforce"

    def __init__(self, language: str = "en", length: int = 5, proposals: int = 8, rate: float = 6.0) -> None:
        self.language, self.proposals, self.rate = language, proposals, rate
        self.words = known_words(language)
        self.logits: NDArray[np.float64] = np.zeros((length, len(self.words)))
        self._drawn: NDArray[np.int64] = np.zeros((0, length), np.int64)

    async def propose(self, trials: Sequence[ScoredInstruction], ask: Ask, options: Options) -> list[str]:
        """Learn from the last trials, then draw instructions from the policy."""
        if len(self._drawn):
            self._learn(trials[-len(self._drawn) :])
        rng = np.random.default_rng(options.seed)
        odds = self.odds
        draws = [[rng.choice(len(self.words), p=place) for place in odds] for _ in range(self.proposals)]
        self._drawn = np.array(draws, np.int64)
        return [_joined([self.words[i] for i in row], self.language) for row in draws]

    @property
    def odds(self) -> NDArray[np.float64]:
        """Return the probability of each word in each place, (length, words)."""
        powers = np.exp(self.logits - self.logits.max(-1, keepdims=True))
        return np.asarray(powers / powers.sum(-1, keepdims=True))

    def _learn(self, trials: Sequence[ScoredInstruction]) -> None:
        """Take one step of policy gradient from the scores of the last proposals."""
        rewards = np.array([t.scores for t in trials])
        advantages = ((rewards - rewards.mean(0)) / (rewards.std(0) + 1e-8)).mean(1)
        gradient = np.zeros_like(self.logits)
        places = np.arange(len(self.logits))
        for row, advantage in zip(self._drawn, advantages, strict=True):
            gradient[places, row] += advantage
        # the advantages of a step add up to zero, and so does what the softmax takes away from all words
        self.logits += self.rate * gradient / len(self._drawn)


def known_words(language: str) -> list[str]:
    """Return the words that instructions are made of."""
    return fill("search_words", language).split()


def _joined(words: Sequence[str], language: str) -> str:
    return ("" if language == "zh" else " ").join(words)
