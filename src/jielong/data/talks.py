"""Chats and preferences from JSON lines, in the shapes that people have them.

A chat line may be ours (`{"messages": [...]}`), ShareGPT's (`{"conversations": [{"from", "value"}]}`) or Alpaca's
(`{"instruction", "input", "output"}`); a preference line may be ours, a ShareGPT conversation with `chosen` and `rejected`, or
three strings. Every line that cannot be used is named as `path:line: what`; since training on the rest in silence would
hide the damage, the reader then raises DataError, which lists the first few.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jielong.errors import DataError
from jielong.records import Conversation, Message, Preference

Record = TypeVar("Record")

_SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip()
                if line:
                    yield number, line
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def read_records(path: str | Path, parse: Callable[[Mapping[str, Any]], Record], what: str) -> list[Record]:
    """All records of a file of one JSON object a line; raises DataError naming the bad lines, or that there is no record."""
    path = Path(path)
    records: list[Record] = []
    wrong: list[str] = []
    for number, line in _lines(path):
        try:
            data = json.loads(line)
            if not isinstance(data, Mapping):
                raise DataError(f"expected a JSON object, found {type(data).__name__}")
            if "\\ud" in line.lower() and re.search("[\ud800-\udfff]", json.dumps(data, ensure_ascii=False)):
                raise DataError("holds half of a surrogate pair (\\ud8xx alone), which is no character")
            records.append(parse(data))
        except json.JSONDecodeError as error:
            wrong.append(f"{path}:{number}: not JSON ({error.msg} at column {error.colno})")
        except DataError as error:
            wrong.append(f"{path}:{number}: {error}")
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            wrong.append(f"{path}:{number}: a field has the wrong type ({error})")
    if wrong:
        more = f"\n... and {len(wrong) - 5} more lines" if len(wrong) > 5 else ""
        raise DataError("\n".join(wrong[:5]) + more)
    if not records:
        raise DataError(f"{path}: holds no {what}; expected one JSON object a line")
    return records


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise DataError(f"{key!r} is {type(value).__name__}; expected a string")
    return value


def _tool_call(value: str) -> Mapping[str, Any]:
    try:
        call = json.loads(value)
    except json.JSONDecodeError as error:
        raise DataError(f"a function_call holds no JSON ({error.msg})") from error
    if not isinstance(call, Mapping) or "name" not in call:
        raise DataError("a function_call needs a 'name'")
    return {"type": "function", "function": {"name": call["name"], "arguments": call.get("arguments", {})}}


def _sharegpt_message(data: Any) -> Message:
    if not isinstance(data, Mapping) or "from" not in data or not isinstance(data.get("value"), str):
        raise DataError("a turn needs 'from' and a string 'value'")
    if data["from"] not in _SHAREGPT_ROLES:
        raise DataError(f"a turn is from {data['from']!r}; expected one of {', '.join(_SHAREGPT_ROLES)}")
    if data["from"] == "function_call":
        return Message("assistant", "", tool_calls=(_tool_call(data["value"]),))
    return Message(_SHAREGPT_ROLES[data["from"]], data["value"])


def _turns(data: Mapping[str, Any]) -> tuple[Message, ...]:
    turns = data["conversations"]
    if not isinstance(turns, list) or not turns:
        raise DataError("'conversations' is empty or not a list")
    system = _text(data, "system")
    return ((Message("system", system),) if system else ()) + tuple(_sharegpt_message(turn) for turn in turns)


def conversation_from(data: Mapping[str, Any]) -> Conversation:
    """A conversation from any of the three shapes; raises DataError where none fits or no assistant speaks."""
    if "messages" in data:
        known = {key: data[key] for key in ("messages", "meta") if key in data}
        conversation = Conversation.from_dict(known)
    elif "conversations" in data:
        conversation = Conversation(_turns(data), {"tools": data["tools"]} if data.get("tools") else {})
    elif "instruction" in data and "output" in data:
        asked = "\n\n".join(part for part in (_text(data, "instruction"), _text(data, "input")) if part.strip())
        messages = [Message("user", asked), Message("assistant", _text(data, "output"))]
        if _text(data, "system"):
            messages.insert(0, Message("system", data["system"]))
        conversation = Conversation(tuple(messages))
    else:
        found = ", ".join(map(str, data)) or "nothing"
        raise DataError(f"expected 'messages', 'conversations' or 'instruction' and 'output'; found {found}")
    spoken = [m for m in conversation.messages if m.role == "assistant" and (m.text.strip() or m.tool_calls)]
    if not spoken:
        raise DataError("no assistant message with content, so there is nothing to learn from")
    return conversation


def _answer(value: Any, name: str) -> tuple[Message, ...]:
    """The messages of one side: a string, a message, a ShareGPT turn, or a list of messages."""
    if isinstance(value, str):
        return (Message("assistant", value),)
    if isinstance(value, Mapping):
        return (_sharegpt_message(value) if "from" in value else Message.from_dict(value),)
    if isinstance(value, list) and value:
        return tuple(_sharegpt_message(v) if "from" in v else Message.from_dict(v) for v in value)
    raise DataError(f"{name!r} is {type(value).__name__}; expected a string, a message or a list of messages")


def preference_from(data: Mapping[str, Any]) -> Preference:
    """A preference from our own shape, a ShareGPT conversation with two answers, or three strings."""
    for key in ("chosen", "rejected"):
        if key not in data:
            raise DataError(f"a preference needs 'chosen' and 'rejected'; {key!r} is missing")
    if "conversations" in data:
        prompt = _turns(data)
    elif isinstance(data.get("prompt"), str):
        prompt = (Message("user", data["prompt"]),)
    elif isinstance(data.get("prompt"), list) and data["prompt"]:
        prompt = tuple(Message.from_dict(m) for m in data["prompt"])
    else:
        raise DataError("a preference needs a 'prompt' (a string or messages) or 'conversations'")
    rest = {key: data[key] for key in ("margin", "label", "by") if key in data}
    return Preference(prompt, _answer(data["chosen"], "chosen"), _answer(data["rejected"], "rejected"), **rest)


def read_chats(path: str | Path) -> list[Conversation]:
    """The conversations of a JSONL file; DataError lists the lines that hold none."""
    return read_records(path, conversation_from, "conversation")


def read_preferences(path: str | Path) -> list[Preference]:
    """The preferences of a JSONL file; DataError lists the lines that hold none."""
    return read_records(path, preference_from, "preference")
