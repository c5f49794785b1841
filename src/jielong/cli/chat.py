"""A talk in the terminal: what you type goes to the model, which may call tools, and comes back as it is written."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import chop_cells

from jielong.cli.dice import SEED_HELP, TOP_P_HELP, seed_of
from jielong.cli.history import History, said_before
from jielong.cli.models import add_weights
from jielong.cli.parsing import Parser
from jielong.cli.tools import (
    PERSON,
    add_options,
    add_thoughts,
    add_timeout,
    cut_notes,
    equipment_of,
    show_thought,
    typed,
    unanswered,
)
from jielong.errors import JielongError, TooLongError
from jielong.opening.libraries import with_reading
from jielong.opening.ports import MODEL_HELP, LatePort, newest_run, open_late
from jielong.opening.strategies import strategy_of
from jielong.opening.tools import open_equipment
from jielong.records import Conversation, Message, Sampling
from jielong.runs import derive_seed
from jielong.use.fitting import without_oldest
from jielong.use.ledger import Happening
from jielong.use.port import LocalPort, Options, Port
from jielong.use.strategies import named
from jielong.use.strategy import Outcome, Strategy, run

if TYPE_CHECKING:
    from jielong.use.endpoint import Endpoint

HELP = "/new starts over, /quit ends (so does Ctrl-D)."


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    help = "talk to the newest model of a run, or to a model folder, in the terminal"
    _add_options(commands.add_parser("chat", help=help))


def talk_to(run: Path) -> int:
    """Chat with a run's model as `jielong chat RUN` does."""
    parser = Parser(prog="jielong chat")
    _add_options(parser)
    return _chat(parser.parse_args([str(run)]))


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a chat."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help=f"{MODEL_HELP}; without it, the newest run")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs lie (default: runs)")
    parser.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    parser.add_argument("--system", default="", metavar="TEXT", help="a system message before the talk")
    parser.add_argument(
        "--continue", dest="goes_on", action="store_true", help="go on with the last talk of the terminal that was kept"
    )
    parser.add_argument("--no-history", action="store_true", help="keep nothing of this talk")
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest token (default)"
    )
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help=TOP_P_HELP)
    parser.add_argument("--max-tokens", type=int, default=80, metavar="N", help="of each answer (default: 80)")
    parser.add_argument("--seed", type=int, metavar="N", help=SEED_HELP)
    add_weights(parser)
    add_options(parser)
    add_timeout(parser)
    add_thoughts(parser)
    parser.set_defaults(command=_chat)


def _chat(arguments: argparse.Namespace) -> int:
    return chat(arguments.model or str(newest_run(arguments.runs)), arguments)


def chat(spec: str, arguments: argparse.Namespace) -> int:
    """Read a line, stream the answer of the model that `spec` names, until the end of input."""
    return asyncio.run(_talk(spec, arguments))


async def _talk(spec: str, arguments: argparse.Namespace) -> int:
    """Read lines and stream answers until the end of input."""
    named_means = equipment_of(arguments)
    async with open_equipment(named_means, PERSON) as means:
        port = open_late(spec, stage=arguments.stage, weights=arguments.weights, slots=1, timeout_s=arguments.timeout)
        if not named_means.library and isinstance(port, LatePort):
            port.open()  # with a library it may never be asked
        spec_of_strategy = strategy_of("", named_means)
        strategy = named(spec_of_strategy, with_reading(means, port))
        tools = means.get("tools", ())
        sampling = Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature, top_p=arguments.top_p)
        offered = tuple(tool.schema for tool in tools)
        opening: tuple[Message, ...] = (Message("system", arguments.system),) if arguments.system else ()
        print(f"{port.name}\n{HELP}")
        seed = seed_of(arguments)
        messages, turn = opening, 0
        goes_on = arguments.goes_on and not arguments.no_history
        history = History(spec, arguments.system, goes_on=goes_on, is_off=arguments.no_history)
        if goes_on:
            messages = history.messages()
            for line in said_before(messages, shutil.get_terminal_size().columns - 1):
                print(line)
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
                    messages = opening
                    history.begin_anew()
                    print("(a new conversation)")
                    continue
                if not said:
                    continue
                asked = (*messages, Message("user", said))
                kept = fitting(asked, port, Options(sampling, tools=offered))
                if kept is None:
                    print("(that is longer than this model reads: say it in fewer words)")
                    continue
                shown = AnswerDisplay(arguments.thoughts)
                options = Options(
                    sampling,
                    derive_seed(seed, "turn", turn),
                    on_text=shown.say,
                    on_thought=shown.think,
                    candidates=history.candidates,
                )
                try:
                    kept, outcome = await _answer_shortened(strategy, kept, port, options, shown)
                except TooLongError as error:
                    print(f"\n({error}: /new)")
                    continue
                except JielongError as error:
                    print(f"\n({error})")
                    continue
                shown.close()
                answer = outcome.answer
                for line in ["", *unanswered(answer.message), *cut_notes(answer, arguments.max_tokens)]:
                    print(line)
                if answer.missing:
                    print(f"({answer.missing}{': ' if answer.text else ''}{answer.text})")
                    continue
                # with tools, what they said is part of the talk; passages are found anew for each question
                before = outcome.calls[-1].conversation.messages if tools else kept
                messages = (*before, answer.message)
                turn += 1
                history.keep(said, answer, options, "" if spec_of_strategy == "direct" else spec_of_strategy)
        finally:
            history.close()
            await port.close()


async def _answer_shortened(
    strategy: Strategy, talk: tuple[Message, ...], port: Port, options: Options, shown: AnswerDisplay
) -> tuple[tuple[Message, ...], Outcome]:
    """Answer the talk with the strategy, leaving out oldest exchanges while it is too long. Returns the messages that
    were answered, and the outcome.
    """
    while True:
        try:
            return talk, await run(strategy, Conversation(talk), port.ask, options, on_happening=shown.happen)
        except TooLongError:
            shorter = without_oldest(talk)
            if shorter is None:
                raise
            talk = shorter
            shown.note("too long for this model: the oldest exchange is left out")


class AnswerDisplay:
    """A display of an answer while it is written; its thoughts in full if they are wanted, else folded to a line.

    Searches, findings and tools' answers stand in lines of their own, before the answer where they come before it.
    """

    def __init__(self, has_thoughts: bool) -> None:
        self._has_thoughts = has_thoughts
        self._thoughts = ""
        self._is_in_line = False
        self._is_begun = False

    def think(self, text: str) -> None:
        """Show a piece of thought, or a sign that there are some."""
        self._begin()
        if self._has_thoughts:
            show_thought(text)
        elif not self._thoughts:
            _write("(thinking ...) ")
        self._thoughts += text

    def say(self, text: str) -> None:
        """Show a piece of the answer."""
        self._end_thoughts()
        self._begin()
        _write(text)
        self._is_in_line = not text.endswith("\n")

    def happen(self, happening: Happening) -> None:
        if happening.kind == "note":
            self.note(happening.text)

    def note(self, text: str) -> None:
        """Show a line of its own, no wider than the terminal."""
        if self._is_in_line:
            _write("\n")
        line = f"  · {' '.join(text.split())}"
        lines = chop_cells(line, shutil.get_terminal_size().columns - 1)
        _write(lines[0] + ("…\n" if len(lines) > 1 else "\n"))
        self._is_in_line = False

    def close(self) -> None:
        """End the thoughts, and the answer even if it has no words."""
        self._end_thoughts()
        self._begin()

    def _begin(self) -> None:
        if not self._is_begun:
            _write("model> ")
        self._is_begun = self._is_in_line = True

    def _end_thoughts(self) -> None:
        """End the thoughts with their length."""
        if self._thoughts:
            num = len(self._thoughts.split()) if self._thoughts.isascii() else len(self._thoughts)
            unit = "words" if self._thoughts.isascii() else "characters"
            _write("\n" if self._has_thoughts else f"({num} {unit} of thoughts; --thoughts shows them)\n")
        self._thoughts = ""


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def fitting(
    messages: tuple[Message, ...], port: LatePort | LocalPort | Endpoint, options: Options
) -> tuple[Message, ...] | None:
    """Drop oldest exchanges until the talk leaves room for an answer. Returns None if nothing fits.

    Of a server, and of a model that nobody has asked yet, the limit is not known: then the talk is shortened if the
    answer is that it is too long.
    """
    local = port.opened if isinstance(port, LatePort) else port if isinstance(port, LocalPort) else None
    if local is None:
        return messages
    while True:
        num_tokens = len(local.prompt_ids(Conversation(messages), options.tools))
        if num_tokens + options.sampling.max_tokens <= local.engine.length:
            return messages
        shorter = without_oldest(messages)
        if shorter is None:
            return messages if num_tokens < local.engine.length else None
        messages = shorter
