"""Rewards that read text, for rollouts: rules by their names, and a language model as judge.

A rule is a function of the prompt's conversation and the answer's text. A new one is a function here and a line in
`RULES`; a recipe then asks for it as `RuleReward(rule=NAME)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jielong.errors import DataError
from jielong.evaluate.concurrently import run_concurrently
from jielong.evaluate.judge import make_grader
from jielong.evaluate.scoring import score_by_text
from jielong.evaluate.tasks import Item
from jielong.model.hf import load_language_model
from jielong.records import Conversation, Sample, Sampling, Score, Scorer
from jielong.stages.models import engine_of
from jielong.tokens.chat import parse
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.machine import Machine
from jielong.use.port import LocalPort, Options
from jielong.use.thoughts import split_thoughts

Rule = Callable[[Conversation, str], float]
"""From a prompt's conversation and the text of an answer, without its thoughts, to a score."""

JUDGE_TOKENS = 200
"""The longest that a judge's words may be."""


def against_answer(scorer: str) -> Rule:
    """Make a rule of a scorer that holds the text against the conversation's `meta` "answer", a text or several."""

    def rule(conversation: Conversation, text: str) -> float:
        """Score the text. Raises DataError if the prompt has no known answer."""
        known = conversation.meta.get("answer")
        if known is None:
            asked = conversation.messages[-1].text if conversation.messages else ""
            raise DataError(
                f"the rule {scorer!r} needs the known answer of each prompt in meta.answer; {asked!r:.80} has none"
            )
        answers = tuple(map(str, known)) if isinstance(known, (list, tuple)) else (str(known),)
        return score_by_text(Item("", conversation.messages, scorer, answers), text).score

    return rule


def by_generator(conversation: Conversation, text: str) -> float:
    """Return 1 where the generator of the puzzle in `meta` "puzzle" gives full marks, else 0."""
    puzzle = conversation.meta.get("puzzle")
    if not isinstance(puzzle, Mapping):
        raise DataError("the rule 'puzzle' needs puzzles of reasoning-gym, such as --prompts reasoning-gym:lcm")
    return score_by_text(Item("", conversation.messages, "puzzle", meta=puzzle), text).score


USUAL = "match"
"""The rule of prompts that name none."""


def as_stated(conversation: Conversation, text: str) -> float:
    """Score by the rule in the conversation's `meta` "rule"."""
    return RULES[str(conversation.meta.get("rule", USUAL))](conversation, text)


COMPARING = ("match", "exact", "number", "regex", "contains", "f1")
"""Rules that hold a text against known answers; `evaluate/scoring` says how."""

RULES: Mapping[str, Rule] = {
    **{name: against_answer(name) for name in COMPARING},
    "puzzle": by_generator,
    "stated": as_stated,
}
"""Name -> rule."""


def open_rule(name: str, tokenizer: Tokenizer) -> Scorer:
    """Make the scorer of a rule in `RULES`, on samples in the ids of `tokenizer`."""
    rule = RULES[name]

    def score(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
        """Apply the rule to each sample's text."""
        return [Score(rule(asked, text_of(sample, tokenizer)), source=name) for _, asked, sample in items]

    return score


def text_of(sample: Sample, tokenizer: Tokenizer) -> str:
    """Return the text that a sample answers with, without its thoughts."""
    return split_thoughts(parse(sample.ids, tokenizer).text)[1]


def open_judge(folder: Path, machine: Machine, tokenizer: Tokenizer, without_mark: float) -> Scorer:
    """Make the scorer that asks the model in `folder`, through a port, for a mark for each sample's text.

    `tokenizer` is that of the samples; the judge has its own.
    """
    own = Tokenizer.load(folder)
    port = LocalPort(engine_of(load_language_model(folder).to(machine.device), own, machine), own)
    grade = make_grader(port.ask, Options(Sampling(max_tokens=JUDGE_TOKENS, temperature=0.0)))

    def score(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
        """Ask for a mark for each sample, many at a time."""

        async def one(number: int) -> float | None:
            _, asked, sample = items[number]
            return await grade(asked.messages[-1].text, text_of(sample, tokenizer))

        marks = asyncio.run(run_concurrently(one, len(items)))
        return [Score(without_mark if mark is None else mark, source="judge") for mark in marks]

    return score
