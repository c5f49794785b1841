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
        if unknown:
            self._refuse(unknown)
        return found, unknown

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
