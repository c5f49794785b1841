"""One question with all that can be done about it: a strategy, a budget, the calls as they happen and what they cost."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from jielong.cli.library import open_library, over_library
from jielong.cli.ports import MODEL_HELP, open_port
from jielong.errors import DataError
from jielong.records import Conversation, Message, Sampling
from jielong.runs import canonical_json, write_text
from jielong.use.ledger import Budget, Happening
from jielong.use.port import Options, Renders
from jielong.use.strategies import STRATEGIES, named
from jielong.use.strategy import Outcome, run


def add_parser(commands: Any) -> None:
    """`jielong ask`, for the `add_subparsers` object of the command line."""
    ask = commands.add_parser(
        "ask", help="answer a question with a strategy, such as a vote; say what it cost", description=__doc__
    )
    ask.add_argument("model", help=MODEL_HELP)
    ask.add_argument("question", help="what is asked; - reads it from standard input")
    ask.add_argument(
        "--strategy",
        default="direct",
        help=f"one of {', '.join(STRATEGIES)}, with options as in vote:n=5, or several joined by + (default: direct)",
    )
    ask.add_argument(
        "--library",
        type=Path,
        metavar="FILE",
        help="answer from this library's passages (strategy library before others)",
    )
    ask.add_argument("--system", default="", help="a system message before the question")
    ask.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    ask.add_argument("--max-tokens", type=int, default=256, help="of each call (default: 256)")
    ask.add_argument("--temperature", type=float, default=0.0, help="of calls that no strategy draws (default: 0)")
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--budget-calls", type=int, default=0, help="stop after so many calls")
    ask.add_argument("--budget-tokens", type=int, default=0, help="stop after so many tokens, read and written")
    ask.add_argument("--budget-seconds", type=float, default=0.0, help="stop after so many seconds")
    ask.add_argument("--show", action="store_true", help="show every call as it happens")
    ask.add_argument("--show-prompts", action="store_true", help="show the exact prompt of every call")
    ask.add_argument("--trace", type=Path, metavar="FILE", help="write every call to FILE, one JSON object a line")
    ask.set_defaults(command=_ask)


def _ask(arguments: argparse.Namespace) -> int:
    question = sys.stdin.read() if arguments.question == "-" else arguments.question
    if not question.strip():
        raise DataError("the question is empty; give at least a word")
    library = open_library(arguments.library) if arguments.library else None
    strategy = over_library(arguments.strategy, library) if library else named(arguments.strategy)
    budget = Budget(arguments.budget_calls, arguments.budget_tokens, arguments.budget_seconds)
    sampling = Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature)
    system = (Message("system", arguments.system),) if arguments.system else ()
    conversation = Conversation((*system, Message("user", question)))
    port = open_port(arguments.model, stage=arguments.stage)
    shown = _Shown() if arguments.show else None

    async def work() -> Outcome:
        try:
            return await run(
                strategy, conversation, port.ask, Options(sampling, arguments.seed), budget=budget, on_happening=shown
            )
        finally:
            await port.close()
            if library:
                library.close()

    outcome = asyncio.run(work())
    if arguments.trace:
        write_text(arguments.trace, "".join(canonical_json(c.to_dict()) + "\n" for c in outcome.calls))
    if arguments.show_prompts:
        for call in outcome.calls:
            exact = (
                port.render(call.conversation, call.options.tools)
                if isinstance(port, Renders)
                else canonical_json(call.to_dict()["messages"])
            )
            print(f"--- prompt of call {call.number}: {call.label}\n{exact}", file=sys.stderr)
    if shown:
        print(file=sys.stderr)
    print(outcome.answer.text)
    print(describe(outcome), file=sys.stderr)
    return 0


def describe(outcome: Outcome) -> str:
    """What an answer cost, in a line."""
    usage = outcome.usage
    calls = f"{usage.calls} call" + "s" * (usage.calls != 1)
    reused = f" ({usage.reused_tokens} of them known already)" if usage.reused_tokens else ""
    stopped = "; stopped by the budget" if outcome.is_stopped else ""
    return (
        f"[{calls}, {usage.prompt_tokens} tokens read{reused}, {usage.completion_tokens} written, "
        f"{outcome.seconds:.1f} s{stopped}]"
    )


class _Shown:
    """Happenings as lines on standard error; of calls at the same time, one is shown as it writes and the others after."""

    def __init__(self) -> None:
        self._live = 0
        self._texts: dict[int, str] = {}

    def __call__(self, happening: Happening) -> None:
        if happening.kind == "note":
            self._line(f"{'  ' * happening.depth}* {happening.text}")
        elif happening.kind == "begins":
            self._texts[happening.call] = f"{'  ' * happening.depth}[{happening.call}] {happening.text or 'ask'}: "
            if not self._live:
                self._open(happening.call)
        elif happening.kind == "text":
            if happening.call == self._live:
                sys.stderr.write(happening.text)
                sys.stderr.flush()
            else:
                self._texts[happening.call] += happening.text
        elif happening.kind == "ends":
            if happening.call == self._live:
                print(file=sys.stderr)
                self._live = 0
                waiting = min(self._texts, default=0)
                if waiting:
                    self._open(waiting)
            else:
                self._line(self._texts.pop(happening.call))

    def _open(self, call: int) -> None:
        self._live = call
        sys.stderr.write(self._texts.pop(call))
        sys.stderr.flush()

    def _line(self, text: str) -> None:
        print(("\n" if self._live else "") + text, file=sys.stderr)
