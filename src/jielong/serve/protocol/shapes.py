"""Responses in the shapes of OpenAI's protocol, whole and in pieces."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jielong.records import Message
from jielong.use.ledger import Happening
from jielong.use.port import Usage

FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}
"""Our words for why an answer ended, in OpenAI's; all others are a stop."""


def finish_of(stop: str) -> str:
    return FINISH.get(stop, "stop")


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return the usage of an answer in OpenAI's shape."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.tokens,
        "prompt_tokens_details": {"cached_tokens": usage.reused_tokens},
    }


def calls_json(message: Message) -> list[dict[str, Any]]:
    """Return the tool calls of a message, each with an id under which the client answers."""
    return [
        {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {
                "name": call["name"],
                "arguments": json.dumps(call.get("arguments") or {}, ensure_ascii=False),
            },
        }
        for call in message.tool_calls
    ]


def message_json(message: Message, thoughts: str) -> dict[str, Any]:
    """Return an assistant's message; thoughts are named as most servers of reasoning models do."""
    found: dict[str, Any] = {"role": "assistant", "content": message.text, "refusal": None}
    if message.tool_calls:
        found |= {"tool_calls": calls_json(message), "content": message.text or None}
    return found | ({"reasoning_content": thoughts} if thoughts else {})


def happening_json(happening: Happening) -> dict[str, Any]:
    """Return an event of a strategy, for clients that show it."""
    found = {"kind": happening.kind, "text": happening.text, "depth": happening.depth}
    return found | ({"call": happening.call} if happening.call else {})


class Reply:
    """The fields that all pieces of one reply share: id, time and model."""

    def __init__(self, model: str, prefix: str, object: str) -> None:
        self.head = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "object": object,
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, choices: Sequence[Mapping[str, Any]], usage: Usage, **more: Any) -> dict[str, Any]:
        """Return the reply to a client that waits for all of it."""
        return {**self.head, "choices": list(choices), "usage": usage_json(usage), **more}

    def piece(self, choice: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
        """Return a chunk of a stream."""
        return {**self.head, "choices": [choice] if choice is not None else [], **more}
