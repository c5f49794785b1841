"""An answer, its critique by a principle and its revision, by one model: conversations to learn from without people.

The first half of constitutional AI (Bai et al. 2022, arXiv 2212.08073, section 3). Each round draws another principle of the
constitution. The model reads its own answer, says where it falls short, and answers once more.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jielong.errors import DataError
from jielong.records import Conversation, Message
from jielong.runs import derive_seed
from jielong.use.constitution import Principles
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, language_of
from jielong.use.strategy import follow_up, question_of


@dataclass(frozen=True)
class Round:
    """A critique and the answer that was written after it; `principle` is its number, from 1."""

    principle: int
    critique: str
    revision: str


@dataclass(frozen=True)
class Revised:
    """A prompt, the model's first answer, and how it was revised."""

    prompt: tuple[Message, ...]
    answer: str
    rounds: tuple[Round, ...]

    @property
    def final(self) -> str:
        """Return the last answer that is not empty."""
        return next((r.revision for r in reversed(self.rounds) if r.revision.strip()), self.answer).strip()

    @property
    def is_changed(self) -> bool:
        """Whether the last answer is another one than the first."""
        return self.final != self.answer.strip()

    @property
    def chat(self) -> Conversation:
        """Return the prompt with the last answer, to learn from; the critiques are no part of it."""
        return Conversation((*self.prompt, Message("assistant", self.final)))


async def revise(
    prompt: Sequence[Message], ask: Ask, options: Options, principles: Principles, rounds: int = 1
) -> Revised:
    """Answer a prompt, and revise the answer by a principle drawn anew in each round. Raises DataError for an empty answer."""
    conversation = Conversation(tuple(prompt))
    language = language_of(question_of(conversation))
    order = list(range(len(principles.each)))
    random.Random(derive_seed(options.seed, "principles")).shuffle(order)
    first = answer = await ask(conversation, replace(options, label="answer"))
    if not answer.text.strip():
        raise DataError(f"the model gave no answer to criticise: {answer.missing}")
    done: list[Round] = []
    for number in range(rounds):
        chosen = order[number % len(order)]
        wanted = fill("critique", language, principle=principles.each[chosen].text(language))
        asked = follow_up(conversation, answer, wanted)
        critique = await ask(asked, options.draw("critique", number, label="critique"))
        again = follow_up(asked, critique, fill("critique_revise", language))
        revision: Answer = await ask(again, options.draw("revise", number, label="revise"))
        done.append(Round(chosen + 1, critique.text, revision.text))
        if revision.text.strip():
            answer = revision
    return Revised(conversation.messages, first.text, tuple(done))


def revised_from(data: Mapping[str, Any]) -> Revised:
    """Read a revision from what `records.to_dict` made of it. Raises DataError if it is damaged."""
    try:
        rounds = tuple(Round(int(r["principle"]), str(r["critique"]), str(r["revision"])) for r in data["rounds"])
        return Revised(tuple(Message.from_dict(m) for m in data["prompt"]), str(data["answer"]), rounds)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a revision is damaged ({error!r})") from error
