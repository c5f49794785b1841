"""Checks of chat and completion requests against their model, which refuse impossible ones before the first token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jielong.errors import ConfigError
from jielong.records import KEPT_CANDIDATES, Conversation
from jielong.runs import derive_seed
from jielong.serve.answering import ServerResources, open_strategy, room_for_answer
from jielong.serve.grammar import compile_schema, read_format
from jielong.serve.limits import check_logit_bias, check_messages, check_schema, check_top_logprobs
from jielong.serve.models import Model
from jielong.serve.protocol.reading import (
    DEFAULT_MAX_TOKENS,
    conversation_of,
    options_of,
    tools_of,
)
from jielong.serve.protocol.requests import ChatRequest, CompletionRequest, NamedTool
from jielong.serve.refused import Refused
from jielong.serve.tokens import call_token_id
from jielong.use.port import LocalPort, Options
from jielong.use.strategies import Direct
from jielong.use.strategy import Strategy
from jielong.use.tools.tool import Tool


@dataclass(frozen=True)
class CheckedRequest:
    """A checked request: a model, a conversation, and the options of each choice."""

    model: Model
    strategy: Strategy
    conversation: Conversation
    choices: tuple[Options, ...]
    tools: tuple[Tool, ...] = ()
    is_call_forced: bool = False
    """Whether the answer is the JSON of a call and nothing else, as the client demands one."""
    num_top: int = 0
    has_logprobs: bool = False
    which: str = "raw"
    has_draws: bool = False

    @property
    def is_direct(self) -> bool:
        return isinstance(self.strategy, Direct)


async def check_chat_request(
    request: ChatRequest, model: Model, strategy: str, resources: ServerResources
) -> CheckedRequest:
    """Check a chat request against its model, which must be in memory. Raises Refused if it is impossible."""
    check_messages([message.model_dump() for message in request.messages])
    conversation, tools = conversation_of(request.messages), tools_of(request)
    extension = request.jielong
    has_logprobs, num_top = bool(request.logprobs), check_top_logprobs(request.logprobs, request.top_logprobs)
    wants_tokens = has_logprobs or bool(extension and extension.draws)
    limit = request.max_completion_tokens or request.max_tokens
    options = options_of(request, limit or DEFAULT_MAX_TOKENS)
    options = replace(options, tools=tuple(tool.schema for tool in tools))
    try:
        found = open_strategy(strategy, model, resources, is_person_there=False)
    except ConfigError as error:
        raise Refused(404, str(error), code="model_not_found", param="model") from error
    port = model.port
    demanded = _demanded(request, tools)
    schema, vocab_size = _answer_schema(request, demanded), 0
    if isinstance(port, LocalPort):
        if not strategy:
            room = room_for_answer(model, port.prompt_ids(conversation, options.tools))
            options = replace(
                options, sampling=replace(options.sampling, max_tokens=min(options.sampling.max_tokens, room))
            )
        vocab_size = port.engine.model_config.vocab_size  # type: ignore[attr-defined]
        num_told = KEPT_CANDIDATES if extension and extension.draws else max(1, num_top)
        options = replace(
            options,
            bias=check_logit_bias(request.logit_bias, vocab_size),
            candidates=num_told if wants_tokens else 0,
        )
    elif wants_tokens or schema is not None or request.logit_bias:
        raise Refused(400, f"{model.name} is another server's model: it has no logprobs, schemas or logit_bias here")
    if strategy and (tools or schema is not None):
        raise Refused(400, "a strategy takes no tools and no response_format of the client", param="model")
    choices = [options if i == 0 else options.draw("choice", i) for i in range(request.n or 1)]
    if schema is not None:
        assert isinstance(port, LocalPort)
        grammar = await asyncio.to_thread(compile_schema, schema, port.tokenizer, vocab_size)
        choices = [replace(one, allowed=grammar.matcher()) for one in choices]
    if demanded:
        mark = call_token_id(model.tokenizer)
        opening = () if mark is None else (mark,)
        choices = [replace(one, opening_ids=opening) for one in choices]
    which = extension.logprobs if extension else "raw"
    has_draws = bool(extension and extension.draws)
    shared = (model, found, conversation, tuple(choices), tools, bool(demanded))
    return CheckedRequest(*shared, num_top, has_logprobs, which, has_draws)


def _demanded(request: ChatRequest, tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """Return the tools of which one must be called. Returns an empty tuple if a call is optional."""
    choice = request.tool_choice
    if choice is None or choice in ("none", "auto"):
        return ()
    if isinstance(choice, NamedTool):
        named = tuple(tool for tool in tools if tool.name == choice.function.name)
        if not named:
            raise Refused(
                400, f"tool_choice names {choice.function.name!r}, which is not in tools", param="tool_choice"
            )
        return named
    if not tools:
        raise Refused(400, "tool_choice is 'required', but there are no tools", param="tool_choice")
    return tuple(tools)


def _answer_schema(request: ChatRequest, demanded: Sequence[Tool]) -> str | None:
    """Return the text of the JSON schema that the answer must fit, or None if any text is allowed.

    Raises Refused if the request has both a response_format and a demanded tool call.
    """
    wanted = request.response_format
    if not demanded:
        return read_format(wanted.model_dump(by_alias=True)) if wanted is not None else None
    if wanted is not None and wanted.type != "text":
        raise Refused(400, "response_format and a demanded tool call exclude each other", param="response_format")
    calls = [_call_schema(tool) for tool in demanded]
    return check_schema(calls[0] if len(calls) == 1 else {"anyOf": calls})


def _call_schema(tool: Tool) -> dict[str, Any]:
    """Return the JSON schema of a call of a tool."""
    # a schema that names its properties means these alone: a small model would invent others without end
    arguments = (
        {"additionalProperties": False, **tool.parameters} if "properties" in tool.parameters else tool.parameters
    )
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": dict(arguments)},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


async def check_completion_request(request: CompletionRequest, model: Model) -> list[tuple[tuple[int, ...], Options]]:
    """Return the prompts of a completion request as ids, each with the options of its choices."""
    port = model.port
    assert isinstance(port, LocalPort)
    tokenizer, prompt = port.tokenizer, request.prompt
    if isinstance(prompt, str):
        texts: list[Any] = [prompt]
    else:
        texts = [prompt] if isinstance(prompt[0], int) else list(prompt)
    vocab_size = port.engine.model_config.vocab_size  # type: ignore[attr-defined]
    found = []
    options = options_of(request, max(1, request.max_tokens or 0))
    options = replace(options, bias=check_logit_bias(request.logit_bias, vocab_size))
    if request.logprobs is not None or (request.jielong and request.jielong.draws):
        wanted = KEPT_CANDIDATES if request.jielong and request.jielong.draws else max(1, request.logprobs or 0)
        options = replace(options, candidates=wanted)
    for number, one in enumerate(texts):
        ids = (*tokenizer.opening, *tokenizer.encode(one)) if isinstance(one, str) else tuple(one)
        ids = ids or tokenizer.opening or tuple(tokenizer.stop_ids[:1])
        if any(not 0 <= id < vocab_size for id in ids):
            raise Refused(400, f"the prompt has token ids outside 0 to {vocab_size - 1}", param="prompt")
        room = room_for_answer(model, ids)
        sampling = replace(options.sampling, max_tokens=min(options.sampling.max_tokens, room))
        for choice in range(request.n or 1):
            seed = options.seed if not (number or choice) else derive_seed(options.seed, "choice", number, choice)
            found.append((ids, replace(options, sampling=sampling, seed=seed)))
    return found
