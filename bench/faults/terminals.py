"""Hostile text on a terminal: escape sequences in answers, documents, names and templates, in every command.

Nothing but line breaks, tabs and what rich draws itself may arrive: no clipboard (OSC 52), title, movement, C1 sign or mark
of direction.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

from bench.faults.kills import write_pages
from bench.odd_server import Said, chat, delta, events, saying, whole
from bench.rows import Row
from jielong.cli.main import build_parser
from jielong.cli.main import main as jielong

ATTACKS = {
    "the clipboard (OSC 52)": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "a title (OSC 0)": "\x1b]0;owned\x1b\\",
    "colours and movement (CSI)": "\x1b[2J\x1b[31m\x1b[5A",
    "C1 signs": "\x9b2J\x9d52;c;aGk=\x9c",
    "a title by DCS": "\x1bP$q q\x1b\\",
    "marks of direction": "\u202egnp.exe\u2066a\u2069\u200f",
    "a line written over": "all is well\rnothing is\x08\x08",
    "a bell and a form feed": "\x07\x0c\x0b\x00",
    "a hidden link (OSC 8)": "\x1b]8;;http://127.0.0.1/evil\x1b\\here\x1b]8;;\x1b\\",
}
HOSTILE = " ".join(ATTACKS.values())
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
RICH = re.compile(r"\x1b\[[\d;]*m|\x1b\[\?25[lh]|\x1b\[\d*[AK]|\r")
"""The sequences that rich draws with: colours, the cursor hidden and shown, lines up, a line emptied."""


def commands() -> list[str]:
    """The names of all commands."""
    (action,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return list(action.choices)


def said(*command: str, typed: str = "") -> str:
    """All that a command prints."""
    out = io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        mock.patch("sys.stdin", io.StringIO(typed)),
        contextlib.suppress(SystemExit),
    ):
        jielong(command)
    return out.getvalue()


def on_a_terminal(command: Sequence[str]) -> str:
    """Run a command on a terminal of its own; all that it writes there."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        command, stdin=secondary, stdout=secondary, stderr=secondary, env={**os.environ, "TERM": "xterm"}
    )
    os.close(secondary)
    written = b""
    with contextlib.suppress(OSError):  # the terminal is closed by its last user
        while piece := os.read(primary, 65536):
            written += piece
    process.wait()
    os.close(primary)
    return written.decode(errors="replace")


def rows(seed: int, *, short: bool, folder: Path) -> Iterator[Row]:
    """Every command with a hostile name, what servers and documents say, and a run's display on a real terminal."""
    names = commands()
    clean = sum(not FORBIDDEN.search(said(name, HOSTILE.replace("\x00", ""), HOSTILE)) for name in names)
    yield _row("commands that are given a hostile name", clean, len(names), seed)
    flows = dict(_flows(folder, seed))
    for name, text in flows.items():
        assert "\u241b" in text or "well" in text, f"{name}: what was hostile did not come so far: {text[:300]!r}"
    yield _row(
        "ways from a server or a file to the terminal",
        sum(not FORBIDDEN.search(t) for t in flows.values()),
        len(flows),
        seed,
    )
    run = folder / ("own" if short else "long") / "\x1b]0;owned\x07 pages"
    write_pages(run, 24)
    steps = ("--set", "pretrain.loop.steps=2", "--set", "refine.refine.filters.min_letters=1")
    made = [sys.executable, "-m", "jielong.cli.main", "run", "own", "--size", "smoke", "--source", str(run)]
    shown = on_a_terminal([*made, "--runs", str(folder / "runs"), "--no-chat", *steps])
    left = FORBIDDEN.search(RICH.sub("", shown.replace("\r\n", "\n")))
    yield Row(
        "a run's display", "rich's own signs alone", repr(left[0]) if left else "those", left is None, seeds=(seed,)
    )


def _row(what: str, clean: int, of: int, seed: int) -> Row:
    return Row(f"clean: {what}", f"{of} of {of}", clean, clean == of, seeds=(seed,))


def _flows(folder: Path, seed: int) -> Iterator[tuple[str, str]]:
    """Name of a way, and what came out of it."""
    document = folder / "notes"
    document.mkdir()
    for number, attack in enumerate(ATTACKS.values()):
        (document / f"{number}.md").write_text(f"# The harbour\n\nIt is well at nine. {attack}\n")
    library = str(folder / "library.db")
    yield "library add", said("library", "add", "--library", library, str(document)) + " well"
    yield "library search", said("library", "search", "--library", library, "harbour")
    chats = folder / "chats.jsonl"
    talk = [{"role": "user", "content": f"Hi {HOSTILE}"}, {"role": "assistant", "content": f"Hello {HOSTILE}"}]
    chats.write_text("".join(json.dumps({"messages": talk}) + "\n" for _ in range(3)))
    yield "inspect", said("inspect", str(chats))
    answers: list[tuple[str, Said]] = [
        ("a whole answer", whole(chat(HOSTILE))),
        ("a streamed answer", events(*(delta(content=piece) for piece in HOSTILE), delta("stop"))),
        ("an error", whole({"error": {"message": HOSTILE, "code": 500}}, 500)),
        ("thoughts", whole(chat(f"<think>{HOSTILE}</think>{HOSTILE}"))),
    ]
    for name, answer in answers:
        with saying([answer]) as address:
            yield f"ask, {name}", said("ask", f"{address}#m", "What?")
            yield f"chat, {name}", said("chat", f"{address}#m", typed="What?\n")
