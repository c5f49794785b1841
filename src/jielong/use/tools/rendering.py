"""Tools and calls in words, for a model whose chat template has no place for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jielong.records import Conversation, Message
from jielong.tokens.chat import Rendered, knows_tools, render
from jielong.tokens.tokenizer import Tokenizer
from jielong.use.prompting import fill, language_of


def describe_tools(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Add descriptions of the tools to the system message, in the language of the last user turn."""
    if not tools:
        return tuple(messages)
    asked = next((m.text for m in reversed(messages) if m.role == "user"), "")
    listed = "\n".join(json.dumps(dict(tool), ensure_ascii=False) for tool in tools)
    text = fill("tools", language_of(asked), tools=listed)
    first = messages[0] if messages else None
    if first is not None and first.role == "system":
        return (Message("system", f"{first.text}\n\n{text}"), *messages[1:])
    return (Message("system", text), *messages)


def fit_template(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], tokenizer: Tokenizer
) -> tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]]:
    """Return messages and tools in the form of a tokenizer's chat template: parts without a place in it are put into
    words.

    One way for training and for asking, so that a model is asked as it was taught.
    """
    if knows_tools(tokenizer):
        return tuple(messages), tuple(tools)
    all_told = describe_tools(messages, tools)
    return all_told if tokenizer.is_own else calls_in_words(all_told), ()


def tools_in(conversation: Conversation) -> tuple[Mapping[str, Any], ...]:
    """Return the tools of a conversation, from its file."""
    return tuple(conversation.meta.get("tools", ()))


def render_conversation(conversation: Conversation, tokenizer: Tokenizer) -> Rendered:
    """Render the conversation for training. Raises DataError if the chat template does not take it."""
    messages, tools = fit_template(conversation.messages, tools_in(conversation), tokenizer)
    return render(messages, tokenizer, tools=tools)


def calls_in_words(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Write calls and their answers as text, for a template that knows neither."""
    told: list[Message] = []
    for message in messages:
        if message.tool_calls:
            calls = "\n".join(
                f"<tool_call>{json.dumps(dict(c), ensure_ascii=False)}</tool_call>" for c in message.tool_calls
            )
            content = f"{message.text}\n{calls}".lstrip("\n")
            message = replace(message, content=content, tool_calls=())
        if message.role == "tool":
            text = f"<tool_response>{message.text}</tool_response>"
            if told and told[-1].role == "user":  # several answers are one turn, as templates want turns to alternate
                told[-1] = Message("user", f"{told[-1].text}\n{text}")
                continue
            message = Message("user", text)
        told.append(message)
    return tuple(told)


def format_call(call: Mapping[str, Any]) -> str:
    """Format a tool call in one line for a person: calculator(17*23), or draw(shape="star", size=3)."""
    arguments = call.get("arguments") or {}
    if len(arguments) == 1:
        (only,) = arguments.values()
        return f"{call['name']}({only})"
    written = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{call['name']}({', '.join(written)})"
