"""`jielong`: the commands, their options, and how they end.

Every command says where it wrote and what to run next. Mistakes of the user cost one sentence and exit code 2, Ctrl-C
130, SIGTERM 143; nothing already made is lost, and the same command goes on.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from jielong import stopping
from jielong.cli import (
    act,
    adapt,
    ask,
    check,
    compare,
    estimate,
    evaluate,
    fields,
    inspect,
    judge,
    library,
    models,
    names,
    report,
    spell,
    tools,
    tune,
)
from jielong.cli.dice import SEED_HELP, seed_of
from jielong.cli.given import check_paths, fault_of_user
from jielong.cli.parsing import Parser
from jielong.cli.walk import add_recipe, add_size, add_walk_options, say_at_once, say_what_next, walk, written_recipe
from jielong.errors import JielongError
from jielong.opening.ports import MODEL_HELP, newest_run
from jielong.recipes import about_recipes
from jielong.report.terminal import plain_streams


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    stopping.listen()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # as names are: whoever uses the text refuses what is no UTF-8
    with plain_streams():
        return _command(argv)


def _command(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        check_paths(arguments)
        return command(arguments)
    except JielongError as error:
        print(f"jielong: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\njielong: interrupted; what was made is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except stopping.Terminated:
        print(
            "\njielong: ended by SIGTERM; what was made is kept, and the same command goes on from there",
            file=sys.stderr,
        )
        return 143
    except BrokenPipeError:
        return 0
    except (OSError, UnicodeEncodeError) as error:
        fault = fault_of_user(error, arguments)
        if not fault:
            raise
        print(f"jielong: {fault}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="jielong", description="From raw text to an assistant, on one machine. Start with: jielong quickstart"
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    start = commands.add_parser("quickstart", help="the whole road once: web pages in, a reinforced assistant out")
    start.set_defaults(command=_run, recipe="quickstart", source=None, chat=None, preferences=None)
    add_size(start)
    _add_run_options(start)

    run = commands.add_parser(
        "run",
        help=f"run a recipe: {', '.join(about_recipes())}, or one in a file",
        description="Recipes:\n" + "\n".join(f"  {name:12}{about}" for name, about in about_recipes().items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_recipe(run)
    run.set_defaults(command=_run)
    _add_run_options(run)

    fields.add_parser(commands)
    tune.add_parser(commands)
    inspect.add_parser(commands)

    chat = commands.add_parser("chat", help="talk to the newest model of a run, or to a model folder, in the terminal")
    chat.add_argument("model", nargs="?", help=f"{MODEL_HELP}; without it, the newest run")
    chat.add_argument("--runs", type=Path, default=Path("runs"), help="where runs lie (default: runs)")
    chat.add_argument("--stage", help="pretrain, sft or rl; without it, the last one trained")
    chat.add_argument("--system", default="", help="a system message before the talk")
    chat.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token (default)")
    chat.add_argument("--top-p", type=float, default=1.0)
    chat.add_argument("--max-tokens", type=int, default=80)
    chat.add_argument("--seed", type=int, help=SEED_HELP)
    models.add_weights(chat)
    tools.add_options(chat)
    tools.add_timeout(chat)
    tools.add_thoughts(chat)
    chat.set_defaults(command=_chat)

    generate = commands.add_parser("generate", help="go on with a text, or answer a question (--ask)")
    generate.add_argument("model", type=Path, help="a run's or model's folder")
    generate.add_argument("text", help="what to go on with; - reads it from standard input")
    generate.add_argument("--ask", action="store_true", help="put the text as a question into the chat template")
    generate.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    generate.add_argument("--max-tokens", type=int, default=100)
    generate.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token (default)")
    generate.add_argument("--top-k", type=int, default=0)
    generate.add_argument("--top-p", type=float, default=1.0)
    generate.add_argument("--min-p", type=float, default=0.0)
    generate.add_argument("--repetition-penalty", type=float, default=1.0)
    generate.add_argument(
        "--stop", action="append", default=[], help="end before this text; may be given several times"
    )
    generate.add_argument("--seed", type=int, help=SEED_HELP)
    generate.add_argument("--show", action="store_true", help="show how each token was drawn, and from what")
    models.add_weights(generate)
    generate.set_defaults(command=_generate)

    ask.add_parser(commands)
    evaluate.add_parser(commands)
    judge.add_parser(commands)
    library.add_parser(commands)
    spell.add_parser(commands)
    act.add_parser(commands)
    models.add_parsers(commands)
    names.add_parsers(commands)
    adapt.add_parser(commands)

    check.add_parser(commands)

    report.add_parser(commands)
    compare.add_parser(commands)

    tree = commands.add_parser("lineage", help="where the checkpoints of a run came from")
    tree.add_argument("run", type=Path)
    tree.set_defaults(command=_lineage)

    board = commands.add_parser("tensorboard", help="write the metrics of a run as TensorBoard events")
    board.add_argument("run", type=Path)
    board.set_defaults(command=_tensorboard)

    estimate.add_parser(commands)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"jielong {version('jielong')}"


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add_walk_options(parser, seed=None)
    report.add_language(parser)
    parser.add_argument("--no-chat", action="store_true", help="do not offer a chat at the end")


def _run(arguments: argparse.Namespace) -> int:
    say_at_once(f"{arguments.recipe}: loading what trains, and looking at what it is made of")
    written = written_recipe(arguments)
    run = walk(replace(written, settings=()).build(), arguments, written.settings)
    if run is None:
        return 0
    report.show_report(run, report.language_of(arguments))
    trained = [s for s in run.record["stages"] if (run.path / s / "steps").exists()]
    print()
    say_what_next(run, can_talk=any(s in trained for s in ("sft", "rl")))
    if sys.stdin.isatty() and sys.stdout.isatty() and not arguments.no_chat and "sft" in trained:
        try:
            said = input("\nChat now? [Y/n] ")
        except EOFError:  # Ctrl-D
            said = "no"
        if said.strip().lower() in ("", "y", "yes"):
            return main(["chat", str(run.path)])
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    from jielong.cli.chat import chat

    return chat(arguments.model or str(newest_run(arguments.runs)), arguments)


def _generate(arguments: argparse.Namespace) -> int:
    from jielong.cli.generate import generate
    from jielong.records import Sampling

    sampling = Sampling(
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        min_p=arguments.min_p,
        repetition_penalty=arguments.repetition_penalty,
        stop=tuple(arguments.stop),
    )
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    return generate(
        arguments.model,
        text,
        sampling,
        stage=arguments.stage,
        ask=arguments.ask,
        seed=seed_of(arguments),
        weights=arguments.weights,
        show=arguments.show,
    )


def _lineage(arguments: argparse.Namespace) -> int:
    from jielong.runs import lineage, open_run

    run = open_run(arguments.run)
    from jielong.stages.telling import settings_in_words  # not before it is known that there is a run

    print(lineage(run, settings_in_words, shutil.get_terminal_size().columns))
    return 0


def _tensorboard(arguments: argparse.Namespace) -> int:
    from jielong.cli.tensorboard import write_events

    where = write_events(arguments.run)
    print(f"Events:  {where}\nLook:    tensorboard --logdir {where}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
