"""Parsers of a server's responses: answers, tool calls, errors, vectors and names of models.

Servers differ, and some are broken: nothing is trusted before it has been checked. A field that is missing or null is
absent; one of an impossible kind is a DataError, which the caller completes with the address. A whole answer is read as
a stream of one event is, so both are one reader.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jielong.errors import DataError
from jielong.outside import kind_of, parse_json, shorten_value

_STOPS = {
    "function_call": "tool_calls",
    "max_tokens": "length",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Names of the thoughts beside an answer: of llama.cpp and DeepSeek, vLLM and OpenRouter, and Ollama."""
_TAG = re.compile(r"<(script|style|title(?=.*<h1))\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context[_ ](?:length|size|window)|maximum context|exceeds? .{0,40}context|context .{0,20}exceed|too many (?:input )?tokens"
    r"|(?:prompt|input|request|message)s?\b.{0,30}\b(?:is|are) too (?:long|large)|reduce the length|上下文.{0,10}(?:超|过长)",
    re.IGNORECASE,
)


class ErrorInside(Exception):
    """Raised for a server's own error message in place of an answer."""


@dataclass(frozen=True)
class Tokens:
    """The token counts of a server for an answer. A count is None if the server does not say."""

    prompt: int | None = None
    completion: int | None = None
    cached: int = 0


@dataclass
class _Call:
    """A tool call as far as it has come."""

    index: int | None
    id: str
    name: str = ""
    arguments: Any = ""


@dataclass
class Reply:
    """An answer as far as it has come. Events are added in order; `is_over` says whether the server ended it itself."""

    text: str = ""
    thoughts: str = ""
    refusal: str = ""
    stop: str = ""
    tokens: Tokens = Tokens()
    logprobs: tuple[float, ...] | None = ()
    is_over: bool = False
    has_choice: bool = False
    _calls: list[_Call] = field(default_factory=list)

    def add(self, event: Any) -> tuple[str, str]:
        """Add an event and return its text and thoughts. Raises ErrorInside if it is an error, and DataError if it is
        unreadable.
        """
        said = error_in(event)
        if said is not None:
            raise ErrorInside(said)
        if event is None:
            return "", ""
        if not isinstance(event, Mapping):
            raise DataError(
                f"it sent {kind_of(event)} where an object with choices was expected: {shorten_value(event)}"
            )
        if isinstance(event.get("usage"), Mapping) and event["usage"]:
            self.tokens = _parse_token_counts(event["usage"])
        choices = event.get("choices")
        if choices is None or choices == []:
            return "", ""
        if not isinstance(choices, list) or not isinstance(choices[0], Mapping):
            raise DataError(f"its choices are no list of objects: {shorten_value(choices)}")
        told = [self._add_choice(choice) for choice in choices if isinstance(choice, Mapping)]
        return "".join(text for text, _ in told), "".join(thoughts for _, thoughts in told)

    def _add_choice(self, choice: Mapping[str, Any]) -> tuple[str, str]:
        """Take over the text, thoughts, calls and stop reason of an event's first choice; return its text and
        thoughts.
        """
        if isinstance(choice.get("index"), int) and choice["index"] > 0:
            return "", ""  # a second answer, which nobody asked for
        failed = error_in(choice)
        if failed is not None or choice.get("finish_reason") == "error":
            raise ErrorInside(failed or "the answer ended in an error")
        self.has_choice = True
        delta = choice.get("delta") if choice.get("delta") is not None else choice.get("message")
        if delta is None:
            delta = {"content": choice.get("text")}
        if not isinstance(delta, Mapping):
            raise DataError(f"the message of its choice is {kind_of(delta)}: {shorten_value(delta)}")
        text, thoughts = _text_and_thoughts(delta.get("content"))
        thoughts += next((v for name in _THOUGHTS if isinstance(v := delta.get(name), str) and v), "")
        if isinstance(delta.get("refusal"), str):
            self.refusal += delta["refusal"]
        self.text += text
        self.thoughts += thoughts
        calls = delta.get("tool_calls")
        if calls is None and isinstance(delta.get("function_call"), Mapping):
            calls = [{"index": 0, "function": delta["function_call"]}]
        for call in calls if isinstance(calls, list) else [calls] if isinstance(calls, Mapping) else ():
            self._add_call(call)
        self._add_logprobs(choice.get("logprobs"))
        stop = choice.get("finish_reason")
        if isinstance(stop, str) and stop:
            self.stop, self.is_over = _STOPS.get(stop, stop), True
        return text, thoughts

    def _add_call(self, data: Any) -> None:
        """Add a call or a piece of one. A piece belongs to the call of its index, or to the last one, unless it names
        another.
        """
        if not isinstance(data, Mapping):
            return
        function = data.get("function")
        function = function if isinstance(function, Mapping) else data  # some leave the inner object out
        index = data.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) else None
        id_ = data["id"] if isinstance(data.get("id"), str) else ""
        name = function["name"] if isinstance(function.get("name"), str) else ""
        arguments = function.get("arguments")
        same = [c for c in self._calls if c.index == index] if index is not None else self._calls
        call = same[-1] if same else None
        is_other = call is not None and (
            bool(id_ and call.id and id_ != call.id)
            or (index is None and bool(name) and _are_arguments_whole(call.arguments))
            or (not id_ and bool(name) and _are_arguments_whole(call.arguments) and bool(arguments))
            or not isinstance(arguments, str | None)
        )
        if call is None or is_other:
            self._calls.append(_Call(index, id_, name, "" if arguments is None else arguments))
            return
        call.id = call.id or id_
        if name and name != call.name:  # some repeat the name with each piece, some send it in pieces
            call.name += name
        if isinstance(arguments, str) and isinstance(call.arguments, str):
            call.arguments += arguments

    def _add_logprobs(self, found: Any) -> None:
        """Add log-probabilities; if some are missing all are dropped."""
        content = found.get("content") if isinstance(found, Mapping) else None
        if not isinstance(content, list) or self.logprobs is None:
            return
        values = [token.get("logprob") if isinstance(token, Mapping) else None for token in content]
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values):
            self.logprobs = (*self.logprobs, *(float(v) for v in values if v is not None))
        else:
            self.logprobs = None  # some are missing: the rest would be taken for other tokens'

    @property
    def calls(self) -> tuple[Mapping[str, Any], ...]:
        """Return the calls in order of their index, each with an id of its own."""
        ordered = sorted(self._calls, key=lambda c: len(self._calls) if c.index is None else c.index)
        taken: set[str] = set()
        found = []
        for number, call in enumerate(ordered):
            id_ = call.id if call.id and call.id not in taken else f"call_{number}"
            while id_ in taken:
                id_ += "_"
            taken.add(id_)
            found.append({"name": call.name, "arguments": _parse_arguments(call.arguments), "id": id_})
        return tuple(found)


def error_in(data: Any) -> str | None:
    """Return the error in a body, in the server's words, or None if there is none."""
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, Mapping):
        return None
    error = data.get("error")
    if error in (None, "", False, {}, []) and (data.get("type") == "error" or data.get("object") == "error"):
        error = data
    elif error in (None, "", False, {}, []):
        if "choices" in data or "message" in data or "data" in data or not data.get("detail"):
            return None
        error = data["detail"]
    if isinstance(error, Mapping):
        message = next((error[n] for n in ("message", "msg", "detail", "error", "type") if error.get(n)), error)
        return message if isinstance(message, str) else shorten_value(message, 300)
    return error if isinstance(error, str) else shorten_value(error, 300)


def in_words(body: str, limit: int = 300) -> str:
    """Return the text of an error's body for a person: its message, a web page without its markup, or its beginning."""
    try:
        said = error_in(parse_json(body))
    except DataError:
        said = None
    text = said or _TAG.sub(" ", body)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (text if len(text) <= limit else f"{text[:limit]}...") or "nothing"


def is_page(body: str) -> bool:
    """Whether a body is a web page."""
    return bool(re.match(r"\s*<(?:!doctype|html|head|body|center|h1|p)\b", body, re.IGNORECASE))


def is_too_long(said: str) -> bool:
    """Whether an error says that the prompt does not fit into the model's context."""
    return bool(_TOO_LONG.search(said))


def vectors_in(data: Any, num: int) -> list[list[float]]:
    """Return `num` vectors of equal width in the order of their texts. Raises DataError if they are not that."""
    said = error_in(data)
    if said is not None:
        raise ErrorInside(said)
    found = data.get("data") if isinstance(data, Mapping) else None
    if not isinstance(found, list):
        raise DataError(f"it answered without embeddings: {shorten_value(data, 200)}")
    if len(found) != num:
        raise DataError(f"it gave {len(found)} embeddings for {num} texts")
    indices = [one.get("index") if isinstance(one, Mapping) else None for one in found]
    if sorted(i for i in indices if isinstance(i, int)) == list(range(num)):
        found = [found[indices.index(number)] for number in range(num)]
    vectors = [
        _parse_vector(one.get("embedding") if isinstance(one, Mapping) else one, n) for n, one in enumerate(found)
    ]
    widths = {len(v) for v in vectors}
    if len(widths) > 1:
        raise DataError(f"its embeddings are of different widths: {', '.join(map(str, sorted(widths)))}")
    return vectors


def models_in(data: Any) -> list[str]:
    """Return the names of the models that a server lists."""
    said = error_in(data)
    if said is not None:
        raise ErrorInside(said)
    found: Any = data if isinstance(data, list) else None
    if isinstance(data, Mapping):
        found = data.get("data") if isinstance(data.get("data"), list) else data.get("models")
    if found is None and isinstance(data, Mapping) and ("data" in data or "models" in data):
        return []
    if not isinstance(found, list):
        raise DataError(f"it lists no models: {shorten_value(data, 200)}")
    names = [one.get("id") or one.get("name") if isinstance(one, Mapping) else one for one in found]
    return sorted({name for name in names if isinstance(name, str)})


def _parse_vector(value: Any, number: int) -> list[float]:
    """Parse one vector, a list or base64 of float32. Raises DataError if it is neither."""
    if isinstance(value, str):  # as OpenAI's own client asks for it: float32 in base64
        try:
            raw = base64.b64decode(value, validate=True)
            value = list(struct.unpack(f"<{len(raw) // 4}f", raw))
        except (binascii.Error, struct.error, ValueError):
            raise DataError(f"embedding {number} is a text that is no base64 of float32") from None
    is_vector = isinstance(value, list) and value and all(type(x) in (int, float) and math.isfinite(x) for x in value)
    if not is_vector:
        raise DataError(f"embedding {number} is no list of finite numbers: {_briefly(value)}")
    return [float(x) for x in value]


def _briefly(value: Any) -> str:
    """Format a value for an error sentence, also one that JSON has no word for."""
    return (
        shorten_value(value)
        if not isinstance(value, list)
        else f"a list of {len(value)}, beginning {repr(value[:2])[:60]}"
    )


def _text_and_thoughts(content: Any) -> tuple[str, str]:
    """Return (text, thoughts) of a message's content: a text, parts, or nothing."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise DataError(f"the content of its message is {kind_of(content)}: {shorten_value(content)}")
    text, thoughts = "", ""
    for part in content:
        if isinstance(part, str):
            text += part
        elif isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning"):
            inner = next((part[n] for n in ("thinking", "reasoning", "text") if part.get(n) is not None), None)
            thoughts += "".join(_text_and_thoughts(inner))
        elif isinstance(part, Mapping) and isinstance(part.get("text", part.get("refusal")), str):
            text += part.get("text", part.get("refusal"))
        elif part is not None:
            raise DataError(f"its message has a part that is no text: {shorten_value(part)}")
    return text, thoughts


def _are_arguments_whole(arguments: Any) -> bool:
    """Whether a call's arguments are complete."""
    if not isinstance(arguments, str):
        return True
    try:
        return isinstance(parse_json(arguments), dict)
    except DataError:
        return False


def _parse_arguments(found: Any) -> Mapping[str, Any]:
    """Parse arguments as an object; others are kept under "unreadable", for the tool to refuse."""
    value = found
    for _ in range(2):  # some encode them twice
        if isinstance(value, str) and value.strip():
            try:
                value = parse_json(value)
            except DataError:
                break
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    return value if isinstance(value, Mapping) else {"unreadable": found}


def _parse_token_counts(usage: Mapping[str, Any]) -> Tokens:
    """Read the token counts of a server's `usage`; those that are missing or malformed are None or 0."""
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return Tokens(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(cached) or 0)


def _count(value: Any) -> int | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < 1e12 and value == int(value) else None
