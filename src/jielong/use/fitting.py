"""Shortening a conversation that is too long for a model."""

from __future__ import annotations

from jielong.records import Message


def without_oldest(messages: tuple[Message, ...]) -> tuple[Message, ...] | None:
    """Drop the oldest exchange, keeping the system message. Returns None if only the last question is left."""
    opening = messages[:1] if messages and messages[0].role == "system" else ()
    users = [i for i, m in enumerate(messages) if m.role == "user"]
    return (*opening, *messages[users[1] :]) if len(users) > 1 else None
