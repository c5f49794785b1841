"""Chat templates, the Jinja programs that a model's makers ship, run as `transformers` runs them, in a worker and a
sandbox.

A program of others may have no end, so each rendering has two seconds of work and a gigabyte (`outside/worker`), and
sizes are bounded inside (`jinja`). A template that exceeds that over a few words is at fault, and is run no more.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jielong.errors import CheckpointError, DataError, JielongError, LimitError
from jielong.outside.worker import Worker

CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\n' -}}"
    "{%- if message.role == 'tool' -%}{{- '<tool_response>' -}}{%- endif -%}"
    "{%- if message.content is string -%}{{- message.content -}}"
    "{%- else -%}"
    "{%- for part in message.content or [] -%}{%- if part.type == 'text' -%}{{- part.text -}}{%- endif -%}{%- endfor -%}"
    "{%- endif -%}"
    "{%- if message.role == 'tool' -%}{{- '</tool_response>' -}}{%- endif -%}"
    "{%- for call in message.tool_calls or [] -%}"
    "{{- '<tool_call>' + ((call.function or call) | tojson) + '</tool_call>' -}}"
    "{%- endfor -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
"""What `jielong.tokens.chat.render` does for our own tokenizers, in Jinja, for `transformers`."""


MAX_SOURCE_CHARS = 1_000_000
LIMIT_S = 2.0
MEMORY_BYTES = 1 << 30
_LONG_BYTES = 200_000
"""Of a conversation: a template that exceeds a limit over a shorter one is itself at fault."""

_JINJA = Worker("jielong.tokens.jinja:run", limit_s=LIMIT_S, memory_bytes=MEMORY_BYTES)

_PROBE = "Zq7"
"""A word that no template says by itself."""

_PROBE_CALL = {"type": "function", "function": {"name": "look_up", "arguments": {"word": _PROBE}}}


class ChatTemplate:
    """A chat template: messages, as plain dicts, to the text of a conversation.

    A template that is not valid Jinja can still be constructed, as a model may write without it: using it raises. The
    requirements of a template on messages (`adapt`) are found by trying, once.
    """

    def __init__(self, source: str, names: Mapping[str, str] | None = None) -> None:
        """`names`: what the template may say beside the messages, such as bos_token."""
        self.source, self.names = source, dict(names or {})
        self._limit_met = ""

    @functools.cached_property
    def _knows_tools_and_fault(self) -> tuple[bool, str]:
        """Return whether it has a place for tools, and what is wrong with it."""
        if len(self.source) > MAX_SOURCE_CHARS:
            return (
                False,
                f"the chat template has {len(self.source):,} characters; at most {MAX_SOURCE_CHARS:,} are read",
            )
        try:
            return bool(_JINJA.call(self.source, None)), ""
        except LimitError as error:
            return False, f"the chat template cannot be read ({error}); restore a copy"
        except CheckpointError as error:
            return False, str(error)

    @property
    def knows_tools(self) -> bool:
        """Whether it has a place for the descriptions of tools."""
        return self._knows_tools_and_fault[0]

    @property
    def fault(self) -> str:
        """Return why it cannot be used; "" as long as it can."""
        return self._knows_tools_and_fault[1] or self._limit_met

    # What it wants of messages ---------------------------------------------------------------------------------------

    def _writes(self, *messages: Mapping[str, Any], what: str = _PROBE) -> bool:
        """Whether it takes these messages and writes the word that they hold."""
        try:
            return what in self.text(messages)
        except (CheckpointError, DataError):
            return False

    @functools.cached_property
    def wants_parts(self) -> bool:
        """Whether contents must be lists of parts, because a string would vanish."""
        user = {"role": "user", "content": _PROBE}
        return not self._writes(user) and self._writes({"role": "user", "content": _parts(_PROBE)})

    @functools.cached_property
    def takes_system(self) -> bool:
        """Whether it has a place for a system message; if a user's turn alone is refused too, nothing is known."""
        user = self._put({"role": "user", "content": "Hi"})
        system = self._put({"role": "system", "content": _PROBE})
        return self._writes(system, user) or not self._writes(self._put({"role": "user", "content": _PROBE}))

    @functools.cached_property
    def wants_ids(self) -> bool:
        """Whether calls need ids of nine letters, as Mistral's do."""
        calls = self._calls(1)
        return not self._writes(*calls) and self._writes(*_with_ids(calls))

    @functools.cached_property
    def takes_calls(self) -> bool:
        """Whether it writes the calls of a turn, rather than an empty turn."""
        calls = self._calls(1)
        return self._writes(*calls) or self._writes(*_with_ids(calls))

    @functools.cached_property
    def takes_one_call(self) -> bool:
        """Whether a turn may hold one call alone."""
        once, twice = (self._calls(n) for n in (1, 2))
        if self.wants_ids:
            once, twice = _with_ids(once), _with_ids(twice)
        return self._writes(*once) and not self._writes(*twice)

    def _calls(self, count: int) -> list[dict[str, Any]]:
        """Return a conversation of a question, a turn with `count` calls, and an answer for each of them."""
        answers = [self._put({"role": "tool", "content": "6", "name": "look_up"}) for _ in range(count)]
        asked = self._put({"role": "assistant", "content": ""}) | {"tool_calls": [_PROBE_CALL] * count}
        return [self._put({"role": "user", "content": "Hi"}), asked, *answers]

    def probes(self) -> list[tuple[list[dict[str, Any]], bool]]:
        """Return four conversations for `texts`: a question, the same with an answer; one with a call, if it takes
        them, and its result.
        """
        user, said = (self._put({"role": role, "content": _PROBE}) for role in ("user", "assistant"))
        called = [user]
        if self.takes_calls:
            called = _with_ids(self._calls(1)) if self.wants_ids else self._calls(1)
        return [([user], True), ([user, said], False), (called[:2], False), (called, False)]

    def _put(self, message: Mapping[str, Any]) -> dict[str, Any]:
        is_text = isinstance(message["content"], str)
        return {**message, "content": _parts(message["content"])} if is_text and self.wants_parts else dict(message)

    def adapt(self, messages: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
        """Change messages to the form that the template takes, each with the number of the message that it came from.

        A system message that it has no place for stands before the first user's words; several calls of one turn become
        turns of one call, each with its answer; calls get ids, and contents become parts, if it wants them.
        """
        placed = [(number, dict(message)) for number, message in enumerate(messages)]
        if any(m["role"] == "system" for _, m in placed) and not self.takes_system:
            placed = _without_system(placed)
        if any(len(m.get("tool_calls", ())) > 1 for _, m in placed) and self.takes_one_call:
            placed = _one_call_a_turn(placed)
        if any(m.get("tool_calls") for _, m in placed) and self.wants_ids:
            placed = [(n, m) for (n, _), m in zip(placed, _with_ids([m for _, m in placed]), strict=True)]
        return [(number, self._put(message)) for number, message in placed]

    def text(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        add_generation_prompt: bool = False,
    ) -> str:
        """Render the conversation as text. Raises DataError with the template's own words when it refuses the
        messages.
        """
        return self.texts([(messages, add_generation_prompt)], tools=tools)[0]

    def texts(
        self, asked: Sequence[tuple[Sequence[Mapping[str, Any]], bool]], *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[str]:
        """Render several conversations at once, each with whether the prompt of an answer follows."""
        if self.fault:
            raise CheckpointError(self.fault)
        offered = [{"type": "function", "function": dict(t)} for t in tools] or None
        calls = [
            {
                "messages": [dict(m) for m in messages],
                "tools": offered,
                "documents": None,
                "add_generation_prompt": add_generation_prompt,
                **self.names,
            }
            for messages, add_generation_prompt in asked
        ]
        found = list(_JINJA.each([self.source, variables] for variables in calls))
        for variables, text in zip(calls, found, strict=True):
            if isinstance(text, LimitError) and len(json.dumps(variables, default=str)) <= _LONG_BYTES:
                self._limit_met = f"the chat template cannot be used: {text}; restore a copy"
                raise CheckpointError(self._limit_met) from text
            if isinstance(text, DataError):
                raise DataError(f"the chat template refuses this conversation: {text}") from text
            if isinstance(text, JielongError):
                raise text
        return found


def _parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


_Placed = list[tuple[int, dict[str, Any]]]


def _without_system(placed: _Placed) -> _Placed:
    """Move system messages before the words of the first user's turn, or into one if there is none."""
    said = "\n\n".join(str(m["content"]) for _, m in placed if m["role"] == "system")
    rest = [(n, m) for n, m in placed if m["role"] != "system"]
    first = next((i for i, (_, m) in enumerate(rest) if m["role"] == "user"), None)
    if first is None:
        return [(0, {"role": "user", "content": said}), *rest]
    number, user = rest[first]
    rest[first] = (number, {**user, "content": f"{said}\n\n{user['content']}"})
    return rest


def _one_call_a_turn(placed: _Placed) -> _Placed:
    """Give each call a turn of its own, followed by its answer; answers are in the order of the calls."""
    found: _Placed = []
    at = 0
    while at < len(placed):
        number, message = placed[at]
        calls = message.get("tool_calls", ())
        at += 1
        if len(calls) < 2:
            found.append((number, message))
            continue
        answers: _Placed = []
        while at < len(placed) and placed[at][1]["role"] == "tool" and len(answers) < len(calls):
            answers.append(placed[at])
            at += 1
        for place, call in enumerate(calls):
            found.append(
                (number, {**message, "content": message["content"] if not place else "", "tool_calls": [call]})
            )
            found += answers[place : place + 1]
    return found


def _with_ids(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give calls ids of nine letters and digits, and their answers the same, in order."""
    found, open_ids, count = [], list[str](), 0
    for message in map(dict, messages):
        if message.get("tool_calls"):
            open_ids = [f"call{count + n:05}" for n in range(len(message["tool_calls"]))]
            count += len(open_ids)
            calls = zip(message["tool_calls"], open_ids, strict=True)
            message["tool_calls"] = [{**call, "id": one} for call, one in calls]
        elif message["role"] == "tool" and open_ids:
            message["tool_call_id"] = open_ids.pop(0)
        found.append(message)
    return found
