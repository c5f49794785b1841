"""Tool calls in plain text written by a model.

A model whose template has marks for calls gives them as `Message.tool_calls`. Others write them as they learned to:
JSON between <tool_call> and </tool_call>, JSON as the whole answer (perhaps in a fence), or a line like
calculator("12*7"). Each form is read only if it cannot be meant otherwise: the name must be one of the tools, and the
call must stand alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jielong.errors import DataError
from jielong.outside import parse_json
from jielong.records import Message
from jielong.tokens.stream import CALL_CLOSING, CALL_OPENING, enclosed
from jielong.use.tools.tool import Tool

_FENCED = re.compile(r"\A```\w*\n(.*)\n```\Z", re.DOTALL)
_ANNOUNCED = re.compile(r"\A(?:\[TOOL_CALLS\]|<\|python_tag\|>)\s*")
LINE = re.compile(r"^[ \t]*(?P<call>[A-Za-z_][\w-]*\(.*\))[ \t]*(?:;[ \t]*)?$", re.MULTILINE)


def with_calls(message: Message, tools: Mapping[str, Tool]) -> Message:
    """Move the calls in a message's text into `tool_calls`."""
    if message.tool_calls:
        return message
    text, calls = message.text, list[Mapping[str, Any]]()

    def take(found: Iterable[Mapping[str, Any] | None], otherwise: str) -> str:
        """Take calls out of the text, or leave it as it was."""
        those = list(found)
        if not those or None in those:
            return otherwise
        calls.extend(call for call in those if call is not None)
        return ""

    pieces, done = list[str](), 0
    for start, end in _marked_calls(text):
        inner = text[start:end].removeprefix(CALL_OPENING).removesuffix(CALL_CLOSING).strip()
        pieces += [text[done:start], take(calls_in_json(inner, tools), text[start:end])]
        done = end
    text = "".join((*pieces, text[done:]))
    if not calls:
        text = take(calls_in_json(bare(text), tools), text)
    if not calls:
        text = LINE.sub(lambda m: take([call_in_line(m["call"], tools)], m[0]), text)
    return Message(message.role, text.strip(), message.name, tuple(calls)) if calls else message


def _marked_calls(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each call between marks begins and ends; the last one may lack its second mark."""
    end = 0
    for start, end in enclosed(text, CALL_OPENING, CALL_CLOSING):
        yield start, end
    start = text.find(CALL_OPENING, end)
    if start >= 0:
        yield start, len(text)


def bare(text: str) -> str:
    """Return a whole answer without the fence or the mark that announces a call."""
    text = text.strip()
    fenced = _FENCED.match(text)
    return _ANNOUNCED.sub("", fenced[1].strip() if fenced else text)


def calls_in_json(text: str, tools: Mapping[str, Tool]) -> list[Mapping[str, Any] | None]:
    """Return the calls of a JSON object or list; None in it for an entry that is no call of these tools."""
    try:
        found = parse_json(text)
    except DataError:
        return []
    return [_call(one, tools) for one in (found if isinstance(found, list) else [found])]


def _call(data: Any, tools: Mapping[str, Tool]) -> Mapping[str, Any] | None:
    """Read a call of one of the tools from JSON. Returns None if it is none."""
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("function"), dict):
        data = data["function"]
    arguments = data.get("arguments", data.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments)
        except DataError:
            return None
    if data.get("name") not in tools or not isinstance(arguments, dict):
        return None
    return {"name": data["name"], "arguments": arguments}


def call_in_line(text: str, tools: Mapping[str, Tool]) -> Mapping[str, Any] | None:
    """Parse a call as Python writes it, of literal values; those without a name are the tool's first parameters."""
    try:
        node = ast.parse(text, mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in tools:
            return None
        names = list(tools[node.func.id].parameters.get("properties", {}))
        values = [ast.literal_eval(value) for value in node.args]
        arguments = dict(zip(names, values, strict=False))
        named = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    is_clear = len(values) <= len(names) and not arguments.keys() & named.keys()
    return {"name": node.func.id, "arguments": {**arguments, **named}} if is_clear else None
