"""One question with all that can be done about it: a strategy, a budget, the calls as they happen and what they cost."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from jielong.cli.bad_arguments import is_utf8
from jielong.cli.dice import SEED_HELP, seed_of
from jielong.cli.tools import (
    PERSON,
    add_options,
    add_thoughts,
    add_timeout,
    cut_notes,
    equipment_of,
    show_thought,
    unanswered,
)
from jielong.errors import DataError
from jielong.opening.libraries import with_reading
from jielong.opening.ports import MODEL_HELP, open_late
from jielong.opening.strategies import Partners, open_resources, strategy_of
from jielong.records import Conversation, Message, Sampling
from jielong.runs import canonical_json, write_text
from jielong.use.ledger import Budget, Happening
from jielong.use.port import Options, Port, Renders
from jielong.use.strategies import STRATEGIES, named, samples_calls
from jielong.use.strategy import Outcome, run


def add_parser(commands: Any) -> None:
    """Add `jielong ask` to the commands."""
    ask = commands.add_parser(
        "ask",
        help="answer a question with a strategy, such as a vote; say what it cost",
        description=__doc__,
        usage="jielong ask MODEL QUESTION [OPTION ...]",
    )
    asked = ask.add_argument_group("what is asked")
    asked.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    asked.add_argument("question", metavar="QUESTION", help="what is asked; - reads it from standard input")
    asked.add_argument("--system", default="", metavar="TEXT", help="a system message before the question")
    asked.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    strategy = ask.add_argument_group("strategy")
    strategy.add_argument(
        "--strategy",
        default="",
        help=f"one of {', '.join(STRATEGIES)}, with options as in vote:n=5, or several joined by + (default: direct, or "
        "tools or library where they are given)",
    )
    add_partners(strategy)
    add_options(ask.add_argument_group("tools and documents"))
    sampling = ask.add_argument_group("sampling")
    sampling.add_argument("--max-tokens", type=int, default=256, metavar="N", help="of each call (default: 256)")
    sampling.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="of calls that no strategy draws (default: 0)"
    )
    sampling.add_argument("--seed", type=int, metavar="N", help=SEED_HELP)
    limits = ask.add_argument_group("limits")
    limits.add_argument("--budget-calls", type=int, default=0, metavar="N", help="stop after so many calls")
    limits.add_argument(
        "--budget-tokens", type=int, default=0, metavar="N", help="stop after so many tokens, read and written"
    )
    limits.add_argument(
        "--budget-seconds", type=float, default=0.0, metavar="SECONDS", help="stop after so many seconds"
    )
    add_timeout(limits)
    shown = ask.add_argument_group("output")
    add_thoughts(shown)
    shown.add_argument("--show", action="store_true", help="show every call as it happens")
    shown.add_argument("--show-prompts", action="store_true", help="show the exact prompt of every call")
    shown.add_argument("--trace", type=Path, metavar="FILE", help="write every call to FILE, one JSON object a line")
    ask.set_defaults(command=_ask)


def add_partners(parser: argparse._ActionsContainer) -> None:
    """Add the options that name other models, which take part in some strategies."""
    parser.add_argument("--large", metavar="MODEL", help="the model that a cascade asks where the first one is unsure")
    parser.add_argument(
        "--other",
        metavar="MODEL",
        action="append",
        default=[],
        help="another model that takes part in a debate, discuss, dera or team; may be given several times",
    )
    parser.add_argument(
        "--reward",
        metavar="MODEL",
        help="a reward model's folder, or a run with one, that judges for best-of and check",
    )


def partners_of(arguments: argparse.Namespace) -> Partners:
    """Return the other models that these options name."""
    return Partners(arguments.large, tuple(arguments.other), arguments.reward)


def _ask(arguments: argparse.Namespace) -> int:
    """Answer one question with a strategy, and print the answer and its cost."""
    question = sys.stdin.read() if arguments.question == "-" else arguments.question
    for name, text in (("question", question), ("system message", arguments.system)):
        if not is_utf8(text):
            raise DataError(f"the {name} is no UTF-8; write it in that encoding")
    if not question.strip():
        raise DataError("the question is empty; give at least a word")
    means, partners = equipment_of(arguments), partners_of(arguments)
    spec = strategy_of(arguments.strategy, means)
    budget = Budget(arguments.budget_calls, arguments.budget_tokens, arguments.budget_seconds)
    sampling = Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature)
    system = (Message("system", arguments.system),) if arguments.system else ()
    conversation = Conversation((*system, Message("user", question)))
    shown = EventDisplay() if arguments.show else None

    async def work() -> tuple[Outcome, Port]:
        """Open the model and its resources, and run the strategy."""
        async with open_resources(arguments.model, means, partners, PERSON) as given:
            named(spec, given)  # a strategy that does not exist is told before a model is looked for
            port = open_late(arguments.model, stage=arguments.stage, timeout_s=arguments.timeout)
            try:
                strategy = named(spec, with_reading(given, port))
                seed = seed_of(arguments, draws=samples_calls(strategy))
                options = Options(sampling, seed, on_thought=show_thought if arguments.thoughts else None)
                return await run(strategy, conversation, port.ask, options, budget=budget, on_happening=shown), port
            finally:
                await port.close()

    try:
        outcome, port = asyncio.run(work())
    finally:
        if shown:
            shown.close()
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
    if outcome.answer.text and not (shown and shown.has_shown(outcome.answer.text) and _is_one_place()):
        print(outcome.answer.text)
    for line in [
        *unanswered(outcome.answer.message, outcome.is_stopped),
        *cut_notes(outcome.answer, arguments.max_tokens),
    ]:
        print(line, file=sys.stderr)
    print(describe_cost(outcome), file=sys.stderr)
    if outcome.is_stopped and not outcome.answer.text:
        raise DataError("there is no answer: the budget was spent before one came")
    if outcome.answer.missing:
        raise DataError(f"there is no answer: {outcome.answer.missing}")
    return 0


def describe_cost(outcome: Outcome) -> str:
    """Describe the cost of an answer in a line."""
    usage = outcome.usage
    calls = f"{usage.calls} call" + "s" * (usage.calls != 1)
    reused = f" ({usage.reused_tokens} of them known already)" if usage.reused_tokens else ""
    stopped = "; stopped by the budget" if outcome.is_stopped else ""
    about = "about " if usage.is_estimated else ""
    counted = "; tokens were counted here, as the server does not say them" if usage.is_estimated else ""
    return (
        f"[{calls}, {about}{usage.prompt_tokens} tokens read{reused}, {about}{usage.completion_tokens} written, "
        f"{outcome.seconds:.1f} s{stopped}{counted}]"
    )


def _is_one_place() -> bool:
    """Whether standard output and standard error are read in the same place: a terminal, or one file."""
    try:
        out, err = (os.fstat(stream.fileno()) for stream in (sys.stdout, sys.stderr))
    except (OSError, ValueError):  # a stream of another kind
        return False
    return os.path.samestat(out, err)


class EventDisplay:
    """A display of a strategy's events on standard error; of calls at the same time, one is shown as it writes and the
    others after.
    """

    def __init__(self) -> None:
        self._live = 0
        self._last = ""
        self._texts: dict[int, str] = {}
        self._later: list[str] = []

    def __call__(self, happening: Happening) -> None:
        margin, call = "  " * happening.depth, happening.call
        if happening.kind == "text":
            self._last += happening.text
        elif happening.kind == "begins":
            self._last = ""
        if happening.kind == "note":
            self._write_line(f"{margin}* {happening.text}")
        elif happening.kind == "begins":
            self._texts[call] = f"{margin}[{call}] {happening.text or 'ask'}: "
            if not self._live:
                self._open(call)
        elif happening.kind == "text" and call == self._live:
            self._write(happening.text)
        elif happening.kind == "text":
            self._texts[call] += happening.text
        elif call == self._live:
            self.close()
            if self._texts:
                self._open(min(self._texts))
        else:
            self._write_line(self._texts.pop(call))

    def has_shown(self, answer: str) -> bool:
        """Whether the last call was shown with just this text."""
        return self._last.strip() == answer.strip()

    def close(self) -> None:
        """End the line that is being written, and write those that waited for it."""
        if self._live:
            self._write("\n")
        self._live = 0
        for line in self._later:
            self._write_line(line)
        self._later.clear()

    def _open(self, call: int) -> None:
        self._live = call
        self._write(self._texts.pop(call))

    def _write_line(self, text: str) -> None:
        """Write a line, or keep it while a call is being shown."""
        if self._live:
            self._later.append(text)
        else:
            self._write(text + "\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
