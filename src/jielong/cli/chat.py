"""A talk in the terminal: what you type goes to the model, which may call tools, and comes back as it is written."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from jielong.cli.tools import PERSON, means_of, typed, unanswered
from jielong.errors import JielongError
from jielong.opening.ports import open_port
from jielong.opening.strategies import strategy_of
from jielong.opening.tools import open_means
from jielong.records import Conversation, Message, Sampling
from jielong.runs import derive_seed
from jielong.use.ledger import Happening
from jielong.use.port import LocalPort, Options
from jielong.use.strategies import named
from jielong.use.strategy import run

if TYPE_CHECKING:
    from jielong.use.endpoint import Endpoint

HELP = "/new starts over, /quit ends (so does Ctrl-D)."


def chat(spec: str, arguments: argparse.Namespace) -> int:
    """Read a line, stream the answer of the model that `spec` names, until the end of input."""
    return asyncio.run(_talk(spec, arguments))


async def _talk(spec: str, arguments: argparse.Namespace) -> int:
    named_means = means_of(arguments)
    async with open_means(named_means, PERSON) as means:
        port = open_port(spec, stage=arguments.stage, weights=arguments.weights, slots=1)
        strategy, tools = named(strategy_of("", named_means), means), means.get("tools", ())
        sampling = Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature, top_p=arguments.top_p)
        offered = tuple(tool.schema for tool in tools)
        print(f"{port.name}\n{HELP}")
        messages: tuple[Message, ...] = ()
        turn = 0
        try:
            while True:
                try:
                    said = typed("\nyou> ").strip()
                except EOFError:
                    print()
                    return 0
                except UnicodeDecodeError as error:
                    print(f"(that was not UTF-8: {error}; say it again)")
                    continue
                if said == "/quit":
                    return 0
                if said == "/new":
                    messages = ()
                    print("(a new conversation)")
                    continue
                if not said:
                    continue
                kept = fitting((*messages, Message("user", said)), port, Options(sampling, tools=offered))
                if kept is None:
                    print("(that is longer than this model reads: say it in fewer words)")
                    continue
                sys.stdout.write("model> ")
                options = Options(sampling, derive_seed(arguments.seed, "turn", turn), on_text=_write)
                try:
                    outcome = await run(strategy, Conversation(kept), port.ask, options, on_happening=_show)
                except JielongError as error:
                    print(f"\n({error})")
                    continue
                print("".join(unanswered(outcome.answer.message)))
                # with tools, what they said is part of the talk; passages are found anew for each question
                before = outcome.calls[-1].conversation.messages if tools else kept
                messages = (*before, outcome.answer.message)
                turn += 1
        finally:
            await port.close()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _show(happening: Happening) -> None:
    """What was found and what tools were asked and said, in lines of their own."""
    if happening.kind == "note":
        _write(f"\n  [{happening.text}]\n")


def fitting(messages: tuple[Message, ...], port: LocalPort | Endpoint, options: Options) -> tuple[Message, ...] | None:
    """The talk without as many of its oldest exchanges as it takes to leave room for an answer; None if nothing fits.

    Of a server it is not known how much fits; it says so itself.
    """
    if not isinstance(port, LocalPort):
        return messages
    while True:
        num_tokens = len(port.prompt_ids(Conversation(messages), options.tools))
        if num_tokens + options.sampling.max_tokens <= port.engine.length:
            return messages
        later = next((i for i, m in enumerate(messages) if i and m.role == "user"), None)
        if later is None:
            return messages if num_tokens < port.engine.length else None
        messages = messages[later:]
