"""Stages of tool calling: conversations in which a calculator is called, and an exam, with a baseline without a model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jielong.config import at_least
from jielong.data.splits import Split
from jielong.errors import DataError
from jielong.evaluate.calls import Call, CallQuestion, calls_by_pattern, measure_calls
from jielong.records import Conversation, Message, Sampling
from jielong.report.text import shares_table
from jielong.runs import write_json, write_text
from jielong.stages.models import port_of
from jielong.stages.parts import write_parts
from jielong.stages.recipe import Context, Stage, Summary
from jielong.use.answers import last_number, normal
from jielong.use.port import Ask, Options
from jielong.use.strategy import run
from jielong.use.tools.calculator import CALCULATOR, calculate
from jielong.use.tools.loop import Tools
from jielong.use.tools.rendering import describe_tools
from jielong.worlds.sums.items import CALL_KINDS, LANGS, NO_CALL_KINDS, Item, conversations, questions_of


@dataclass(frozen=True)
class Reply:
    """A reply to a question: the calls, and the text at the end."""

    calls: tuple[Call, ...]
    text: str


Answers = Callable[[str], Awaitable[Reply]]


def exam(lang: str, each: int, seed: int) -> list[Item]:
    """Return held-out questions: `each` of every kind that needs a call, and as many that need none."""
    needing = [i for k in CALL_KINDS for i in questions_of(k, lang, "test", each, seed)]
    return needing + [i for k in NO_CALL_KINDS for i in questions_of(k, lang, "test", 2 * each, seed)]


def with_calculator(ask: Ask, max_tokens: int, *, describe: bool) -> Answers:
    """Make an answerer from a model, whose calls are run; `describe` tells it of the tool first."""
    strategy = Tools((CALCULATOR,), describe=describe)
    options = Options(Sampling(max_tokens=max_tokens, temperature=0.0))

    async def answers(question: str) -> Reply:
        outcome = await run(strategy, Conversation((Message("user", question),)), ask, options)
        calls = [call for asked in outcome.calls for call in asked.answer.message.tool_calls]
        return Reply(tuple(calls), outcome.answer.text)

    return answers


async def by_regular_expression(question: str) -> Reply:
    """Compute the operation between two numbers, found by pattern: the baseline."""
    calls = await calls_by_pattern(question)
    try:
        return Reply(tuple(calls), calculate(calls[0]["arguments"]["expression"]) if calls else "")
    except DataError as error:
        return Reply(tuple(calls), str(error))


def is_small(item: Item) -> bool:
    """Whether the item is one operation between numbers of 2 or 3 digits."""
    return item.kind == "plain" and all(10 <= n < 1000 for n in item.numbers)


def is_right(item: Item, reply: Reply) -> bool:
    """Whether the final text gives the answer: after a call its last number, otherwise the whole of it."""
    if item.call is None:
        return normal(reply.text) == normal(item.answer)
    return last_number(reply.text) == item.answer


async def sit_calling_exam(items: Sequence[Item], answers: Answers) -> tuple[dict[str, float], list[Reply]]:
    """Return the figures of an exam, shares in [0, 1], and the replies in order; all questions are asked at the same
    time.
    """
    replies = await asyncio.gather(*(answers(i.question) for i in items))
    made = {i.question: r.calls for i, r in zip(items, replies, strict=True)}

    async def caller(question: str) -> Sequence[Call]:
        return made[question]

    report = await measure_calls([CallQuestion(i.question, i.call) for i in items], caller)
    figures = {"precision": report.precision, "recall": report.recall, "quiet": report.quiet_rate}
    pairs = list(zip(items, replies, strict=True))
    groups = {kind: [p for p in pairs if p[0].kind == kind] for kind in (*CALL_KINDS, *NO_CALL_KINDS)}
    small = [p for p in pairs if is_small(p[0])]
    for name, group in {"plain, 2 or 3 digits": small, **groups}.items():
        figures[f"{name}: answer"] = _share([is_right(i, r) for i, r in group])
        figures[f"{name}: call"] = _share([[i.call] * (i.call is not None) == list(r.calls) for i, r in group])
    return figures, replies


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0


@dataclass(frozen=True)
class SumsStage(Stage):
    """Conversations of the world of sums, with the calls of a calculator that their questions need."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    conversations: int = 30_000
    """Conversations to learn from."""
    held_out: int = 300
    """Conversations that nothing is trained on."""
    # Every so many begin with the description of the tool, as programs put it there; the others are shorter to read.
    told_every: int = 8
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 1, "conversations", "held_out", "told_every")

    def run(self, context: Context) -> Summary:
        """Write chats.jsonl to learn from, and held_out.jsonl in phrasings, names and numbers that no chat has."""

        def made(part: Literal["train", "test"], count: int) -> list[Conversation]:
            """Make the conversations of a part, some of which describe the tool."""
            return [
                Conversation(
                    describe_tools(talk.messages, [CALCULATOR.schema] if number % self.told_every == 0 else ())
                )
                for number, talk in enumerate(conversations(part, count, context.recipe.seed))
            ]

        parts = Split(made("train", self.conversations), made("test", self.held_out))
        return write_parts(context.directory(self.name), "chats", parts)


@dataclass(frozen=True)
class CallsStage(Stage):
    """An exam in calling: `each` held-out questions of every kind and language. Inputs: model, tokenizer."""

    name: str
    inputs: Mapping[str, str]
    each: int = 60
    """Questions of every kind and language."""
    max_tokens: int = 64
    """The longest an answer may be."""
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 1, "each", "max_tokens")

    def run(self, context: Context) -> Summary:
        """Write exam.txt and exam.json into the run's directory."""
        seed = context.recipe.seed
        port = port_of(self, context, "model")
        figures: dict[str, dict[str, float]] = {}
        wrong: list[dict[str, Any]] = []
        for number, lang in enumerate(LANGS):
            context.display.update(number, len(LANGS), None, 0.0, 0.0, lang)
            items = exam(lang, self.each, seed)
            untold, told = (with_calculator(port.ask, self.max_tokens, describe=d) for d in (False, True))
            figures[lang], replies = asyncio.run(sit_calling_exam(items, untold))
            figures[f"{lang}, told"], _ = asyncio.run(sit_calling_exam(items, told))
            figures[f"{lang}, regular expr."], _ = asyncio.run(sit_calling_exam(items, by_regular_expression))
            wrong += [
                {
                    "question": i.question,
                    "expression": i.expression,
                    "answer": i.answer,
                    "calls": r.calls,
                    "text": r.text,
                }
                for i, r in zip(items, replies, strict=True)
                if not is_right(i, r)
            ]
        write_json(context.run.path / "exam.json", {"figures": figures, "wrong": wrong})
        write_text(context.run.path / "exam.txt", shares_table(figures))
        return {"figures": figures, "outputs": ["exam.txt", "exam.json"], "shown": ["exam.txt"]}
