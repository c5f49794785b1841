"""Prompt strategies: examples, a context, a prompt phrase (spell), thoughts or an explanation before the answer.

They change only the model's prompt, so each costs one call (thinking two) and combines well with a following strategy:
`think+vote` votes over several thoughts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jielong.config import at_least
from jielong.errors import ConfigError, DataError, did_you_mean
from jielong.records import Conversation, Message
from jielong.use.examples import Example, nearest, read_examples
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import fill, fill_file, language_of, names
from jielong.use.strategy import Strategy, follow_up, question_of, replace_question

Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]
"""A vector for each text, as `Endpoint.embed` gives them."""


@dataclass(frozen=True)
class Spell(Strategy):
    """The question inside a phrase that is said to help: `name` is one of `spells()`, or a file with $question in it.

    "emotion" is from Li et al. 2023 (arXiv 2307.11760), "breath" was found by a search (Yang et al. 2023, arXiv
    2309.03409), "again" reads the question twice (Xu et al. 2023, arXiv 2309.06275), and the others are folklore.
    """

    name: str = "breath"

    def __post_init__(self) -> None:
        if not self.name.endswith(".txt") and self.name not in spells():
            raise ConfigError(
                f"unknown spell {self.name!r}; {did_you_mean(self.name, spells())} "
                "(or name a .txt file with $question in it)"
            )

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        if self.name.endswith(".txt"):
            text = fill_file(Path(self.name), question=question)
            if question not in text:
                raise DataError(f"the spell {self.name} has no $question in it, where the question would stand")
        else:
            text = fill(f"spell_{self.name}", language_of(question), question=question)
        return await ask(replace_question(conversation, text), options)


def spells() -> list[str]:
    """Return the names of the built-in spells."""
    return [name.removeprefix("spell_") for name in names("spell_")]


@dataclass(frozen=True)
class Context(Strategy):
    """The question after a file's text as context."""

    file: str = ""

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        if not self.file:
            raise ConfigError("context has no file; name one: context:FILE.txt")
        try:
            context = Path(self.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read the context {self.file!r}: {error}") from error
        text = fill("context", language_of(question), question=question, context=context.strip())
        return await ask(replace_question(conversation, text), options)


@dataclass(frozen=True)
class Think(Strategy):
    """Thinking step by step, and then the answer alone (zero-shot chain of thought, Kojima et al. 2022, arXiv 2205.11916).

    The first call writes the thoughts, the second one reads them and answers.
    """

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        language = language_of(question)
        asked = replace_question(conversation, fill("think", language, question=question))
        thoughts = await ask(asked, replace(options, label="think", on_text=None))
        then = follow_up(asked, thoughts, fill("think_answer", language, question=question))
        return await ask(then, replace(options, label="answer"))


@dataclass(frozen=True)
class Explain(Strategy):
    """The answer on the last line, after an explanation, in one call."""

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        question = question_of(conversation)
        return await ask(
            replace_question(conversation, fill("explain", language_of(question), question=question)), options
        )


@dataclass(frozen=True)
class FewShot(Strategy):
    """Examples before the conversation, as earlier turns of it (Brown et al. 2020, arXiv 2005.14165).

    The examples come from `file` (JSONL, see `read_examples`) or from `examples`. The `k` most similar to the question
    are chosen, the most similar last (Liu et al. 2021, arXiv 2101.06804): by their letters, or by the vectors of
    `embed`.
    """

    file: str = ""
    k: int = 6
    examples: tuple[Example, ...] = ()
    embed: Embed | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "k")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        examples = self.examples or _read_named_examples(self.file)
        question, texts = question_of(conversation), [e.question for e in examples]
        if self.embed is not None:
            here, *there = await self.embed([question, *texts])
            found = sorted(range(len(texts)), key=lambda i: -_cosine(here, there[i]))[: self.k]
        else:
            found = nearest(question, texts, self.k)
        turns: list[Message] = []
        for example in (examples[i] for i in reversed(found)):
            turns += [Message("user", example.question), Message("assistant", example.answer)]
        num_system = next(n for n, m in enumerate(conversation.messages) if m.role != "system")
        messages = (*conversation.messages[:num_system], *turns, *conversation.messages[num_system:])
        return await ask(replace(conversation, messages=messages), options)


@functools.lru_cache(maxsize=4)
def _read_named_examples(file: str) -> tuple[Example, ...]:
    """Read the examples of a file. Raises ConfigError if no file is named."""
    if not file:
        raise ConfigError("few-shot has no examples; name a file: few-shot:FILE.jsonl")
    return read_examples(file)


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0
