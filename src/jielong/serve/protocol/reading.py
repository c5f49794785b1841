"""Readers of conversations and options from OpenAI's requests; unusable content is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jielong.errors import DataError
from jielong.outside import parse_json
from jielong.records import Conversation, Message, Sampling
from jielong.serve.answering import fresh_seed
from jielong.serve.limits import check_stop
from jielong.serve.protocol.requests import ChatMessage, ChatRequest, CompletionRequest, ToolCall
from jielong.serve.refused import Refused
from jielong.use.port import Options
from jielong.use.tools.tool import Arguments, Tool

DEFAULT_MAX_TOKENS = 1024
"""Where a client names no limit; the model's context bounds it further."""


def conversation_of(messages: list[ChatMessage]) -> Conversation:
    """Return the conversation of a request. Raises Refused, which names the message that cannot be read."""
    return Conversation(tuple(_message(i, message) for i, message in enumerate(messages)))


def _message(index: int, message: ChatMessage) -> Message:
    """Convert one message of a request."""
    at = f"messages[{index}]"
    role = "system" if message.role == "developer" else message.role
    calls = tuple(_call(call, f"{at}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls or ()))
    if calls and role != "assistant":
        raise Refused(400, f"{at} has role {message.role!r} and tool calls; only the assistant calls", param=at)
    if message.content is None and not calls:
        raise Refused(400, f"{at} has no content; expected a text", param=f"{at}.content")
    return Message(role, _text(message, at), message.name, calls, message.tool_call_id)


def _text(message: ChatMessage, at: str) -> str:
    """Return the text of a message's content. Raises Refused for parts that are no text."""
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    for i, part in enumerate(message.content):
        if part.type not in ("text", "input_text", "output_text"):
            where = f"{at}.content[{i}]"
            raise Refused(400, f"{where} is of type {part.type!r}; the models here read text alone", param=where)
    return "".join(part.text or "" for part in message.content)


def _call(call: ToolCall, at: str) -> Mapping[str, Any]:
    """Convert a tool call of a message."""
    try:
        arguments = parse_json(call.function.arguments) if call.function.arguments.strip() else {}
    except DataError as error:
        raise Refused(400, f"{at}.function.arguments is no JSON: {error}", param=at) from error
    if not isinstance(arguments, dict):
        raise Refused(400, f"{at}.function.arguments is no JSON object", param=at)
    return {"name": call.function.name, "arguments": arguments}


def sampling_of(request: ChatRequest | CompletionRequest, max_tokens: int) -> Sampling:
    """Return the sampling options of a request; OpenAI's default temperature is 1."""
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(request, name):
            raise Refused(400, f"{name} is not offered here; repetition_penalty (above 1) is", param=name)
    stops = check_stop(request.stop)

    def given(name: str, otherwise: float) -> Any:
        value = getattr(request, name)
        return otherwise if value is None else value

    return Sampling(
        max_tokens=max_tokens,
        temperature=float(given("temperature", 1.0)),
        top_k=given("top_k", 0),
        top_p=float(given("top_p", 1.0)),
        min_p=float(given("min_p", 0.0)),
        repetition_penalty=float(given("repetition_penalty", 1.0)),
        stop=stops,
    )


async def _nobody_runs(arguments: Arguments) -> str:
    del arguments
    return "error: the client runs this"


def tools_of(request: ChatRequest) -> tuple[Tool, ...]:
    """Return the client's functions as tools. The client runs them itself; the server knows only their schemas."""
    if request.tool_choice == "none":
        return ()
    found: list[Tool] = []
    for i, offered in enumerate(request.tools or ()):
        function = offered.function
        if any(tool.name == function.name for tool in found):
            raise Refused(400, f"two tools are called {function.name!r}", param=f"tools[{i}]")
        parameters = function.parameters or {"type": "object", "properties": {}}
        found.append(Tool(function.name, function.description or "", parameters, _nobody_runs))
    return tuple(found)


def options_of(request: ChatRequest | CompletionRequest, max_tokens: int) -> Options:
    """Return the options of the first choice."""
    return Options(sampling_of(request, max_tokens), fresh_seed() if request.seed is None else request.seed)
