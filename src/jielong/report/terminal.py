"""Safe output to the terminal: control characters in others' text become visible, and ours alone are obeyed.

Models, documents, servers, file names and templates may hold signs that a terminal obeys: escape sequences that write
to the clipboard, change the title, move the cursor or hide text, marks that turn the direction of writing.
`plain_streams` lets none of them through, whoever prints: control characters become visible ones, marks of direction
are left out. Colours, tables and progress go beside it, by `report/consoles`, `faint` and `progress`, which clean what
they are given.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_SEEN_AS = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},  # ␀ to ␟
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    # marks that turn the direction of writing, and two that end a line for some
    **dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), ""),
    0x2028: " ",
    0x2029: " ",
}


def plain(text: str) -> str:
    """Make a text safe for the terminal, leaving only line breaks and tabs; every command's output goes through here."""
    return text.replace("\r\n", "\n").translate(_SEEN_AS)


class PlainStream(io.TextIOBase):
    """A stream that cleans text with `plain` and writes it to `beneath`."""

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath

    def write(self, text: str) -> int:
        self.beneath.write(plain(text))
        return len(text)

    def flush(self) -> None:
        self.beneath.flush()

    def isatty(self) -> bool:
        return self.beneath.isatty()

    def fileno(self) -> int:
        return self.beneath.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.beneath.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.beneath.errors

    @property
    def buffer(self) -> Any:
        return self.beneath.buffer


@contextmanager
def plain_streams() -> Iterator[None]:
    """Clean all text on standard output and standard error as long as the context lives."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter still gets the rest
    sys.stdout, sys.stderr = (cast(Any, s if isinstance(s, PlainStream) else PlainStream(s)) for s in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def beneath(stream: TextIO) -> TextIO:
    return stream.beneath if isinstance(stream, PlainStream) else stream


def has_colours(stream: TextIO) -> bool:
    """Whether colours and other styles are wanted there: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def faint(text: str) -> None:
    """Write to standard error, fainter than the rest where that is a terminal with colours."""
    stream = beneath(sys.stderr)
    stream.write(f"\033[2m{plain(text)}\033[0m" if has_colours(stream) else plain(text))
    stream.flush()


def progress(text: str) -> None:
    """Replace the progress line on standard error, where that is a terminal; "" removes it."""
    stream = beneath(sys.stderr)
    if stream.isatty():
        stream.write(f"\r\033[K{plain(text)}")
        stream.flush()
