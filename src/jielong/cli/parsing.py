"""The parser of the command line: a command reports its own unknown options, with a suggestion."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jielong.cli.overview import EXAMPLES, overview
from jielong.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """An argparse parser whose commands refuse unknown options, each with its own usage.

    By itself argparse hands them up to the parser of the whole program, whose usage names none of the command's
    options.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Python 3.14 colours help where a terminal is; ours is plain, as all text of `plain_streams` is
        self.color = False

    def format_help(self) -> str:
        """Return the help of a command after an example; that of the program is an overview."""
        name = self.prog.partition(" ")[2]
        if not name:
            return overview()
        return (f"example: {EXAMPLES[name]}\n\n" if name in EXAMPLES else "") + super().format_help()

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and keep the words of the command line as `words`."""
        found = super().parse_args(args, namespace)
        found.words = list(sys.argv[1:] if args is None else args)
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse, and refuse unknown options here."""
        found, unknown = super().parse_known_args(args, namespace)
        unknown = self._take_late(found, unknown)
        if unknown:
            self._refuse(unknown)
        return found, unknown

    def _take_late(self, found: argparse.Namespace, words: Sequence[str]) -> list[str]:
        """Give words after an option to an optional argument that argparse left empty before it; return the others."""
        left = list(words)
        if any(word.startswith("-") for word in left):
            return left
        for action in self._actions:
            if action.option_strings or not left:
                continue
            if action.nargs == argparse.OPTIONAL and getattr(found, action.dest) == action.default:
                setattr(found, action.dest, self._get_values(action, [left.pop(0)]))
            elif action.nargs in (argparse.ZERO_OR_MORE, argparse.ONE_OR_MORE):
                setattr(found, action.dest, [*getattr(found, action.dest), *self._get_values(action, left)])
                left = []
        return left

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Exit with a sentence about the first unknown option or argument."""
        option = next((word.partition("=")[0] for word in unknown if word.startswith("-")), None)
        if option is None:
            self.error(f"{unknown[0]!r} is one argument too many; quote what has spaces in it")
        known = [n.lstrip("-") for action in self._actions for n in action.option_strings if n.startswith("--")]
        # without the dashes, which would make all options alike
        close = difflib.get_close_matches(option.lstrip("-"), known, n=1)
        hint = f"did you mean --{close[0]}?" if close else "its options stand above"
        self.error(f"{self.prog} has no option {option}; {hint}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is no choice, with a suggestion."""
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(
                action, f"{value!r} is unknown; {did_you_mean(str(value), map(str, action.choices))}"
            )


def former_name(parser: argparse._ActionsContainer, action: argparse.Action, *names: str) -> None:
    """Let an option be called by names that it had before; help and completion know the present one alone."""
    for name in names:
        parser._option_string_actions[name] = action  # argparse has no public way to hide one of two names
