"""`--json`: one JSON document on standard output, and nothing else there.

While such a command runs, everything that it prints goes to standard error; `print_json` alone reaches standard output.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from jielong.report.terminal import PlainStream, beneath, plain


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add the option --json."""
    parser.add_argument("--json", action="store_true", help="everything as one JSON object, for programs")


@contextmanager
def json_alone(arguments: argparse.Namespace) -> Iterator[None]:
    """If the command line asks for a JSON document, send all other output to standard error inside the context."""
    if not getattr(arguments, "json", False):
        yield
        return
    before = sys.stdout
    sys.stdout = cast(Any, _Aside(beneath(sys.stderr), before))
    try:
        yield
    finally:
        sys.stdout = before


def print_json(value: Mapping[str, Any]) -> None:
    """Print the document. A number that is infinite or unknown becomes null, a path its text, a dataclass an object."""
    text = json.dumps(_plain_data(value), ensure_ascii=False, indent=1, allow_nan=False)
    out = sys.stdout.standard_output if isinstance(sys.stdout, _Aside) else sys.stdout
    print(re.sub(r"[^\n -~]", _escape, text), file=out, flush=True)


class _Aside(PlainStream):
    """Standard output while only a JSON document may reach it: text goes to standard error."""

    def __init__(self, beneath: TextIO, standard_output: TextIO) -> None:
        super().__init__(beneath)
        self.standard_output = standard_output


def _escape(found: re.Match[str]) -> str:
    """Escape a character that a terminal's stream would change, or that is half of a surrogate pair."""
    is_kept = plain(found[0]) == found[0] and not "\ud800" <= found[0] <= "\udfff"
    return found[0] if is_kept else f"\\u{ord(found[0]):04x}"


def _plain_data(value: Any) -> Any:
    """Turn a value into what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain_data(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_data(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
