"""The forms in which people keep chats and preferences, each turned into our records or refused by name.

A record is a parsed JSON object. What is wrong in it raises DataError, which names the field, its value and what would be
right. What is merely odd is told beside the record: fields that nobody reads, turns that are not trained, and why a whole
record is of no use. So a reader can count, and nothing is dropped in silence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Generic, TypeVar

from jielong.errors import DataError
from jielong.outside import parse_json, shown
from jielong.records import Conversation, Message, Preference

Record = TypeVar("Record", Conversation, Preference)

ROLE_NAMES = {
    **dict.fromkeys(("user", "human", "prompter", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai", "bing", "bard", "claude"), "assistant"),
    "function_call": "assistant",
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "ipython"), "tool"),
}
"""What others call the four roles, in any case of letters."""

_ANSWERS = {
    "prompt": ("completion", "response", "answer", "output"),
    "query": ("response", "answer"),
    "question": ("answer", "response"),
}
"""Fields that ask, and those that may answer them."""

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_MESSAGE_FIELDS = {"role", "from", "content", "value", "name", "tool_calls", "tool_call_id", "function_call"}
_TRAINED_FIELDS = ("is_trained", "weight", "loss", "train")


@dataclass(frozen=True)
class Formed(Generic[Record]):
    """A record and the form that it had; `useless` says why it is left out, `odd` what is kept and worth knowing."""

    record: Record
    form: str
    useless: str = ""
    odd: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """Fields with a value that nobody reads."""


@dataclass
class _Notes:
    """What is found out on the way."""

    odd: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def all_odd(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.odd))


# Pieces ------------------------------------------------------------------------------------------------------------


def _wrong(where: str, value: Any, right: str) -> DataError:
    return DataError(f"{where} is {shown(value)}; expected {right}")


def text_of(data: Mapping[str, Any], key: str) -> str:
    """A string, or "" where the field is absent or null."""
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(f"{key!r}", value, "a string")
    return value


def _number(data: Mapping[str, Any], key: str, usual: float) -> float:
    value = data.get(key)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(f"{key!r}", value, "a finite number")
    return float(value)


def _as_list(value: Any, where: str) -> list[Any]:
    """A list, or the text of one, as some exports have it."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except DataError as error:
            raise DataError(f"{where} is a string, and as JSON it is wrong: {error}") from None
    if not isinstance(value, list):
        raise _wrong(where, value, "a list")
    return value


def call_of(value: Any, where: str) -> dict[str, Any]:
    """A tool call as {"name", "arguments"}, from OpenAI's form or a flat one; arguments may be text.

    The id is dropped: whoever calls a tool writes none, and answers stand in the order of their calls.
    """
    call = value.get("function", value) if isinstance(value, dict) else value
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise _wrong(where, value, 'a call such as {"name": "search", "arguments": {"query": "..."}}')
    arguments = call.get("arguments", call.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments) if arguments.strip() else {}
        except DataError as error:
            raise DataError(f"{where}: the arguments are {error}; expected the text of an object") from None
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise _wrong(f"{where}: the arguments", arguments, "an object")
    return {"name": call["name"], "arguments": arguments}


def tools_of(value: Any) -> tuple[dict[str, Any], ...]:
    """Descriptions of tools as {"name", "description", "parameters"}, from a list or the text of one."""
    if value in (None, "", [], "[]"):
        return ()
    found = []
    for number, tool in enumerate(_as_list(value, "'tools'")):
        described = tool.get("function", tool) if isinstance(tool, dict) else tool
        if not isinstance(described, dict) or not isinstance(described.get("name"), str):
            raise _wrong(f"tools[{number}]", tool, 'a description such as {"name", "description", "parameters"}')
        found.append({key: described[key] for key in ("name", "description", "parameters") if key in described})
    return tuple(found)


def _content(value: Any, where: str) -> str | tuple[Mapping[str, Any], ...]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise _wrong(where, value, "a string, or a list of parts")
    for number, part in enumerate(value):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise _wrong(f"{where}[{number}]", part, 'a part such as {"type": "text", "text": "..."}')
        if part["type"] != "text":
            raise DataError(
                f"{where}[{number}] is of type {part['type']!r}; only parts of type 'text' can be trained on"
            )
        if not isinstance(part.get("text"), str):
            raise _wrong(f"{where}[{number}].text", part.get("text"), "a string")
    return "".join(part["text"] for part in value)


def _is_trained(data: Mapping[str, Any], where: str) -> bool:
    """What a turn says of its own training: a weight of 0 or 1, or true or false."""
    for key in _TRAINED_FIELDS:
        value = data.get(key)
        if value is not None:
            if value not in (0, 1):
                raise _wrong(f"{where}.{key}", value, "0 or 1, or true or false")
            return bool(value)
    return True


def message_of(data: Any, where: str, notes: _Notes) -> Message:
    """One turn, from {"role", "content"} or {"from", "value"}."""
    if not isinstance(data, dict):
        raise _wrong(where, data, "a turn with role and content")
    said = data.get("role", data.get("from"))
    role = ROLE_NAMES.get(said.strip().lower()) if isinstance(said, str) else None
    if role is None:
        raise _wrong(f"{where}.{'role' if 'role' in data else 'from'}", said, "user, assistant, system or tool")
    value = data.get("content", data.get("value"))
    calls = [call_of(c, f"{where}.tool_calls[{n}]") for n, c in enumerate(data.get("tool_calls") or ())]
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
    """The calls in a turn that is nothing but calls, as ShareGPT has them."""
    if not isinstance(value, str):
        raise _wrong(f"{where}.value", value, "the text of a call")
    try:
        found = parse_json(value)
    except DataError as error:
        raise DataError(f"{where}: a function_call is {error}; expected the text of an object") from None
    return [call_of(call, f"{where}.value") for call in (found if isinstance(found, list) else [found])]


def messages_of(value: Any, where: str, notes: _Notes) -> tuple[Message, ...]:
    """A list of turns, or the text of one."""
    turns = _as_list(value, where)
    return tuple(message_of(turn, f"{where}[{number}]", notes) for number, turn in enumerate(turns))


def _with_system(messages: tuple[Message, ...], system: str) -> tuple[Message, ...]:
    if not system.strip():
        return messages
    if messages and messages[0].role == "system":
        if messages[0].text.strip() == system.strip():
            return messages
        return (Message("system", f"{system}\n\n{messages[0].text}"), *messages[1:])
    return (Message("system", system), *messages)


# Chats -------------------------------------------------------------------------------------------------------------


def chat_of(data: Mapping[str, Any]) -> Formed[Conversation]:
    """A conversation from any form that is in use; DataError names what is wrong, or the forms where none fits."""
    notes = _Notes()
    for name, read in _CHAT_FORMS:
        found = read(data, notes)
        if found is not None:
            messages, known = found
            return _finished(messages, name, data, {*known, *_ALWAYS}, notes)
    if "chosen" in data and "rejected" in data:
        raise DataError("this is a preference, with chosen and rejected; give the file as --preferences")
    if isinstance(data.get("text"), str):
        raise DataError("this is a plain text; put the file into a folder and give the folder as --source")
    raise DataError(f"the fields are {', '.join(map(str, data)) or 'none'}; expected {_EXPECTED_CHAT}")


_ALWAYS = ("system", "tools", "label", "meta", "id")
_EXPECTED_CHAT = "messages, conversations, instruction and output, or prompt and completion"

_Found = tuple[tuple[Message, ...], Sequence[str]]


def _openai(data: Mapping[str, Any], notes: _Notes) -> _Found | None:
    if data.get("messages") is None:
        return None
    return messages_of(data["messages"], "messages", notes), ("messages",)


def _sharegpt(data: Mapping[str, Any], notes: _Notes) -> _Found | None:
    if data.get("conversations") is None:
        return None
    return messages_of(data["conversations"], "conversations", notes), ("conversations",)


def _alpaca(data: Mapping[str, Any], notes: _Notes) -> _Found | None:
    if "instruction" not in data or "output" not in data:
        return None
    before: list[Message] = []
    for number, pair in enumerate(_as_list(data.get("history") or [], "'history'")):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(said, str) for said in pair):
            raise _wrong(f"history[{number}]", pair, "a question and its answer")
        before += [Message("user", pair[0]), Message("assistant", pair[1])]
    asked = "\n\n".join(part for part in (text_of(data, "instruction"), text_of(data, "input")) if part.strip())
    known = ("instruction", "input", "output", "history")
    return (*before, Message("user", asked), Message("assistant", text_of(data, "output"))), known


def _asked_and_answered(data: Mapping[str, Any], notes: _Notes) -> _Found | None:
    for asks, answers in _ANSWERS.items():
        for answer in answers:
            if asks in data and answer in data and "chosen" not in data:
                asked = _side(data[asks], asks, "user", notes)
                return (*asked, *_side(data[answer], answer, "assistant", notes)), (asks, answer)
    return None


def _side(value: Any, where: str, role: str, notes: _Notes) -> tuple[Message, ...]:
    """Turns from a string, one turn, or a list of turns."""
    if isinstance(value, str):
        return (Message(role, value),)
    if isinstance(value, dict):
        return (message_of(value, where, notes),)
    if isinstance(value, list) and value:
        return messages_of(value, where, notes)
    raise _wrong(f"{where!r}", value, "a string, a turn or a list of turns")


_CHAT_FORMS = (
    ("OpenAI's messages", _openai),
    ("ShareGPT's conversations", _sharegpt),
    ("Alpaca's instruction and output", _alpaca),
    ("a prompt and its completion", _asked_and_answered),
)


def _finished(
    messages: tuple[Message, ...], form: str, data: Mapping[str, Any], known: set[str], notes: _Notes
) -> Formed[Conversation]:
    """The conversation with its system message and tools, and what is odd about it."""
    if not messages:
        raise DataError("the conversation has no turns")
    messages = _with_system(messages, text_of(data, "system"))
    meta = dict(data["meta"]) if isinstance(data.get("meta"), dict) else {}
    tools = tools_of(data.get("tools"))
    if tools:
        meta["tools"] = list(tools)
    label = data.get("label")
    if label is not None and not isinstance(label, bool):
        raise _wrong("'label'", label, "true or false, as KTO has it")
    spoken = [m for m in messages if m.role != "system"]
    if spoken and spoken[0].role == "assistant":
        notes.odd.append("begins with the assistant")
    if spoken and spoken[-1].role == "user":
        notes.odd.append("ends with the user")
    if any(a.role == b.role != "tool" for a, b in pairwise(spoken)):
        notes.odd.append("two turns of one role in a row")
    quiet = [m.role == "assistant" and not m.text.strip() and not m.tool_calls for m in messages]
    if any(quiet):
        notes.odd.append("an empty turn of the assistant, which is not trained")
        messages = tuple(replace(m, is_trained=False) if q else m for m, q in zip(messages, quiet, strict=True))
    useless = ""
    if label is False:
        useless = "labelled as a bad answer"
    elif not any(m.role == "assistant" and m.is_trained for m in messages):
        useless = "no turn of the assistant to learn from"
    unread = [key for key, value in data.items() if key not in known and value not in (None, "", [], {})]
    conversation = Conversation(messages, meta)
    return Formed(conversation, form, useless, notes.all_odd(), tuple(dict.fromkeys([*unread, *notes.unread])))


# Preferences -------------------------------------------------------------------------------------------------------

_HH_TURN = re.compile(r"\n\n(Human|Assistant):")
_SCORES = ("score_chosen", "score_rejected", "chosen_score", "rejected_score")


def preference_of(data: Mapping[str, Any]) -> Formed[Preference]:
    """A preference from any form that is in use; DataError names what is wrong."""
    for key in ("chosen", "rejected"):
        if data.get(key) is None:
            raise _refused_as_preference(data, key)
    if tools_of(data.get("tools")):
        raise DataError("'tools' beside a preference reach no prompt; describe them in a system message")
    notes = _Notes()
    form, asked, known = _asked(data, notes)
    sides = []
    for key in ("chosen", "rejected"):
        value = data[key]
        if isinstance(value, str) and not asked and _HH_TURN.search(value):
            sides.append(_dialogue(value, key))
        else:
            sides.append(_side(value, key, "assistant", notes))
    if not asked:
        asked = _common(*sides)
        sides = [side[len(asked) :] for side in sides]
        form = "whole dialogues with a common beginning" if asked else form
    else:
        sides = [_without(asked, side) for side in sides]
    prompt = _with_system(asked, text_of(data, "system"))
    if not any(m.role != "system" for m in prompt):
        raise DataError("there is no prompt: neither a field for it nor a common beginning of chosen and rejected")
    for key, side in zip(("chosen", "rejected"), sides, strict=True):
        if not side or side[-1].role != "assistant":
            raise DataError(f"{key!r} does not end with a turn of the assistant")
    margin, label = _number(data, "margin", 0.0), _number(data, "label", 1.0)
    if not 0.0 <= label <= 1.0:
        raise _wrong("'label'", label, "a number from 0 to 1")
    by = data.get("by")
    if by is not None and not isinstance(by, str | int | float):
        raise _wrong("'by'", by, "a name")
    known = {*known, "chosen", "rejected", "margin", "label", "by", "system", "tools", "id", *_SCORES}
    chosen, rejected = sides
    preference = Preference(prompt, chosen, rejected, margin, label, "" if by is None else str(by))
    unread = [key for key, value in data.items() if key not in known and value not in (None, "", [], {})]
    useless = _why_no_pair(preference, data)
    return Formed(preference, form, useless, notes.all_odd(), tuple(dict.fromkeys([*unread, *notes.unread])))


def _refused_as_preference(data: Mapping[str, Any], key: str) -> DataError:
    if key in data:
        return _wrong(f"{key!r}", None, "an answer")
    if isinstance(data.get("label"), bool):
        return DataError("this is KTO's form, one answer with a label; preferences need two, chosen and rejected")
    if any(name in data for name in ("messages", "conversations", "instruction")):
        return DataError("this is a chat; give the file as --chat, or add chosen and rejected")
    return DataError(f"a preference needs 'chosen' and 'rejected'; {key!r} is missing")


def _asked(data: Mapping[str, Any], notes: _Notes) -> tuple[str, tuple[Message, ...], set[str]]:
    """The form, the turns before the answers (none where they stand in the answers), and the fields that were read."""
    if data.get("conversations") is not None:
        return "ShareGPT's conversations", messages_of(data["conversations"], "conversations", notes), {"conversations"}
    for key in ("prompt", "question", "query", "messages"):
        if data.get(key) is not None:
            return f"a {key} and two answers", _side(data[key], key, "user", notes), {key}
    if data.get("instruction") is not None:
        asked = "\n\n".join(part for part in (text_of(data, "instruction"), text_of(data, "input")) if part.strip())
        return "Alpaca's instruction and two answers", (Message("user", asked),), {"instruction", "input"}
    return "two dialogues", (), set()


def _dialogue(text: str, where: str) -> tuple[Message, ...]:
    """Turns from "Human:" and "Assistant:", as Anthropic's HH has them."""
    pieces = _HH_TURN.split(f"\n\n{text.lstrip()}")
    if pieces[0].strip():
        raise _wrong(f"{where!r}", text, "a dialogue that begins with 'Human:'")
    roles = {"Human": "user", "Assistant": "assistant"}
    return tuple(Message(roles[who], said.strip()) for who, said in zip(pieces[1::2], pieces[2::2], strict=True))


def _common(chosen: Sequence[Message], rejected: Sequence[Message]) -> tuple[Message, ...]:
    """The turns with which both begin, up to the last that is not the assistant's."""
    same = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        same += 1
    while same and (chosen[same - 1].role == "assistant" or same in (len(chosen), len(rejected))):
        same -= 1
    return tuple(chosen[:same])


def _without(asked: tuple[Message, ...], side: tuple[Message, ...]) -> tuple[Message, ...]:
    """An answer without the prompt, where it stands in it once more."""
    plain = tuple(m for m in asked if m.role != "system")
    for before in (asked, plain):
        if before and len(side) > len(before) and side[: len(before)] == before:
            return side[len(before) :]
    return side


def _why_no_pair(preference: Preference, data: Mapping[str, Any]) -> str:
    chosen, rejected = ("".join(m.text for m in side).strip() for side in (preference.chosen, preference.rejected))
    has_calls = any(m.tool_calls for m in (*preference.chosen, *preference.rejected))
    if not has_calls and not (chosen and rejected):
        return "an answer is empty"
    if preference.chosen == preference.rejected:
        return "both answers are the same"
    scores = [_number(data, key, math.nan) for key in _SCORES]
    for better, worse in (scores[:2], scores[2:]):
        if better < worse:
            return "the scores prefer the rejected answer"
    return ""
