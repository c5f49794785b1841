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


class ChatTemplate:
    """Messages, as plain dicts, to the text of a conversation."""

    def __init__(self, source: str, names: Mapping[str, str] | None = None) -> None:
        """`names`: what the template may say beside the messages, such as bos_token. CheckpointError if it is no Jinja."""
        import jinja2
        import jinja2.meta

        self.source, self.names = source, dict(names or {})
        try:
            self._template = _environment().from_string(source)
            read = jinja2.meta.find_undeclared_variables(_environment().parse(source))
        except jinja2.TemplateError as error:
            raise CheckpointError(f"the chat template cannot be read ({error}); restore a copy") from error
        self.knows_tools = "tools" in read
        """Whether it has a place for the descriptions of tools."""

    def text(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        add_generation_prompt: bool = False,
    ) -> str:
        """The conversation as text; DataError with the template's own words when it refuses the messages."""
        import jinja2

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
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise DataError(f"the chat template refuses this conversation: {error}") from error
