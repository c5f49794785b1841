"""A chat template, the Jinja program that a model's makers ship, run as `transformers` runs it and in a sandbox."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jielong.errors import CheckpointError, DataError

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


@functools.cache
def _environment() -> Any:
    # Only foreign templates need Jinja; our own chats are written without it.
    import jinja2
    import jinja2.ext
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """{% generation %} ... {% endgeneration %} says what the assistant wrote; here its body is only written."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body).set_lineno(line)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


_PROBE = "Zq7"
"""A word that no template says by itself."""

_PROBE_CALL = {"type": "function", "function": {"name": "look_up", "arguments": {"word": _PROBE}}}


class ChatTemplate:
    """Messages, as plain dicts, to the text of a conversation.

    A template that is no Jinja can be had all the same, as a model may write without it: it is told when it is used. What a
    template wants of messages (`fitted`) is found out by trying, once.
    """

    def __init__(self, source: str, names: Mapping[str, str] | None = None) -> None:
        """`names`: what the template may say beside the messages, such as bos_token."""
        import jinja2
        import jinja2.meta

        self.source, self.names, self.fault = source, dict(names or {}), ""
        read: set[str] = set()
        try:
            self._template = _environment().from_string(source)
            read = jinja2.meta.find_undeclared_variables(_environment().parse(source))
        except (jinja2.TemplateError, RecursionError) as error:
            self.fault = f"the chat template cannot be read ({error}); restore a copy"
        self.knows_tools = "tools" in read
        """Whether it has a place for the descriptions of tools."""

    # What it wants of messages ---------------------------------------------------------------------------------------

    def _says(self, *messages: Mapping[str, Any], what: str = _PROBE) -> bool:
        """Whether it takes these messages and writes the word that they hold."""
        try:
            return what in self.text(messages)
        except (CheckpointError, DataError):
            return False

    @functools.cached_property
    def wants_parts(self) -> bool:
        """Whether contents must be lists of parts, as a string would vanish."""
        user = {"role": "user", "content": _PROBE}
        return not self._says(user) and self._says({"role": "user", "content": _parts(_PROBE)})

    @functools.cached_property
    def takes_system(self) -> bool:
        """Whether it has a place for a system message; where a user's turn alone is refused too, nothing is known."""
        user = self._put({"role": "user", "content": "Hi"})
        system = self._put({"role": "system", "content": _PROBE})
        return self._says(system, user) or not self._says(self._put({"role": "user", "content": _PROBE}))

    @functools.cached_property
    def wants_ids(self) -> bool:
        """Whether calls need ids of nine letters, as Mistral's do."""
        calls = self._calls(1)
        return not self._says(*calls) and self._says(*_with_ids(calls))

    @functools.cached_property
    def takes_calls(self) -> bool:
        """Whether it writes the calls of a turn, and does not leave an empty turn of them."""
        calls = self._calls(1)
        return self._says(*calls) or self._says(*_with_ids(calls))

    @functools.cached_property
    def takes_one_call(self) -> bool:
        """Whether a turn may hold one call alone."""
        once, twice = (self._calls(n) for n in (1, 2))
        if self.wants_ids:
            once, twice = _with_ids(once), _with_ids(twice)
        return self._says(*once) and not self._says(*twice)

    def _calls(self, count: int) -> list[dict[str, Any]]:
        answers = [self._put({"role": "tool", "content": "6", "name": "look_up"}) for _ in range(count)]
        asked = self._put({"role": "assistant", "content": ""}) | {"tool_calls": [_PROBE_CALL] * count}
        return [self._put({"role": "user", "content": "Hi"}), asked, *answers]

    def _put(self, message: Mapping[str, Any]) -> dict[str, Any]:
        is_text = isinstance(message["content"], str)
        return {**message, "content": _parts(message["content"])} if is_text and self.wants_parts else dict(message)

    def fitted(self, messages: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
        """The messages as it takes them, each with the number of the one that it came from.

        A system message that it has no place for stands before the first user's words; several calls of one turn become
        turns of one call, each with its answer; calls get ids, and contents become parts, where it wants them.
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
        """The conversation as text; DataError with the template's own words when it refuses the messages."""
        import jinja2

        if self.fault:
            raise CheckpointError(self.fault)
        try:
            return str(
                self._template.render(
                    messages=[dict(m) for m in messages],
                    tools=[{"type": "function", "function": dict(t)} for t in tools] or None,
                    documents=None,
                    add_generation_prompt=add_generation_prompt,
                    **self.names,
                )
            )
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise DataError(f"the chat template refuses this conversation: {error}") from error


def _parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


_Placed = list[tuple[int, dict[str, Any]]]


def _without_system(placed: _Placed) -> _Placed:
    """System messages before the words of the first user's turn, or as one where there is none."""
    said = "\n\n".join(str(m["content"]) for _, m in placed if m["role"] == "system")
    rest = [(n, m) for n, m in placed if m["role"] != "system"]
    first = next((i for i, (_, m) in enumerate(rest) if m["role"] == "user"), None)
    if first is None:
        return [(0, {"role": "user", "content": said}), *rest]
    number, user = rest[first]
    rest[first] = (number, {**user, "content": f"{said}\n\n{user['content']}"})
    return rest


def _one_call_a_turn(placed: _Placed) -> _Placed:
    """Each call in a turn of its own, and after it its answer, which are in the order of the calls."""
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
    """Calls with ids of nine letters and digits, and their answers with the same, in order."""
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
