"""The parser of the command line: a command answers for its own options, and says which one was probably meant."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jielong.cli.overview import EXAMPLES, overview
from jielong.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """An argparse parser whose commands refuse what they do not know, each with its own usage.

    By itself argparse hands it up to the parser of the whole program, whose usage names none of the command's options.
    """

    def format_help(self) -> str:
        """The help of a command begins with an example; that of the program is an overview."""
        name = self.prog.partition(" ")[2]
        if not name:
            return overview()
        return (f"example: {EXAMPLES[name]}\n\n" if name in EXAMPLES else "") + super().format_help()

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, with the words of the command line beside what they mean, as `words`."""
        found = super().parse_args(args, namespace)
        found.words = list(sys.argv[1:] if args is None else args)
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return found, unknown

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        option = next((word.partition("=")[0] for word in unknown if word.startswith("-")), None)
        if option is None:
            self.error(f"{unknown[0]!r} is one argument too many; quote what has spaces in it")
        known = [n.lstrip("-") for action in self._actions for n in action.option_strings if n.startswith("--")]
        # without the dashes, which would make all options alike
        close = difflib.get_close_matches(option.lstrip("-"), known, n=1)
        hint = f"did you mean --{close[0]}?" if close else "its options stand above"
        self.error(f"{self.prog} has no option {option}; {hint}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(
                action, f"{value!r} is unknown; {did_you_mean(str(value), map(str, action.choices))}"
            )
