"""The model decides by itself to call a tool; the calls are run and answered until it answers, or until a hard stop.

Stops are the number of rounds and the third time of one and the same call, after which the model is asked once more without
tools, and the budget of the ledger. A tool that changes
something is run only after a person has said yes to exactly that call. Output of tools goes to the model as data (`guard`).
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jielong.config import at_least
from jielong.errors import ConfigError, did_you_mean
from jielong.records import Conversation, Message
from jielong.runs import canonical_json
from jielong.use.ledger import BudgetSpent, current, note
from jielong.use.port import Answer, Ask, Options
from jielong.use.strategy import Strategy
from jielong.use.tools.guard import guard_text, new_key
from jielong.use.tools.reading import with_calls
from jielong.use.tools.rendering import calls_in_words, describe_tools, format_call
from jielong.use.tools.spoken import without_calls
from jielong.use.tools.tool import Arguments, Tool, by_name, one_line

Approve = Callable[[Tool, Arguments], Awaitable[bool]]
"""Asks a person whether the tool may be called with these arguments."""


async def nobody(tool: Tool, arguments: Arguments) -> bool:
    """Refuse every change: the answer if no person can be asked."""
    del tool, arguments
    return False


@dataclass(frozen=True)
class Tools(Strategy):
    """Answer with the help of `tools`, at most `rounds` times in a row.

    `describe`: whether the model is told of the tools; one that learned its calls in training, or sees them in
    examples, need not be. `plain`: whether tools, calls and answers are all told in words, for a server whose chat
    template drops them. `guard`: whether what foreign tools say is freed of instructions and framed as data, with
    `datamark` also its blanks marked. The answer's `stop` is "rounds" or "repeated" if a stop ended the calls.
    """

    tools: tuple[Tool, ...]
    approve: Approve = nobody
    rounds: int = 8
    describe: bool = True
    plain: bool = False
    guard: bool = True
    datamark: bool = False

    def __post_init__(self) -> None:
        at_least(self, 1, "rounds")
        if not by_name(self.tools):
            raise ConfigError("there are no tools to call; name some, such as --tools calculator")

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        tools = by_name(self.tools)
        offered = tuple(tool.schema for tool in self.tools) if self.describe else ()
        messages, seen, stop = conversation.messages, Counter[str](), "rounds"
        for number in range(self.rounds):
            label = options.label or f"round {number + 1}"
            answer = await self._ask(ask, replace(conversation, messages=messages), offered, options, label)
            calls = answer.message.tool_calls
            if not calls:
                return answer
            seen.update(_mark(call) for call in calls)
            if max(seen[_mark(call)] for call in calls) > 2:
                stop = "repeated"
                break
            told = [await self._answer_call(i, call, tools, seen[_mark(call)] > 1) for i, call in enumerate(calls)]
            messages = (*messages, answer.message, *told)
        note(f"no more calls ({stop}): the answer must do without")
        answer = await self._ask(ask, replace(conversation, messages=messages), (), options, "last")
        return replace(answer, message=replace(answer.message, tool_calls=()), stop=stop)

    async def _ask(
        self, ask: Ask, talk: Conversation, offered: tuple[Mapping[str, Any], ...], options: Options, label: str
    ) -> Answer:
        """Answer the talk so far, with the calls in its text found."""
        if self.plain:
            talk, offered = replace(talk, messages=calls_in_words(describe_tools(talk.messages, offered))), ()
        tools = by_name(self.tools)
        answer = await ask(talk, replace(options, tools=offered, label=label, called=self.tools))
        message = with_calls(answer.message, tools)
        words = message.text if message.tool_calls else without_calls(message.text, tools)
        if words != message.text:
            note("a call that was not finished is left out")
            message = replace(message, content=words)
        return replace(answer, message=message)

    async def _call_tool(self, tool: Tool, arguments: Arguments) -> str:
        """Call the tool, within the seconds that the budget has left."""
        ledger = current.get()
        left_s = ledger.seconds_left if ledger else math.inf
        if ledger is None or left_s >= tool.limit_s:
            return await tool.answer(arguments)
        try:
            return await asyncio.wait_for(tool.answer(arguments), left_s)
        except TimeoutError:
            ledger.is_spent = True
            raise BudgetSpent(f"the budget of {ledger.budget.seconds:g} seconds is spent") from None

    def _next_key(self) -> str:
        """Return a random key for the next frame."""
        return new_key()

    async def _answer_call(
        self, number: int, call: Mapping[str, Any], tools: Mapping[str, Tool], is_again: bool
    ) -> Message:
        """Return the message that answers a call."""
        name, arguments = str(call["name"]), call.get("arguments") or {}
        if name not in tools:
            text = f"error: there is no tool {name!r}; {did_you_mean(name, tools)}"
        elif arguments.keys() == {"unreadable"} and "unreadable" not in tools[name].parameters.get("properties", {}):
            text = f"error: the arguments of {name} are no JSON object: {one_line(str(arguments['unreadable']), 80)}"
        elif is_again:
            text = "error: this very call was made before; its answer is above"
        elif tools[name].changes and not await self.approve(tools[name], arguments):
            text = f"error: {name} changes something, and a person did not allow it"
        else:
            text = await self._call_tool(tools[name], arguments)
        told = f": {text.removeprefix('error: ')}" if text.startswith("error: ") else f" = {text}"
        line = one_line(format_call(call), 80)
        note(one_line(f"{line}{told}", 200), tool=name, line=line, result=text)
        if self.guard and name in tools and tools[name].is_foreign:
            data = guard_text(text, name, tools, datamark=self.datamark, key=self._next_key())
            for sentence in data.left_out:
                note(one_line(f"left out, as it reads like an instruction: {sentence}", 400))
            text = data.text
        return Message("tool", text, name=name, tool_call_id=str(call.get("id") or f"call_{number}"))


def _mark(call: Mapping[str, Any]) -> str:
    return canonical_json([call["name"], call.get("arguments") or {}])
