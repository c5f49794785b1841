"""Tidying of text: runs of spaces, invisible characters, empty lines."""

from __future__ import annotations

import re

_LINE_SPACE = re.compile(r"[^\S\n]+")
_INDENT = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"\n{3,}")
_BREAK = re.compile("\r\n?|[\x0b\x0c]")
"""Ends of lines, and of pages, which stand between words as these do."""
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u2060\ufeff\u00ad\x00-\x08\x0e-\x1f]")


def tidy(text: str) -> str:
    """Collapse spaces, drop invisible characters, keep at most one blank line in a row."""
    lines = "\n".join([line.strip() for line in _LINE_SPACE.sub(" ", code_text(text)).split("\n")])
    return _BLANK_LINES.sub("\n\n", lines).strip()


def plain_text(text: str) -> str:
    """Tidy a text but keep each line's leading spaces and tabs: a list may stand in a list."""
    lines = code_text(text).split("\n")
    indents = [match[0] if (match := _INDENT.match(line)) else "" for line in lines]
    words = [_LINE_SPACE.sub(" ", line).strip() for line in lines]
    swept = "\n".join([indent + line if line else "" for indent, line in zip(indents, words, strict=True)])
    return _BLANK_LINES.sub("\n\n", swept).strip("\n")


def code_text(text: str) -> str:
    """Drop invisible characters from code, keeping its lines and indentation."""
    return _INVISIBLE.sub("", _BREAK.sub("\n", text)).rstrip()
