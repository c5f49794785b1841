"""Readers for the turns of a conversation in common JSON forms: roles, contents, tool calls and thoughts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jielong.errors import DataError
from jielong.outside import parse_json, shorten_value
from jielong.records import Message

ROLE_NAMES = {
    **dict.fromkeys(("user", "human", "prompter", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai", "bing", "bard", "claude"), "assistant"),
    "function_call": "assistant",
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "ipython"), "tool"),
}
"""What others call the four roles, in any case of letters."""

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_MESSAGE_FIELDS = {"role", "from", "content", "value", "name", "tool_calls", "tool_call_id", "function_call"}
_TRAINED_FIELDS = ("is_trained", "weight", "loss", "train")


@dataclass
class Notes:
    """Oddities and unread fields, noted while a record is read."""

    odd: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def all_odd(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.odd))


def wrong(where: str, value: Any, right: str) -> DataError:
    return DataError(f"{where} is {shorten_value(value)}; expected {right}")


def text_of(data: Mapping[str, Any], key: str) -> str:
    """Return a string field, or "" if it is absent or null."""
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(f"{key!r}", value, "a string")
    return value


def number_of(data: Mapping[str, Any], key: str, usual: float) -> float:
    """Return a finite number in a field, or `usual` if it is absent or null."""
    value = data.get(key)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(f"{key!r}", value, "a finite number")
    return float(value)


def as_list(value: Any, where: str) -> list[Any]:
    """Return a list, or parse the text of one, as some exports have it."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except DataError as error:
            raise DataError(f"{where} is a string, and as JSON it is wrong: {error}") from None
    if not isinstance(value, list):
        raise wrong(where, value, "a list")
    return value


def call_of(value: Any, where: str) -> dict[str, Any]:
    """Read a tool call as {"name", "arguments"}, from OpenAI's form or a flat one; arguments may be text.

    The id is dropped: a model writes none, and `messages_of` puts answers into the order of their calls.
    """
    call = value.get("function", value) if isinstance(value, dict) else value
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise wrong(where, value, 'a call such as {"name": "search", "arguments": {"query": "..."}}')
    arguments = next(
        (call[name] for name in ("arguments", "parameters", "args", "input") if call.get(name) is not None), None
    )
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments) if arguments.strip() else {}
        except DataError as error:
            raise DataError(f"{where}: the arguments are {error}; expected the text of an object") from None
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise wrong(f"{where}: the arguments", arguments, "an object")
    return {"name": call["name"], "arguments": arguments}


def tools_of(value: Any) -> tuple[dict[str, Any], ...]:
    """Read descriptions of tools as {"name", "description", "parameters"}, from a list or the text of one."""
    if value in (None, "", [], "[]"):
        return ()
    found = []
    for number, tool in enumerate(as_list(value, "'tools'")):
        described = tool.get("function", tool) if isinstance(tool, dict) else tool
        if not isinstance(described, dict) or not isinstance(described.get("name"), str):
            raise wrong(f"tools[{number}]", tool, 'a description such as {"name", "description", "parameters"}')
        takes = described.get("parameters", described.get("input_schema"))
        named = {"name": described["name"], "description": described.get("description"), "parameters": takes}
        found.append({key: value for key, value in named.items() if value is not None})
    return tuple(found)


def _content(value: Any, where: str) -> str | tuple[Mapping[str, Any], ...]:
    """Read a turn's content: a string, or the joined text of a list of parts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong(where, value, "a string, or a list of parts")
    for number, part in enumerate(value):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise wrong(f"{where}[{number}]", part, 'a part such as {"type": "text", "text": "..."}')
        if part["type"] != "text":
            raise DataError(
                f"{where}[{number}] is of type {part['type']!r}; only parts of type 'text' can be trained on"
            )
        if not isinstance(part.get("text"), str):
            raise wrong(f"{where}[{number}].text", part.get("text"), "a string")
    return "".join(part["text"] for part in value)


def _is_trained(data: Mapping[str, Any], where: str) -> bool:
    """Read whether a turn is to be trained on: a weight of 0 or 1, or true or false."""
    for key in _TRAINED_FIELDS:
        value = data.get(key)
        if value is not None:
            if value not in (0, 1):
                raise wrong(f"{where}.{key}", value, "0 or 1, or true or false")
            return bool(value)
    return True


def message_of(data: Any, where: str, notes: Notes) -> Message:
    """Read one turn, from {"role", "content"} or {"from", "value"}."""
    if not isinstance(data, dict):
        raise wrong(where, data, "a turn with role and content")
    said = data["role"] if data.get("role") is not None else data.get("from")
    role = ROLE_NAMES.get(said.strip().lower()) if isinstance(said, str) else None
    if role is None:
        raise wrong(f"{where}.{'role' if 'role' in data else 'from'}", said, "user, assistant, system or tool")
    value = data["content"] if data.get("content") is not None else data.get("value")
    called = as_list(data.get("tool_calls") or [], f"{where}.tool_calls")
    calls = [call_of(c, f"{where}.tool_calls[{n}]") for n, c in enumerate(called)]
    if data.get("function_call") is not None:
        calls.append(call_of(data["function_call"], f"{where}.function_call"))
    if isinstance(said, str) and said.strip().lower() == "function_call":
        made = parse_call_text(value, where)
        calls, value = [*calls, *made], ""
    if value is None and role in ("assistant", "tool"):
        value = ""
    content = _content(value, f"{where}.content")
    thoughts = next((text for key in _THOUGHTS if (text := text_of(data, key))), "")
    if thoughts and role == "assistant":
        content = f"<think>\n{thoughts}\n</think>\n\n{content}"
        notes.odd.append("thoughts, which stand before their answers in <think>")
    if calls and role != "assistant":
        raise DataError(f"{where} is of role {said!r} and has tool calls; only the assistant calls tools")
    for key, other in data.items():
        if key not in _MESSAGE_FIELDS and key not in (*_TRAINED_FIELDS, *_THOUGHTS) and other not in (None, "", [], {}):
            notes.unread.append(f"messages.{key}")
    name, call_id = text_of(data, "name") or None, text_of(data, "tool_call_id") or None
    return Message(role, content, name, tuple(calls), call_id, _is_trained(data, where))


def parse_call_text(value: Any, where: str) -> list[dict[str, Any]]:
    """Parse the JSON text of a ShareGPT function_call turn, one call or a list, to calls. Raises DataError, naming
    where.
    """
    if not isinstance(value, str):
        raise wrong(f"{where}.value", value, "the text of a call")
    try:
        found = parse_json(value)
    except DataError as error:
        raise DataError(f"{where}: a function_call is {error}; expected the text of an object") from None
    return [call_of(call, f"{where}.value") for call in (found if isinstance(found, list) else [found])]


def messages_of(value: Any, where: str, notes: Notes) -> tuple[Message, ...]:
    """Read a list of turns, or the text of one."""
    turns = as_list(value, where)
    messages = [message_of(turn, f"{where}[{number}]", notes) for number, turn in enumerate(turns)]
    found: list[Message] = []
    answers: list[Message] = []
    ids: list[str] = []
    for turn, message in zip(turns, messages, strict=True):
        if message.role == "tool":
            answers.append(message)
            continue
        found += _order_tool_answers(answers, ids, notes)
        found.append(message)
        called = as_list(turn.get("tool_calls") or [], where)
        answers, ids = [], [str(call.get("id") or "") if isinstance(call, dict) else "" for call in called]
    return (*found, *_order_tool_answers(answers, ids, notes))


def _order_tool_answers(answers: Sequence[Message], ids: Sequence[str], notes: Notes) -> list[Message]:
    """Put answers of tools into the order of the calls with these ids; unchanged if an id is missing."""
    if not all(ids) or not all(answer.tool_call_id for answer in answers):
        return list(answers)
    if ids and any(answer.tool_call_id not in ids for answer in answers):
        notes.odd.append("a tool's answer whose id is that of no call before it")
    place = {one: number for number, one in enumerate(ids)}
    return sorted(answers, key=lambda answer: place.get(answer.tool_call_id or "", len(ids)))


def with_system(messages: tuple[Message, ...], system: str) -> tuple[Message, ...]:
    """Put a system message first, joined with one that is there already."""
    if not system.strip():
        return messages
    if messages and messages[0].role == "system":
        if messages[0].text.strip() == system.strip():
            return messages
        return (Message("system", f"{system}\n\n{messages[0].text}"), *messages[1:])
    return (Message("system", system), *messages)
