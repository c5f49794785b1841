"""`jielong`: the commands, their options, and how they end.

Every command says where it wrote and what to run next. Mistakes of the user cost one sentence and exit code 2, Ctrl-C
130, SIGTERM 143; nothing already made is lost, and the same command goes on.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Callable, Sequence

from jielong import stopping
from jielong.cli.as_json import json_alone
from jielong.cli.bad_arguments import check_paths, fault_of_user
from jielong.cli.overview import overview
from jielong.cli.parsing import Parser
from jielong.errors import JielongError
from jielong.report.terminal import plain_streams

MODULES = {
    "run": ("quickstart", "run"),
    "fields": ("fields",),
    "tune": ("tune",),
    "inspect": ("inspect",),
    "chat": ("chat",),
    "serve": ("serve",),
    "generate": ("generate",),
    "ask": ("ask",),
    "evaluate": ("evaluate",),
    "judge": ("judge",),
    "learn": ("learn",),
    "feedback": ("feedback",),
    "library": ("library",),
    "spell": ("spell",),
    "act": ("act",),
    "models": ("import", "export", "extend", "push", "pull", "quality"),
    "names": ("models", "alias"),
    "adapt": ("adapt",),
    "check": ("check",),
    "report": ("report",),
    "compare": ("compare",),
    "gauge": ("gauge",),
    "lineage": ("lineage",),
    "tensorboard": ("tensorboard",),
    "estimate": ("estimate",),
    "completion": ("completion",),
}
"""The modules of this room that add commands, by `add_parser`, and the commands of each."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    stopping.listen()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # as names are: whoever uses the text refuses what is no UTF-8
    with plain_streams():
        return _command(argv)


def _command(argv: Sequence[str] | None) -> int:
    """Parse the arguments, run the command, and turn errors into sentences and exit codes."""
    words = sys.argv[1:] if argv is None else argv
    if not words:
        print(overview(), end="", file=sys.stderr)
        return 2
    arguments = build_parser(words[0] if words else "").parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        check_paths(arguments)
        with json_alone(arguments):
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


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """Build the parser of all commands; for a named command its module's alone, as importing the others takes long."""
    parser: argparse.ArgumentParser = Parser(prog="jielong")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in [name for name, its in MODULES.items() if command in its] or MODULES:
        importlib.import_module(f"jielong.cli.{module}").add_parser(commands)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"jielong {version('jielong')}"


if __name__ == "__main__":
    sys.exit(main())
