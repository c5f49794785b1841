"""The visible part of an answer while it is written: its words, without the raw text of calls.

A call has no place in a talk: it is shown in a line of its own. So text that may become a call is held back until it is
one or cannot be one any more, and an unfinished call at the end is left out as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from jielong.errors import DataError
from jielong.outside import parse_json
from jielong.tokens.stream import CALL_CLOSING, CALL_OPENING, enclosed, overlap
from jielong.use.tools.reading import LINE, bare, call_in_line, calls_in_json
from jielong.use.tools.tool import Tool

_OPENED = re.compile(rf"{CALL_OPENING}\s*(?:\Z|[\[{{])")
# How an answer begins that may be a call as a whole: announced or fenced, an object with one of a call's keys. What is cut
# short anywhere still fits.
_ANNOUNCED = re.compile(r"(?:\[TOOL_CALLS\]|<\|python_tag\|>|```\w*\n)?\s*")
_FENCE_IN_PART = re.compile(r"`{1,2}|```\w*")
_OBJECT = re.compile(r'(?:\[\s*)?(?:\Z|\{\s*(?:\Z|"(?:\w*\Z|(?:name|arguments|parameters|function|type|id)")))')
# Stands where a call was taken out, so that what lay around it does not become a new opening. No text has it: Unicode
# keeps it for the inside of programs.
_GAP = "\ufdd0"
_NAMED = re.compile(r'"name"\s*:\s*"([^"]*)')


_LONG_CHARS = 4096
"""From here on what is not settled is looked at after each sixteenth that it grows: else a long one would cost its square."""


class Spoken:
    """Passes on to `tell` the visible text of the pieces of an answer. Only calls of `tools`, or between marks, are
    known.

    Whole lines are settled: later text does not change how they are shown, so only the rest is looked at again.
    """

    def __init__(self, tools: Mapping[str, Tool], tell: Callable[[str], None]) -> None:
        self._tools, self._tell = tools, tell
        self._pieces, self._num_chars, self._next_look = list[str](), 0, 0
        # the end of what is settled, which is held back until words follow
        self._blanks = list[str]()
        # how much is told of what is shown after that
        self._told = 0
        self._may_be_bare, self._is_changed = True, False

    def push(self, piece: str) -> None:
        """Take a piece, and pass on its visible text when it is certain."""
        self._pieces.append(piece)
        self._num_chars += len(piece)
        if self._num_chars >= self._next_look:
            self._pass_on(is_over=False)

    def finish(self) -> None:
        """Pass on the held-back text that turned out to be no call."""
        self._pass_on(is_over=True)

    def _pass_on(self, *, is_over: bool) -> None:
        """Pass on the visible text that is new, and settle whole lines."""
        text = "".join(self._pieces)
        self._keep(text)
        if self._may_be_bare and self._tools and _may_be_bare(text):
            if not is_over or _is_bare(text, self._tools):
                return
        else:
            self._may_be_bare = False
        shown, end = _shown(text, self._tools, is_over)
        is_whole = is_over and not self._is_changed and shown == text
        said = shown if is_whole else shown.rstrip()
        if is_whole or len(said) > self._told:
            rest = "".join((*self._blanks, said[self._told :]))
            self._blanks, self._told = [], len(said)
            if rest:
                self._tell(rest)
        if end and not is_over:
            self._settle(text[:end])
            self._keep(text[end:])

    def _keep(self, text: str) -> None:
        self._pieces, self._num_chars = [text], len(text)
        self._next_look = len(text) + (len(text) // 16 if len(text) > _LONG_CHARS else 0)

    def _settle(self, lines: str) -> None:
        """Forget lines that no later text can change."""
        shown, _ = _shown(lines, self._tools, is_over=False)
        self._is_changed = self._is_changed or shown != lines
        self._blanks.append(shown[self._told :])
        self._told = max(0, self._told - len(shown))


def without_calls(text: str, tools: Mapping[str, Tool], *, is_over: bool = True) -> str:
    """Return a text without its calls, and without an unfinished one at its end.

    While it is not over, more text only ever adds to the result: also held back are the blanks at its end, and an end
    that may yet become a call.
    """
    if tools and _may_be_bare(text) and (not is_over or _is_bare(text, tools)):
        return ""
    shown, _ = _shown(text, tools, is_over)
    return shown if is_over and shown == text else shown.rstrip()


def _shown(text: str, tools: Mapping[str, Tool], is_over: bool) -> tuple[str, int]:
    """Return a text that is no call as a whole, without its calls; and how much of it, in whole lines, is final."""
    pieces, done = list[str](), 0
    for start, end in enclosed(text, CALL_OPENING, CALL_CLOSING):
        is_call = _is_call(text[start + len(CALL_OPENING) : end - len(CALL_CLOSING)].strip())
        pieces += [text[done:start], _GAP if is_call else text[start:end]]
        done = end
    shown = "".join((*pieces, text[done:]))
    *lines, last = shown.split("\n")
    lines = [line for line in lines if not _is_line(line, tools)]
    shown = "\n".join([*lines, "" if _ends_in_line(last, tools, is_over) else last])
    opened = _OPENED.search(shown, shown.rfind(CALL_CLOSING) + 1)
    if opened:
        shown = shown[: opened.start()]
    elif not is_over:
        shown = shown[: len(shown) - overlap(shown, CALL_OPENING)]
    unclosed = text.find(CALL_OPENING, done)
    settled = text.rfind("\n", done, unclosed if unclosed >= 0 else len(text)) + 1
    return shown.replace(_GAP, ""), settled


def _is_call(text: str) -> bool:
    """Whether the text between marks is a call, of any tool."""
    try:
        found = parse_json(text)
    except DataError:
        return False
    return isinstance(found, dict) and isinstance(found.get("name"), str)


def _may_be_bare(text: str) -> bool:
    """Whether a text is, or may become, JSON of a call and nothing else."""
    said = text.lstrip()
    if _FENCE_IN_PART.fullmatch(said) or any(mark.startswith(said) for mark in ("[TOOL_CALLS]", "<|python_tag|>")):
        return True
    announced = _ANNOUNCED.match(said)
    return _OBJECT.match(said, announced.end() if announced else 0) is not None


def _is_bare(text: str, tools: Mapping[str, Tool]) -> bool:
    """Whether a whole text that may be a call is one, or is cut off in the middle of one."""
    said = bare(text)
    found = calls_in_json(said, tools)
    if found:
        return None not in found
    named = _NAMED.search(said)
    return any(tool.startswith(named[1]) for tool in tools) if named else bool(_OBJECT.fullmatch(said) and said)


def _is_line(line: str, tools: Mapping[str, Tool]) -> bool:
    found = LINE.fullmatch(line)
    return found is not None and call_in_line(found["call"], tools) is not None


def _ends_in_line(line: str, tools: Mapping[str, Tool], is_over: bool) -> bool:
    """Whether the last line is a call or is cut off in the middle of one; while it goes on, whether it may become one."""
    said = line.lstrip(" \t")
    if is_over:
        is_open = said.count("(") > said.count(")") and said.partition("(")[0] in tools
        return is_open or _is_line(line, tools)
    return any(f"{tool}(".startswith(said) or said.startswith(f"{tool}(") for tool in tools)
